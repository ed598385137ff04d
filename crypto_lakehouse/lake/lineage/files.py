"""What the lake knows of the files of bronze rows: states in the ledger, quarantined rows, kept bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.lineage.model import FileVersion, SourceFile
from crypto_lakehouse.lake.lineage.silver import FILE_PARTITION
from crypto_lakehouse.lake.storage.answers import read_answers
from crypto_lakehouse.lake.storage.ledger import read_ledger
from crypto_lakehouse.lake.storage.paths import answer_path, raw_path
from crypto_lakehouse.lake.storage.quarantine import read_rejected
from crypto_lakehouse.lake.storage.store import LakeStore


def files_of(store: LakeStore, feed: Feed, rows: pl.DataFrame) -> tuple[SourceFile, ...]:
    """Return the files of bronze rows, by partition and key.

    ``rows`` have source_key, source_sha256, FILE_PARTITION and source_line; a file whose lines are null has no lines.
    """
    if rows.is_empty():
        return ()
    keys = rows[FILE_PARTITION].unique().sort().to_list()
    ledger, rejected = read_ledger(store, feed, keys), read_rejected(store, feed, keys)
    lines = rows.group_by(FILE_PARTITION, "source_key", "source_sha256").agg(pl.col("source_line").drop_nulls().sort())
    return tuple(
        _file(store, feed, partition, key, sha256, numbers, ledger, rejected)
        for partition, key, sha256, numbers in lines.sort(FILE_PARTITION, "source_key").iter_rows()
    )


def answers_of(store: LakeStore, feed: Feed, rows: pl.DataFrame) -> tuple[SourceFile, ...]:
    """Return the REST answers of bronze rows, as ``files_of`` returns files: the key is that of the request."""
    if rows.is_empty():
        return ()
    keys = rows[FILE_PARTITION].unique().sort().to_list()
    ledger, rejected = read_answers(store, feed, keys), read_rejected(store, feed, keys)
    places = [FILE_PARTITION, "source_key", "source_sha256", "symbol"]
    lines = rows.group_by(places).agg(pl.col("source_line").drop_nulls().sort())
    found = []
    for partition, key, sha256, symbol, numbers in lines.sort(places).iter_rows():
        states = ledger.filter((pl.col("request") == key) & (pl.col("period") == partition)).sort("fetched_at")
        versions = [_answer(row) for row in states.iter_rows(named=True)][::-1]
        path = answer_path(feed, symbol, partition, sha256)
        raw = path if store.exists(path) else None
        bad = tuple(rejected.filter(pl.col("source_key") == key).iter_rows(named=True))
        newest = versions[0] if versions else None
        found.append(SourceFile(key, sha256, partition, tuple(numbers), newest, tuple(versions[1:]), raw, bad))
    return tuple(found)


def _answer(row: dict[str, Any]) -> FileVersion:
    """An answer as the state of a file: it has neither ETag nor size, and is known since it came."""
    seen = row["fetched_at"]
    return FileVersion(row["sha256"], None, None, None, row["status"], row["reason"], seen, seen)


def _file(
    store: LakeStore,
    feed: Feed,
    partition: str,
    key: str,
    sha256: str,
    lines: list[int],
    ledger: pl.DataFrame,
    rejected: pl.DataFrame,
) -> SourceFile:
    states = ledger.filter((pl.col("key") == key) & (pl.col("period") == partition)).sort("ingested_at")
    versions = [_version(row) for row in states.iter_rows(named=True)][::-1]
    return SourceFile(
        key,
        sha256,
        partition,
        tuple(lines),
        versions[0] if versions else None,
        tuple(versions[1:]),
        next(_kept(store, feed, key, sha256), None),
        tuple(rejected.filter(pl.col("source_key") == key).iter_rows(named=True)),
    )


def _version(row: dict[str, Any]) -> FileVersion:
    return FileVersion(**{name: row[name] for name in FileVersion.__dataclass_fields__})


def _kept(store: LakeStore, feed: Feed, key: str, sha256: str) -> Iterator[str]:
    """The path of the kept bytes of a file, if it is one of an archive and its bytes are kept."""
    try:
        path = raw_path(feed.exchange, key, sha256)
    except ValueError:
        return
    if store.exists(path):
        yield path
