"""Verification of Parquet files: whether a lake still holds what was written, and what is wrong if not.

Every page is compared with its checksum, and the statements of the footer (columns, rows, the least and greatest value
of each row group) with the rows. Nothing here changes or rebuilds a file. Missing files are in ``reader/status.py``,
the commands that rebuild damaged files in ``damage.py``, the meaning of rows in the checks.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import Cadence, parse_partition
from crypto_lakehouse.lake.storage.damage import UNREADABLE, first_line, is_of_storage, scan_alone
from crypto_lakehouse.lake.storage.describe import is_table, require_lake, tables_called
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.lake.storage.places import misplaced, time_tolerance
from crypto_lakehouse.lake.storage.store import LakeFile, LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema
from crypto_lakehouse.schemas.slices import TableSlice

_AT_ONCE = os.cpu_count() or 1
_NAME = "[a-z][a-z0-9_]*"
_PATH = re.compile(
    rf"(?:{COMPACTED}/)?(?P<layer>{_NAME})/(?P<table>{_NAME})/exchange=(?P<exchange>{_NAME})/market=(?P<market>{_NAME})/"
    r".+\.parquet"
)
# A damaged footer can contain anything: names that are not text, impossible times, sizes beyond memory.
_FAULTS = (*UNREADABLE, ValueError, LookupError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that was read completely: its path in the lake, and its ``damage``, None if there is none."""

    path: str
    damage: str | None


def parquet_files(store: LakeStore, table: str | None = None) -> list[LakeFile]:
    """List the Parquet files, including month files, of all tables or of ``table`` (with or without its layer).

    Raises KeyError on an unknown table, MissingLakeError if there is no lake, LakeError if the storage refuses.
    """
    folders = LAYERS if table is None else [f"{layer}/{name}" for layer, name in tables_called(table, LAYERS)]
    below = chain(folders, (f"{COMPACTED}/{folder}" for folder in folders))
    files = [file for folder in below for file in store.list(folder) if _slice_of(file.path)]
    if not files:
        require_lake(store)
    return files


def check_files(store: LakeStore, files: Iterable[LakeFile]) -> Iterator[CheckedFile]:
    """Read every file completely, several in parallel, and report each in the order of ``files``.

    A file that was deleted meanwhile counts as undamaged. Files written before pages had checksums are checked for
    everything else. Raises LakeError if the storage refuses.
    """
    # In separate processes, because some damaged footers make Arrow end its process.
    paths, pool = (file.path for file in files), _pool(_AT_ONCE)
    running: deque[tuple[str, Future[CheckedFile]]] = deque()
    try:
        while True:
            interrupts.ask()
            for path in islice(paths, 2 * _AT_ONCE - len(running)):
                running.append((path, _submit(pool, store, path)))
            if not running:
                return
            path, future = running.popleft()
            try:
                checked = [future.result()]
            except BrokenProcessPool:
                # The pool does not report which file broke it.
                checked = [_check_alone(store, each) for each in (path, *(other for other, _ in running))]
                running.clear()
                pool.shutdown()
                pool = _pool(_AT_ONCE)
            yield from checked
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(processes: int) -> ProcessPoolExecutor:
    # A forked process would inherit the locks of Arrow and Polars, but not the threads that hold them.
    return ProcessPoolExecutor(processes, get_context("spawn"))


def _submit(pool: ProcessPoolExecutor, store: LakeStore, path: str) -> Future[CheckedFile]:
    try:
        return pool.submit(_check, store, path)
    except BrokenProcessPool as error:
        broken: Future[CheckedFile] = Future()
        broken.set_exception(error)
        return broken


def _check_alone(store: LakeStore, path: str) -> CheckedFile:
    with _pool(1) as pool:
        try:
            return _submit(pool, store, path).result()
        except BrokenProcessPool:
            return CheckedFile(path, "makes the process that reads it crash")


def _slice_of(path: str) -> TableSlice | None:
    """Return the slice of a file of the lake; None for foreign files."""
    match = _PATH.fullmatch(path)
    if not match or not is_table(match["layer"], match["table"]):
        return None
    return TableSlice(**match.groupdict())


def _check(store: LakeStore, path: str) -> CheckedFile:
    while True:
        before = store.find(path)
        checked = _read_whole(store, path)
        # If a run replaces the file during the read, one half may come from the old file.
        if checked.damage is None or store.find(path) == before:
            return checked


def _read_whole(store: LakeStore, path: str) -> CheckedFile:
    table_slice = _slice_of(path)
    assert table_slice is not None
    schema = table_slice.schema
    try:
        with store.open_file(path) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            fault, least = _fault(parquet, schema)
        rows = scan_alone(store, path)
        return CheckedFile(
            path,
            fault or _fault_by_key(rows, parquet.metadata.num_rows, least) or _fault_of_times(rows, path, table_slice),
        )
    except FileNotFoundError:
        return CheckedFile(path, None)
    except _FAULTS as error:
        if is_of_storage(error):
            with store.explained("read", path):
                raise
        return CheckedFile(path, f"cannot be read: {first_line(error)}")


def _fault_of_times(rows: pl.LazyFrame, path: str, table_slice: TableSlice) -> str | None:
    """Return the fault of a readable file whose rows belong to another partition than its path says."""
    key = path.split("/")[-2].partition("=")[2]
    if table_slice.layer in ("ledger", "quarantine"):
        others = rows.filter(pl.col("period") != key).select("period").unique().collect()["period"]
        return f"holds rows of {', '.join(others.sort())}, which do not belong in it" if len(others) else None
    if time_tolerance(table_slice.layer, table_slice.table) is None:
        return None
    time_column = pl.col(table_slice.schema.time_column)
    first, last = rows.select(time_column.min().alias("first"), time_column.max().alias("last")).collect().row(0)
    cadence = Cadence.DAILY if "/date=" in path else Cadence.MONTHLY
    return None if first is None else misplaced(table_slice, parse_partition(key, cadence), first, last)


def _fault(parquet: pq.ParquetFile, schema: Schema) -> tuple[str | None, dict[str, Any]]:
    """Return the fault that Arrow finds in a file, and the least value of each column of the key."""
    least: dict[str, Any] = {}
    stored, wanted = ([(field.name, field.type) for field in each] for each in (parquet.schema_arrow, schema.arrow))
    if stored != wanted:
        other = ", ".join(f"{name!r} ({kind})" for name, kind in stored if (name, kind) not in wanted)
        return f"its columns do not match its table: {other or 'some are missing or in another order'}", least
    count = 0
    for number in range(parquet.num_row_groups):
        footer = parquet.metadata.row_group(number)
        rows = parquet.read_row_group(number, use_threads=False)
        count += rows.num_rows
        if rows.num_rows != footer.num_rows:
            return f"row group {number} has {rows.num_rows} rows and not {footer.num_rows}", least
        if not rows.num_rows:
            continue
        for column, name in enumerate(rows.column_names):
            known = footer.column(column).statistics
            if known is None and name not in schema.primary_key:
                continue
            # Readers skip row groups by these statistics, and if only one bound is stored, all of them.
            span = pc.min_max(rows[name]).as_py()
            has_range = known is not None and (known.has_min_max or span["min"] is None)
            if not has_range or (known.has_min_max and (known.min, known.max) != (span["min"], span["max"])):
                return f"row group {number} holds other values of {name} than its footer says", least
            if known.has_null_count and known.null_count != rows[name].null_count:
                return f"row group {number} holds other nulls of {name} than its footer says", least
            if name in schema.primary_key and span["min"] is not None:
                least[name] = min(least.get(name, span["min"]), span["min"])
    expected = parquet.metadata.num_rows
    return None if count == expected else f"has {count} rows and not {expected}", least


def _fault_by_key(rows: pl.LazyFrame, count: int, least: Mapping[str, Any]) -> str | None:
    """Return the fault that Polars finds and Arrow does not: Polars is stricter about the bytes around the pages.

    The queries filter by symbol and by time as readers do, because Polars decodes differently if a filter skips rows.
    """
    # In the quarantine, columns of the key may be null.
    all_of_them = ((pl.col(name) >= pl.lit(value)) | pl.col(name).is_null() for name, value in least.items())
    if least and rows.filter(all_of_them).select(pl.len()).collect().item() != count:
        return "does not return all of its rows in a read by key"
    for conditions in ([], *([pl.col(name) > pl.lit(value)] for name, value in least.items())):
        rows.filter(*conditions).select(pl.all().null_count()).collect(engine="streaming")
    return None
