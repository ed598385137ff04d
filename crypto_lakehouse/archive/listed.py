"""An archive that lists its files, as an ArchiveSource: sync methods over the async parts.

The names of files are in the exchange's layout (``layout.py``). HTTP and checksums are in ``download.py``, the listing
protocol is in ``listing.py``, facts about feeds are in ``catalog``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

from yarl import URL

from crypto_lakehouse.archive import listing
from crypto_lakehouse.archive.addresses import Credentials, split_credentials
from crypto_lakehouse.archive.bans import BanWatch
from crypto_lakehouse.archive.download import Downloader, checksum_key, file_url
from crypto_lakehouse.archive.http_client import HttpClient, RequestError
from crypto_lakehouse.archive.layout import Checksum, KeyParts, KeyRange, Layout, Listing
from crypto_lakehouse.archive.limits import Limits, Pace
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveFile,
    ArchiveSource,
    FetchedFile,
    ListedSymbol,
    RejectedFile,
)
from crypto_lakehouse.archive.workers import filled, in_thread, run_all
from crypto_lakehouse.catalog import Feed, check_symbol, parse_partition, partition_keys

T = TypeVar("T")
Item = TypeVar("Item")

log = logging.getLogger(__name__)

_PAGES = {Listing.S3_V1: listing.pages}


class ListedArchive(ArchiveSource):
    """An exchange's archive, or a mirror of it.

    Parameters
    ----------
    layout
        The names of its files, and how it lists and protects them.
    archive_url, listing_url
        http(s) URLs of the files and of the listing. Credentials in a URL are sent as basic authentication and never
        shown.
    limits
        Parallel requests to each of the two URLs, attempts and timeouts.

    Raises
    ------
    ValueError
        For invalid URLs.
    """

    def __init__(self, layout: Layout, archive_url: str, listing_url: str, limits: Limits | None = None) -> None:
        self._layout, self._limits = layout, limits or Limits()
        self._archive_url, self._archive_auth = split_credentials(archive_url)
        self._listing_url, self._listing_auth = split_credentials(listing_url)
        self._pages = _PAGES[layout.listing]
        # Of all clients, since a day's client may ask for a few files only.
        first_pause = self._limits.timeout / 2
        self._bans = {
            url: BanWatch(url, first_pause, layout.ban, layout.absent) for url in (self._archive_url, self._listing_url)
        }
        self._pace = Pace(layout.requests_per_second)

    def symbols(self, feed: Feed) -> list[str]:
        """All symbols with a folder for the feed, sorted. Raises ArchiveError if the listing fails."""
        prefix = self._layout.symbol_folder(feed)

        async def list_folders(client: HttpClient, prefix: str) -> list[str]:
            pages = self._pages(client, self._listing_url, prefix, delimiter="/")
            return [folder async for page in pages for folder in page.prefixes]

        names = []
        for folders in self._each([prefix], self._listed(list_folders), self._listing_url, self._listing_auth):
            for folder in folders:
                try:
                    names.append(check_symbol(folder.removeprefix(prefix).removesuffix("/")))
                except ValueError as error:
                    log.warning("skipped a folder of %s at %s: %s", feed.name, self._listing_url, error)
        return sorted(set(names))

    def files(self, feed: Feed, symbols: Sequence[str], start: date, end: date) -> list[ArchiveFile]:
        """Files of ``symbols`` whose period starts in [start, end) UTC, sorted by (period, symbol).

        Raises ArchiveError if a listing fails, ValueError for a name that is not a symbol.
        """
        lists = self._of_each_symbol(feed, symbols, start, end, _listed_file)
        return sorted((file for _, files in lists for file in files), key=lambda file: (file.period, file.symbol))

    def periods(self, feed: Feed, symbols: Sequence[str], start: date, end: date) -> Iterator[tuple[str, list[str]]]:
        """Yield each symbol with its sorted periods in [start, end) UTC that have a file, as listings arrive.

        Keeps only period keys, so it can list a whole market over years. Raises as ``files`` does.
        """
        return self._of_each_symbol(feed, symbols, start, end, _listed_period)

    def _of_each_symbol(
        self,
        feed: Feed,
        symbols: Sequence[str],
        start: date,
        end: date,
        make: Callable[[KeyParts, listing.ListedObject], T],
    ) -> Iterator[tuple[str, list[T]]]:
        """Per symbol, ``make(parts of the key, object)`` of every file in [start, end), by period."""
        wanted = _checked(symbols)
        if not partition_keys(start, end, feed.cadence):
            return iter([(symbol, []) for symbol in wanted])
        return self._each(wanted, self._lister(feed, start, end, make), self._listing_url, self._listing_auth)

    def _lister(
        self, feed: Feed, start: date, end: date, make: Callable[[KeyParts, listing.ListedObject], T]
    ) -> Callable[[HttpClient, str], Awaitable[tuple[str, list[T]]]]:
        """A function that lists one symbol and raises ArchiveError on failure."""
        periods = len(partition_keys(start, end, feed.cadence))
        # One key past the end shows that the range is complete.
        max_keys = min(listing.MAX_KEYS, self._keys_of_a_file * periods + 1)

        async def in_range(client: HttpClient, keys: KeyRange) -> AsyncIterator[tuple[KeyParts, listing.ListedObject]]:
            url = self._listing_url
            async for page in self._pages(client, url, keys.prefix, marker=keys.marker, max_keys=max_keys):
                for item in page.objects:
                    if (parts := self._layout.parse(feed, item.object_key)) is None:
                        continue
                    try:
                        day, _ = parse_partition(parts.period, feed.cadence)
                    except ValueError:
                        continue
                    if day >= end:
                        return
                    if day >= start:
                        yield parts, item

        async def list_symbol(client: HttpClient, symbol: str) -> tuple[str, list[T]]:
            results: list[T] = []
            for keys in self._layout.ranges(feed, symbol, start, end):
                async for parts, item in in_range(client, keys):
                    self._bans[self._archive_url].noted(self._small_url(item.object_key))
                    results.append(make(parts, item))
            return symbol, results

        return self._listed(list_symbol)

    @property
    def _keys_of_a_file(self) -> int:
        return 1 if self._layout.checksum is Checksum.NONE else 2

    def _small_url(self, object_key: str) -> URL:
        """The URL that shows at the least cost whether the archive serves a file."""
        name = object_key if self._layout.checksum is Checksum.NONE else checksum_key(object_key)
        return file_url(self._archive_url, name)

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, budget: MemoryBudget | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        """Download and verify into ``directory``, small files into ``budget`` while it has room; yields one result per
        file, as they arrive.

        Files that are already complete, with the checksum that the archive states, are not downloaded again; partial
        files are resumed. Unsafe file names are rejected. Closing the iterator stops the downloads. Raises ArchiveError
        if the folder is missing or cannot be written.
        """
        _check_folder(directory)
        return self._each(files, self._fetcher(directory, budget), self._archive_url, self._archive_auth)

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
        """As in ArchiveSource, with up to ``concurrency`` parallel requests to each of the two URLs.

        Raises as ``files`` and ``fetch`` do.
        """
        names = _checked(symbols)
        _check_folder(directory)
        list_one, fetch_one = self._lister(feed, start, end, _listed_file), self._fetcher(directory, budget)

        async def main(emit: Callable[[ListedSymbol | FetchedFile | RejectedFile], None]) -> None:
            wanted: asyncio.Queue[ArchiveFile | None] = asyncio.Queue()

            async def list_symbol(client: HttpClient, symbol: str) -> ListedSymbol:
                _, files = await list_one(client, symbol)
                for file in filter(is_wanted, files):
                    wanted.put_nowait(file)
                return ListedSymbol(symbol, files)

            async def list_all() -> None:
                async with self._client(self._listing_url, self._listing_auth) as client:
                    await self._work(client, filled(names), list_symbol, emit)
                wanted.put_nowait(None)

            async def fetch_all() -> None:
                async with self._client(self._archive_url, self._archive_auth) as client:
                    await self._work(client, wanted, fetch_one, emit)

            await run_all([list_all(), fetch_all()])

        return in_thread(main)

    def _fetcher(
        self, directory: Path, budget: MemoryBudget | None
    ) -> Callable[[HttpClient, ArchiveFile], Awaitable[FetchedFile | RejectedFile]]:
        async def fetch_file(client: HttpClient, file: ArchiveFile) -> FetchedFile | RejectedFile:
            return await Downloader(
                client, self._layout, self._archive_url, directory, self._listed_again, budget
            ).fetch(file)

        return fetch_file

    async def _listed_again(self, file: ArchiveFile) -> ArchiveFile | None:
        """The file as the archive lists it now; None if it is no longer listed."""
        async with self._client(self._listing_url, self._listing_auth) as client:
            async for page in self._pages(client, self._listing_url, file.object_key, max_keys=1):
                for item in page.objects:
                    if item.object_key == file.object_key:
                        return _listed_file(KeyParts(file.symbol, file.period), item)
                break
        return None

    def _client(self, url: str, auth: Credentials | None) -> HttpClient:
        return HttpClient(url, self._limits, self._bans[url], self._pace, auth)

    def _listed(self, task: Callable[[HttpClient, str], Awaitable[T]]) -> Callable[[HttpClient, str], Awaitable[T]]:
        """``task``, which raises ArchiveError for a failed request."""

        async def wrapped(client: HttpClient, name: str) -> T:
            try:
                return await task(client, name)
            except RequestError as error:
                raise ArchiveError(
                    f"cannot list {name} at {self._listing_url}: {error} (up to {self._limits.attempts} attempts)."
                    " Check the network, the proxy and the URL of the listing, then run again"
                ) from error

        return wrapped

    def _each(
        self,
        items: Iterable[Item],
        task: Callable[[HttpClient, Item], Awaitable[T]],
        url: str,
        auth: Credentials | None,
    ) -> Iterator[T]:
        """Results of ``task`` for all items, as they arrive, from ``concurrency`` workers with a client of ``url``."""

        async def main(emit: Callable[[T], None]) -> None:
            async with self._client(url, auth) as client:
                await self._work(client, filled(items), task, emit)

        return in_thread(main)

    async def _work(
        self,
        client: HttpClient,
        items: asyncio.Queue[Item | None],
        task: Callable[[HttpClient, Item], Awaitable[T]],
        emit: Callable[[T], None],
    ) -> None:
        """Emit ``task`` of each item, up to None, with ``concurrency`` workers."""

        async def worker() -> None:
            while (item := await items.get()) is not None:
                emit(await task(client, item))
            # For the next worker.
            items.put_nowait(None)

        await run_all(worker() for _ in range(self._limits.concurrency))


def _checked(symbols: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(check_symbol(symbol) for symbol in symbols))


def _check_folder(directory: Path) -> None:
    if not directory.is_dir():
        raise ArchiveError(f"cannot download to {directory}: there is no such folder; create it first")


def _listed_file(parts: KeyParts, item: listing.ListedObject) -> ArchiveFile:
    return ArchiveFile(item.object_key, parts.symbol, parts.period, item.size, item.etag, item.last_modified)


def _listed_period(parts: KeyParts, _item: listing.ListedObject) -> str:
    return parts.period
