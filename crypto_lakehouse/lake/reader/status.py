"""Completeness of the lake: range, holes and bytes of every table, and files that failed or were quarantined.

This module reads only the lake. The pipeline compares it with an archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

from crypto_lakehouse.lake.storage.describe import (
    StoredFile,
    existing_tables,
    holes,
    is_table,
    list_files,
    require_lake,
    tables_called,
)
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

LAYERS = ("bronze", "silver", "gold")


@dataclass(slots=True)
class TableStatus:
    """One (layer, table, exchange, market). Keys are UTC days or months; ``bytes`` is the size of the Parquet files.

    ``holes`` are the missing keys between first and last; for bronze and silver, only those that the feed covers.
    ``failed`` and ``quarantined`` list archive files as ``key symbol: reason: detail``, from the current state of the
    ledger; they are filled for bronze only.
    """

    layer: str
    table: str
    exchange: str
    market: str
    first: str | None = None
    last: str | None = None
    partitions: int = 0
    bytes: int = 0
    holes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)


def lake_status(
    store: LakeStore,
    table: str | None = None,
    markets: Collection[tuple[str, str]] | None = None,
    start: date | None = None,
) -> list[TableStatus]:
    """Return the status of every stored table, or of those called ``table`` (with or without its layer).

    ``markets`` limits it to these (exchange, market); ``start`` (UTC day) skips earlier partitions and files. Raises
    KeyError on an unknown table, MissingLakeError if there is no lake, LakeError if the storage refuses.
    """
    named = None if table is None else tables_called(table, LAYERS)
    seen = {(file.feed, file.slice.exchange, file.slice.market) for file in list_files(store, "ledger", "files")}
    since = "" if start is None else start.isoformat()
    wanted = named if named is not None else _present(store, {feed for feed, _, _ in seen if feed})
    statuses = []
    for layer, name in wanted:
        slices: dict[TableSlice, list[StoredFile]] = defaultdict(list)
        for file in list_files(store, layer, name):
            if _is_shown(file.key, since):
                slices[file.slice].append(file)
        if layer == "bronze":
            # An interrupted run can leave files in the ledger without a partition.
            for feed, exchange, market in sorted(seen, key=str):
                if feed == name:
                    slices[TableSlice(layer, exchange, market, name)] += []
        shown = {
            each: files for each, files in slices.items() if markets is None or (each.exchange, each.market) in markets
        }
        statuses += [_status(store, each, files, since) for each, files in shown.items()]
    if since:
        statuses = [status for status in statuses if status.partitions or status.failed or status.quarantined]
    if not statuses:
        require_lake(store)
    return statuses


def _present(store: LakeStore, feeds: set[str]) -> list[tuple[str, str]]:
    present = {(layer, name) for layer in LAYERS for name in existing_tables(store, layer)}
    present |= {("bronze", name) for name in feeds if is_table("bronze", name)}
    return sorted(present, key=lambda name: (LAYERS.index(name[0]), name[1]))


def _is_shown(key: str, since: str) -> bool:
    """Whether a day, or the month that holds ``since``, is not before it."""
    return key >= since[: len(key)]


def _status(store: LakeStore, table_slice: TableSlice, files: list[StoredFile], since: str) -> TableStatus:
    layer, exchange, market, table = table_slice.asset_key
    status = TableStatus(layer, table, exchange, market, bytes=sum(file.size for file in files))
    keys = {file.key for file in files}
    status.partitions = len(keys)
    if keys:
        status.first, status.last = min(keys), max(keys)
        status.holes = holes(table_slice, keys)
    if layer == "bronze" and table_slice.feed is not None and not table_slice.is_of_answers:
        for row in latest(read_ledger(store, table_slice.feed)).sort("period", "symbol").iter_rows(named=True):
            if row["status"] in ("failed", "quarantined") and _is_shown(row["period"], since):
                words = filter(None, (f"{row['period']} {row['symbol']}", row["reason"], row["detail"]))
                getattr(status, row["status"]).append(": ".join(words))
    return status
