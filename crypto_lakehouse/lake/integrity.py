"""Whether the Parquet files of a lake still are what was written, and what is wrong where they are not.

Every page is compared with the checksum in front of it, and what a footer tells (columns, rows, the least and the
greatest value of each row group) with the rows. Here nothing is changed and nothing is made again; whether files are
missing is told by ``status.py``, what makes a damaged one whole by ``damage.py``, what rows mean by the checks.
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
from crypto_lakehouse.lake.damage import UNREADABLE, first_line, is_of_storage, scan_alone
from crypto_lakehouse.lake.describe import is_table, require_lake, tables_called
from crypto_lakehouse.lake.paths import COMPACTED
from crypto_lakehouse.lake.places import misplaced, room_around
from crypto_lakehouse.lake.store import LakeFile, LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema, slice_schema

_AT_ONCE = os.cpu_count() or 1
_PLACE = re.compile(rf"(?:{COMPACTED}/)?(\w+)/(\w+)/exchange=(\w+)/market=(\w+)/.+\.parquet")
# A damaged footer can say anything: names that are no text, times that no clock has, more than memory holds.
_FAULTS = (*UNREADABLE, ValueError, LookupError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that was read whole: its path in the lake, and what is wrong with it, None where nothing is."""

    path: str
    damage: str | None


def parquet_files(store: LakeStore, table: str | None = None) -> list[LakeFile]:
    """Parquet files of all tables, month files among them, or of those called ``table`` (with or without its layer).

    Raises KeyError on an unknown table, MissingLakeError where there is no lake, LakeError if the storage refuses.
    """
    folders = LAYERS if table is None else [f"{layer}/{name}" for layer, name in tables_called(table, LAYERS)]
    below = chain(folders, (f"{COMPACTED}/{folder}" for folder in folders))
    files = [file for folder in below for file in store.list(folder) if _place(file.path)]
    if not files:
        require_lake(store)
    return files


def check_files(store: LakeStore, files: Iterable[LakeFile]) -> Iterator[CheckedFile]:
    """Read every file whole, some at a time, and tell of each in the order of ``files``.

    Files that are gone meanwhile are well; those from before pages had checksums are checked for all the rest. Raises
    LakeError if the storage refuses.
    """
    # In processes of their own, since Arrow ends its process over some footers.
    paths, pool = (file.path for file in files), _pool(_AT_ONCE)
    begun: deque[tuple[str, Future[CheckedFile]]] = deque()
    try:
        while True:
            interrupts.ask()
            for path in islice(paths, 2 * _AT_ONCE - len(begun)):
                begun.append((path, _begin(pool, store, path)))
            if not begun:
                return
            path, future = begun.popleft()
            try:
                found = [future.result()]
            except BrokenProcessPool:
                # Which of them broke it is not told.
                found = [_check_alone(store, one) for one in (path, *(other for other, _ in begun))]
                begun.clear()
                pool.shutdown()
                pool = _pool(_AT_ONCE)
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(processes: int) -> ProcessPoolExecutor:
    # A fork would share the threads of Arrow and Polars, and their locks.
    return ProcessPoolExecutor(processes, get_context("spawn"))


def _begin(pool: ProcessPoolExecutor, store: LakeStore, path: str) -> Future[CheckedFile]:
    try:
        return pool.submit(_check, store, path)
    except BrokenProcessPool as error:
        broken: Future[CheckedFile] = Future()
        broken.set_exception(error)
        return broken


def _check_alone(store: LakeStore, path: str) -> CheckedFile:
    with _pool(1) as pool:
        try:
            return _begin(pool, store, path).result()
        except BrokenProcessPool:
            return CheckedFile(path, "ends the process that reads it")


def _place(path: str) -> tuple[str, str, str, str] | None:
    """Layer, table, exchange and market of a file of the lake; None for what others have put there."""
    match = _PLACE.fullmatch(path)
    if not match or not is_table(match[1], match[2]):
        return None
    return match[1], match[2], match[3], match[4]


def _check(store: LakeStore, path: str) -> CheckedFile:
    while True:
        before = store.find(path)
        found = _read_whole(store, path)
        # Of a file that a run replaces meanwhile, one half may be of the old one.
        if found.damage is None or store.find(path) == before:
            return found


def _read_whole(store: LakeStore, path: str) -> CheckedFile:
    place = _place(path)
    assert place is not None
    schema = slice_schema(*place)
    try:
        with store.open_file(path) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            fault, least = _fault(parquet, schema)
        rows = scan_alone(store, path)
        return CheckedFile(
            path, fault or _fault_by_key(rows, parquet.metadata.num_rows, least) or _fault_of_place(rows, path, schema)
        )
    except FileNotFoundError:
        return CheckedFile(path, None)
    except _FAULTS as error:
        if is_of_storage(error):
            with store.explained("read", path):
                raise
        return CheckedFile(path, f"cannot be read: {first_line(error)}")


def _fault_of_place(rows: pl.LazyFrame, path: str, schema: Schema) -> str | None:
    """What is wrong with a file that is whole, and of another partition than that of its path."""
    layer, table = path.removeprefix(f"{COMPACTED}/").split("/")[:2]
    key = path.split("/")[-2].partition("=")[2]
    if layer in ("ledger", "quarantine"):
        others = rows.filter(pl.col("period") != key).select("period").unique().collect()["period"]
        return f"holds rows of {', '.join(others.sort())}, which are not of its place" if len(others) else None
    if room_around(layer, table) is None:
        return None
    time_column = pl.col(schema.time_column)
    first, last = rows.select(time_column.min().alias("first"), time_column.max().alias("last")).collect().row(0)
    cadence = Cadence.DAILY if "/date=" in path else Cadence.MONTHLY
    return None if first is None else misplaced(layer, table, parse_partition(key, cadence), first, last)


def _fault(parquet: pq.ParquetFile, schema: Schema) -> tuple[str | None, dict[str, Any]]:
    """What Arrow finds wrong with a file, and the least value of each column of the key."""
    least: dict[str, Any] = {}
    there, wanted = ([(field.name, field.type) for field in one] for one in (parquet.schema_arrow, schema.arrow))
    if there != wanted:
        other = ", ".join(f"{name!r} ({kind})" for name, kind in there if (name, kind) not in wanted)
        return f"has other columns than its table: {other or 'some lack, or are in another order'}", least
    count = 0
    for number in range(parquet.num_row_groups):
        told = parquet.metadata.row_group(number)
        rows = parquet.read_row_group(number, use_threads=False)
        count += rows.num_rows
        if rows.num_rows != told.num_rows:
            return f"row group {number} has {rows.num_rows} rows and not {told.num_rows}", least
        if not rows.num_rows:
            continue
        for place, name in enumerate(rows.column_names):
            known = told.column(place).statistics
            if known is None and name not in schema.primary_key:
                continue
            # Readers leave out groups by these, and by half of a range all of them.
            span = pc.min_max(rows[name]).as_py()
            tells = known is not None and (known.has_min_max or span["min"] is None)
            if not tells or (known.has_min_max and (known.min, known.max) != (span["min"], span["max"])):
                return f"row group {number} holds other values of {name} than its footer tells", least
            if known.has_null_count and known.null_count != rows[name].null_count:
                return f"row group {number} holds other nulls of {name} than its footer tells", least
            if name in schema.primary_key and span["min"] is not None:
                least[name] = min(least.get(name, span["min"]), span["min"])
    told_rows = parquet.metadata.num_rows
    return None if count == told_rows else f"has {count} rows and not {told_rows}", least


def _fault_by_key(rows: pl.LazyFrame, count: int, least: Mapping[str, Any]) -> str | None:
    """What Polars finds wrong that Arrow does not: it takes fewer liberties with what lies around the pages.

    It is asked as readers ask, by symbol and by time, since it decodes in another way where a filter leaves rows out.
    """
    # Of what is rejected, parts of the key may be unknown.
    all_of_them = ((pl.col(name) >= pl.lit(value)) | pl.col(name).is_null() for name, value in least.items())
    if least and rows.filter(all_of_them).select(pl.len()).collect().item() != count:
        return "does not give all of its rows by their key"
    for some in ([], *([pl.col(name) > pl.lit(value)] for name, value in least.items())):
        rows.filter(*some).select(pl.all().null_count()).collect(engine="streaming")
    return None
