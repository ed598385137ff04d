"""Continuous minutes to activity bars: of traded value, traded volume or number of trades.

This module decides when such a bar closes. ``catalog.bars`` defines the kinds of bars; ``bars.py`` computes time bars.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS

_AMOUNTS = {"dollar": "quote_volume", "volume": "base_volume", "tick": "trade_count"}
_SERIES = ("symbol", "month", "segment")
_SUMS = ("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
_UNITS = 10**8
_LAST_OF_MINUTE = timedelta(minutes=1, microseconds=-1)
_MICROSECOND = timedelta(microseconds=1)


def activity_bars(minutes: pl.DataFrame, bars: ActivityBars, first: datetime, end: datetime) -> pl.DataFrame:
    """Bars that close within [first, end), from gold.continuous_1m rows in any order.

    ``dollar`` counts quote_volume, ``volume`` base_volume, ``tick`` trade_count. Let T(m) be the total of a symbol's
    segment from 00:00 UTC of the first of the calendar month through minute m. Minute m is in bar number
    floor(T(m - 1) / threshold): a bar closes in the minute in which the total reaches a multiple of the threshold, any
    excess counts for the next bar, and a minute that crosses several multiples closes one bar. The next bar starts
    with the following minute, traded or not, so every minute is in exactly one bar. This follows Lopez de Prado,
    Advances in Financial Machine Learning, 2.3.2, except for the whole minutes and the monthly start.

    Each minute's amount is rounded to a multiple of 1e-8, the last decimal of the archive. So totals are exact, and
    ten times 0.1 reaches 1 anywhere in the month.

    The rest at the end of a month or of a segment is a bar that is not ``complete``. The end of a segment is known
    when the next segment starts, so its rest closes at that minute; the rest of a month closes at the end of the
    month. The close_time of a rest is its last minute, which may be days earlier. A rest whose end is not known by
    ``end`` is not returned.

    VWAP = sum(quote_volume) / sum(base_volume), clipped to [low, high] because both sums are rounded.

    Parameters
    ----------
    minutes
        Rows from ``month_begin(first)`` on. A bar depends only on the month's minutes up to its close, so one month of
        minutes suffices for any part of a month. Rows from ``end`` on change nothing.
    bars
        The kind of bars and its threshold.
    first, end
        UTC; ``end`` is exclusive.

    Returns
    -------
    polars.DataFrame
        Columns ``ACTIVITY_BARS``.
    """
    aggregates = _aggregated(_numbered(minutes, bars))
    closed = pl.when("complete").then("close_time").otherwise(_rest_known_at())
    return aggregates.filter((closed >= first) & (closed < end)).select(ACTIVITY_BARS.column_names)


def month_begin(time: datetime) -> datetime:
    """00:00 of the first of the month: bars that close at ``time`` need minutes from there on."""
    return time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _numbered(minutes: pl.DataFrame, bars: ActivityBars) -> pl.DataFrame:
    """Sorted minutes with the ``number`` of their bar and ``reached``, the multiples reached at their end."""
    rows = minutes.sort("symbol", "open_time").with_columns(month=pl.col("open_time").dt.truncate("1mo"))
    total = _whole_total(pl.col(_AMOUNTS[bars.activity]))
    return rows.with_columns(reached=total // bars.threshold).with_columns(
        number=pl.col("reached").shift(1, fill_value=0).over(_SERIES)
    )


def _whole_total(amount: pl.Expr) -> pl.Expr:
    """The running total of a series, rounded down: thresholds are whole, so rounding does not move a crossing.

    Whole parts and 1e-8 units are summed separately, because a month of units of a cheap coin does not fit 64 bits.
    """
    whole = amount.floor()
    units = ((amount - whole) * _UNITS).round()
    totals = [part.cast(pl.Int64).cum_sum().over(_SERIES) for part in (whole, units)]
    return totals[0] + totals[1] // _UNITS


def _aggregated(numbered: pl.DataFrame) -> pl.DataFrame:
    return (
        numbered.group_by(*_SERIES, "number", maintain_order=True)
        .agg(
            pl.col("open_time").first(),
            *_of_minutes(),
            close_time=pl.col("open_time").last() + _LAST_OF_MINUTE,
            complete=pl.col("reached").last() > pl.col("number").last(),
        )
        .with_columns(vwap=_vwap())
    )


def _of_minutes() -> list[pl.Expr]:
    """The columns of a bar, from its minutes in order of time."""
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


def _vwap() -> pl.Expr:
    """VWAP of a bar from its sums, clipped to [low, high] because they are rounded; null without volume."""
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    return pl.when(pl.col("base_volume") > 0).then(vwap)


def _rest_known_at() -> pl.Expr:
    """When the last bar of a series closes: the start of the symbol's next segment, at the latest the month's end."""
    month_end = pl.col("month").dt.offset_by("1mo") - _MICROSECOND
    return pl.col("open_time").shift(-1).over("symbol", "month").fill_null(month_end)
