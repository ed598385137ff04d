"""Find files and rows that the ledger or bronze has and stored silver does not.

Only missing data belongs here. ``transforms/checks/epochs.py`` checks rows against the epoch registry, and
``gold/checks.py`` checks gold against its sources. No Dagster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.partitions import collect_partitions, partition_exists
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.day_checks import batches
from crypto_lakehouse.pipeline.neighbours import SIDES, neighbour_keys
from crypto_lakehouse.pipeline.silver import stale
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES, own_rows, visiting_rows


def missing_from_silver(feed: Feed, keys: Sequence[str], store: LakeStore) -> list[tuple[str, str, str]]:
    """Findings (partition, symbol, description) of the stored partitions ``keys``.

    Reports files that failed, were quarantined or have no row in silver, and partitions whose rows differ from those
    that bronze now holds in the files of the day and its neighbours.
    """
    findings: list[tuple[str, str, str]] = []
    states, symbols = read_states(store, feed, keys), _symbols(feed, keys, store)
    for key in keys:
        for row in states[key].values():
            symbol = row["symbol"]
            if row["status"] in ("failed", "quarantined"):
                findings.append((key, symbol, f"{row['status']}: {row['reason']}: {row['detail']}"))
            elif row["status"] == "ingested" and symbol not in symbols[key] and _keeps_rows(feed, key, symbol, store):
                findings.append((key, symbol, "the file is ingested, but silver has no row of it"))
        for other, count in _waiting_rows(feed, key, store):
            text = f"{count:,} rows belong to {other}, a day without files in the archive: build it in Dagster's UI"
            findings.append((key, "", text))
    for key in stale(feed, keys, store):
        command = TableSlice.of_feed("silver", feed).partition(key).backfill_command()
        text = f"outdated: bronze now holds other files of this day or its neighbours. Rebuild it with: {command}"
        findings.append((key, "", text))
    return findings


def _symbols(feed: Feed, keys: Sequence[str], store: LakeStore) -> dict[str, set[str]]:
    """The archive's symbols in each stored silver partition."""
    table_slice, column = TableSlice.of_feed("silver", feed), silver_schema(feed).archive_symbol
    symbols: dict[str, set[str]] = {key: set() for key in keys}
    pair = [table_slice.cadence.partition_column, column]
    for batch in batches(store, table_slice, keys):
        rows = collect_partitions(store, table_slice, batch, lambda rows: rows.select(pair).unique())
        for key, symbol in rows.iter_rows():
            symbols[key].add(symbol)
    return symbols


def _keeps_rows(feed: Feed, key: str, symbol: str, store: LakeStore) -> bool:
    """Whether any row of a symbol's files belongs to their own partition; false if all belong to its neighbours."""
    rule = EDGE_RULES.get(feed.schema)
    if rule is None:
        return True
    partition = TableSlice.of_feed("bronze", feed).partition(key)
    pieces = read_pieces(store, partition, order=partition.slice.schema.id_column, symbol=symbol)
    return any(own_rows(piece.filter(symbol=symbol), rule, partition.start, partition.end).height for piece in pieces)


def _waiting_rows(feed: Feed, key: str, store: LakeStore) -> Iterator[tuple[str, int]]:
    """Yield (neighbour, its number of rows in this partition's files) for neighbours that are not built automatically,
    because the feed has no files of these days. Skips neighbours that are already stored.
    """
    for offset, other in zip(SIDES, neighbour_keys(feed, key), strict=False):
        neighbour = TableSlice.of_feed("silver", feed).partition(other)
        if feed.covers(neighbour.start) or partition_exists(store, neighbour):
            continue
        bronze = TableSlice.of_feed("bronze", feed).partition(key)
        pieces = read_pieces(store, bronze, order=bronze.slice.schema.id_column)
        rule, days = EDGE_RULES[feed.schema], (neighbour.start, neighbour.end)
        if count := sum(visiting_rows(piece, rule, *days, -offset).height for piece in pieces):
            yield other, count
