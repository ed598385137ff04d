"""Stored silver against the ledger and against what bronze holds: files and rows that are not in it.

Here belongs what is missing; Dagster is not here. Rows against the epoch registry are in
``transforms/epoch_checks.py``, gold against its sources in ``gold_checks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.ledger import read_state
from crypto_lakehouse.lake.partitions import partition_exists, scan_partitions
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.neighbours import SIDES, neighbour_keys
from crypto_lakehouse.pipeline.silver import stale
from crypto_lakehouse.schemas import bronze_schema, silver_schema
from crypto_lakehouse.transforms.edges import EDGE_RULES, own_rows, visiting_rows

_STALE = "not made of the files that bronze holds of this day and its neighbours now: build the day again"


def missing_from_silver(feed: Feed, keys: Sequence[str], store: LakeStore) -> list[tuple[str, str, str]]:
    """Findings (partition, symbol, what) of the stored partitions ``keys``: files that failed, were quarantined or have
    no row in silver, and rows of neighbours' files that silver does not have as bronze holds them now.
    """
    found: list[tuple[str, str, str]] = []
    for key in keys:
        rows = scan_partitions(store, "silver", feed.table, feed.exchange, feed.market.name, [key])
        column = silver_schema(feed).archive_symbol
        symbols = set(rows.select(pl.col(column).unique()).collect()[column])
        for row in read_state(store, feed, key).values():
            symbol = row["symbol"]
            if row["status"] in ("failed", "quarantined"):
                found.append((key, symbol, f"{row['status']}: {row['reason']}: {row['detail']}"))
            elif row["status"] == "ingested" and symbol not in symbols and _keeps_rows(feed, key, symbol, store):
                found.append((key, symbol, "the file is ingested and silver has no row of it"))
        for other, count in _waiting_rows(feed, key, store):
            found.append((key, "", f"{count:,} rows are of {other}, on which the archive has no files: build that day"))
    return found + [(key, "", _STALE) for key in stale(feed, keys, store)]


def _keeps_rows(feed: Feed, key: str, symbol: str, store: LakeStore) -> bool:
    """Whether any row of a symbol's files belongs to their own partition; false where all lie in its neighbours."""
    rule = EDGE_RULES.get(feed.schema)
    if rule is None:
        return True
    place = ("bronze", feed.table, feed.exchange, feed.market.name, key)
    span = parse_partition(key, feed.cadence)
    pieces = read_pieces(store, *place, order=bronze_schema(feed).id_column, symbol=symbol)
    return any(own_rows(piece.filter(symbol=symbol), rule, *span).height for piece in pieces)


def _waiting_rows(feed: Feed, key: str, store: LakeStore) -> Iterator[tuple[str, int]]:
    """Neighbours of a stored partition on which the feed has no files, so that nothing builds them by itself, each with
    how many rows of it this partition's files have; those that are built are left out.
    """
    for offset, other in zip(SIDES, neighbour_keys(feed, key), strict=False):
        start, end = parse_partition(other, feed.cadence)
        place = (feed.table, feed.exchange, feed.market.name)
        if feed.covers(start) or partition_exists(store, "silver", *place, other):
            continue
        pieces = read_pieces(store, "bronze", *place, key, order=bronze_schema(feed).id_column)
        rule = EDGE_RULES[feed.schema]
        if count := sum(visiting_rows(piece, rule, start, end, -offset).height for piece in pieces):
            yield other, count
