"""The ledger: an append-only record of every archive file that was seen, and of its state.

This module writes changes of state and reads them. What to ingest is decided in ``pipeline``. Objects are stored in
``ledger/files/exchange=/market=/feed=/date=`` (or ``month=``), named by their content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.damage import DamagedFile, reading, remedy, scan_alone
from crypto_lakehouse.lake.storage.describe import stored_file
from crypto_lakehouse.lake.storage.parquet import conform, encode
from crypto_lakehouse.lake.storage.partitions import scan, scan_hive
from crypto_lakehouse.lake.storage.paths import log_folder
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema, schema_of

_STATE = ("status", "sha256", "size", "etag", "last_modified", "rows", "rejected_rows", "reason")
_MOST_DETAIL = 500
_NEXT = timedelta(microseconds=1)
_REQUIRED = [column.name for column in schema_of("ledger", "files").columns if not column.nullable]
Row = dict[str, Any]


def record_files(store: LakeStore, feed: Feed, key: str, rows: Sequence[Row], now: datetime) -> dict[str, Row]:
    """Append the rows whose state has changed; return the resulting state, archive key to row.

    ``rows`` are rows of ``ledger.files`` for the partition ``key``, without ``table``, ``first_seen`` and
    ``ingested_at``, which are added here. ``now`` must have a time zone. If a file has several rows, the last one
    counts. The state of a file is its newest row, so ``ingested_at`` is later than a stored row that another clock has
    dated into the future. Raises ValueError on rows that do not fit the schema, LakeError if the storage refuses.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone: give datetime.now(UTC)")
    state = read_state(store, feed, key)
    changed = []
    for row in {row["key"]: row for row in rows}.values():
        known = state.get(row["key"])
        if known is None or any(known[name] != row.get(name) for name in _STATE):
            first_seen = known["first_seen"] if known else now
            ingested_at = max(now, known["ingested_at"] + _NEXT) if known else now
            facts = {"table": feed.table, "first_seen": first_seen, "ingested_at": ingested_at}
            changed.append({**row, **facts, "detail": bounded(row.get("detail"))})
    if changed:
        schema = schema_of("ledger", "files")
        data = encode(conform(table_of(changed, schema), schema, nulls_allowed=False), schema)
        name = hashlib.sha256(data).hexdigest()[:32]
        store.write_bytes_atomic(f"{_folder(feed, key)}/{name}.parquet", data)
    return state | {row["key"]: row for row in changed}


def read_ledger(store: LakeStore, feed: Feed, keys: Iterable[str] | None = None) -> pl.DataFrame:
    """Return all rows ever written for the feed (of the partitions ``keys``, if given), oldest first.

    Raises DamagedFile that names an object that cannot be read or that holds rows of another partition.
    """
    folders = [_folder(feed)] if keys is None else [_folder(feed, key) for key in keys]
    schema, column = schema_of("ledger", "files"), feed.cadence.partition_column
    files = _files(store, folders)
    if not files:
        return pl.DataFrame(schema.empty())
    with reading(store, files):
        rows = scan_hive(store, schema, files, {column: pl.String()}).sort(schema.time_column, maintain_order=True)
        stored = rows.collect()
    wrong = stored.filter(pl.any_horizontal(*(pl.col(name).is_null() for name in _REQUIRED), _is_of_other(column)))
    if not wrong.is_empty():
        raise _foreign(store, [path for path in files if f"/{column}={wrong[column][0]}/" in path], wrong[column][0])
    return stored.drop(column)


def _is_of_other(column: str) -> pl.Expr:
    """Whether a row belongs to another period than the path of its file says."""
    return pl.col("period").ne_missing(pl.col(column))


def _foreign(store: LakeStore, files: Sequence[str], key: str) -> DamagedFile:
    """Return the error that names the file of the partition ``key`` whose rows do not belong there."""
    for path in files:
        rows = scan_alone(store, path).collect()
        if missing := [name for name in _REQUIRED if name not in rows.columns]:
            fault = f"has no column {', '.join(missing)}"
        elif others := sorted(set(rows["period"]) - {key}):
            fault = f"holds rows of {', '.join(others)}, which do not belong in it"
        elif nulls := [name for name in _REQUIRED if rows[name].null_count()]:
            fault = f"has rows without {', '.join(nulls)}"
        else:
            continue
        return DamagedFile(f"{store.polars_uri(path)} {fault}. {remedy(store, path)}")
    return DamagedFile(f"a file of the ledger for {key} in {store.uri} was replaced while it was read: try again")


def latest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the current state: the newest row of each archive key and partition, sorted by both."""
    file = ["key", "period"]
    return rows.sort(*file, "ingested_at", maintain_order=True).unique(file, keep="last", maintain_order=True)


def read_state(store: LakeStore, feed: Feed, key: str) -> dict[str, Row]:
    """Return the current state of the files of one partition: archive key to row."""
    return read_states(store, feed, [key])[key]


def read_states(store: LakeStore, feed: Feed, keys: Sequence[str]) -> dict[str, dict[str, Row]]:
    """Return the current state of the files of each partition of ``keys``, in one read."""
    states: dict[str, dict[str, Row]] = {key: {} for key in keys}
    for row in latest(read_ledger(store, feed, keys)).iter_rows(named=True):
        states[row["period"]][row["key"]] = row
    return states


def read_log(store: LakeStore, schema: Schema, folders: Iterable[str]) -> pl.DataFrame:
    """Return all rows of append-only objects in the folders, by time.

    Raises LakeError like ``LakeStore.list``, and DamagedFile that names an object that cannot be read.
    """
    files = _files(store, folders)
    with reading(store, files):
        return scan(store, schema, files).sort(schema.time_column, maintain_order=True).collect()


def bounded(detail: str | None) -> str | None:
    """Return a detail as it is stored: printable and of limited length, whatever it quotes.

    >>> bounded("column 1 is called \\x00")
    'column 1 is called ?'
    """
    if detail is None or (len(detail) <= _MOST_DETAIL and detail.isprintable()):
        return detail
    text = "".join(letter if letter.isprintable() else "?" for letter in detail[:_MOST_DETAIL])
    return text if len(detail) <= _MOST_DETAIL else f"{text}..."


def _files(store: LakeStore, folders: Iterable[str]) -> list[str]:
    return [file.path for folder in folders for file in store.list(folder) if stored_file(file)]


def table_of(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pa.Table:
    """Return rows as Arrow; missing fields are null. Raises ValueError on unknown fields and wrong types."""
    known = set(schema.column_names)
    for row in rows:
        if unknown := sorted(row.keys() - known):
            raise ValueError(f"unknown fields {unknown} for {schema.name}; there are {schema.column_names}")
    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema.arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"rows do not fit {schema.name}: {error}") from error


def _folder(feed: Feed, key: str | None = None) -> str:
    return log_folder("ledger", "files", feed, key)
