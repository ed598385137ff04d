"""How whole the lake is: of every table its range, holes and bytes, and the files that did not make it.

Here belongs what the lake itself can tell. Comparing with an archive is the pipeline's work.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.describe import Part, existing_tables, holes, is_table, list_parts, tables_called
from crypto_lakehouse.lake.ledger import latest, read_ledger
from crypto_lakehouse.lake.store import LakeStore

LAYERS = ("bronze", "silver", "gold")


@dataclass(slots=True)
class TableStatus:
    """One (layer, table, exchange, market). Keys are UTC days or months, ``bytes`` those of its Parquet files.

    ``holes`` are keys between first and last that do not exist, and that the feed of a bronze or silver table
    covers. ``failed`` and ``quarantined`` name files as ``key symbol: reason: detail``, from the ledger's present
    state; for bronze, which reads files.
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


def lake_status(store: LakeStore, table: str | None = None) -> list[TableStatus]:
    """Status of every table that is there, or of those called ``table`` (with or without its layer).

    An empty lake gives an empty list. Raises KeyError on an unknown table, LakeError if the storage refuses.
    """
    named = None if table is None else tables_called(table, LAYERS)
    seen = {(part.feed, part.exchange, part.market) for part in list_parts(store, "ledger", "files")}
    wanted = named if named is not None else _present(store, {feed for feed, _, _ in seen if feed})
    found = []
    for layer, name in wanted:
        slices: dict[tuple[str, str], list[Part]] = defaultdict(list)
        for part in list_parts(store, layer, name):
            slices[part.exchange, part.market].append(part)
        if layer == "bronze":
            # A run that broke off can leave files in the ledger and no partition.
            for feed, exchange, market in sorted(seen, key=str):
                if feed == name:
                    slices[exchange, market] += []
        found += [_status(store, layer, name, *place, parts) for place, parts in slices.items()]
    return found


def _present(store: LakeStore, feeds: set[str]) -> list[tuple[str, str]]:
    there = {(layer, name) for layer in LAYERS for name in existing_tables(store, layer)}
    there |= {("bronze", name) for name in feeds if is_table("bronze", name)}
    return sorted(there, key=lambda one: (LAYERS.index(one[0]), one[1]))


def _status(store: LakeStore, layer: str, table: str, exchange: str, market: str, parts: list[Part]) -> TableStatus:
    status = TableStatus(layer, table, exchange, market, bytes=sum(part.size for part in parts))
    keys = {part.key for part in parts}
    feed = FEEDS.get((exchange, market, table))
    status.partitions = len(keys)
    if keys:
        status.first, status.last = min(keys), max(keys)
        status.holes = holes(layer, table, exchange, market, keys)
    if layer == "bronze" and feed is not None:
        for row in latest(read_ledger(store, feed)).sort("period", "symbol").iter_rows(named=True):
            if row["status"] in ("failed", "quarantined"):
                words = filter(None, (f"{row['period']} {row['symbol']}", row["reason"], row["detail"]))
                getattr(status, row["status"]).append(": ".join(words))
    return status
