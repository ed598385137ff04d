"""Month files for readers: their paths, and whether they match the current day files.

A month file holds the rows of all day files of a month, in order of symbol. Day files remain the source of truth: the
name of a month file identifies its day files, so one listing shows whether it may be read instead of them.
``compaction.py`` writes month files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from crypto_lakehouse.catalog import Cadence, partition_keys
from crypto_lakehouse.lake.storage.describe import StoredFile
from crypto_lakehouse.lake.storage.partitions import scan_hive
from crypto_lakehouse.lake.storage.paths import COMPACTED, months_folder
from crypto_lakehouse.lake.storage.remembered import remembered
from crypto_lakehouse.lake.storage.store import LakeFile, LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import TableSlice

LEAST_DAYS = 4
"""Reads of named symbols use a month file from this many days of the month on: fewer day files are as fast."""

# Part of the name of every month file: raise it when the month file of the same days changes.
_VERSION = "1"


def month_of(key: str) -> str:
    """Return the month (``YYYY-MM``) of the key of a day."""
    return key[: len("YYYY-MM")]


def month_path(table_slice: TableSlice, month: str, days: Iterable[StoredFile]) -> str:
    """Return the path of the month file of exactly these day files, which must be all of the month.

    The name depends on the path, size and time of change of each day file, so it changes if a day is added, removed or
    written again. Raises ValueError on unsafe names.
    """
    words = sorted(f"{day.path} {day.size} {day.modified.isoformat()}" for day in days)
    identity = hashlib.sha256("\n".join((_VERSION, *words)).encode()).hexdigest()[:32]
    return f"{months_folder(table_slice, month)}/days-{identity}.parquet"


def is_month_file(file: StoredFile) -> bool:
    """Whether a file returned by ``with_months`` is a month file, not a day file."""
    return file.path.startswith(f"{COMPACTED}/")


def keys_of(file: StoredFile) -> list[str]:
    """Return the keys of the partitions whose rows a file returned by ``with_months`` may hold."""
    return partition_keys(file.start, file.end, Cadence.DAILY) if is_month_file(file) else [file.key]


def with_months(
    store: LakeStore, table_slice: TableSlice, stored: Sequence[StoredFile], requested: Sequence[StoredFile]
) -> list[StoredFile]:
    """Return the files to read for the days ``requested``: a month file replaces ``LEAST_DAYS`` or more of its days.

    ``stored`` are all day files of the slice, as listed now. A month file may hold more days than
    requested. Month files of other day files than the listed ones are skipped.
    """
    wanted = _by_month(requested)
    if all(len(days) < LEAST_DAYS for days in wanted.values()):
        return list(requested)
    month_files = current_months(store, table_slice, stored)
    files: list[StoredFile] = []
    for month, days in wanted.items():
        file = month_files.get(month)
        if file is None or len(days) < LEAST_DAYS:
            files += days
        else:
            column = Cadence.MONTHLY.partition_column
            files.append(StoredFile(file.path, table_slice, None, column, month, file.size, file.modified))
    return files


def current_months(store: LakeStore, table_slice: TableSlice, stored: Sequence[StoredFile]) -> dict[str, LakeFile]:
    """Return the up-to-date month file of each month; ``stored`` are all day files of the slice."""
    folder = months_folder(table_slice)
    files = {file.path: file for file in remembered(store, folder, lambda: store.list(folder))}
    paths = _month_paths(store, table_slice, stored) if files else {}
    return {month: files[path] for month, path in paths.items() if path in files}


# By lake and slice, the last listing and its paths: a listing that is remembered is the same object.
_PATHS: dict[tuple[str, TableSlice], tuple[Sequence[StoredFile], dict[str, str]]] = {}


def _month_paths(store: LakeStore, table_slice: TableSlice, stored: Sequence[StoredFile]) -> dict[str, str]:
    """The path of each month's file, whether or not it exists."""
    place = store.uri, table_slice
    listing, paths = _PATHS.get(place, (None, {}))
    if listing is not stored:
        paths = {month: month_path(table_slice, month, days) for month, days in _by_month(stored).items()}
        # Listings of earlier times are not remembered, so theirs would only displace that of the present.
        if store.as_of is None:
            _PATHS[place] = stored, paths
    return paths


def scan_months(
    store: LakeStore, schema: Schema, paths: Sequence[str], from_path: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """Return lazy rows of month files with the path columns of day files; ``date`` is computed from the time column."""
    names = [name for name in from_path if name != "date"]
    frame = scan_hive(store, schema, paths, {name: from_path[name] for name in names})
    return frame.with_columns(date=pl.col(schema.time_column).dt.date()).select(*schema.column_names, *from_path)


def _by_month(days: Iterable[StoredFile]) -> dict[str, list[StoredFile]]:
    months: dict[str, list[StoredFile]] = defaultdict(list)
    for day in days:
        months[month_of(day.key)].append(day)
    return months
