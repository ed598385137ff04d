"""Rows of a lake as Binance's answers need them: a ``RowSource`` of ``exchange_api``.

Numbers become text with the decimals of the symbol, and more where a stored value has more: the text is always exactly
the stored value. Which table has the rows of a feed is in ``binance_tables.py``. A token must allow every table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta

import polars as pl

from crypto_lakehouse.api.binance_listing import EXCHANGE, Decimals, LakeListing
from crypto_lakehouse.api.binance_tables import LakeTable, table_of
from crypto_lakehouse.api.binance_text import row_maker
from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.problems import Problem
from crypto_lakehouse.api.scopes import allowed_markets
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.exchange_api.rows import Listed, Row
from crypto_lakehouse.lake.storage.partitions import MissingPartition

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A row may lie outside of its file's days: a bar that started before, a trade filed late.
_SLACK = 86_400_000
_GROWTH = 4
_FIRST_IDS, _NEAR = 4_000, 1_000_000


class LakeRows:
    """The rows of a lake. Times are in milliseconds since the epoch."""

    def __init__(self, listing: LakeListing) -> None:
        self._listing = listing
        # Where the last row of a page of trades was, by market and symbol: its id and the number of its file.
        self._positions: dict[tuple[str, str], tuple[int, int]] = {}

    def knows(self, market: str, symbol: str) -> bool:
        """Whether the market has the symbol, or the pair of an index."""
        token = CALL.get().token
        if token is not None and not token.allows_market(EXCHANGE, market):
            raise Problem("not-allowed", f"the token {token.name} may not read the market {EXCHANGE}/{market}")
        symbols = self._listing.first_days(market)
        return symbol in symbols or (market == "cm" and any(name.startswith(f"{symbol}_") for name in symbols))

    def listed(self, market: str) -> Mapping[str, Listed]:
        """The symbols of a market."""
        allowed_markets("gold.instruments", EXCHANGE, [market])
        return self._listing.listed(market)

    def forward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows in [start, end], the oldest first."""
        table, first, last = self._table(feed, symbol, start, end)
        length = table.window(symbol)
        make = row_maker(feed, self._decimals(feed, symbol))
        while first <= last:
            stop = min(first + length, last + 1)
            yield from map(make, table.read(symbol, first, stop).iter_rows(named=True))
            first, length = stop, min(length * _GROWTH, table.longest_window(symbol))

    def backward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows in [start, end], the newest first."""
        table, first, last = self._table(feed, symbol, start, end)
        length = table.window(symbol)
        make = row_maker(feed, self._decimals(feed, symbol))
        while first <= last:
            begin = max(last + 1 - length, first)
            yield from map(make, table.read(symbol, begin, last + 1).reverse().iter_rows(named=True))
            last, length = begin - 1, min(length * _GROWTH, table.longest_window(symbol))

    def from_id(self, feed: Feed, symbol: str, first: int) -> Iterator[Row]:
        """Rows with the id ``first`` or a greater one, in the order of ids."""
        table = table_of(self._listing, feed)
        place, make = (feed.market.name, symbol), row_maker(feed, self._decimals(feed, symbol))
        id, number = self._positions.get(place, (-1, 0))
        if not 0 <= first - id < _NEAR:
            number = self._file_of(table, symbol, first)
        count = _FIRST_IDS
        while number < len(table.files):
            rows = table.from_id(symbol, table.files[number], first, count)
            for row in rows.iter_rows(named=True):
                self._positions[place] = row["trade_id"], number
                first = row["trade_id"] + 1
                yield make(row)
            number, count = (number, count * _GROWTH) if rows.height == count else (number + 1, count)

    def _file_of(self, table: LakeTable, symbol: str, first: int) -> int:
        """The number of the last file that starts with an id up to ``first``; files without the symbol may follow."""
        low, high = 0, len(table.files)
        while high - low > 1:
            middle = (low + high) // 2
            number = middle
            while number < high and (id := table.first_id(symbol, table.files[number])) is None:
                number += 1
            # Files without the symbol are those of the half before.
            if number < high and id is not None and id <= first:
                low = number
            else:
                high = middle
        return low

    def newest(self, feed: Feed, end: int) -> Iterable[Row]:
        """The newest row of each symbol up to ``end`` and the day of the universe, of two months."""
        universe = self._listing.universe
        if universe is not None:
            end = min(end, _ms(datetime.combine(universe + _DAY, time.min, UTC)) - 1)
        table, first, last = self._table(feed, None, 0, end)
        if first > last:
            return
        rows = table.read(None, max(first, last - 62 * _SLACK), last + 1)
        make = row_maker(feed, Decimals())
        yield from map(make, rows.group_by("symbol").last().sort("symbol").iter_rows(named=True))

    def mark_prices(self, market: str, symbol: str, times: list[int]) -> Mapping[int, str]:
        """The opens of the mark price's minutes, if the token allows them."""
        token = CALL.get().token
        is_allowed = token is None or token.allows_table("silver.mark_klines_1m")
        if not times or not is_allowed or not self._listing.files("silver", "mark_klines_1m", market):
            return {}
        minutes = pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
        frame = self._listing.lake.scan(
            "silver.mark_klines_1m",
            exchange=EXCHANGE,
            market=market,
            symbols=[symbol],
            start=_time(min(times)),
            end=_time(max(times) + 1),
            columns=["open_time", "open"],
        )
        rows = frame.filter(pl.col("open_time").dt.cast_time_unit("ms").is_in(minutes.to_list())).collect()
        return {_ms(time): f"{price:.8f}" for time, price in rows.iter_rows()}

    def _table(self, feed: Feed, symbol: str | None, start: int, end: int) -> tuple[LakeTable, int, int]:
        """The table of a feed, and the part of [start, end] that it can have rows of."""
        table = table_of(self._listing, feed)
        first = max(start, table.start - _SLACK)
        if symbol is not None and feed.archive_type in ("klines", "aggTrades"):
            day = self._listing.first_days(feed.market.name).get(symbol)
            if day is not None:
                first = max(first, _ms(datetime.combine(day, time.min, UTC)) - table.reach_back)
        return table, first, min(end, table.end + _SLACK)

    def _decimals(self, feed: Feed, symbol: str | None) -> Decimals:
        market = feed.market.name
        if symbol is None or market == "spot" or feed.archive_type not in ("klines", "aggTrades"):
            return Decimals()
        try:
            days = self._listing.instruments(market).filter(symbol=symbol)["last_day"].to_list()
        except MissingPartition:
            return Decimals()
        return self._listing.decimals(market, {symbol: max(days)})[symbol] if days else Decimals()


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
