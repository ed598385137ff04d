"""Rows of a symbol that go on after its last trade, as findings in words.

Here belongs when a symbol is not traded, as a state of its continuous minutes says it (``continuous.py``), and what
else is stored of that time. The archive goes on with funding, open interest and prices of contracts that are settled.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from crypto_lakehouse.transforms.compare import Finding
from crypto_lakehouse.transforms.windows import MINUTE

AFTER_END = "is_after_end"
"""A column that readers make: whether the row is of a time in which its symbol was not traded."""


def untraded_times(states: pl.DataFrame) -> pl.DataFrame:
    """When symbols were not traded: symbol, ``last_time`` and ``resumes``, which is null where no later trade is known.

    ``states`` are rows of gold.symbol_states.
    """
    following = pl.col("first_time").shift(-1).over("symbol")
    ordered = states.sort("symbol", "segment").with_columns(resumes=following)
    return ordered.filter("has_ended").select("symbol", "last_time", "resumes")


def of_pairs(states: pl.DataFrame) -> pl.DataFrame:
    """States of the pairs of contracts (BTCUSD of BTCUSD_PERP): one row each, over where all its contracts are."""
    return (
        states.with_columns(pl.col("symbol").str.split("_").list.first())
        .group_by("symbol")
        .agg(pl.col("segment", "first_time").min(), pl.col("last_time").max(), pl.col("has_ended").all())
    )


def marked_after_end(
    rows: pl.LazyFrame, time: str, untraded: pl.DataFrame, names: Sequence[str] = ("symbol",)
) -> pl.LazyFrame:
    """The rows in their order with AFTER_END: whether ``time`` is one in which the symbol was not traded.

    ``untraded`` are ``untraded_times``, and ``names`` the columns that name a symbol in both.
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
    """The rows (with ``symbol`` and the column ``time``) of ``untraded_times``, by symbol and time."""
    found = (
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
            f"{n} rows from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC are of a time in which it was not"
            f" traded: its last trade before was at {ended:%Y-%m-%d %H:%M}; the rows stay and count for no bar",
        )
        for symbol, ended, n, first, last in found.iter_rows()
    ]
