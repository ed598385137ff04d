"""Compaction: writes the rows of a month's day files, in order of symbol, as one month file.

``pipeline`` decides which months to compact; ``months.py`` decides when readers may use a month file. Day files are
only read here.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from datetime import time as midnight
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse import interrupts
from crypto_lakehouse.lake.storage.damage import FilesChanged, reading, unchanged
from crypto_lakehouse.lake.storage.describe import StoredFile, list_slice_files
from crypto_lakehouse.lake.storage.months import month_of, month_path
from crypto_lakehouse.lake.storage.parquet import symbol_runs
from crypto_lakehouse.lake.storage.partitions import write_rows
from crypto_lakehouse.lake.storage.paths import months_folder
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import TableSlice

MONTH_ROWS = 44_640
"""Rows of a row group of month files: the minutes of one symbol in a month. Symbols with fewer rows share a group."""

_FRAME_ROWS = 100_000
# The clocks of a storage's machines differ by less than this, and so do the times that it rounds.
_SETTLED = timedelta(seconds=2)
_PATIENCE = timedelta(minutes=1)
# A try takes long, and a run may still be writing the days.
_TRIES = 3


class MonthChanged(FilesChanged):
    """Days of a month were rewritten while it was compacted, so its month file is out of date."""


@dataclass(frozen=True, slots=True)
class MonthInfo:
    """A month file: its days, rows, bytes and address, and ``was_up_to_date``: whether it existed before."""

    month: str
    days: int
    rows: int
    bytes: int
    uri: str
    was_up_to_date: bool


def compact_month(store: LakeStore, table_slice: TableSlice, month: str) -> MonthInfo:
    """Write the month file of the current day files of the month, and remove outdated month files.

    If it exists, nothing is written. Memory holds one row group of each day, however many rows a month has. Raises
    LakeError if there are no days, if the storage refuses or if a row is outside its day, MonthChanged if days were
    written meanwhile; after an error readers continue to use the day files.
    """
    return unchanged(
        lambda: _compacted(store, table_slice, month), lambda: _days(store, table_slice, month), tries=_TRIES
    )


def _compacted(store: LakeStore, table_slice: TableSlice, month: str) -> MonthInfo:
    days = _days(store, table_slice, month)
    path = month_path(table_slice, month, days)
    was_up_to_date = store.exists(path)
    if not was_up_to_date:
        days = _settled(store, table_slice, month)
        path = month_path(table_slice, month, days)
        _write(store, path, table_slice.schema, days)
    # Another compaction of the month may run at the same time: the day files listed now decide which file stays.
    current = month_path(table_slice, month, _days(store, table_slice, month))
    files = store.list(months_folder(table_slice, month))
    for file in files:
        if file.path != current:
            store.delete(file.path)
    if path != current:
        raise MonthChanged(
            f"days of {month} in {store.uri}/{table_slice.folder} were written during the compaction: compact again"
        )
    with store.open_file(path) as source:
        rows = pq.read_metadata(source).num_rows
    size = next(file.size for file in files if file.path == path)
    return MonthInfo(month, len(days), rows, size, store.polars_uri(path), was_up_to_date)


def _days(store: LakeStore, table_slice: TableSlice, month: str) -> list[StoredFile]:
    days = [file for file in list_slice_files(store, table_slice) if month_of(file.key) == month]
    if not days:
        raise LakeError(f"no days of {month} in {store.uri}/{table_slice.folder}: build them first")
    return days


def _settled(store: LakeStore, table_slice: TableSlice, month: str) -> list[StoredFile]:
    """Wait until the storage's clock has passed the times of the month's day files, and return them.

    A day that is written again after that gets a new time. Without the wait, a day written twice within the resolution
    of the storage's clock could keep its size and time, and a month file of the first version would look up to date.
    """
    while True:
        now = store.now()
        days = _days(store, table_slice, month)
        wait = max(day.modified for day in days) + _SETTLED - now
        if wait <= timedelta(0):
            return days
        if wait > _PATIENCE:
            raise LakeError(
                f"day files of {month} in {store.uri}/{table_slice.folder} have times in the future: try again in"
                f" {wait}"
            )
        time.sleep(wait.total_seconds())


def _write(store: LakeStore, path: str, schema: Schema, days: Sequence[StoredFile]) -> None:
    with ExitStack() as stack:
        try:
            sources = [stack.enter_context(store.open_file(day.path)) for day in days]
        except FileNotFoundError:
            raise MonthChanged(f"a day file disappeared while {path} was written: compact again") from None
        parquets = [_opened(store, source, day) for source, day in zip(sources, days, strict=True)]
        runs = [_runs(store, parquet, schema, day) for parquet, day in zip(parquets, days, strict=True)]
        # Days are in order, so the rows of a symbol are too: heapq.merge keeps the order of equal symbols.
        merged = heapq.merge(*runs, key=itemgetter(0))
        write_rows(store, path, replace(schema, row_group_rows=MONTH_ROWS), _frames(merged))


def _opened(store: LakeStore, source: pa.NativeFile, day: StoredFile) -> pq.ParquetFile:
    with reading(store, [day.path]):
        return pq.ParquetFile(source, pre_buffer=True)


def _runs(store: LakeStore, parquet: pq.ParquetFile, schema: Schema, day: StoredFile) -> Iterator[tuple[str, pa.Table]]:
    """Yield (symbol, rows) of a day file, in its order."""
    start, end = (datetime.combine(at, midnight(), UTC) for at in (day.start, day.end))
    for number in range(parquet.num_row_groups):
        interrupts.ask()
        with reading(store, [day.path]):
            table = parquet.read_row_group(number)
        if not table.num_rows:
            continue
        # Readers of month files compute the day of a row from its time.
        span = pc.min_max(table[schema.time_column]).as_py()
        if not start <= span["min"] <= span["max"] < end:
            raise LakeError(
                f"{day.path} holds rows of {span['min']} to {span['max']}; only rows of its own day can be compacted"
            )
        at = 0
        for symbol, length in symbol_runs(table):
            yield symbol, table.slice(at, length)
            at += length


def _frames(runs: Iterator[tuple[str, pa.Table]]) -> Iterator[pa.Table]:
    buffered: list[pa.Table] = []
    rows = 0
    for _, table in runs:
        buffered.append(table)
        rows += table.num_rows
        if rows >= _FRAME_ROWS:
            yield pa.concat_tables(buffered, promote_options="default")
            buffered, rows = [], 0
    if buffered:
        yield pa.concat_tables(buffered, promote_options="default")
