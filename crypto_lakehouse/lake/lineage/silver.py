"""The bronze rows that silver rows were made of, by the cleaner that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition, partition_key
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.partitions import scan
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import bronze_schema, silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES, own_rows, visiting_rows

_LINE = ("source_key", "source_sha256", "source_line")

FILE_PARTITION = "file_partition"
"""Column of traced rows: the partition of bronze that holds the row."""
ROW_TIME = "row_time"
"""Column of traced rows: the time that silver has for the row; null if it cannot be read."""
USE = "use"
"""Column of traced rows: ``kept``, or ``rejected`` with the reason."""


class BronzeRows(NamedTuple):
    """All bronze rows with the primary keys of silver rows.

    ``rows`` are the columns of bronze, then FILE_PARTITION, ROW_TIME and USE. ``is_same`` says whether the cleaner
    makes exactly the stored silver rows of them.
    """

    rows: pl.DataFrame
    is_same: bool


def bronze_of(store: LakeStore, feed: Feed, key: str, silver: pl.DataFrame) -> BronzeRows:
    """Return the bronze rows of silver rows of the partition ``key``."""
    schema, columns = silver_schema(feed), bronze_schema(feed).column_names
    names = list(schema.primary_key)
    bronze = _candidates(store, feed, key, silver)
    cleaned = cleaner_of(feed)(bronze, feed, *parse_partition(key, feed.cadence))
    keys = silver.select(names).unique()
    keyed = bronze.with_columns(
        *(cleaned.expressions[name].alias(f"silver_{name}") for name in names),
        cleaned.expressions[schema.time_column].alias(ROW_TIME),
    )
    rows = keyed.join(
        keys, left_on=[f"silver_{name}" for name in names], right_on=names, how="semi", nulls_equal=True
    ).join(_uses(cleaned), on=_LINE, how="left", maintain_order="left")
    made = cleaned.rows.join(keys, on=names, how="semi", nulls_equal=True).sort(names)
    stored = silver.select(schema.column_names).sort(names)
    return BronzeRows(rows.select(*columns, FILE_PARTITION, ROW_TIME, USE), made.equals(stored))


def _uses(cleaned: Cleaned) -> pl.DataFrame:
    """What became of each bronze row: the columns _LINE, and USE."""
    kept = cleaned.sources.select(*_LINE, pl.lit("kept").alias(USE))
    rejected = cleaned.rejected.select(*_LINE, pl.format("rejected: {}", "reason").alias(USE))
    return pl.concat([kept, rejected])


def _candidates(store: LakeStore, feed: Feed, key: str, silver: pl.DataFrame) -> pl.DataFrame:
    """Bronze rows of the partition from its own files and those of its neighbours, at least all of the silver rows."""
    schema, order = silver_schema(feed), feed.file_format.order_column if feed.file_format.large else None
    symbols = silver[schema.archive_symbol].unique().to_list()
    condition = pl.col("symbol").is_in(symbols)
    if order is not None and schema.id_column is not None:
        ids = silver[schema.id_column]
        condition &= pl.col(order).is_between(ids.min(), ids.max())
    start, end = parse_partition(key, feed.cadence)
    rule = EDGE_RULES.get(feed.schema)
    frames = []
    for offset, other in enumerate(_keys_around(feed, key, has_edges=rule is not None), 0 if rule is None else -1):
        rows = stored_rows(store, TableSlice.of_feed("bronze", feed), other, condition)
        rows = rows.with_columns(pl.lit(other).alias(FILE_PARTITION))
        if rule is not None:
            rows = own_rows(rows, rule, start, end) if offset == 0 else visiting_rows(rows, rule, start, end, offset)
        frames.append(rows)
    return pl.concat(frames)


def _keys_around(feed: Feed, key: str, has_edges: bool) -> Iterator[str]:
    start, end = parse_partition(key, feed.cadence)
    if has_edges:
        yield partition_key(start - timedelta(days=1), feed.cadence)
    yield key
    if has_edges:
        yield partition_key(end, feed.cadence)


def stored_rows(store: LakeStore, table_slice: TableSlice, key: str, condition: pl.Expr) -> pl.DataFrame:
    """Return the rows of a partition that fulfil a condition; none if it is not stored."""
    path = table_slice.partition(key).path

    def read() -> pl.DataFrame:
        paths = [path] if store.exists(path) else []
        with reading(store, paths):
            return scan(store, table_slice.schema, paths).filter(condition).collect()

    return unchanged(read, lambda: store.find(path))
