"""The record of replaced partitions: what a new version of a silver partition changed, and by which files.

Versions are kept in ``lake/storage/revisions.py``, rows are compared in ``transforms/checks/changes.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.as_of import AsOfStore
from crypto_lakehouse.lake.storage.changes import partition_changes
from crypto_lakehouse.lake.storage.ledger import read_log, table_of
from crypto_lakehouse.lake.storage.parquet import conform, encode
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.paths import log_folder
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.revisions import Version, kept_versions
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.rest import has_answers, rest_table
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.checks.changes import combined, totals

_SCHEMA = schema_of("ledger", "revisions")


def record_revisions(store: LakeStore, partition: Partition) -> dict[str, Any]:
    """Record what the last replacement of a partition changed; return its totals for Dagster's metadata.

    Call it after the partition is stored. Replacements that a killed run did not record are recorded as well. Only
    partitions of silver are compared, because those of gold follow from them, and bronze is one to one with the files.
    """
    feed = partition.slice.feed
    if partition.slice.layer != "silver" or feed is None:
        return {}
    folder = log_folder("ledger", "revisions", feed, partition.key)
    recorded = set(read_log(store, _SCHEMA, [folder])["known_to"])
    versions = kept_versions(store, partition.folder).get(partition.path, [])
    by_symbol, since = combined([]), None
    for version in versions:
        if not version.has_rows or version.known_to in recorded:
            since = None
            continue
        # A run that was killed before it published has kept rows that the next run keeps again.
        since = since or version.known_from
        by_symbol = _record(store, feed, partition, version, since, folder)
        if by_symbol.height:
            since = None
    facts = {name: value for name, value in totals(by_symbol).items() if value is not None}
    return {f"revision/{name}": value for name, value in facts.items()}


def _record(
    store: LakeStore, feed: Feed, partition: Partition, version: Version, since: datetime, folder: str
) -> pl.DataFrame:
    """Write the rows of a replaced version, which was stored ``since`` then; return its changes by symbol."""
    assert version.known_to is not None
    old, new = (AsOfStore.at(store, moment) for moment in (since, version.known_to))
    by_symbol = partition_changes(old, new, partition)
    if by_symbol.is_empty():
        return by_symbol
    tables = [feed.table, *([rest_table(feed.table)] if has_answers(feed) else [])]
    bronze = [TableSlice.of_market("bronze", feed.market, table).partition(partition.key) for table in tables]
    sources = [_sources(each, bronze, by_symbol["symbol"]) for each in (old, new)]
    facts = {"table": feed.table, "period": partition.key, "known_from": since}
    rows = [
        {
            **row,
            **facts,
            "known_to": version.known_to,
            "old_sha256": sources[0].get(row["symbol"]),
            "new_sha256": sources[1].get(row["symbol"]),
        }
        for row in by_symbol.iter_rows(named=True)
    ]
    data = encode(conform(table_of(rows, _SCHEMA), _SCHEMA, nulls_allowed=False), _SCHEMA)
    store.write_bytes_atomic(f"{folder}/{hashlib.sha256(data).hexdigest()[:32]}.parquet", data)
    return by_symbol


def _sources(store: LakeStore, bronze: Iterable[Partition], symbols: Iterable[str]) -> dict[str, str]:
    """Return the sha256s of the archive files and REST answers of symbols in bronze partitions."""
    wanted, known = list(symbols), dict[str, set[str]]()
    for partition in bronze:
        with suppress(MissingPartition):
            for piece in read_pieces(store, partition, columns=["symbol", "source_sha256"]):
                pairs = piece.filter(pl.col("symbol").is_in(wanted)).unique()
                for symbol, sha256 in pairs.iter_rows():
                    known.setdefault(symbol, set()).add(sha256)
    return {symbol: ",".join(sorted(each)) for symbol, each in known.items()}
