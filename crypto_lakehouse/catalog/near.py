"""Suggestions in errors: names similar to a misspelt one, and long lists of names in few words.

Contains the comparison and the wording. Callers supply the names that exist and raise the error.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from crypto_lakehouse.catalog.intervals import INTERVALS

_SUGGESTED, _FEW = 3, 6
# Half of most symbols is their quote, so less is no likeness.
_ALIKE = 0.7
_BY_INTERVAL = re.compile(rf"(.+)_(?:{'|'.join(INTERVALS)})")


def near(name: str, known: Iterable[str]) -> list[str]:
    """Names of ``known`` that ``name`` probably means, best first: the one that differs only in case, dashes and
    underscores; else those that start with ``name``; else those with a similar spelling.

    >>> near("btc-usdt", ["BTCUSDC", "BTCUSDT"])
    ['BTCUSDT']
    """
    spelt, plain = {_plain(known_name): known_name for known_name in known}, _plain(name)
    if plain in spelt:
        return [spelt[plain]]
    if longer := [known_name for text, known_name in spelt.items() if plain and text.startswith(plain)]:
        return longer[:_SUGGESTED]
    matcher = difflib.SequenceMatcher(b=plain)

    def likeness(text: str) -> float:
        matcher.set_seq1(text)
        return matcher.ratio() if matcher.real_quick_ratio() >= _ALIKE <= matcher.quick_ratio() else 0

    # The sort keeps the order of equally similar names: klines_1m comes before klines_8h, as in the catalogue.
    ranked = sorted(((likeness(text), text) for text in spelt), key=lambda pair: -pair[0])
    return [spelt[text] for ratio, text in ranked[:_SUGGESTED] if ratio >= _ALIKE]


def families(names: Iterable[str]) -> list[str]:
    """The names in order; tables that differ only in their interval become one pattern.

    >>> families(["klines_1m", "klines_1h", "trades", "continuous_1m"])
    ['klines_*', 'trades', 'continuous_1m']
    """
    listed = list(names)
    members = Counter(_family(name) for name in listed)
    return list(dict.fromkeys(_family(name) if members[_family(name)] > 1 else name for name in listed))


def unknown_name(
    kind: str, name: str, known: Collection[str], *, scope: str = "", aliases: Mapping[str, Sequence[str]] | None = None
) -> str:
    """The error text for a name that does not exist: the most similar names, and all names if they are few.

    ``scope`` names the market or layer that was searched. ``aliases`` maps names of ``known`` to other common names
    for them.

    >>> unknown_name("table", "klins_1m", ["klines_1m", "trades"])
    "no table 'klins_1m'; did you mean klines_1m? There are klines_1m, trades"
    """
    aliased = [known_name for known_name, others in (aliases or {}).items() if _plain(name) in map(_plain, others)]
    similar, existing = aliased[:_SUGGESTED] or near(name, known), there_are(families(known))
    beginning = f"no {kind} {name!r}" + (f" in {scope}" if scope else "")
    if not similar:
        return f"{beginning}; {existing}"
    rest = f" {existing[0].upper()}{existing[1:]}" if len(families(known)) <= _FEW else ""
    return f"{beginning}; {did_you_mean(similar)}{rest}"


def there_are(names: Sequence[str]) -> str:
    """The clause that lists all names that exist.

    >>> there_are(["um", "cm"]), there_are(["binance"])
    ('there are um, cm', 'there is only binance')
    """
    return f"there is only {names[0]}" if len(names) == 1 else f"there are {', '.join(names)}"


def with_near(name: str, known: Iterable[str]) -> str:
    """The name, followed by similar names, if any.

    >>> with_near("btcusdt", ["BTCUSDT"])
    'btcusdt (did you mean BTCUSDT?)'
    """
    close = near(name, known)
    return f"{name} ({did_you_mean(close)})" if close else name


def did_you_mean(names: Sequence[str]) -> str:
    """The question "did you mean ...?" for one or more names."""
    *others, last = names
    return f"did you mean {', '.join(others) + ' or ' if others else ''}{last}?"


def _plain(name: str) -> str:
    return re.sub(r"[-_/ ]", "", name).casefold()


def _family(name: str) -> str:
    match = _BY_INTERVAL.fullmatch(name)
    return f"{match[1]}_*" if match else name
