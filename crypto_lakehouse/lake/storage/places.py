"""Whether rows belong to their partition by time: a file of another day in the wrong folder decodes without an error.

This module knows which times a partition of a table may hold. Files that cannot be decoded are in ``damage.py``, checks
of whole files in ``integrity.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.lake.storage.damage import DamagedFile, remedy
from crypto_lakehouse.lake.storage.describe import StoredFile
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema, cadence_of, schema_of
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import TableSlice

# The time of an event may be slightly outside the day of its file, and in monthly tables up to a week outside the
# month. Rows of a wrong day or month are further outside.
_MOMENT, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


def time_tolerance(layer: str, table: str) -> tuple[timedelta, timedelta] | None:
    """Return how long before and after its days the rows of a partition may be; None if rows may have any time.

    A bar is stored in the partition of the day on which it closes.
    """
    if not pa.types.is_timestamp(schema_of(layer, table).arrow.field(schema_of(layer, table).time_column).type):
        return None
    if layer == "silver":
        tolerance = _MOMENT if cadence_of(layer, table) is Cadence.DAILY else _WEEK
        return tolerance, tolerance
    if bars := bars_in(layer, table):
        return closing_lag(bars) + _MOMENT, _MOMENT
    return (timedelta(0), timedelta(0)) if (layer, table) == ("gold", "continuous_1m") else None


def misplaced(table_slice: TableSlice, days: tuple[date, date], first: datetime, last: datetime) -> str | None:
    """Return the fault of a file of the days [start, end) whose rows are from ``first`` to ``last``, else None."""
    tolerance = time_tolerance(table_slice.layer, table_slice.table)
    start, end = (datetime.combine(day, time(), UTC) for day in days)
    if tolerance is None or start - tolerance[0] <= first <= last < end + tolerance[1]:
        return None
    return f"holds rows of {first} to {last}, which do not belong in it"


def check_places(
    store: LakeStore, layer: str, table: str, schema: Schema, rows: pl.DataFrame, files: Iterable[StoredFile]
) -> None:
    """Raise DamagedFile if ``rows`` contain rows of another partition; it names the file among ``files``.

    ``rows`` have the time column of the schema, the market and the column of the partition.
    """
    column = "date" if "date" in rows.columns else "month"
    time_column, tolerance = pl.col(schema.time_column), time_tolerance(layer, table)
    if tolerance is None:
        return
    if column == "date":
        # All rows in one pass: grouping them would take as long as the read.
        since = time_column - pl.col(column).cast(pl.Datetime("us", "UTC"))
        first, last = rows.select(since.min().alias("first"), since.max().alias("last")).row(0)
        if first is None or -tolerance[0] <= first <= last < _DAY + tolerance[1]:
            return
    days = {(file.slice.market, file.key): file for file in files}
    spans = rows.group_by("market", column).agg(time_column.min().alias("first"), time_column.max().alias("last"))
    for market, key, first, last in spans.iter_rows():
        file = days.get((market, str(key)))
        if file is not None and (fault := misplaced(file.slice, (file.start, file.end), first, last)):
            raise DamagedFile(f"{store.polars_uri(file.path)} {fault}. {remedy(store, file.path)}")
