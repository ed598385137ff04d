"""Selection of tables by names, patterns and exclusions, as the settings accept them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from crypto_lakehouse.catalog.near import families, unknown_name


def select_tables(text: str, available: Sequence[str]) -> list[str]:
    """The tables of ``available`` that a comma-separated list selects, in the order of ``available``.

    Entries are names, patterns with ``*`` (any text) and ``?`` (one character), and exclusions with ``!``; a list of
    only exclusions selects all others. Raises ValueError if an entry matches nothing, or nothing is left.

    >>> select_tables("klines_1?,!klines_1d", ["klines_1m", "klines_1h", "klines_1d", "trades"])
    ['klines_1m', 'klines_1h']
    """
    entries = [entry for entry in (part.strip() for part in text.split(",")) if entry]
    existing = ", ".join(families(available))
    if not entries:
        raise ValueError(f"names no table; there are {existing}")
    for entry in entries:
        if not any(_matches(name, entry.removeprefix("!")) for name in available):
            raise ValueError(unknown_name("table", entry.removeprefix("!"), available))
    wanted = [entry for entry in entries if not entry.startswith("!")]
    unwanted = [entry.removeprefix("!") for entry in entries if entry.startswith("!")]
    chosen = [
        name
        for name in available
        if (not wanted or any(_matches(name, pattern) for pattern in wanted))
        and not any(_matches(name, pattern) for pattern in unwanted)
    ]
    if not chosen:
        raise ValueError(f"leaves no table, since all are excluded; there are {existing}")
    return chosen


def _matches(name: str, pattern: str) -> bool:
    # Brackets are not a pattern here, as in symbols.
    return fnmatchcase(name, pattern.replace("[", "[[]"))
