"""Fetch archive files in a known order, ahead of the file in work, and release them after use.

This module manages the temporary folder and the files in memory, and chooses between the raw layer and the archive.
``partitions.py`` decides what to do with a file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

from crypto_lakehouse.archive.memory_budget import HeldFile, MemoryBudget
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, ListedSymbol, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.concurrency.share import share_of
from crypto_lakehouse.lake.storage.raw import RawStore

# One batch holds at most this many bytes of zips, or one larger file. Beyond the second number, files go to disk.
_FETCHED_AT_ONCE, _IN_MEMORY = 1024**3, 64 * 1024**2


_Wanted: TypeAlias = tuple[ArchiveFile, Mapping[str, Any] | None]


class DownloadQueue:
    """Files in a known order, fetched ahead: from the raw layer if the archive lists the same version."""

    def __init__(self, source: ArchiveSource, raw: RawStore, folder: Path) -> None:
        self._source, self._raw, self._folder = source, raw, folder
        self._budget = MemoryBudget(share_of(_IN_MEMORY))
        self._batches: Iterator[list[_Wanted]] = iter(())
        self._coming: Iterator[ListedSymbol | FetchedFile | RejectedFile] = iter(())
        self._listed: dict[str, list[ArchiveFile]] = {}
        self._results: dict[str, FetchedFile | RejectedFile] = {}
        # Keys of files that are fetched while the listing goes on.
        self._early: set[str] = set()

    def listed(
        self, feed: Feed, symbols: Sequence[str], first: date, end: date, is_early: Callable[[ArchiveFile], bool]
    ) -> Iterator[tuple[str, list[ArchiveFile]]]:
        """Yield (symbol, its listed files of the days [first, end)), in the order of ``symbols``.

        Files for which ``is_early`` is true are fetched as soon as they are listed, within the size of one batch.
        """
        room = _FETCHED_AT_ONCE

        def is_wanted(file: ArchiveFile) -> bool:
            nonlocal room
            if file.size > room or not is_early(file):
                return False
            room -= file.size
            self._early.add(file.object_key)
            return True

        source, budget = self._source, self._budget
        self._coming = source.list_and_fetch(feed, symbols, first, end, is_wanted, self._folder, budget)
        for symbol in symbols:
            while symbol not in self._listed and self._has_more():
                pass
            yield symbol, self._listed.pop(symbol)

    def want(self, wanted: Iterable[_Wanted]) -> None:
        """Announce the files to take, in order, each with its ledger row or None."""
        self._batches = _batches(wanted)

    def take(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """Return a wanted file after fetching it. Take files in the order of ``want``."""
        while file.object_key not in self._results:
            if not self._has_more():
                self._next_batch()
        return self._results[file.object_key]

    def drop(self, file: ArchiveFile) -> None:
        """Release a taken file: free its memory or delete its temporary file."""
        result = self._results.pop(file.object_key, None)
        if not isinstance(result, FetchedFile):
            return
        if isinstance(result.path, HeldFile):
            self._budget.give_back(len(result.path.content))
        elif result.path.is_relative_to(self._folder):
            result.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop the running downloads."""
        if isinstance(self._coming, Generator):
            self._coming.close()

    def _has_more(self) -> bool:
        """Receive one more listed symbol or fetched file. Returns False when none is left."""
        item = next(self._coming, None)
        if isinstance(item, ListedSymbol):
            self._listed[item.symbol] = item.files
        elif item is not None:
            self._results[item.file.object_key] = item
        return item is not None

    def _next_batch(self) -> None:
        missing = []
        for file, row in next(self._batches):
            if file.object_key in self._early:
                continue
            known = self._from_raw(file, row)
            if known is None:
                missing.append(file)
            else:
                self._results[file.object_key] = known
        self._coming = iter(self._source.fetch(missing, self._folder, self._budget)) if missing else iter(())

    def _from_raw(self, file: ArchiveFile, row: Mapping[str, Any] | None) -> FetchedFile | None:
        if row is None or row["status"] != "ingested":
            return None
        if (row["etag"], row["size"], row["last_modified"]) != (file.etag, file.size, file.last_modified):
            return None
        path = self._raw.get(file.object_key, row["sha256"], self._folder)
        # The archive may have served an older version after it listed the new one, so compare sizes too.
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
