"""The bronze rows that silver rows were made of, by the cleaner that makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition, partition_key
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.partitions import scan
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema, bronze_schema, silver_schema
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.schemas.rest import has_answers
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.rest.archive_rows import archive_rows
from crypto_lakehouse.transforms.rest.merge import REST
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

    ``files`` are rows of the archive's files, ``answers`` rows of REST answers: the columns of their table, then
    FILE_PARTITION, ROW_TIME and USE. ``is_same`` says whether the cleaner makes exactly the stored silver rows of them.
    """

    files: pl.DataFrame
    answers: pl.DataFrame | None
    is_same: bool


def bronze_of(store: LakeStore, feed: Feed, key: str, silver: pl.DataFrame) -> BronzeRows:
    """Return the bronze rows of silver rows of the partition ``key``."""
    schema = silver_schema(feed)
    files = _candidates(store, feed, key, silver)
    cleaned = cleaner_of(feed)(files, feed, *parse_partition(key, feed.cadence))
    keys = silver.select(schema.primary_key).unique()
    made, answers = [_of_keys(cleaned.rows, keys)], None
    if has_answers(feed):
        answers, filled = _answers_of(store, feed, key, silver, made[0])
        made.append(filled)
    stored = silver.select(schema.column_names).sort(schema.primary_key)
    is_same = pl.concat(made).sort(schema.primary_key).equals(stored)
    columns = bronze_schema(feed).column_names
    return BronzeRows(_with_uses(files, columns, cleaned, schema, keys), answers, is_same)


def _answers_of(
    store: LakeStore, feed: Feed, key: str, silver: pl.DataFrame, of_files: pl.DataFrame
) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """The rows of REST answers with the keys of silver rows, None without any; and the silver rows made of them."""
    schema, table_slice = silver_schema(feed), TableSlice.of_answers(feed)
    symbols = silver[schema.archive_symbol].unique().to_list()
    stored = stored_rows(store, table_slice, key, pl.col("symbol").is_in(symbols))
    rows = archive_rows(stored, feed)
    cleaned = cleaner_of(feed)(rows, feed, *parse_partition(key, feed.cadence))
    keys = silver.select(schema.primary_key).unique()
    missing = keys.join(of_files, on=schema.primary_key, how="anti", nulls_equal=True)
    filled = _of_keys(cleaned.rows, missing).with_columns(pl.lit(REST).alias("source"))
    if feed.schema == FUNDING_RATES.name:
        # The hours between events follow from the event before, which is another row.
        hours = silver.select(*schema.primary_key, "interval_hours")
        filled = filled.drop("interval_hours").join(hours, on=schema.primary_key, how="left")
        filled = filled.select(schema.column_names)
    found = _with_uses(rows.with_columns(pl.lit(key).alias(FILE_PARTITION)), _LINE, cleaned, schema, keys)
    if found.is_empty():
        return None, filled
    is_filled = pl.col(ROW_TIME).is_in(filled[schema.time_column].implode())
    use = pl.when(is_filled).then(USE).otherwise(pl.lit("not used: a file of the archive has the row"))
    return stored.join(found.with_columns(use.alias(USE)), on=_LINE, maintain_order="left"), filled


def _of_keys(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The rows with one of the keys."""
    return rows.join(keys, on=keys.columns, how="semi", nulls_equal=True)


def _with_uses(
    bronze: pl.DataFrame, columns: Sequence[str], cleaned: Cleaned, schema: Schema, keys: pl.DataFrame
) -> pl.DataFrame:
    """The bronze rows with one of the keys: ``columns``, FILE_PARTITION, ROW_TIME and USE."""
    names = list(schema.primary_key)
    keyed = bronze.with_columns(
        *(cleaned.expressions[name].alias(f"silver_{name}") for name in names),
        cleaned.expressions[schema.time_column].alias(ROW_TIME),
    )
    left = [f"silver_{name}" for name in names]
    rows = keyed.join(keys, left_on=left, right_on=names, how="semi", nulls_equal=True)
    used = rows.join(_uses(cleaned), on=_LINE, how="left", maintain_order="left")
    return used.select(*columns, FILE_PARTITION, ROW_TIME, USE)


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
