"""One-minute klines to bars of a longer interval that divides the day."""

from __future__ import annotations

from datetime import timedelta

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


def bars_from_minutes(minutes: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Bars of ``interval`` from silver one-minute klines of one market, sorted by (symbol, open_time).

    Windows are aligned to 00:00 UTC, so ``interval`` must divide a day (else ValueError); minutes that
    are absent leave ``complete`` false, and a window without any minute gives no bar.
    VWAP = sum(quote_volume) / sum(base_volume), held within [low, high] because both sums are rounded;
    null where nothing was traded. On COIN-M both volumes are canonical, so the same formula holds.
    """
    length = interval.length
    if length is None or length < _MINUTE or timedelta(days=1) % length:
        raise ValueError(f"bars of {interval.name} do not divide a UTC day")
    window = pl.col("open_time").dt.truncate(length)
    bars = (
        minutes.sort("symbol", "open_time")
        .with_columns(window.alias("window"))
        .group_by("symbol", "window", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col(_SUMS).sum(),
            pl.when(pl.col("contracts").null_count() == 0).then(pl.col("contracts").sum()).alias("contracts"),
            pl.col("open_time").first().alias("first_minute"),
            pl.col("open_time").last().alias("last_minute"),
            pl.len().cast(pl.Int64).alias("n_minutes"),
        )
    )
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    return bars.with_columns(
        pl.col("window").alias("open_time"),
        (pl.col("window") + length - timedelta(microseconds=1)).alias("close_time"),
        pl.when(pl.col("base_volume") > 0).then(vwap).alias("vwap"),
        (pl.col("n_minutes") == length // _MINUTE).alias("complete"),
    ).select(BARS.column_names)
