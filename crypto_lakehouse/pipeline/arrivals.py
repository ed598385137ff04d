"""Archive files in a known order, fetched some ahead of the one that is worked on, and let go behind it.

Here belongs what lies in the temporary folder or in memory, and the choice between the raw layer and the archive. What
is done with a file is in ``bronze.py``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from crypto_lakehouse.archive.hold import HeldFile, Hold
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.lake.raw import RawStore

# So many bytes of zips are there at a time, or one larger file, and so many of them in memory.
_FETCHED_AT_ONCE, _HELD = 1024**3, 64 * 1024**2


class Arrivals:
    """Files in a known order, fetched some ahead: from the raw layer where the listing says they are the same."""

    def __init__(
        self,
        source: ArchiveSource,
        raw: RawStore,
        folder: Path,
        wanted: Sequence[tuple[ArchiveFile, dict[str, Any] | None]],
    ) -> None:
        self._source, self._raw, self._folder = source, raw, folder
        self._hold = Hold(_HELD)
        self._batches = _batches(wanted)
        self._fetched: Iterator[FetchedFile | RejectedFile] = iter(())
        self._there: dict[str, FetchedFile | RejectedFile] = {}

    def take(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """What came of a file; those before it in the order have been taken."""
        while file.key not in self._there:
            result = next(self._fetched, None)
            if result is None:
                self._next_batch()
            else:
                self._there[result.file.key] = result
        return self._there[file.key]

    def drop(self, file: ArchiveFile) -> None:
        """Let go of a file that was taken."""
        result = self._there.pop(file.key, None)
        if not isinstance(result, FetchedFile):
            return
        if isinstance(result.path, HeldFile):
            self._hold.give_back(len(result.path.content))
        elif result.path.parent == self._folder:
            result.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop what is still being fetched."""
        if isinstance(self._fetched, Generator):
            self._fetched.close()

    def _next_batch(self) -> None:
        missing = []
        for file, row in next(self._batches):
            known = self._from_raw(file, row)
            if known is None:
                missing.append(file)
            else:
                self._there[file.key] = known
        self._fetched = iter(self._source.fetch(missing, self._folder, self._hold)) if missing else iter(())

    def _from_raw(self, file: ArchiveFile, row: dict[str, Any] | None) -> FetchedFile | None:
        if row is None or row["status"] != "ingested":
            return None
        if (row["etag"], row["size"], row["last_modified"]) != (file.etag, file.size, file.last_modified):
            return None
        path = self._raw.get(file.key, row["sha256"], self._folder)
        return None if path is None else FetchedFile(file, path, row["sha256"])


def _batches(
    wanted: Sequence[tuple[ArchiveFile, dict[str, Any] | None]],
) -> Iterator[list[tuple[ArchiveFile, dict[str, Any] | None]]]:
    batch: list[tuple[ArchiveFile, dict[str, Any] | None]] = []
    size = 0
    for file, row in wanted:
        if batch and size + file.size > _FETCHED_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append((file, row))
        size += file.size
    if batch:
        yield batch
