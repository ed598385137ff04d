"""Read days of minutes for the gold layer: only the needed columns, in threads, ahead of use.

The threads also convert the rows; ``continuous.py`` and ``bars.py`` supply the conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.concurrency.map_ordered import THREADS
from crypto_lakehouse.lake.storage.partitions import open_partition
from crypto_lakehouse.lake.storage.provenance import Provenance, provenance_of
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

Result = TypeVar("Result")


class Minutes(Generic[Result]):
    """Days of one table of a market, converted by ``make``. Close it after use.

    ``make`` gets the rows of a day, whose symbols are a dictionary, and the provenance of the file that was read. It
    comes from the same file, because another run may replace the partition meanwhile.
    """

    def __init__(
        self,
        store: LakeStore,
        table_slice: TableSlice,
        columns: Sequence[str],
        make: Callable[[pa.Table, Provenance], Result],
    ) -> None:
        self._store, self._slice = store, table_slice
        self._columns, self._make = list(columns), make
        self._pool = ThreadPoolExecutor(THREADS, "lakehouse-minutes")
        self._reads: dict[str, Future[Result]] = {}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, keys: Iterable[str]) -> None:
        """Start to read these days, which the caller will take; forget other days that were not taken."""
        self._reads = {key: self._reads.get(key) or self._pool.submit(self._read, key) for key in keys}

    def take(self, key: str) -> Result:
        """The converted rows of a day; ``make`` gets them in order. Raises MissingPartition if the day is missing."""
        read = self._reads.pop(key, None)
        return read.result() if read else self._read(key)

    def _read(self, key: str) -> Result:
        with open_partition(self._store, self._slice.partition(key)) as source:
            # Pre-buffering saves network round trips; on a local disk it is slower than plain reads.
            parquet = pq.ParquetFile(source, pre_buffer=not self._store.is_local, read_dictionary=["symbol"])
            # One thread per day takes less time in total than many threads per day.
            rows = parquet.read(columns=self._columns, use_threads=False)
            provenance = provenance_of(parquet.metadata)
        return self._make(rows, provenance)
