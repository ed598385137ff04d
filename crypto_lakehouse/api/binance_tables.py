"""The table of a lake that has the rows of a feed: stored ones, or bars that are computed now.

Bars of an interval that silver does not store come from gold.continuous_1m, through ``Lakehouse.bars``; windows without
a traded minute are left out, because the exchange has none. Bars of index, mark price and premium come from minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import polars as pl

from crypto_lakehouse.api.binance_listing import EXCHANGE, LakeListing
from crypto_lakehouse.api.call import CALL
from crypto_lakehouse.api.scopes import allowed_markets
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.describe import StoredFile

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _DAY = 60_000, 86_400_000
_MONTH = timedelta(days=31)
_VOLUMES = (
    "base_volume",
    "quote_volume",
    "trade_count",
    "taker_buy_base_volume",
    "taker_buy_quote_volume",
    "contracts",
)
_BAR = ("symbol", "open_time", "close_time", "open", "high", "low", "close")
_COLUMNS = {
    "klines": (*_BAR, *_VOLUMES),
    "aggTrades": (
        *("symbol", "trade_id", "time", "price", "base_quantity", "contracts", "is_buyer_maker"),
        *("first_trade_id", "last_trade_id"),
    ),
    "fundingRate": ("symbol", "funding_time", "interval_hours", "funding_rate", "mark_price"),
    "metrics": (
        *("symbol", "label_time", "open_interest", "open_interest_value", "top_trader_account_long_short_ratio"),
        *("top_trader_position_long_short_ratio", "account_long_short_ratio", "taker_buy_sell_volume_ratio"),
    ),
}
_PRICE_BAR = (*_BAR, "sample_count")
_TIMES = {"aggTrades": "time", "fundingRate": "funding_time", "metrics": "label_time"}

Read = Callable[[str | None, datetime, datetime], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class LakeTable:
    """What reads the rows of a feed, and its ``files``, in order of partition."""

    listing: LakeListing
    feed: Feed
    files: list[StoredFile]
    reader: Read

    @property
    def start(self) -> int:
        """Start of the first file, in milliseconds."""
        return _ms(datetime.combine(self.files[0].start, time.min, UTC)) - self.reach_back

    @property
    def end(self) -> int:
        """End of the last file, in milliseconds."""
        return _ms(datetime.combine(self.files[-1].end, time.min, UTC))

    @property
    def reach_back(self) -> int:
        """How long before its first trade a bar may start."""
        return _DAY if self.feed.interval is None else max(_DAY, _length(self.feed))

    def window(self, symbol: str | None) -> int:
        """The length in milliseconds of a first read, which has the rows of a usual request."""
        if self.feed.interval is not None:
            return max(1500 * _length(self.feed), 60 * _MINUTE)
        return {"aggTrades": 10 * _MINUTE, "metrics": 3 * _DAY}.get(
            self.feed.archive_type, 366 * _DAY if symbol else 31 * _DAY
        )

    def longest_window(self, symbol: str | None) -> int:
        """The length in milliseconds of a read after reads with few rows."""
        if self.feed.interval is not None:
            return max(200_000 * _length(self.feed), _DAY)
        return {"aggTrades": 31 * _DAY, "metrics": 400 * _DAY}.get(
            self.feed.archive_type, 4000 * _DAY if symbol else 93 * _DAY
        )

    def read(self, symbol: str | None, start: int, end: int) -> pl.DataFrame:
        """Rows in [start, end), sorted by time."""
        return self.reader(symbol, _time(start), _time(end))

    def first_id(self, symbol: str, file: StoredFile) -> int | None:
        """The first id of a symbol in a file of trades."""
        return self._trades(symbol, file).select(pl.col("trade_id").min()).collect().item()

    def from_id(self, symbol: str, file: StoredFile, first: int, count: int) -> pl.DataFrame:
        """The first ``count`` rows of a file of trades with an id from ``first`` on."""
        return self._trades(symbol, file).filter(pl.col("trade_id") >= first).head(count).collect()

    def _trades(self, symbol: str, file: StoredFile) -> pl.LazyFrame:
        return self.listing.lake.scan(
            f"silver.{self.feed.table}",
            exchange=EXCHANGE,
            market=self.feed.market.name,
            symbols=[symbol],
            start=file.start,
            end=file.end,
            columns=list(_COLUMNS["aggTrades"]),
        )


def table_of(listing: LakeListing, feed: Feed) -> LakeTable:
    """The table with the rows of a feed. Raises MissingPartition if the lake has none, Problem without the right."""
    market = feed.market.name
    files = listing.files("silver", feed.table, market)
    is_bars = feed.interval is not None and feed.interval.name not in ("1s", "1m")
    if not files and is_bars and feed.archive_type == "klines":
        if minutes := listing.files("gold", "continuous_1m", market):
            _note("gold.continuous_1m", market)
            return LakeTable(listing, feed, minutes, _computed(listing, feed))
    elif not files and is_bars:
        name = f"{feed.table.rpartition('_')[0]}_1m"
        if minutes := listing.files("silver", name, market):
            _note(f"silver.{name}", market)
            return LakeTable(listing, feed, minutes, _of_minutes(listing, feed, f"silver.{name}"))
    if not files:
        raise listing.missing("silver", feed.table, market)
    _note(f"silver.{feed.table}", market)
    return LakeTable(listing, feed, files, _stored(listing, feed, f"silver.{feed.table}"))


def _note(table: str, market: str) -> None:
    """Check the scope of the token, and put what is read into the line of the log."""
    allowed_markets(table, EXCHANGE, [market])
    CALL.get().facts.update(table=table, exchange=EXCHANGE, markets=[market])


def _stored(listing: LakeListing, feed: Feed, table: str) -> Read:
    columns = _COLUMNS.get(feed.archive_type, _PRICE_BAR)
    order = _TIMES.get(feed.archive_type, "open_time")

    def read(symbol: str | None, start: datetime, end: datetime) -> pl.DataFrame:
        rows = listing.lake.read(
            table,
            exchange=EXCHANGE,
            market=feed.market.name,
            symbols=None if symbol is None else [symbol],
            start=start,
            end=end,
            columns=list(columns),
            format="polars",
        )
        frame = pl.DataFrame(rows)
        return frame if symbol is not None else frame.sort(order, "symbol")

    return read


def _computed(listing: LakeListing, feed: Feed) -> Read:
    assert feed.interval is not None
    interval = feed.interval.name

    def read(symbol: str | None, start: datetime, end: datetime) -> pl.DataFrame:
        bars = listing.lake.bars(
            symbol, interval, exchange=EXCHANGE, market=feed.market.name, start=start, end=end, format="polars"
        )
        return pl.DataFrame(bars).filter(pl.col("n_filled") < pl.col("n_minutes"))

    return read


def _of_minutes(listing: LakeListing, feed: Feed, table: str) -> Read:
    """Prices of an interval from those of its minutes. A bar whose end the lake does not reach is left out."""
    assert feed.interval is not None
    interval, length, minutes = feed.interval.name, feed.interval.length or _MONTH, _stored(listing, feed, table)
    files = listing.files("silver", table.removeprefix("silver."), feed.market.name)
    newest = datetime.combine(files[-1].end, time.min, UTC)

    def read(symbol: str | None, start: datetime, end: datetime) -> pl.DataFrame:
        rows = minutes(symbol, start, min(end + length, newest))
        bars = rows.group_by_dynamic("open_time", every=interval).agg(
            pl.col("symbol").first(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("sample_count").sum(),
        )
        last = pl.col("open_time").dt.offset_by(interval)
        return bars.filter(
            (pl.col("open_time") >= start) & (pl.col("open_time") < end) & (last <= newest)
        ).with_columns(close_time=last.dt.offset_by("-1ms"))

    return read


def _length(feed: Feed) -> int:
    assert feed.interval is not None
    return (feed.interval.length or _MONTH) // timedelta(milliseconds=1)


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
