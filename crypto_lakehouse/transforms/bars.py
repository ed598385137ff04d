"""Continuous minutes to bars of any interval on any offset grid."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS

_SUMS = (
    "base_volume",
    "quote_volume",
    "trade_count",
    "taker_buy_base_volume",
    "taker_buy_quote_volume",
)
_MINUTE = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
# Beyond this a funding rate is one; smaller ones are rounding of a rate that was not paid.
FUNDING_FLOOR = 1e-6


def time_bars(
    minutes: pl.DataFrame,
    interval: Interval,
    offsets: Iterable[timedelta],
    first: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Bars (BARS) whose windows close within (first, end], from gold.continuous_1m rows in any order.

    ``minutes`` must hold every minute of these windows, so begin at ``earliest_open(...)``. Windows are
    [w, w + interval) with w = offset modulo the interval, counted from 00:00 UTC of 1970-01-01; ``1w``
    begins on Monday and ``1mo`` on the first, as the exchange's do, plus the offset. No bar spans a
    gap: a window with minutes of two segments gives two rows. A window without any minute gives none.
    VWAP = sum(quote_volume) / sum(base_volume), held within [low, high] because both sums are rounded.
    """
    ordered = minutes.sort("symbol", "open_time")
    made = [_on_grid(ordered, interval, offset, first, end) for offset in offsets]
    return pl.concat(made).sort(BARS.primary_key)


def earliest_open(interval: Interval, offsets: Iterable[timedelta], first: datetime) -> datetime:
    """Begin of the earliest window that closes after ``first``: where its minutes begin."""
    opens = pl.select(
        _window(pl.lit(first, pl.Datetime("us", "UTC")), interval, offset).alias(str(i))
        for i, offset in enumerate(offsets)
    )
    return min(opens.row(0))


def bar_columns() -> list[pl.Expr]:
    """What every kind of bar says of its minutes, which must be in order of time: to be aggregated by bar."""
    traded = pl.col("open_time").filter(~pl.col("is_filled"))
    return [
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col(_SUMS).sum(),
        pl.when(pl.col("contracts").null_count() == 0).then(pl.col("contracts").sum()).alias("contracts"),
        traded.first().alias("first_minute"),
        traded.last().alias("last_minute"),
        pl.len().cast(pl.Int64).alias("n_minutes"),
        pl.col("is_filled").sum().cast(pl.Int64).alias("n_filled"),
    ]


def bar_vwap() -> pl.Expr:
    """VWAP of a bar from its sums, held within [low, high] because they are rounded; null without volume."""
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    return pl.when(pl.col("base_volume") > 0).then(vwap)


def _window(time: pl.Expr, interval: Interval, offset: timedelta) -> pl.Expr:
    return (time - offset).dt.truncate(interval.name) + offset


def _on_grid(
    minutes: pl.DataFrame, interval: Interval, offset: timedelta, first: datetime, end: datetime
) -> pl.DataFrame:
    keyed = (
        minutes.with_columns(window=_window(pl.col("open_time"), interval, offset))
        .with_columns(window_end=(pl.col("window") - offset).dt.offset_by(interval.name) + offset)
        .filter((pl.col("window_end") > first) & (pl.col("window_end") <= end))
    )
    paid = pl.col("funding_rate").abs() > FUNDING_FLOOR
    known = pl.col("funding_rate").null_count() == 0
    bars = keyed.group_by("symbol", "segment", "window", "window_end", maintain_order=True).agg(
        *bar_columns(),
        n_archive=pl.col("in_archive").sum().cast(pl.Int64),
        funding_rate=pl.col("funding_rate").filter(paid).first(),
        funding_price=pl.col("open").filter(paid).first(),
        funding_time=pl.col("open_time").filter(paid).first(),
        funding_sum=pl.when(known).then(pl.col("funding_rate").sum()),
        funding_count=pl.when(known).then(pl.col("has_funding").sum().cast(pl.Int64)),
    )
    length = pl.col("window_end") - pl.col("window")
    return bars.with_columns(
        offset=pl.lit(offset // _MINUTE, pl.Int64),
        open_time="window",
        close_time=pl.col("window_end") - _MICROSECOND,
        vwap=bar_vwap(),
        complete=pl.col("n_archive") * _MINUTE == length,
    ).select(BARS.column_names)
