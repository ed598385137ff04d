"""Compare klines of a symbol and day from several sources: its daily file, its monthly file, its trades.

``verdict`` and ``differences`` are the rules. Pure: the pipeline chooses files and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl

from crypto_lakehouse.schemas import Schema

# Sums in another order differ in the last digits; the exchange rounds each trade to eight decimals.
_RELATIVE, _EACH_TRADE = 1e-9, 1e-8
_NOT_COMPARED = ("symbol", "open_time", "close_time", "source")


class Verdict(StrEnum):
    """What a comparison of a daily and a monthly file says of one symbol and day."""

    AGREE = "agree"
    VALUES_DIFFER = "values_differ"
    MONTHLY_SHORT = "monthly_short"
    DAILY_SHORT = "daily_short"
    ONLY_DAILY = "only_daily"
    ONLY_MONTHLY = "only_monthly"
    NO_ROWS = "no_rows"


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sources of one symbol and day: ``only_left`` and ``only_right`` count open_times of one source alone,
    ``different`` those with another value. ``largest`` is the largest relative difference, with its column and time.
    """

    only_left: int
    only_right: int
    different: int
    largest: float | None = None
    column: str | None = None
    time: datetime | None = None


def verdict(daily_rows: int, monthly_rows: int, found: Difference) -> Verdict:
    """The verdict on a day with so many rows in each file; ``found`` compares daily (left) with monthly (right).

    >>> verdict(1440, 1439, Difference(only_left=1, only_right=0, different=0)).value
    'monthly_short'
    """
    if not daily_rows or not monthly_rows:
        if daily_rows:
            return Verdict.ONLY_DAILY
        return Verdict.ONLY_MONTHLY if monthly_rows else Verdict.NO_ROWS
    if found.different:
        return Verdict.VALUES_DIFFER
    if not (found.only_left or found.only_right):
        return Verdict.AGREE
    return Verdict.MONTHLY_SHORT if found.only_left >= found.only_right else Verdict.DAILY_SHORT


def differences(left: pl.DataFrame, right: pl.DataFrame, schema: Schema, rounded: bool = False) -> Difference:
    """Compare silver rows of one symbol, by open_time.

    Parameters
    ----------
    left, right
        Rows of ``schema``, one per open_time, in any order.
    rounded
        Allow differences of volumes and counts of 1e-9 relative plus 1e-8 for each trade: for bars that are sums.
        Otherwise values are equal or differ.
    """
    values = [column.name for column in schema.columns if column.name not in _NOT_COMPARED]
    both = left.join(right.select("open_time", *values), on="open_time", how="inner")
    only_left, only_right = left.height - both.height, right.height - both.height
    apart = {name: _apart(name, rounded and name not in ("open", "high", "low", "close")) for name in values}
    wrong = both.select("open_time", **apart).filter(pl.any_horizontal(pl.col(name) > 0 for name in values))
    if wrong.is_empty():
        return Difference(only_left, only_right, 0)
    largest = wrong.with_columns(_largest=pl.max_horizontal(*values)).sort(
        "_largest", "open_time", descending=[True, False]
    )
    first = largest.row(0, named=True)
    column = next(name for name in values if first[name] == first["_largest"])
    return Difference(only_left, only_right, wrong.height, first["_largest"], column, first["open_time"])


def with_volume(rows: pl.DataFrame) -> pl.DataFrame:
    """The klines in which something was traded: windows without a trade have no bar rebuilt from trades."""
    return rows.filter(pl.col("base_volume") > 0)


def _apart(name: str, rounded: bool) -> pl.Expr:
    """The relative difference of a column; 0 where it is allowed, 1 where only one side has a value."""
    a, b = pl.col(name).cast(pl.Float64), pl.col(f"{name}_right").cast(pl.Float64)
    distance, size = (a - b).abs(), pl.max_horizontal(a.abs(), b.abs())
    is_equal = a.eq_missing(b)
    if rounded:
        trades = pl.max_horizontal("trade_count", "trade_count_right")
        is_equal |= (distance <= _RELATIVE * size + _EACH_TRADE * trades).fill_null(False)
    return pl.when(is_equal).then(0.0).otherwise((distance / size).fill_null(1.0))
