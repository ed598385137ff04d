"""Archive files in a known order, fetched some ahead of the one that is worked on, and let go behind it.

Here belongs what lies in the temporary folder or in memory, and the choice between the raw layer and the archive. What
is done with a file is in ``bronze.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

from crypto_lakehouse.archive.hold import HeldFile, Hold
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, ListedSymbol, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.raw import RawStore

# So many bytes of zips are fetched at a time, or one larger file; so many are in memory, what is more on disk.
_FETCHED_AT_ONCE, _HELD = 1024**3, 64 * 1024**2


_Wanted: TypeAlias = tuple[ArchiveFile, Mapping[str, Any] | None]


class Arrivals:
    """Files in a known order, fetched some ahead: from the raw layer where the listing says they are the same."""

    def __init__(self, source: ArchiveSource, raw: RawStore, folder: Path) -> None:
        self._source, self._raw, self._folder = source, raw, folder
        self._hold = Hold(_HELD)
        self._batches: Iterator[list[_Wanted]] = iter(())
        self._coming: Iterator[ListedSymbol | FetchedFile | RejectedFile] = iter(())
        self._listed: dict[str, list[ArchiveFile]] = {}
        self._there: dict[str, FetchedFile | RejectedFile] = {}
        # Fetched while files were still listed.
        self._early: set[str] = set()

    def listed(
        self, feed: Feed, symbols: Sequence[str], first: date, end: date, is_early: Callable[[ArchiveFile], bool]
    ) -> Iterator[tuple[str, list[ArchiveFile]]]:
        """The files of [first, end) that the archive lists, by symbol, in the order of ``symbols``.

        Those that ``is_early`` says are fetched as soon as they are listed, as far as there is room.
        """
        left = _FETCHED_AT_ONCE

        def is_wanted(file: ArchiveFile) -> bool:
            nonlocal left
            if file.size > left or not is_early(file):
                return False
            left -= file.size
            self._early.add(file.key)
            return True

        source, hold = self._source, self._hold
        self._coming = source.list_and_fetch(feed, symbols, first, end, is_wanted, self._folder, hold)
        for symbol in symbols:
            while symbol not in self._listed and self._has_more():
                pass
            yield symbol, self._listed.pop(symbol)

    def want(self, wanted: Iterable[_Wanted]) -> None:
        """Files that are going to be taken, in their order, with what the ledger knows of each."""
        self._batches = _batches(wanted)

    def take(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """What came of a file that is wanted; those before it have been taken."""
        while file.key not in self._there:
            if not self._has_more():
                self._next_batch()
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
        if isinstance(self._coming, Generator):
            self._coming.close()

    def _has_more(self) -> bool:
        """Whether something more has come of what is listed or fetched."""
        item = next(self._coming, None)
        if isinstance(item, ListedSymbol):
            self._listed[item.symbol] = item.files
        elif item is not None:
            self._there[item.file.key] = item
        return item is not None

    def _next_batch(self) -> None:
        missing = []
        for file, row in next(self._batches):
            if file.key in self._early:
                continue
            known = self._from_raw(file, row)
            if known is None:
                missing.append(file)
            else:
                self._there[file.key] = known
        self._coming = iter(self._source.fetch(missing, self._folder, self._hold)) if missing else iter(())

    def _from_raw(self, file: ArchiveFile, row: Mapping[str, Any] | None) -> FetchedFile | None:
        if row is None or row["status"] != "ingested":
            return None
        if (row["etag"], row["size"], row["last_modified"]) != (file.etag, file.size, file.last_modified):
            return None
        path = self._raw.get(file.key, row["sha256"], self._folder)
        # What is listed can have been fetched when an older version was still served.
        if path is None or path.stat().st_size != file.size:
            return None
        return FetchedFile(file, path, row["sha256"])


def _batches(wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    batch: list[_Wanted] = []
    size = 0
    for file, row in wanted:
        if batch and size + file.size > _FETCHED_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append((file, row))
        size += file.size
    if batch:
        yield batch
