"""Partitions of tables: written atomically as one Parquet file each, read and scanned by key.

The Parquet encoding is in ``parquet.py``, reading in pieces in ``pieces.py``, the columns of tables in ``schemas``, and
public reading by symbol and time in ``reader/rows.py``. What rows mean belongs to ``transforms``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from crypto_lakehouse.concurrency.map_ordered import map_ordered
from crypto_lakehouse.lake.storage.damage import check_columns, reading, unchanged
from crypto_lakehouse.lake.storage.describe import list_slice_files
from crypto_lakehouse.lake.storage.parquet import GroupWriter, conform
from crypto_lakehouse.lake.storage.provenance import PartitionInfo, Provenance, footer
from crypto_lakehouse.lake.storage.revisions import Version, keep
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.frames import Frame

Rows: TypeAlias = Frame | Iterable[Frame]
"""Rows of a partition: one frame, or frames in order of the primary key."""


# Parquet pages are much smaller, and every write to the file costs time.
_BUFFERED = 1024**2

# Names, and names with values, of the folders of a path.
_HIVE_NAME, _HIVE_VALUE = re.compile(r"([^/=]+)="), re.compile(r"([^/=]+)=([^/]+)/")
# The column with the file of a row; no column of a table has such a name.
_FILE = "file of the row"

# Looking up this many objects takes as long as listing some thousands.
_LOOKED_UP, _ASKED_AT_ONCE = 100, 16


class MissingPartition(LakeError):
    """A requested partition does not exist. The message names it and says what to do next."""


class InvalidRows(ValueError):
    """Rows do not fit their table: columns, types, nulls, order, or a primary key that occurs twice. Nothing was
    published.
    """


def write_partition(
    store: LakeStore,
    partition: Partition,
    rows: Rows,
    provenance: Provenance | Callable[[], Provenance] | None = None,
) -> PartitionInfo:
    """Replace one partition with ``rows``, sorted by primary key; a partition may be empty.

    ``rows`` is one frame in any order, or an iterable of frames in order of primary key: each frame is written when it
    arrives, so they are never in memory together. The same rows give the same bytes, however they are divided into
    frames. ``provenance`` is written to the footer; a function is called after the last row. Raises InvalidRows if a
    frame does not fit the schema or is out of order, or if a primary key occurs twice, LakeError if the storage
    refuses; after an error the old partition stays. If other rows were stored before, they are kept
    (``revisions.py``), and are the ``replaced`` version of the result.
    """
    return write_rows(
        store,
        partition.path,
        partition.slice.schema,
        rows,
        provenance,
        before_publishing=lambda draft: keep(store, partition, draft),
    )


def write_rows(
    store: LakeStore,
    path: str,
    schema: Schema,
    rows: Rows,
    provenance: Provenance | Callable[[], Provenance] | None = None,
    before_publishing: Callable[[Path], Version | None] | None = None,
) -> PartitionInfo:
    """Publish rows of a schema at a path of the lake; otherwise like ``write_partition``.

    ``before_publishing`` gets the written draft, and returns the version that it replaces.
    """
    # A single frame needs no thread that encodes ahead: no other rows are computed while it is written.
    frames, ahead = ([rows], False) if isinstance(rows, pl.DataFrame | pa.Table) else (rows, True)
    seen = _Seen(schema)
    with store.publishing(path) as draft:
        with store.explained("write", path):
            sink = pa.output_stream(str(draft), compression=None, buffer_size=_BUFFERED)
            writer = GroupWriter(sink, schema, ahead=ahead)
        try:
            for frame in frames:
                try:
                    checked = conform(frame, schema, nulls_allowed=False)
                    with store.explained("write", path):
                        runs = writer.write(checked)
                    seen.add(checked, runs)
                except ValueError as error:
                    raise InvalidRows(f"cannot write {path}: {error}") from error
            known = provenance() if callable(provenance) else provenance
            metadata = footer(known, seen.symbols, seen.first, seen.last) if known else None
            with store.explained("write", path):
                writer.close(metadata)
                sink.close()
        except BaseException:
            writer.abandon()
            with suppress(OSError):
                sink.close()
            raise
        size = draft.stat().st_size
        replaced = before_publishing(draft) if before_publishing else None
    return PartitionInfo(seen.rows, size, seen.symbols, seen.first, seen.last, store.polars_uri(path), replaced)


class _Seen:
    """Counts of a partition, collected while it is written; refuses frames that are out of order."""

    def __init__(self, schema: Schema) -> None:
        self.rows = self.symbols = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._key = list(schema.primary_key)
        self._time = schema.time_column if pa.types.is_timestamp(schema.arrow.field(schema.time_column).type) else None
        self._end: tuple[Any, ...] | None = None
        self._symbol: str | None = None

    def _repeated(self, rows: pa.Table) -> tuple[Any, ...] | None:
        """The first key that the next row repeats, in rows in order of the key."""
        same: Any = None
        # The last columns of a key differ most, so most tables are compared in one of them only.
        for name in reversed(self._key):
            column = rows[name]
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            equal = pc.equal(column.slice(1), column.slice(0, len(column) - 1))
            same = equal if same is None else pc.and_(same, equal)
            if not pc.any(same).as_py():
                return None
        at = pc.index(same, True).as_py()
        return tuple(rows[name][at].as_py() for name in self._key)

    def add(self, rows: pa.Table, runs: Sequence[tuple[str, int]]) -> None:
        """Count rows, which are in order of the key, and their ``symbol_runs``.

        Raises ValueError if the rows sort before rows that were added earlier, or if a primary key occurs twice.
        """
        if not rows.num_rows:
            return
        start, end = (tuple(rows[name][at].as_py() for name in self._key) for at in (0, rows.num_rows - 1))
        if self._end is not None and start < self._end:
            raise ValueError(f"rows of {start} come after those of {self._end}; give frames in order of {self._key}")
        if repeated := start if start == self._end else self._repeated(rows):
            raise ValueError(f"the primary key {self._key} {repeated} occurs more than once")
        self._end = end
        self.rows += rows.num_rows
        self.symbols += len(runs) - int(runs[0][0] == self._symbol)
        self._symbol = runs[-1][0]
        if self._time is not None:
            span = pc.min_max(rows[self._time]).as_py()
            self.first = span["min"] if self.first is None else min(self.first, span["min"])
            self.last = span["max"] if self.last is None else max(self.last, span["max"])


def read_partition(store: LakeStore, partition: Partition) -> pl.DataFrame:
    """Return all rows of a partition, in primary key order.

    Raises MissingPartition if it does not exist, DamagedFile if it cannot be read.
    """
    path = partition.path

    def read() -> pl.DataFrame:
        try:
            with reading(store, [path]):
                rows = pl.read_parquet(io.BytesIO(store.read_bytes(path)), hive_partitioning=False)
                check_columns(path, rows.schema)
                return rows
        except FileNotFoundError:
            raise _missing(store, path) from None

    return unchanged(read, lambda: store.find(path))


@contextmanager
def open_partition(store: LakeStore, partition: Partition) -> Iterator[pa.NativeFile]:
    """Open the partition's Parquet file for a block that only decodes it.

    Raises MissingPartition if it does not exist, and DamagedFile if the block fails on its bytes.
    """
    try:
        source = store.open_file(partition.path)
    except FileNotFoundError:
        raise _missing(store, partition.path) from None
    with source, reading(store, [partition.path]):
        yield source


def partition_exists(store: LakeStore, partition: Partition) -> bool:
    """Whether the partition has been written (an empty one has)."""
    return store.exists(partition.path)


def find_keys(store: LakeStore, table_slice: TableSlice, keys: Sequence[str]) -> dict[str, datetime]:
    """Return those of ``keys`` that are stored, each with its mtime (UTC).

    A few keys are looked up one by one; for many, all partitions are listed.
    """
    if len(keys) > _LOOKED_UP:
        stored = list_keys(store, table_slice)
        return {key: stored[key][1] for key in keys if key in stored}
    paths = [table_slice.partition(key).path for key in keys]
    files = map_ordered(store.find, paths, _ASKED_AT_ONCE if len(paths) > 1 else 1)
    return {key: file.modified for key, file in zip(keys, files, strict=True) if file is not None}


def list_keys(store: LakeStore, table_slice: TableSlice) -> dict[str, tuple[int, datetime]]:
    """Return the keys of the stored partitions, in order, each with its size in bytes and its mtime (UTC)."""
    return {file.key: (file.size, file.modified) for file in list_slice_files(store, table_slice)}


def scan_partitions(store: LakeStore, table_slice: TableSlice, keys: Sequence[str]) -> pl.LazyFrame:
    """Return lazy rows of the partitions, in the order of ``keys``; without keys, an empty frame of the schema.

    The last column is the key of the partition as text, named ``date`` or ``month``; a filter on it opens only that
    partition. Raises MissingPartition that names the first missing partition.
    """
    present = find_keys(store, table_slice, keys)
    paths = [table_slice.partition(key).path for key in keys]
    for key, path in zip(keys, paths, strict=True):
        if key not in present:
            raise _missing(store, path)
    return scan_hive(store, table_slice.schema, paths, {table_slice.cadence.partition_column: pl.String()})


def collect_partitions(
    store: LakeStore,
    table_slice: TableSlice,
    keys: Sequence[str],
    choose: Callable[[pl.LazyFrame], pl.LazyFrame],
) -> pl.DataFrame:
    """Collect ``choose(scan_partitions(...))``. Raises DamagedFile that names a file that cannot be read."""
    paths = [table_slice.partition(key).path for key in keys]

    def read() -> pl.DataFrame:
        with reading(store, paths):
            return choose(scan_partitions(store, table_slice, keys)).collect()

    return unchanged(read, lambda: find_keys(store, table_slice, keys))


def scan(store: LakeStore, schema: Schema, paths: Sequence[str]) -> pl.LazyFrame:
    """Return lazy rows of Parquet objects that exist and have this schema."""
    return scan_hive(store, schema, paths, {})


def scan_hive(
    store: LakeStore, schema: Schema, paths: Sequence[str], from_path: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """Return lazy rows of Parquet objects that exist, with the named ``name=value`` folders of their paths as columns.

    Only folders below the root of the lake count. If a file has a column of the same name, the folder wins, as in all
    engines.
    """
    columns = {name: kind for name, kind in pl.DataFrame(schema.empty()).schema.items() if name not in from_path}
    if not paths:
        return pl.LazyFrame(schema={**columns, **from_path})
    uris = [store.polars_uri(path) for path in paths]
    by_itself = bool(from_path) and not store.is_below_hive_names
    frame = pl.scan_parquet(
        uris,
        schema=columns,
        hive_partitioning=by_itself,
        # Polars requires a type for each name= in a path, including feed=.
        hive_schema=dict.fromkeys(_HIVE_NAME.findall(paths[0]), pl.String()) | dict(from_path) if by_itself else None,
        include_file_paths=None if by_itself or not from_path else _FILE,
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=store.polars_options(),
        credential_provider=store.polars_credentials(),
    )
    if not by_itself:
        frame = frame.with_columns(**_values_of_paths(uris, paths, from_path))
    return frame.select(*columns, *from_path)


def _values_of_paths(
    uris: Sequence[str], paths: Sequence[str], from_path: Mapping[str, pl.DataType]
) -> dict[str, pl.Expr]:
    """Return the columns ``from_path`` of rows, computed from the column ``_FILE``.

    Polars reads the folders of the whole path and refuses a name that occurs twice. With these columns a filter skips
    files only after their rows are read, so lakes without such folders above them use Polars' own columns.
    """
    values = pl.DataFrame([dict(_HIVE_VALUE.findall(path)) for path in paths])
    return {
        name: pl.col(_FILE).replace_strict(
            uris, values[name].str.to_date("%Y-%m-%d") if kind == pl.Date else values[name]
        )
        for name, kind in from_path.items()
    }


def _missing(store: LakeStore, path: str) -> MissingPartition:
    return MissingPartition(f"there is no partition {store.polars_uri(path)}: build it, then read again")
