"""Check many small partitions with one read, and name the partition of each finding.

Most partitions have no finding, so partitions are checked together first, and one by one only where something was
found. What a check compares is in ``silver_checks.py``, ``gold/checks.py`` and ``transforms/checks``. No Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from crypto_lakehouse import interrupts
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import Partition, TableSlice

Finding = tuple[str, str, str]
"""Partition, symbol, what is wrong."""

# Compressed bytes that are read together: some tens of megabytes of rows.
_TOGETHER = 8 * 1024**2


def check_days(
    store: LakeStore,
    table_slice: TableSlice,
    keys: Sequence[str],
    check: Callable[[Sequence[str]], list[tuple[str, str]]],
) -> list[Finding]:
    """The findings of ``check`` for the stored partitions ``keys``, which are in order.

    ``check`` takes some of the keys, in order, and returns (symbol, what is wrong). If it finds nothing in several
    partitions together, it must find nothing in any of them alone.
    """
    findings: list[Finding] = []
    for batch in batches(store, table_slice, keys):
        interrupts.ask()
        if len(batch) > 1 and not check(batch):
            continue
        for key in batch:
            findings += [(key, symbol, text) for symbol, text in check([key])]
    return findings


def batches(store: LakeStore, table_slice: TableSlice, keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys in order, as many together as are small enough; a large partition is alone."""
    stored = list_keys(store, table_slice)
    batch: list[str] = []
    together = 0
    for key in keys:
        size, _ = stored.get(key, (_TOGETHER, None))
        if batch and together + size > _TOGETHER:
            yield batch
            batch, together = [], 0
        batch.append(key)
        together += size
    if batch:
        yield batch


def frames(store: LakeStore, partitions: Sequence[Partition]) -> Iterator[pl.DataFrame]:
    """Rows of stored partitions of one slice: joined if they have equal columns, else one by one.

    A single partition comes in pieces that never split a primary key; an empty partition is a frame without rows.
    """
    if len(partitions) == 1:
        yield from _pieces(store, partitions[0])
        return
    rows = [piece for partition in partitions for piece in _pieces(store, partition)]
    yield from [pl.concat(rows)] if all(piece.schema == rows[0].schema for piece in rows) else rows


def _pieces(store: LakeStore, partition: Partition) -> Iterator[pl.DataFrame]:
    pieces = read_pieces(store, partition, order=partition.slice.schema.id_column)
    first = next(pieces, None)
    # An empty partition has no piece, but it has columns to check.
    yield read_partition(store, partition) if first is None else first
    for piece in pieces:
        interrupts.ask()
        yield piece
