"""The differences between two versions of a partition, compared in pieces of bounded size.

The comparison of rows is in ``transforms/checks/changes.py``, versions are in ``revisions.py`` and ``as_of.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import polars as pl

from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import Partition
from crypto_lakehouse.transforms.checks.changes import changes, combined


def partition_changes(old: LakeStore, new: LakeStore, partition: Partition) -> pl.DataFrame:
    """Return the changes of a partition between two stores of a lake, per symbol; a missing version has no rows.

    Raises PurgedVersion if the rows of a version were purged, LakeError if the storage refuses.
    """
    schema = partition.slice.schema
    key, prices = schema.primary_key, price_columns(schema)
    return combined(changes(before, after, key, prices) for before, after in _pairs(old, new, partition, schema))


def price_columns(schema: Schema) -> list[str]:
    """Return the columns of a table with prices."""
    return [column.name for column in schema.columns if column.unit.startswith("quote asset per base asset")]


def _pairs(
    old: LakeStore, new: LakeStore, partition: Partition, schema: Schema
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield frames of both versions with the same symbols or, in a table of very many rows, the same ids."""
    empty = pl.DataFrame(schema.empty())
    if schema.id_column is None:
        yield from _aligned(_pieces(old, partition), _pieces(new, partition), "symbol", empty)
        return
    symbols = {symbol for store in (old, new) for symbol in _symbols(store, partition)}
    for symbol in sorted(symbols):
        before, after = (_of_symbol(store, partition, schema.id_column, symbol) for store in (old, new))
        yield from _aligned(before, after, schema.id_column, empty)


def _aligned(
    old: Iterator[pl.DataFrame], new: Iterator[pl.DataFrame], column: str, empty: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Cut two streams of frames, both in order of a column, at the same values of it."""
    streams, left = (old, new), [next(old, None), next(new, None)]
    while rest := [frame for frame in left if frame is not None]:
        end = min(frame[column].max() for frame in rest)  # type: ignore[type-var]
        pair = []
        for number, frame in enumerate(left):
            if frame is None:
                pair.append(empty)
                continue
            pair.append(frame.filter(pl.col(column) <= end))
            later = frame.filter(pl.col(column) > end)
            left[number] = later if later.height else next(streams[number], None)
        yield pair[0], pair[1]


def _pieces(
    store: LakeStore, partition: Partition, order: str | None = None, symbol: str | None = None
) -> Iterator[pl.DataFrame]:
    with suppress(MissingPartition):
        yield from (piece for piece in read_pieces(store, partition, order=order, symbol=symbol) if piece.height)


def _of_symbol(store: LakeStore, partition: Partition, order: str, symbol: str) -> Iterator[pl.DataFrame]:
    of_symbol = (piece.filter(pl.col("symbol") == symbol) for piece in _pieces(store, partition, order, symbol))
    return (piece for piece in of_symbol if piece.height)


def _symbols(store: LakeStore, partition: Partition) -> Iterator[str]:
    with suppress(MissingPartition):
        for piece in read_pieces(store, partition, columns=["symbol"]):
            yield from piece["symbol"].unique()
