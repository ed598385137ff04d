"""The shell commands that errors, warnings and reports recommend.

Every recommended command is written by ``command_line``; a test parses each kind with the parser of the command line.
The options themselves are defined in ``cli``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from crypto_lakehouse.catalog.exchanges import DEFAULT_EXCHANGE

PROGRAM = "crypto-lakehouse"


def command_line(
    *words: str, options: Mapping[str, str | None] | None = None, variables: Mapping[str, str] | None = None
) -> str:
    """The text of a command, quoted for a shell: its words, then ``--name value`` for each option.

    An option without a value (None) is a flag. Environment ``variables`` come first.

    >>> command_line("archive", "symbols", options={"market": "um", "symbols": "BTC*", "json": None})
    "crypto-lakehouse archive symbols --market um --symbols 'BTC*' --json"
    """
    parts = [PROGRAM, *words]
    for name, value in (options or {}).items():
        parts += [f"--{name}"] if value is None else [f"--{name}", value]
    assignments = [f"{name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    return " ".join([*assignments, shlex.join(parts)])


def table_options(exchange: str, market: str, table: str, first: str, last: str) -> dict[str, str | None]:
    """The options for partitions of a table of a market; ``--exchange`` only where it is not the default."""
    options: dict[str, str | None] = {} if exchange == DEFAULT_EXCHANGE else {"exchange": exchange}
    return {**options, "market": market, "table": table, "from": first, "to": last}
