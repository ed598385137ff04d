"""Continuous minutes in the shape of the legacy tool (BHDS): its column names, its segments, its longer bars.

This module computes the content of the legacy tool's Parquet files. ``pipeline/export_legacy.py`` decides their names
and places; ``continuous.py`` fills and cuts minutes, in both profiles.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import polars as pl

from crypto_lakehouse.catalog import Interval, Market
from crypto_lakehouse.transforms.gold.bars import FUNDING_FLOOR
from crypto_lakehouse.transforms.rest.merge import REST

_MINUTE = timedelta(minutes=1)
_SUMS = (
    "volume",
    "quote_volume",
    "trade_num",
    "taker_buy_base_asset_volume",
    "taker_buy_quote_asset_volume",
)
# Needed to count events, because their rate may be 0; the legacy files have no such column.
EVENT = "has_funding"


class Profile(StrEnum):
    """``legacy``: exactly the rows of the legacy tool. ``default``: its shape, with its defects corrected."""

    LEGACY = "legacy"
    DEFAULT = "default"


def with_legacy_completion(minutes: pl.DataFrame) -> pl.DataFrame:
    """The silver minutes of one symbol that the legacy tool would have.

    These are the rows of files and, of REST rows, whole days without a file between the first and the last day with
    one. The legacy tool ignores what is missing at the ends and within a day.
    """
    day, is_rest = pl.col("open_time").dt.date(), pl.col("source") == REST
    of_files = minutes.filter(~is_rest).select(day.alias("day")).to_series().unique()
    between = day.is_between(of_files.min(), of_files.max(), closed="none") & ~day.is_in(of_files.implode())
    return minutes.filter(~is_rest | between)


def legacy_series(
    rows: pl.DataFrame, symbol: str, market: Market, *, with_funding: bool, has_file: bool = True
) -> list[tuple[str, pl.DataFrame]]:
    """The series (name, minutes) of ``symbol``, in order of time, from its CONTINUOUS rows.

    Each segment is a series: ``SP0_SYM``, ``SP1_SYM``, ..., the last one ``SYM``. Minutes have the columns
    candle_begin_time (ms, UTC), open, high, low, close, volume, quote_volume, trade_num, taker_buy_base_asset_volume,
    taker_buy_quote_asset_volume, vwap_1m and, ``with_funding``, funding_rate and has_funding. The last is for
    ``legacy_bars``, not for the file. If the symbol has no funding file (not ``has_file``), the legacy tool's
    funding_rate is 0 in every minute, as Int32.

    On inverse markets volumes are those of the archive: ``volume`` counts contracts and ``quote_volume`` coin, and so
    do the taker volumes. Whole contracts are restored exactly from their value in USD.
    """
    rate = pl.col("funding_rate") if has_file else pl.lit(0, pl.Int32)
    minutes = rows.sort("open_time").select(
        "segment",
        pl.col("open_time").dt.cast_time_unit("ms").alias("candle_begin_time"),
        *("open", "high", "low", "close"),
        **_volumes(symbol, market),
        vwap_1m="vwap",
        **({"funding_rate": rate, EVENT: pl.col(EVENT)} if with_funding else {}),
    )
    segments = minutes.partition_by("segment", include_key=False, maintain_order=True)
    names = [*(f"SP{number}_{symbol}" for number in range(len(segments) - 1)), symbol]
    return list(zip(names, segments, strict=False))


def legacy_bars(minutes: pl.DataFrame, interval: Interval, offset: timedelta, profile: Profile) -> pl.DataFrame:
    """Bars of one series of ``legacy_series``, on the windows that start at ``offset`` modulo ``interval``.

    candle_begin_time is the first minute present and candle_end_time the end of the last one (ms, UTC), so a partial
    first bar is visible; the last bar is dropped unless it reaches the end of its window. vwap_1m_open is the VWAP of
    the first minute. The first funding event with a rate above 0.000001 in size gives funding_rate, funding_price (open
    of its minute) and funding_time; they are null without such an event. The default profile adds funding_sum and
    funding_count over all events, null if the funding of a minute is unknown.

    Windows count from 1970-01-01 00:00 UTC, so those of ``1w`` start on Thursday; in the default profile they start on
    Monday. Raises ValueError for an interval without a fixed length (``1mo``).
    """
    if interval.length is None:
        raise ValueError(f"the legacy tool has no bars of {interval.name}: they have no fixed length")
    begin = pl.col("candle_begin_time")
    every = interval.length if profile is Profile.LEGACY else interval.name
    bars = (
        minutes.with_columns(window=(begin - offset).dt.truncate(every) + offset)
        .group_by("window", maintain_order=True)
        .agg(
            begin.first(),
            candle_end_time=begin.last() + _MINUTE,
            open=pl.col("open").first(),
            high=pl.col("high").max(),
            low=pl.col("low").min(),
            close=pl.col("close").last(),
            **{name: pl.col(name).sum() for name in _SUMS},
            vwap_1m_open=pl.col("vwap_1m").first(),
            **(_funding(profile) if EVENT in minutes.columns else {}),
        )
    )
    is_last = pl.int_range(pl.len()) == pl.len() - 1
    is_over = pl.col("candle_end_time") - pl.col("window") == interval.length
    return bars.filter(~is_last | is_over).drop("window")


def _volumes(symbol: str, market: Market) -> dict[str, pl.Expr]:
    if not market.inverse:
        return {
            "volume": pl.col("base_volume"),
            "quote_volume": pl.col("quote_volume"),
            "trade_num": pl.col("trade_count"),
            "taker_buy_base_asset_volume": pl.col("taker_buy_base_volume"),
            "taker_buy_quote_asset_volume": pl.col("taker_buy_quote_volume"),
        }
    return {
        "volume": pl.col("contracts").cast(pl.Float64),
        "quote_volume": pl.col("base_volume"),
        "trade_num": pl.col("trade_count"),
        "taker_buy_base_asset_volume": pl.col("taker_buy_quote_volume") / market.contract_size(symbol),
        "taker_buy_quote_asset_volume": pl.col("taker_buy_base_volume"),
    }


def _funding(profile: Profile) -> dict[str, pl.Expr]:
    rate = pl.col("funding_rate")
    paid = rate.abs() > FUNDING_FLOOR
    first = {
        "funding_rate": rate.filter(paid).first(),
        "funding_price": pl.col("open").filter(paid).first(),
        "funding_time": pl.col("candle_begin_time").filter(paid).first(),
    }
    if profile is Profile.LEGACY:
        return first
    known = rate.null_count() == 0
    return {
        **first,
        "funding_sum": pl.when(known).then(rate.sum()),
        "funding_count": pl.when(known).then(pl.col(EVENT).sum().cast(pl.Int64)),
    }
