"""Funding events of REST answers: the hours between events, which answers do not state, and those that events cover.

Cleaning is in ``transforms/silver/funding.py``.
"""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.transforms.rest.merge import REST

_HOUR = pl.duration(hours=1)
_USUAL, _LONGEST = 8, 24


def with_intervals(rows: pl.DataFrame) -> pl.DataFrame:
    """Silver funding rates with ``interval_hours`` of REST rows: the hours to the nearest event of the symbol, or 8.

    ``rows`` are all events of some symbols in a month, in order.
    """
    hour = pl.col("funding_hour")
    before = (hour - hour.shift(1)).over("symbol").dt.total_hours()
    after = (hour.shift(-1) - hour).over("symbol").dt.total_hours()
    hours = pl.min_horizontal(before, after).fill_null(_USUAL).clip(1, _LONGEST)
    return rows.with_columns(
        pl.when(pl.col("source") == REST).then(hours).otherwise("interval_hours").alias("interval_hours")
    )


def covered_hours(rows: pl.DataFrame) -> pl.DataFrame:
    """The hours in which no other funding event is expected, as symbol and ``funding_hour``.

    These are the hours around each event that are less than its interval away. Intervals change over time, and a file
    does not say whether an interval belongs to the hours before or after it, so both count.
    """
    offsets = pl.int_ranges(1 - pl.col("interval_hours"), pl.col("interval_hours"))
    return (
        rows.select("symbol", "funding_hour", offsets.alias("offset"))
        .explode("offset")
        .select("symbol", pl.col("funding_hour") + pl.col("offset") * _HOUR)
        .unique()
    )
