"""The catalogue: markets, tables and file formats of the exchanges, as plain data without I/O.

The entries are in the modules of the exchanges, which ``exchanges.py`` registers. All other packages look up feeds with
``feed()`` and ``feeds()``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from crypto_lakehouse.catalog.exchanges import DEFAULT_EXCHANGE, EXCHANGES
from crypto_lakehouse.catalog.intervals import INTERVALS
from crypto_lakehouse.catalog.model import Cadence, Feed, FieldType, FileColumn, FileFormat, Interval, Market
from crypto_lakehouse.catalog.names import check_symbol, parse_date, parse_partition, partition_key, partition_keys
from crypto_lakehouse.catalog.near import unknown_name

FEEDS: dict[tuple[str, str, str], Feed] = {
    (feed.exchange, feed.market.name, feed.table): feed for exchange in EXCHANGES.values() for feed in exchange.feeds
}
MARKETS: dict[tuple[str, str], Market] = {
    (market.exchange, market.name): market for exchange in EXCHANGES.values() for market in exchange.markets
}


def check_tables(feeds: Iterable[Feed]) -> None:
    """Raise ValueError if a table has another cadence or schema in one market than in another."""
    first_of: dict[str, Feed] = {}
    for own in feeds:
        other = first_of.setdefault(own.table, own)
        if (own.cadence, own.schema) != (other.cadence, other.schema):
            raise ValueError(
                f"{own.name} is {own.cadence} and has the schema {own.schema}, but {other.name} is {other.cadence} and"
                f" has {other.schema}. A table is the same in all markets: give this one another name"
            )


check_tables(FEEDS.values())


def feed(exchange: str, market: str, table: str) -> Feed:
    """The feed of a table in a market. Raises KeyError, which lists the names that exist."""
    find_market(exchange, market)
    try:
        return FEEDS[exchange, market, table]
    except KeyError:
        raise KeyError(no_table(exchange, market, table, tables_of(exchange, market))) from None


def find_market(exchange: str, market: str) -> Market:
    """The market of an exchange. Raises KeyError, which suggests similar names and lists all."""
    try:
        return MARKETS[exchange, market]
    except KeyError:
        if exchange not in EXCHANGES:
            raise KeyError(no_exchange(exchange)) from None
        if others := [name for name, other in MARKETS if other == market]:
            raise KeyError(
                f"no market {market!r} in {exchange}, only in {', '.join(others)}: name that exchange"
            ) from None
        raise KeyError(no_market(market, EXCHANGES[exchange].markets)) from None


def no_exchange(exchange: str) -> str:
    """The error text for an exchange that is not in the registry."""
    return unknown_name("exchange", exchange, EXCHANGES)


def no_market(market: str, known: Iterable[Market]) -> str:
    """The error text for a market that is not one of ``known``."""
    aliases = {m.name: m.aliases for m in known}
    return unknown_name("market", market, aliases, aliases=aliases)


def no_table(exchange: str, market: str, table: str, known: Collection[str]) -> str:
    """The error text for a table that is not in ``known``, the tables of a market; it names markets that have it."""
    elsewhere = [m for e, m, t in FEEDS if (e, t) == (exchange, table)]
    if elsewhere:
        return f"no table {table!r} in {exchange}/{market}, only in {', '.join(elsewhere)}"
    types = {t: (feed.archive_type,) for (e, m, t), feed in FEEDS.items() if (e, m) == (exchange, market)}
    return unknown_name("table", table, known, scope=f"{exchange}/{market}", aliases=types)


def tables_of(exchange: str, market: str) -> list[str]:
    """Tables of a market, in catalogue order."""
    return [t for e, m, t in FEEDS if (e, m) == (exchange, market)]


def feeds(tables: Iterable[str] | None = None) -> list[Feed]:
    """All feeds, or those of the named tables, in catalogue order."""
    wanted = None if tables is None else set(tables)
    return [f for f in FEEDS.values() if wanted is None or f.table in wanted]


__all__ = [
    "DEFAULT_EXCHANGE",
    "EXCHANGES",
    "FEEDS",
    "INTERVALS",
    "MARKETS",
    "Cadence",
    "Feed",
    "FieldType",
    "FileColumn",
    "FileFormat",
    "Interval",
    "Market",
    "check_symbol",
    "feed",
    "feeds",
    "find_market",
    "no_exchange",
    "no_market",
    "no_table",
    "parse_date",
    "parse_partition",
    "partition_key",
    "partition_keys",
    "tables_of",
]
