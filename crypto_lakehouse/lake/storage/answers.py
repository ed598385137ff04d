"""The answers of REST interfaces: their bytes, and the ledger of what was asked and answered, append-only.

What to ask is decided in ``pipeline/completion``. The bytes are stored in ``raw/{exchange}/rest/``, the objects of the
ledger in ``ledger/answers/exchange=/market=/feed=/date=`` (or ``month=``), each named by its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.damage import DamagedFile
from crypto_lakehouse.lake.storage.ledger import Row, bounded, read_log, table_of
from crypto_lakehouse.lake.storage.parquet import conform, encode
from crypto_lakehouse.lake.storage.paths import answer_path, log_folder
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of

_TABLE = "answers"


def record_answers(store: LakeStore, feed: Feed, key: str, rows: Sequence[Row]) -> None:
    """Append rows of ``ledger.answers`` to the partition ``key``; ``table`` and ``period`` are added here.

    Store the bodies first (``keep_body``): the ledger never names bytes that the lake does not hold. Raises ValueError
    on rows that do not fit the schema, LakeError if the storage refuses.
    """
    if not rows:
        return
    schema = schema_of("ledger", _TABLE)
    facts = [{**row, "table": feed.table, "period": key, "detail": bounded(row.get("detail"))} for row in rows]
    data = encode(conform(table_of(facts, schema), schema, nulls_allowed=False), schema)
    name = hashlib.sha256(data).hexdigest()[:32]
    store.write_bytes_atomic(f"{_folder(feed, key)}/{name}.parquet", data)


def read_answers(store: LakeStore, feed: Feed, keys: Iterable[str] | None = None) -> pl.DataFrame:
    """Return all rows ever written for the feed (of the partitions ``keys``, if given), oldest first.

    Raises DamagedFile that names an object that cannot be read.
    """
    folders = [_folder(feed)] if keys is None else [_folder(feed, key) for key in keys]
    return read_log(store, schema_of("ledger", _TABLE), folders).unique(maintain_order=True)


def keep_body(store: LakeStore, feed: Feed, symbol: str, key: str, body: bytes) -> str:
    """Store the bytes of an answer, unless they are stored; return their sha256."""
    sha256 = hashlib.sha256(body).hexdigest()
    path = answer_path(feed, symbol, key, sha256)
    stored = store.find(path)
    if stored is None or stored.size != len(body):
        store.write_bytes_atomic(path, body)
    return sha256


def read_body(store: LakeStore, feed: Feed, symbol: str, key: str, sha256: str) -> bytes:
    """Return the bytes of an answer. Raises DamagedFile if the lake does not hold exactly these bytes."""
    path = answer_path(feed, symbol, key, sha256)
    try:
        body = store.read_bytes(path)
    except FileNotFoundError:
        raise DamagedFile(f"{store.polars_uri(path)} is missing: {_RESTORE}") from None
    if hashlib.sha256(body).hexdigest() != sha256:
        raise DamagedFile(f"{store.polars_uri(path)} holds other bytes than were answered: {_RESTORE}")
    return body


_RESTORE = (
    "restore it from a backup, or delete the objects of ledger/answers for its day, and the exchange is asked again"
)


def _folder(feed: Feed, key: str | None = None) -> str:
    return log_folder("ledger", _TABLE, feed, key)
