"""What differs between two versions of the rows of a table: per symbol, rows added, removed and changed.

Pure: frames in, a frame out. Reading the versions and aligning their pieces belongs to ``lake/storage/changes.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

CHANGES = {
    "symbol": pl.String(),
    "added": pl.Int64(),
    "removed": pl.Int64(),
    "changed": pl.Int64(),
    "largest_price_move": pl.Float64(),
}
"""Columns of a frame of changes. ``largest_price_move`` is relative to the old price, null where no price changed."""

_OF_NEW = "\0new"


def changes(old: pl.DataFrame, new: pl.DataFrame, key: Sequence[str], prices: Sequence[str]) -> pl.DataFrame:
    """Compare rows by their primary ``key``; return CHANGES, one row for each symbol with a difference.

    A row is changed if a column differs that both versions have. NaN equals NaN, and null equals null.

    >>> old = pl.DataFrame({"symbol": ["A", "A"], "at": [1, 2], "close": [10.0, 20.0]})
    >>> new = pl.DataFrame({"symbol": ["A", "A"], "at": [2, 3], "close": [25.0, 30.0]})
    >>> changes(old, new, ["symbol", "at"], ["close"]).row(0)
    ('A', 1, 1, 1, 0.25)
    """
    columns = [name for name in old.columns if name in new.columns]
    old, new = old.select(columns), new.select(columns)
    if old.equals(new):
        return pl.DataFrame(schema=CHANGES)
    values = [name for name in columns if name not in key]
    both = old.with_columns(is_old=pl.lit(True)).join(
        new.with_columns(is_new=pl.lit(True)), on=list(key), how="full", coalesce=True, suffix=_OF_NEW, nulls_equal=True
    )
    in_both = pl.col("is_old").is_not_null() & pl.col("is_new").is_not_null()
    differs = pl.any_horizontal(
        pl.lit(False), *(pl.col(name).ne_missing(pl.col(f"{name}{_OF_NEW}")) for name in values)
    )
    moves = [(pl.col(f"{name}{_OF_NEW}") / pl.col(name) - 1).abs() for name in prices if name in values]
    moved = pl.max_horizontal(pl.lit(None, pl.Float64), *(pl.when(move.is_finite()).then(move) for move in moves))
    return combined(
        [
            both.select(
                "symbol",
                added=pl.col("is_old").is_null().cast(pl.Int64),
                removed=pl.col("is_new").is_null().cast(pl.Int64),
                changed=(in_both & differs).cast(pl.Int64),
                largest_price_move=pl.when(in_both & (moved > 0)).then(moved),
            )
        ]
    )


def combined(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Add up changes by symbol, sorted; symbols without any are left out."""
    together = pl.concat([pl.DataFrame(schema=CHANGES), *frames])
    counts = pl.col("added", "removed", "changed").sum()
    by_symbol = together.group_by("symbol").agg(counts, pl.col("largest_price_move").max())
    return by_symbol.filter(pl.sum_horizontal("added", "removed", "changed") > 0).sort("symbol")


def totals(by_symbol: pl.DataFrame) -> dict[str, int | float | None]:
    """Return the sums of changes over all symbols, and their largest price move."""
    counts = pl.col("added", "removed", "changed").sum()
    return by_symbol.select(counts, pl.col("largest_price_move").max()).row(0, named=True)
