"""The protocol of archive sources, and its types: listed files, fetched files, rejected files.

URLs and HTTP belong to the source (``listed.py``), the names of files to the layout of an exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from crypto_lakehouse.archive.memory_budget import HeldFile, MemoryBudget
from crypto_lakehouse.catalog import Feed


class ArchiveError(Exception):
    """The archive cannot be used, for example because a listing failed. Says what, where and what to do next."""


class ArchiveBanError(ArchiveError):
    """The archive refuses everything, also after pauses: further requests would only prolong a ban."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file as the archive lists it.

    ``object_key`` is its key in the archive; ``period`` is the day (``2024-05-01``) or month (``2024-05``) in its name,
    which is the key of its partition; ``size`` is in bytes; ``last_modified`` is UTC; ``etag`` has no quotes.
    """

    object_key: str
    symbol: str
    period: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class MonthDay(ArchiveFile):
    """A day of a monthly file: ``period`` is the day, the other fields are those of the monthly file.

    ``daily`` is the daily file that the archive lists for the same symbol and day, if any.
    """

    daily: ArchiveFile | None = None

    @classmethod
    def of(cls, month: ArchiveFile, day: str, daily: ArchiveFile | None) -> MonthDay:
        """The day of a monthly file."""
        facts = (month.object_key, month.symbol, day, month.size, month.etag, month.last_modified)
        return cls(*facts, daily)

    @property
    def month(self) -> ArchiveFile:
        """The monthly file."""
        return ArchiveFile(self.object_key, self.symbol, self.period[:7], self.size, self.etag, self.last_modified)


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A downloaded file, on disk or in memory, with the listed size and the sha256 of its bytes.

    The bytes have the checksum that the archive states, if it states one.
    """

    file: ArchiveFile
    path: Path | HeldFile
    sha256: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that could not be fetched or must not be used; ``reason`` is a code, ``detail`` is for people.

    ``sha256`` is that of the bytes served; None if there were none.
    """

    file: ArchiveFile
    reason: str
    detail: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ListedSymbol:
    """The files that the archive lists for one symbol, sorted by period; may be empty."""

    symbol: str
    files: list[ArchiveFile]


class ArchiveSource(Protocol):
    """Lists and fetches the files of one exchange's archive."""

    def symbols(self, feed: Feed) -> list[str]:
        """All symbols that have a folder for the feed, sorted, delisted ones included."""
        ...

    def files(self, feed: Feed, symbols: Sequence[str], start: date, end: date) -> list[ArchiveFile]:
        """Files of the symbols whose period starts in [start, end) UTC, sorted by (period, symbol)."""
        ...

    def periods(self, feed: Feed, symbols: Sequence[str], start: date, end: date) -> Iterator[tuple[str, list[str]]]:
        """Yield each symbol with its sorted periods in [start, end) that have a file, as listings arrive."""
        ...

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, budget: MemoryBudget | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        """Download and verify; yields one result per file, as they arrive. ``directory`` must exist.

        Small files may stay in memory instead while ``budget`` has room; they reserve it.
        """
        ...

    def list_and_fetch(
        self,
        feed: Feed,
        symbols: Sequence[str],
        start: date,
        end: date,
        is_wanted: Callable[[ArchiveFile], bool],
        directory: Path,
        budget: MemoryBudget | None = None,
    ) -> Iterator[ListedSymbol | FetchedFile | RejectedFile]:
        """Yield the listed files of each symbol in [start, end), and the results of fetching the wanted ones, as they
        arrive.

        ``is_wanted`` is called once for each listed file, in any thread, but never in several at once. This default
        lists everything first; sources that can fetch while listing override it.
        """
        files = self.files(feed, symbols, start, end)
        of_symbols: dict[str, list[ArchiveFile]] = {symbol: [] for symbol in symbols}
        for file in files:
            of_symbols[file.symbol].append(file)
        yield from (ListedSymbol(symbol, listed) for symbol, listed in of_symbols.items())
        yield from self.fetch([file for file in files if is_wanted(file)], directory, budget)
