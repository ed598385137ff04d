"""What every archive source speaks in: listed files, fetched files, rejected files, and the protocol itself.

Nothing here knows an exchange, a URL scheme or HTTP; that is in the source modules (``binance.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from crypto_lakehouse.archive.hold import HeldFile, Hold
from crypto_lakehouse.catalog import Feed


class ArchiveError(Exception):
    """The archive could not be asked (listing failed, host away). Says what, where and what to do next."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file as the archive lists it.

    ``period`` is the day (``2024-05-01``) or month (``2024-05``) in its name, which is the key of the
    partition that it belongs to; ``last_modified`` is UTC; ``etag`` is without quotes.
    """

    key: str
    symbol: str
    period: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that is on local disk or in memory, with the size listed and the sha256 that the archive states."""

    file: ArchiveFile
    path: Path | HeldFile
    sha256: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that could not be had or must not be used; ``reason`` is a code, ``detail`` is for people.

    ``sha256`` is that of the bytes that were served, where any were.
    """

    file: ArchiveFile
    reason: str
    detail: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ListedSymbol:
    """The files of one symbol that the archive lists, sorted by period; also none."""

    symbol: str
    files: list[ArchiveFile]


class ArchiveSource(Protocol):
    """Lists and fetches the files of one exchange's archive."""

    def symbols(self, feed: Feed) -> list[str]:
        """All symbols that have a folder for the feed, sorted, delisted ones included."""
        ...

    def files(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> list[ArchiveFile]:
        """Files of the symbols whose period starts in [first, end), sorted by (period, symbol)."""
        ...

    def periods(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> Iterator[tuple[str, list[str]]]:
        """Per symbol, as listings arrive: the periods in [first, end) that have a file, sorted; also none."""
        ...

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, hold: Hold | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        """Download and verify; yields one result per file, as they arrive. ``directory`` must exist.

        Small files may be held in memory instead while there is room in ``hold``, which is taken for them.
        """
        ...

    def list_and_fetch(
        self,
        feed: Feed,
        symbols: Sequence[str],
        first: date,
        end: date,
        is_wanted: Callable[[ArchiveFile], bool],
        directory: Path,
        hold: Hold | None = None,
    ) -> Iterator[ListedSymbol | FetchedFile | RejectedFile]:
        """The files of [first, end) of each symbol, and what came of those that are wanted, all as they arrive.

        ``is_wanted`` is asked once for each file as it is listed, in any thread but not in several at once. Here
        everything is listed at first; a source that can fetch meanwhile does so.
        """
        files = self.files(feed, symbols, first, end)
        of_symbols: dict[str, list[ArchiveFile]] = {symbol: [] for symbol in symbols}
        for file in files:
            of_symbols[file.symbol].append(file)
        yield from (ListedSymbol(symbol, some) for symbol, some in of_symbols.items())
        yield from self.fetch([file for file in files if is_wanted(file)], directory, hold)
