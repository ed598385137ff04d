"""The quarantine: rejected files and rows with their reasons, append-only and written once.

This module writes and reads them. ``archive`` and ``transforms`` decide what is rejected and why. Objects are stored in
``quarantine/rejected/exchange=/market=/feed=/date=`` (or ``month=``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from crypto_lakehouse.catalog import Feed, feeds
from crypto_lakehouse.lake.storage.ledger import Row, bounded, read_log, table_of
from crypto_lakehouse.lake.storage.parquet import conform, encode
from crypto_lakehouse.lake.storage.paths import log_folder
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of


def record_rejected(store: LakeStore, feed: Feed, key: str, rows: Sequence[Row], now: datetime) -> int:
    """Write the rejects of one partition, unless the same rejects are stored; return the number of written rows.

    ``rows`` are rows of ``quarantine.rejected``; ``table``, ``period`` (if missing) and ``seen_at`` are added here.
    ``now`` must have a time zone. Raises ValueError on rows that do not fit the schema, LakeError if the storage
    refuses.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone: give datetime.now(UTC)")
    if not rows:
        return 0
    facts = [{"period": key, **row, "table": feed.table} for row in rows]
    for row in facts:
        row.pop("seen_at", None)
        row["detail"] = bounded(row.get("detail"))
    # The name depends on the rejects and not on the time, so that a second run finds the same object.
    texts = sorted(json.dumps(row, sort_keys=True, default=str) for row in facts)
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
    path = f"{_folder(feed, key)}/{name}.parquet"
    if store.exists(path):
        return 0
    schema = schema_of("quarantine", "rejected")
    table = table_of([{**row, "seen_at": now} for row in facts], schema)
    store.write_bytes_atomic(path, encode(conform(table, schema, nulls_allowed=True), schema))
    return len(facts)


def read_rejected(store: LakeStore, feed: Feed | None = None, keys: Iterable[str] | None = None) -> pl.DataFrame:
    """Return the rejects of a feed (None: of all), of the partitions ``keys`` if given, by the time first seen.

    A reject that several runs recorded is returned once. Raises ValueError if ``keys`` are given without a feed.
    """
    if feed is None and keys is not None:
        raise ValueError("keys belong to a feed: pass feed as well")
    schema = schema_of("quarantine", "rejected")
    if feed is not None and keys is not None:
        folders = [_folder(feed, key) for key in keys]
    else:
        folders = [_folder(each) for each in ([feed] if feed is not None else feeds())]
    facts = [name for name in schema.column_names if name != schema.time_column]
    return read_log(store, schema, folders).unique(facts, keep="first", maintain_order=True)


def _folder(feed: Feed, key: str | None = None) -> str:
    return log_folder("quarantine", "rejected", feed, key)
