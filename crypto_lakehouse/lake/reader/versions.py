"""Times and snapshots of a lake: what ``as_of`` accepts, ``Lakehouse.snapshot`` and ``Lakehouse.diff``.

The store of a time is in ``storage/as_of.py``, the versions of partitions in ``storage/revisions.py``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import polars as pl

from crypto_lakehouse.lake.reader.times import Time, utc
from crypto_lakehouse.lake.storage.as_of import AsOfStore, digest_of, snapshot_id, stored_versions
from crypto_lakehouse.lake.storage.changes import partition_changes
from crypto_lakehouse.lake.storage.describe import (
    StoredFile,
    check_markets,
    existing_tables,
    require_lake,
    split_table,
    stored_file,
    tables_called,
)
from crypto_lakehouse.lake.storage.revisions import VERSIONED, Version, kept_versions
from crypto_lakehouse.lake.storage.store import LakeFile, LakeStore
from crypto_lakehouse.transforms.checks.changes import totals

AsOf: TypeAlias = Time
"""A time of the lake: as for ``start``, or the text of ``Lakehouse.snapshot``."""

_SNAPSHOT = re.compile(r"(.+)-([0-9a-f]{16})")
# S3 states times of change in whole seconds. An object of this second could still appear, with an earlier time.
_SETTLED = timedelta(seconds=2)
_PLACE = dict.fromkeys(("layer", "table", "exchange", "market", "partition"), pl.String())
_VERSIONS = {
    **_PLACE,
    **dict.fromkeys(("from", "until"), pl.Datetime("us", "UTC")),
    "bytes": pl.Int64(),
    "is_purged": pl.Boolean(),
}
_DIFF = {
    **_PLACE,
    **dict.fromkeys(("from", "to"), pl.Datetime("us", "UTC")),
    **dict.fromkeys(("added", "removed", "changed"), pl.Int64()),
    "largest_price_move": pl.Float64(),
}


def open_as_of(store: LakeStore, as_of: AsOf) -> AsOfStore:
    """Return the store of the same lake at a time or snapshot. Raises ValueError on anything else."""
    digest = None
    value: Any = as_of
    if isinstance(as_of, str) and (match := _SNAPSHOT.fullmatch(as_of)):
        value, digest = match.groups()
    moment = utc("as_of", value)
    if moment is None:
        raise ValueError("as_of is None: pass a time, or the text of lake.snapshot()")
    if moment > datetime.now(UTC):
        raise ValueError(
            f"as_of {as_of} is in the future, and the lake may change until then: leave it out to read the present"
        )
    return AsOfStore.at(store, moment, digest)


def take_snapshot(store: LakeStore) -> str:
    """Return the id of the lake now, or of the time that the store is of already."""
    moment = store.as_of
    if moment is None:
        moment = datetime.now(UTC)
        if not store.is_local:
            time.sleep(_SETTLED.total_seconds())
    present = store.present if isinstance(store, AsOfStore) else store
    versions = stored_versions(present, moment)
    if not versions:
        require_lake(store)
    return snapshot_id(moment, digest_of(versions))


def diff_frame(
    store: LakeStore,
    before: AsOf,
    after: AsOf | None,
    table: str | None,
    exchange: str,
    market: str | Sequence[str] | None,
) -> pl.DataFrame:
    """Return the frame of ``Lakehouse.diff``."""
    markets = check_markets(exchange, market)
    now = store if isinstance(store, AsOfStore) else AsOfStore.at(store, datetime.now(UTC))
    old, new = open_as_of(store, before), now if after is None else open_as_of(store, after)
    if table is None:
        names = [(layer, name) for layer in ("silver", "gold") for name in existing_tables(now.present, layer)]
    else:
        layer, name, _ = split_table(table)
        if layer not in VERSIONED:
            raise ValueError(f"{table} only grows: lake.diff compares tables of {', '.join(VERSIONED)}")
        names = [(layer, name)]
    rows = []
    for layer, name in names:
        folder = f"{layer}/{name}"
        both = old.versions(folder), new.versions(folder)
        for path in sorted({*both[0], *both[1]}):
            was, version = both[0].get(path), both[1].get(path)
            known = version or was
            assert known is not None
            if (was and was.known_from) == (version and version.known_from):
                continue
            file = stored_file(LakeFile(path, known.size, known.modified))
            if file is None or file.slice.exchange != exchange or file.slice.market not in markets:
                continue
            changed = partition_changes(old, new, file.slice.partition(file.key))
            if changed.height or was is None or version is None:
                rows.append({**_place(file), **_times(was, version), **totals(changed)})
    if not rows:
        require_lake(now.present)
    return pl.DataFrame(rows, schema=_DIFF)


def replaced_versions(store: LakeStore, table: str | None = None, market: str | None = None) -> list[Version]:
    """Return the versions of partitions that were replaced, also purged ones, by partition, oldest first.

    ``table`` is a name with or without its layer; None means all. Raises KeyError on an unknown table.
    """
    folders = [f"{layer}/{name}" for layer, name in tables_called(table, VERSIONED)] if table else list(VERSIONED)
    kept = [each for folder in folders for each in sorted(kept_versions(store, folder).items())]
    if not kept:
        require_lake(store)
    part = f"/market={market}/"
    return [
        version
        for path, versions in kept
        if market is None or part in path
        for version in versions
        if version.has_rows or version.is_purged
    ]


def versions_frame(versions: Sequence[Version]) -> pl.DataFrame:
    """Return the frame of ``crypto-lakehouse revisions list``."""
    rows = [
        {
            **_place(file),
            "from": version.known_from,
            "until": version.known_to,
            "bytes": version.size,
            "is_purged": version.is_purged,
        }
        for version in versions
        if (file := stored_file(LakeFile(version.path, version.size, version.modified)))
    ]
    return pl.DataFrame(rows, schema=_VERSIONS)


def _place(file: StoredFile) -> dict[str, str]:
    names = {"layer": file.slice.layer, "table": file.slice.table, "exchange": file.slice.exchange}
    return {**names, "market": file.slice.market, "partition": file.key}


def _times(was: Version | None, version: Version | None) -> dict[str, datetime | None]:
    return {"from": was.known_from if was else None, "to": version.known_from if version else None}
