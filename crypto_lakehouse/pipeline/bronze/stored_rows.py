"""Read the rows of unchanged files from a stored bronze partition, so that they are not fetched and parsed again.

``days.py`` decides which files are unchanged; ``partitions.py`` stores the rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import polars as pl
import pyarrow as pa

from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.partitions import partition_exists
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice


class StoredRows:
    """Rows of a stored partition, read once and only as far as needed; no rows if the partition is missing."""

    def __init__(self, store: LakeStore, feed: Feed, key: str) -> None:
        self._files = _by_file(store, feed, key)
        self._ahead: pl.DataFrame | None = None

    def take(self, file: ArchiveFile, sha256: str) -> Iterator[pa.Table]:
        """The rows of the version ``sha256`` of a file, in order. Take files in the order of the table."""
        while (rows := self._ahead if self._ahead is not None else next(self._files, None)) is not None:
            position = (rows["symbol"][0], rows["source_key"][0])
            self._ahead = rows if position > (file.symbol, file.object_key) else None
            if self._ahead is not None:
                return
            if position == (file.symbol, file.object_key) and rows["source_sha256"][0] == sha256:
                yield rows.to_arrow()

    def close(self) -> None:
        """Close the partition."""
        self._files.close()


def _by_file(store: LakeStore, feed: Feed, key: str) -> Generator[pl.DataFrame]:
    partition = TableSlice.of_feed("bronze", feed).partition(key)
    if not partition_exists(store, partition):
        return
    for piece in read_pieces(store, partition, order="source_line" if feed.file_format.large else None):
        yield from piece.partition_by("symbol", "source_key", "source_sha256", maintain_order=True)
