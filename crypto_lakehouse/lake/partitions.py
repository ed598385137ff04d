"""Partitions of tables: written whole and atomically as one Parquet file each, read and scanned by key.

Here belongs what the lake's Parquet looks like. What rows mean belongs to ``transforms``, which table
has which columns to ``schemas``, public reading by symbol and time to ``lake.read``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.lake.paths import PART, key_of, partition_path, slice_dir
from crypto_lakehouse.lake.store import LakeError, LakeStore
from crypto_lakehouse.schemas import Schema, cadence_of, schema_of

# Ten symbol-days of one-minute klines: large enough to compress, small enough to skip by symbol.
ROW_GROUP_ROWS = 14_400


class MissingPartition(LakeError):
    """A partition that was asked for does not exist. Says which and what to do next."""


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """What was written: rows, bytes, distinct symbols, the span of the time column (UTC), and where.

    The span is None for an empty partition, and for bronze, whose times are still raw integers.
    """

    rows: int
    bytes: int
    symbols: int
    min_time: datetime | None
    max_time: datetime | None
    uri: str


def write_partition(
    store: LakeStore,
    layer: str,
    table: str,
    exchange: str,
    market: str,
    key: str,
    frame: pl.DataFrame | pa.Table,
) -> PartitionInfo:
    """Replace one partition by the rows of ``frame``, sorted by primary key; no rows is a partition too.

    The same rows give the same bytes. Raises ValueError if the frame does not fit the schema or a
    name is unsafe, KeyError on an unknown table, LakeError if the storage refuses.
    """
    schema = schema_of(layer, table)
    path = _path(layer, table, exchange, market, key)
    try:
        rows = conform(frame, schema, nulls_allowed=False)
    except ValueError as error:
        raise ValueError(f"cannot write {path}: {error}") from error
    data = encode(rows)
    store.write_bytes_atomic(path, data)
    span: tuple[Any, Any] = (None, None)
    if pa.types.is_timestamp(rows.schema.field(schema.time_column).type):
        times = pl.Series(rows[schema.time_column])
        span = (times.min(), times.max())
    symbols = pl.Series(rows["symbol"]).n_unique()
    return PartitionInfo(rows.num_rows, len(data), symbols, *span, store.polars_uri(path))


def read_partition(store: LakeStore, layer: str, table: str, exchange: str, market: str, key: str) -> pl.DataFrame:
    """All rows of a partition, in primary key order. Raises MissingPartition if it does not exist."""
    path = _path(layer, table, exchange, market, key)
    try:
        data = store.read_bytes(path)
    except FileNotFoundError:
        raise _missing(store, path) from None
    return pl.read_parquet(io.BytesIO(data), hive_partitioning=False)


def partition_exists(store: LakeStore, layer: str, table: str, exchange: str, market: str, key: str) -> bool:
    """Whether the partition has been written (an empty one has)."""
    return store.exists(_path(layer, table, exchange, market, key))


def list_keys(store: LakeStore, layer: str, table: str, exchange: str, market: str) -> dict[str, tuple[int, datetime]]:
    """Keys of the partitions that exist, in order, each with its size in bytes and its mtime (UTC)."""
    files = store.list(slice_dir(layer, table, exchange, market))
    return {key_of(f.path): (f.size, f.modified) for f in files if f.path.endswith(f"/{PART}")}


def scan_partitions(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, keys: Sequence[str]
) -> pl.LazyFrame:
    """Lazy rows of the partitions, in the order of ``keys``; no keys give an empty frame of the schema.

    Behind the schema's columns comes the partition's key as text, named ``date`` or ``month``; a filter
    on it opens that partition only. Raises MissingPartition that names the first key that does not exist.
    """
    present = list_keys(store, layer, table, exchange, market) if keys else {}
    paths = [_path(layer, table, exchange, market, key) for key in keys]
    for key, path in zip(keys, paths, strict=True):
        if key not in present:
            raise _missing(store, path)
    column = cadence_of(layer, table).partition_column
    return scan_hive(store, schema_of(layer, table), paths, {column: pl.String()})


def scan(store: LakeStore, schema: Schema, paths: Sequence[str]) -> pl.LazyFrame:
    """Lazy rows of Parquet objects that are known to exist and to have this schema."""
    return scan_hive(store, schema, paths, {})


def scan_hive(
    store: LakeStore, schema: Schema, paths: Sequence[str], from_path: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """Lazy rows of Parquet objects that exist, with the named ``name=value`` parts of their paths as columns."""
    columns = dict(pl.DataFrame(schema.arrow.empty_table()).schema)
    if not paths:
        return pl.LazyFrame(schema={**columns, **from_path})
    uris = [store.polars_uri(path) for path in paths]
    # Polars wants a type for each name= in a path: also of feed=, and of folders above the lake.
    hive = dict.fromkeys(re.findall(r"([^/=]+)=", uris[0]), pl.String()) | dict(from_path)
    frame = pl.scan_parquet(
        uris,
        schema=columns,
        hive_partitioning=True,
        hive_schema=hive,
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=store.polars_options(),
    )
    return frame.select(*columns, *from_path)


def conform(frame: pl.DataFrame | pa.Table, schema: Schema, nulls_allowed: bool) -> pa.Table:
    """The rows as exactly ``schema.arrow``, in primary key order.

    Raises ValueError on missing or unknown columns, on values that do not fit their type and, unless
    ``nulls_allowed``, on nulls in a column that must have none.
    """
    table = frame.to_arrow() if isinstance(frame, pl.DataFrame) else frame
    if set(table.column_names) != set(schema.column_names) or table.num_columns != len(schema.columns):
        missing = sorted(set(schema.column_names) - set(table.column_names))
        unknown = sorted(set(table.column_names) - set(schema.column_names))
        raise ValueError(f"columns do not fit {schema.name}: missing {missing}, unknown or double {unknown}")
    arrays = []
    for column in schema.columns:
        values = table[column.name]
        aware = not pa.types.is_timestamp(column.type) or getattr(values.type, "tz", None) is not None
        if not (aware or pa.types.is_null(values.type)):
            raise ValueError(f"column {column.name} is {values.type}: it needs times with the time zone UTC")
        try:
            values = values.cast(column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"column {column.name} is {values.type} and does not fit {column.type}: {error}"
            ) from error
        if values.null_count and not (nulls_allowed or column.nullable):
            raise ValueError(f"column {column.name} has {values.null_count} nulls and must have none")
        arrays.append(values)
    return _sorted(pa.Table.from_arrays(arrays, schema=schema.arrow), schema)


def encode(table: pa.Table) -> bytes:
    """The table as Parquet bytes in the lake's layout; row groups do not split a symbol that fits one."""
    encodings = {}
    for field in table.schema:
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(field.type):
            encodings[field.name] = "PLAIN"
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[f.name for f in table.schema if pa.types.is_string(f.type)],
        column_encoding=encodings,
        write_statistics=True,
        store_schema=False,
    ) as writer:
        for first, count in _row_groups(table):
            writer.write_table(table.slice(first, count), row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()


def _row_groups(table: pa.Table) -> Iterator[tuple[int, int]]:
    lengths = pl.Series("symbol", table["symbol"]).rle().struct.field("len").to_list()
    first = count = 0
    for length in lengths:
        if count and count + length > ROW_GROUP_ROWS:
            yield first, count
            first, count = first + count, 0
        count += length
    if count:
        yield first, count


def _sorted(table: pa.Table, schema: Schema) -> pa.Table:
    keys = pl.DataFrame(table.select(list(schema.primary_key)))
    behind, tied = pl.lit(False), pl.lit(True)
    for name in schema.primary_key:
        # A null orders first; comparing with one gives null, which counts as not sorted.
        now, before = pl.col(name), pl.col(name).shift(1)
        behind |= tied & (now < before)
        tied &= now == before
    if not keys.select(behind.fill_null(True).slice(1).any()).item():
        return table
    order = keys.select(pl.arg_sort_by(list(schema.primary_key), maintain_order=True)).to_series()
    return table.take(order.to_arrow())


def _path(layer: str, table: str, exchange: str, market: str, key: str) -> str:
    return partition_path(layer, table, exchange, market, cadence_of(layer, table), key)


def _missing(store: LakeStore, path: str) -> MissingPartition:
    return MissingPartition(f"there is no partition {store.polars_uri(path)}: materialize it, then read again")
