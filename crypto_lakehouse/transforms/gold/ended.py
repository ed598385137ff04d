"""Report rows of a symbol after its last trade.

The state of the continuous minutes (``continuous.py``) defines when a symbol is not traded. The archive goes on to
publish funding, open interest and prices of settled contracts.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from crypto_lakehouse.transforms.checks.compare import Finding
from crypto_lakehouse.transforms.gold.windows import MINUTE

AFTER_END = "is_after_end"
"""A column that readers add: whether the symbol was not traded at the time of the row."""


def untraded_times(states: pl.DataFrame) -> pl.DataFrame:
    """The times in which symbols were not traded, from rows of gold.symbol_states.

    Returns symbol, ``last_time`` (the last trade) and ``resumes`` (the next trade; null if none is known).
    """
    following = pl.col("first_time").shift(-1).over("symbol")
    ordered = states.sort("symbol", "segment").with_columns(resumes=following)
    return ordered.filter("has_ended").select("symbol", "last_time", "resumes")


def of_pairs(states: pl.DataFrame) -> pl.DataFrame:
    """States by pair (BTCUSD for BTCUSD_PERP): one row for each pair, which has ended if all its contracts have."""
    return (
        states.with_columns(pl.col("symbol").str.split("_").list.first())
        .group_by("symbol")
        .agg(pl.col("segment", "first_time").min(), pl.col("last_time").max(), pl.col("has_ended").all())
    )


def marked_after_end(
    rows: pl.LazyFrame, time: str, untraded: pl.DataFrame, names: Sequence[str] = ("symbol",)
) -> pl.LazyFrame:
    """The rows, in their order, with AFTER_END: whether the symbol was not traded at ``time``.

    ``untraded`` comes from ``untraded_times``; ``names`` are the columns that identify a symbol in both.
    """
    known = untraded.lazy().with_columns(untraded_from=pl.col("last_time") + MINUTE).sort("untraded_from")
    joined = (
        rows.with_row_index("place")
        .sort(time)
        .join_asof(known, left_on=time, right_on="untraded_from", by=list(names), check_sortedness=False)
    )
    is_before_resumption = (pl.col(time) < pl.col("resumes")).fill_null(True)
    marked = joined.with_columns((pl.col("untraded_from").is_not_null() & is_before_resumption).alias(AFTER_END))
    return marked.sort("place").drop("place", "untraded_from", "resumes")


def rows_after_end(rows: pl.LazyFrame, time: str, untraded: pl.DataFrame) -> list[Finding]:
    """Findings for rows (``symbol`` and the column ``time``) within ``untraded_times``, by symbol and time."""
    ranges = (
        marked_after_end(rows.select("symbol", time), time, untraded)
        .filter(AFTER_END)
        .group_by("symbol", "last_time")
        .agg(n=pl.len(), first=pl.col(time).min(), last=pl.col(time).max())
        .sort("symbol", "last_time")
        .collect()
    )
    return [
        (
            symbol,
            f"{n} rows from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC are from a time without trading: the"
            f" last trade before was at {ended:%Y-%m-%d %H:%M}. The rows stay, and no bar counts them",
        )
        for symbol, ended, n, first, last in ranges.iter_rows()
    ]
