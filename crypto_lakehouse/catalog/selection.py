"""Selection of the enabled feeds: by exchanges, tables, markets and first day."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

from crypto_lakehouse.catalog import EXCHANGES, FEEDS, Feed, Market, feeds, no_exchange, no_market
from crypto_lakehouse.catalog.near import there_are


def select_exchanges(text: str) -> list[str]:
    """The exchanges of a comma-separated list, in catalogue order.

    Raises ValueError, which quotes the unknown name, or lists all names if there is none.

    >>> select_exchanges(" binance, ")
    ['binance']
    """
    wanted = _entries(text)
    for name in wanted:
        if name not in EXCHANGES:
            raise ValueError(no_exchange(name))
    if not wanted:
        raise ValueError(f"names no exchange; {there_are(list(EXCHANGES))}")
    return [name for name in EXCHANGES if name in wanted]


def select_markets(text: str, exchanges: Iterable[str]) -> list[Market]:
    """The markets of ``exchanges`` that a comma-separated list names, in catalogue order; an empty list selects all.

    ``um`` selects the market of this name of every exchange that has one, ``binance/um`` that of one exchange. Raises
    ValueError, which quotes the unknown name.

    >>> [market.name for market in select_markets("cm, binance/um", ["binance"])]
    ['um', 'cm']
    """
    known = [market for exchange in exchanges for market in EXCHANGES[exchange].markets]
    wanted = _entries(text)
    for name in wanted:
        if not any(name in _names(market) for market in known):
            raise ValueError(no_market(name, known))
    return [market for market in known if not wanted or any(name in wanted for name in _names(market))]


def tables_of_exchanges(exchanges: Collection[str]) -> list[str]:
    """All tables of the archives of these exchanges, in catalogue order."""
    return list(dict.fromkeys(feed.table for feed in FEEDS.values() if feed.exchange in exchanges))


def select_feeds(tables: Collection[str], markets: Collection[Market], start: date | None) -> list[Feed]:
    """The feeds of the tables in the markets, in catalogue order, without their days before ``start``.

    Feeds that ended before ``start`` are omitted.
    """
    chosen = [feed for feed in feeds(tables) if feed.market in markets]
    if start is None:
        return chosen
    return [feed.since(start) for feed in chosen if feed.last_date is None or feed.last_date >= start]


def _entries(text: str) -> list[str]:
    return [entry for entry in (part.strip() for part in text.split(",")) if entry]


def _names(market: Market) -> tuple[str, str]:
    return market.name, f"{market.exchange}/{market.name}"
