"""The catalogue: what exists on the exchanges, as plain data without I/O.

Adding a dataset or an exchange is an entry here and a test. ``feed()`` and ``feeds()`` are how every
other room asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from crypto_lakehouse.catalog import binance
from crypto_lakehouse.catalog.intervals import INTERVALS
from crypto_lakehouse.catalog.model import Cadence, Feed, FieldType, FileColumn, FileFormat, Interval, Market
from crypto_lakehouse.catalog.names import check_symbol, parse_date, parse_partition, partition_key, partition_keys

FEEDS: dict[tuple[str, str, str], Feed] = {
    (feed.exchange, feed.market.name, feed.table): feed for feed in binance.FEEDS
}
MARKETS: dict[tuple[str, str], Market] = {(m.exchange, m.name): m for m in binance.MARKETS}


def feed(exchange: str, market: str, table: str) -> Feed:
    """The feed of a table in a market. Raises KeyError that names what exists."""
    try:
        return FEEDS[exchange, market, table]
    except KeyError:
        tables = sorted({t for e, m, t in FEEDS if (e, m) == (exchange, market)})
        known = ", ".join(tables) or f"markets: {', '.join('/'.join(key) for key in MARKETS)}"
        raise KeyError(f"no feed {exchange}/{market}/{table}; there are {known}") from None


def feeds(tables: Iterable[str] | None = None) -> list[Feed]:
    """All feeds, or those of the named tables, in catalogue order."""
    wanted = None if tables is None else set(tables)
    return [f for f in FEEDS.values() if wanted is None or f.table in wanted]


__all__ = [
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
    "parse_date",
    "parse_partition",
    "partition_key",
    "partition_keys",
]
