"""Days of minutes for the gold layer: only the columns that are needed, read in threads before they are asked for, and
made there into what is kept of them.

What is made of them is in ``gold.py`` and ``day_bars.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.lake.origin import source_of
from crypto_lakehouse.lake.partitions import open_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.side_by_side import THREADS

Made = TypeVar("Made")


class Minutes(Generic[Made]):
    """What ``make`` makes of days of one table of a market, whose symbols are a dictionary, and of the fingerprint of
    what each was made from: that of the very file that is read, which may be replaced meanwhile. To be closed.
    """

    def __init__(
        self,
        store: LakeStore,
        layer: str,
        table: str,
        place: tuple[str, str],
        columns: Sequence[str],
        make: Callable[[pa.Table, str], Made],
    ) -> None:
        self._store, self._layer, self._table, self._place = store, layer, table, place
        self._columns, self._make = list(columns), make
        self._pool = ThreadPoolExecutor(THREADS, "lakehouse-minutes")
        self._begun: dict[str, Future[Made]] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, keys: Iterable[str]) -> None:
        """Begin to read these days, which are going to be taken; forget others that were not."""
        self._begun = {key: self._begun.get(key) or self._pool.submit(self._read, key) for key in keys}

    def take(self, key: str) -> Made:
        """What is made of a day's rows, which are in order. Raises MissingPartition if it does not exist."""
        begun = self._begun.pop(key, None)
        return begun.result() if begun else self._read(key)

    def _read(self, key: str) -> Made:
        with open_partition(self._store, self._layer, self._table, *self._place, key) as source:
            # Reading ahead is for round trips; from a disk it takes longer than reading.
            parquet = pq.ParquetFile(source, pre_buffer=not self._store.is_local, read_dictionary=["symbol"])
            # One thread a day takes less time in all than many threads a day.
            rows = parquet.read(columns=self._columns, use_threads=False)
            source = source_of(parquet.metadata)
        return self._make(rows, source)
