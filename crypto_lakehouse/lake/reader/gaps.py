"""Gaps with their reasons, joined at read: days of minutes do not depend on what is learned about them later.

``transforms/gold/gap_reasons.py`` has the rule.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import collect_rows
from crypto_lakehouse.lake.storage.partitions import collect_partitions, list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.missing_minutes import MISSING_MINUTES
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.gap_reasons import explained_gaps


def read_gaps(store: LakeStore, request: RowRequest) -> pl.DataFrame:
    """Return the rows of gold.gaps of a request, with ``cause`` and ``evidence``."""
    # A symbol without a gap is not missing, so all are read, without a warning about those that have none.
    gaps = collect_rows(store, replace(request, symbols=None, limit=None))
    if request.symbols is not None:
        gaps = gaps.filter(pl.col("symbol").is_in(request.symbols.select(gaps["symbol"].unique())))
    if request.limit is not None:
        gaps = gaps.head(request.limit)
    parts = [explained_gaps(gaps.head(0), pl.DataFrame(MISSING_MINUTES.empty()), ())]
    for of_market in gaps.partition_by("market", maintain_order=True):
        missing = TableSlice("gold", request.exchange, of_market["market"][0], MISSING_MINUTES.name)
        parts.append(_explained(store, missing, of_market))
    return pl.concat(parts)


def _explained(store: LakeStore, missing: TableSlice, gaps: pl.DataFrame) -> pl.DataFrame:
    first, last = gaps.select(pl.col("gap_begin").dt.date().min(), pl.col("gap_end").dt.date().max()).row(0)
    keys = [key for key in list_keys(store, missing) if f"{first}" <= key <= f"{last}"]
    is_wanted = pl.col("symbol").is_in(gaps["symbol"].unique().implode())
    rows = collect_partitions(store, missing, keys, lambda rows: rows.filter(is_wanted))
    return explained_gaps(gaps, rows, {date.fromisoformat(key) for key in keys})
