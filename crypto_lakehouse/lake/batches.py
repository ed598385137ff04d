"""A partition read in batches, so that memory does not grow with it: for days of which one symbol has millions of rows.

Here belongs reading alone. What the rows mean is the caller's business; small partitions are read by
``partitions.read_partition``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from crypto_lakehouse.lake.partitions import scan_partitions
from crypto_lakehouse.lake.store import LakeStore

# With the eight columns that klines need, a batch takes about ten megabytes, and its work some times that.
BATCH_ROWS = 100_000


def partition_batches(
    store: LakeStore,
    layer: str,
    table: str,
    exchange: str,
    market: str,
    key: str,
    columns: Sequence[str],
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pl.DataFrame]:
    """The partition's rows in primary key order, at most ``batch_rows`` at once, with the named columns only.

    A partition without rows gives no batch. Raises MissingPartition if it does not exist.
    """
    rows = scan_partitions(store, layer, table, exchange, market, [key])
    height = rows.select(pl.len()).collect().item()
    for first in range(0, height, batch_rows):
        yield rows.select(columns).slice(first, batch_rows).collect()
