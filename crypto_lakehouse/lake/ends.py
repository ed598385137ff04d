"""Series that are over, as the newest day knows them, and rows without what was filled after their ends.

A day of continuous minutes knows nothing of later days, so a symbol that is delisted, or pauses up to a gap, is filled
on for up to two gap thresholds. Which series are over is said by ``transforms/continuous.py``; here belongs how
readers leave those minutes out, and the bars that are made of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crypto_lakehouse.catalog.bars import bars_of_table
from crypto_lakehouse.lake.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.store import LakeStore

CONTINUOUS, STATES = "continuous_1m", "symbol_states"
KEY = ("exchange", "market", "symbol", "segment")
"""What names a series, in the rows and in ``find_ends``; ``last_time`` is its last traded minute."""

_COLUMNS = ("symbol", "segment", "last_time")


def untraded(layer: str, table: str) -> str | None:
    """Of a table whose rows may have been filled after the end of their series: in which rows nothing was traded, as a
    condition in SQL. None for other tables.
    """
    if layer != "gold":
        return None
    if table == CONTINUOUS:
        return "is_filled"
    return "first_minute IS NULL" if bars_of_table(table) else None


def find_ends(store: LakeStore, exchange: str, markets: Iterable[str]) -> pl.DataFrame:
    """The series that are over (KEY and ``last_time``), from each market's newest partition of gold.symbol_states."""
    found = [_ends(store, exchange, market) for market in markets]
    return pl.concat([_no_ends(), *found])


def without_filled_ends(rows: pl.LazyFrame, ends: pl.DataFrame, untraded: str) -> pl.LazyFrame:
    """The rows in their order, without those ``untraded`` that open after the last trade of a series that is over."""
    if ends.is_empty():
        return rows
    known = ends.lazy().rename({"last_time": "end_of_series"})
    joined = rows.join(known, on=KEY, how="left", maintain_order="left")
    after = (pl.col("open_time") > pl.col("end_of_series")).fill_null(False)
    return joined.filter(~(after & pl.sql_expr(untraded))).drop("end_of_series")


def _ends(store: LakeStore, exchange: str, market: str) -> pl.DataFrame:
    newest = max(list_keys(store, "gold", STATES, exchange, market), default=None)
    if newest is None:
        return _no_ends()
    try:
        states = read_partition(store, "gold", STATES, exchange, market, newest)
    except MissingPartition:
        return _no_ends()
    if "has_ended" not in states.columns:
        # Made before states told this.
        return _no_ends()
    place = (pl.lit(value).alias(name) for name, value in (("exchange", exchange), ("market", market)))
    return states.filter("has_ended").select(*place, *_COLUMNS)


def _no_ends() -> pl.DataFrame:
    time = pl.Datetime("us", "UTC")
    return pl.DataFrame(schema=dict(zip((*KEY, "last_time"), (*[pl.String] * 3, pl.Int64, time), strict=True)))
