"""Days of minutes for the gold layer: only the columns that are needed, read in threads before they are asked for.

What is made of them is in ``gold.py`` and ``day_bars.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl
import pyarrow.parquet as pq

from crypto_lakehouse.lake.parquet import frame_of
from crypto_lakehouse.lake.partitions import open_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.side_by_side import THREADS


class Minutes:
    """Daily partitions of one table of a market. To be closed."""

    def __init__(
        self, store: LakeStore, layer: str, table: str, place: tuple[str, str], columns: Sequence[str]
    ) -> None:
        self._store, self._layer, self._table, self._place = store, layer, table, place
        self._columns = list(columns)
        self._pool = ThreadPoolExecutor(THREADS, "lakehouse-minutes")
        self._begun: dict[str, Future[pl.DataFrame]] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, keys: Iterable[str]) -> None:
        """Begin to read these days, which are going to be taken; forget others that were not."""
        self._begun = {key: self._begun.get(key) or self._pool.submit(self._read, key) for key in keys}

    def take(self, key: str) -> pl.DataFrame:
        """The rows of a day, in order. Raises MissingPartition if it does not exist."""
        begun = self._begun.pop(key, None)
        return begun.result() if begun else self._read(key)

    def _read(self, key: str) -> pl.DataFrame:
        with open_partition(self._store, self._layer, self._table, *self._place, key) as source:
            # One thread a day takes less time in all than many threads a day.
            parquet = pq.ParquetFile(source, pre_buffer=True, read_dictionary=["symbol"])
            return frame_of(parquet.read(columns=self._columns, use_threads=False))
