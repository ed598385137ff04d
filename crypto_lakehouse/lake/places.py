"""Whether rows lie in the partition of their time: a file of another day, in the place of a day, decodes as well.

Here belongs which times a partition of a table may hold. Files that cannot be decoded are the business of
``damage.py``, whole files of ``integrity.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.catalog.bars import bars_of_table
from crypto_lakehouse.lake.bars import CONTINUOUS, closing_lag
from crypto_lakehouse.lake.damage import DamagedFile, remedy
from crypto_lakehouse.lake.describe import Part
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import Schema, cadence_of, schema_of

# Times of events may leave the day of their file by a moment, and a week the month of its file; those of another day
# or month leave it by more.
_MOMENT, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


def room_around(layer: str, table: str) -> tuple[timedelta, timedelta] | None:
    """How long before and after its days the rows of a partition may be; None for tables whose rows may be of any time.

    Bars lie in the partition of the day on which they close.
    """
    if not pa.types.is_timestamp(schema_of(layer, table).arrow.field(schema_of(layer, table).time_column).type):
        return None
    if layer == "silver":
        room = _MOMENT if cadence_of(layer, table) is Cadence.DAILY else _WEEK
        return room, room
    if layer == "gold" and (bars := bars_of_table(table)):
        return closing_lag(bars) + _MOMENT, _MOMENT
    return (timedelta(0), timedelta(0)) if (layer, table) == ("gold", CONTINUOUS) else None


def misplaced(layer: str, table: str, days: tuple[date, date], first: datetime, last: datetime) -> str | None:
    """What is wrong with a partition of ``days``, the second exclusive, whose rows are from ``first`` to ``last``."""
    room = room_around(layer, table)
    start, end = (datetime.combine(day, time(), UTC) for day in days)
    if room is None or start - room[0] <= first <= last < end + room[1]:
        return None
    return f"holds rows of {first} to {last}, which are not of its place"


def check_places(
    store: LakeStore, layer: str, table: str, schema: Schema, rows: pl.DataFrame, parts: Iterable[Part]
) -> None:
    """Raises DamagedFile that names a file of ``parts`` with rows of another partition, if ``rows`` are such.

    ``rows`` have the time column of the schema, the market and the column of the partition.
    """
    column = "date" if "date" in rows.columns else "month"
    time_column, room = pl.col(schema.time_column), room_around(layer, table)
    if room is None:
        return
    if column == "date":
        # All rows at once, since groups take as long as the read.
        since = time_column - pl.col(column).cast(pl.Datetime("us", "UTC"))
        first, last = rows.select(since.min().alias("first"), since.max().alias("last")).row(0)
        if first is None or -room[0] <= first <= last < _DAY + room[1]:
            return
    days = {(part.market, part.key): part for part in parts}
    spans = rows.group_by("market", column).agg(time_column.min().alias("first"), time_column.max().alias("last"))
    for market, key, first, last in spans.iter_rows():
        part = days.get((market, str(key)))
        if part is not None and (fault := misplaced(layer, table, part.days, first, last)):
            raise DamagedFile(f"{store.polars_uri(part.path)} {fault}. {remedy(part.path)}")
