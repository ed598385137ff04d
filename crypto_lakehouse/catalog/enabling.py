"""Which variables a command needs in front of it, so that it can build a table that the settings do not enable.

Readers recommend such commands, and do not load the settings: that needs more packages. So the defaults of the settings
that select tables are here, too; ``settings.py`` uses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from crypto_lakehouse.catalog import DEFAULT_EXCHANGE
from crypto_lakehouse.catalog.bars import Bars, parse_bars_list
from crypto_lakehouse.catalog.selection import select_exchanges, select_markets, tables_of_exchanges
from crypto_lakehouse.catalog.tables import select_tables

DEFAULT_TABLES = "klines_1m,funding_rates"
DEFAULT_BARS = "1h,1d"
_PREFIX = "LAKEHOUSE_"


def enabling_variables(
    exchange: str, market: str, tables: Sequence[str], bars: Bars | None, first: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables that enable archive tables of a market, and ``bars``, from the partition ``first`` on.

    Each has its value in the ``environment``, or else its default, and what is missing. Empty if all is enabled. A
    variable with a wrong value is left as it is: the command itself says what is wrong.

    >>> enabling_variables("binance", "um", ["klines_1m", "open_interest"], None, "2024-01-01", {})
    {'LAKEHOUSE_TABLES': 'klines_1m,funding_rates,open_interest'}
    """
    variables: dict[str, str] = {}

    def value(name: str, default: str = "") -> str:
        return environment.get(f"{_PREFIX}{name}") or default

    exchanges, markets = value("EXCHANGES", DEFAULT_EXCHANGE), value("MARKETS")
    with suppress(ValueError):
        if exchange not in select_exchanges(exchanges):
            exchanges = variables[f"{_PREFIX}EXCHANGES"] = f"{exchanges},{exchange}"
        enabled = [(each.exchange, each.name) for each in select_markets(markets, select_exchanges(exchanges))]
        if (exchange, market) not in enabled:
            variables[f"{_PREFIX}MARKETS"] = f"{markets},{market}"
    with suppress(ValueError):
        chosen = value("TABLES", DEFAULT_TABLES)
        known = select_tables(chosen, tables_of_exchanges(select_exchanges(exchanges)))
        if missing := [table for table in tables if table not in known]:
            # Next to an exclusion, a further name may be excluded, or select itself alone.
            variables[f"{_PREFIX}TABLES"] = ",".join(tables if "!" in chosen else [chosen, *missing])
    with suppress(ValueError):
        chosen = value("BARS", DEFAULT_BARS)
        if bars is not None and bars not in parse_bars_list(chosen):
            variables[f"{_PREFIX}BARS"] = f"{chosen},{bars.name}"
    if first < value("START")[: len(first)]:
        variables[f"{_PREFIX}START"] = first if first.count("-") > 1 else f"{first}-01"
    return variables
