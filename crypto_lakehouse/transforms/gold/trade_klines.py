"""Rebuild klines from trades and aggregate trades, whole or in chunks.

``checks/compare.py`` compares them with the exchange's own klines.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Interval, Market, feed
from crypto_lakehouse.catalog.epochs import Topic, epoch_value
from crypto_lakehouse.schemas.klines import KLINES

_SUMS = ("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
_MILLISECOND, _MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)


def klines_from_trades(trades: pl.DataFrame, interval: Interval, market: Market) -> pl.DataFrame:
    """Klines (KLINES, sorted by primary key) from silver trades or agg_trades of any symbols, in any order.

    A window starts on the interval's grid, UTC (``1w`` on Monday, ``1mo`` on the first). Open and close are the prices
    of its smallest and greatest trade_id. ``trade_count`` counts the rows of trades; for aggregates it counts the ids
    from first_trade_id to last_trade_id. The taker is the buyer if the buyer is not the maker. ``close_time`` is the
    last instant of the window, in the time unit of this market's klines on the day of open_time. ``source`` is
    ``trades`` or ``agg_trades``. A window without a trade has no row; the archive has one without volume there. Raises
    KeyError if the market has no klines.
    """
    aggregates = "first_trade_id" in trades.columns
    count = (pl.col("last_trade_id") - pl.col("first_trade_id") + 1).sum() if aggregates else pl.len().cast(pl.Int64)
    taken = ~pl.col("is_buyer_maker")
    bars = (
        trades.sort("symbol", "trade_id")
        .group_by("symbol", pl.col("time").dt.truncate(interval.name).alias("open_time"), maintain_order=True)
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            base_volume=pl.col("base_quantity").sum(),
            quote_volume=pl.col("quote_quantity").sum(),
            trade_count=count,
            taker_buy_base_volume=pl.col("base_quantity").filter(taken).sum(),
            taker_buy_quote_volume=pl.col("quote_quantity").filter(taken).sum(),
            contracts=pl.col("contracts").sum() if market.inverse else pl.lit(None, pl.Int64),
        )
    )
    return (
        bars.with_columns(
            close_time=pl.col("open_time").dt.offset_by(interval.name) - _last_instant(bars["open_time"], market),
            source=pl.lit("agg_trades" if aggregates else "trades"),
        )
        .select(KLINES.column_names)
        .sort(KLINES.primary_key)
    )


def merge_klines(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Join the klines of chunks of trades (at least one) to the klines of all trades, sorted by primary key.

    The chunks of each symbol must be in ascending order of trade_id; they may be cut anywhere. Volumes differ from
    those of the whole only by rounding, because sums are added in another order.
    """
    missing = pl.col("contracts").null_count() > 0
    return (
        pl.concat(parts)
        .group_by(KLINES.primary_key, maintain_order=True)
        .agg(
            pl.col("close_time").first(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col(_SUMS).sum(),
            contracts=pl.when(~missing).then(pl.col("contracts").sum()),
            source=pl.col("source").first(),
        )
        .select(KLINES.column_names)
        .sort(KLINES.primary_key)
    )


def _last_instant(open_times: pl.Series, market: Market) -> pl.Expr:
    """The time from the last instant of each window to the next window."""
    days = open_times.dt.date().unique()
    micros = pl.Series([day for day in days if _unit(market, day) == "us"], dtype=pl.Date)
    return pl.when(pl.col("open_time").dt.date().is_in(micros.implode())).then(_MICROSECOND).otherwise(_MILLISECOND)


def _unit(market: Market, day: date) -> str:
    klines = feed(market.exchange, market.name, "klines_1m")
    unit = epoch_value(klines, Topic.TIME_UNIT, day)
    if unit not in ("ms", "us"):
        raise ValueError(f"the epoch registry has no time unit of {klines.name} on {day}")
    return unit
