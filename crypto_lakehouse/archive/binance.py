"""The Binance public archive as an ArchiveSource: its key layout, and sync methods over the async parts.

Contains Binance's folders and file names. HTTP and checksums are in ``download.py``, the listing protocol is in
``listing.py``, facts about feeds are in ``catalog``.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive import listing
from crypto_lakehouse.archive.addresses import split_credentials
from crypto_lakehouse.archive.bans import BanWatch
from crypto_lakehouse.archive.download import Downloader, file_url
from crypto_lakehouse.archive.http_client import HttpClient, RequestError
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveFile,
    ArchiveSource,
    FetchedFile,
    ListedSymbol,
    RejectedFile,
)
from crypto_lakehouse.catalog import Feed, check_symbol, parse_partition, partition_key, partition_keys

T = TypeVar("T")
Item = TypeVar("Item")

log = logging.getLogger(__name__)


class BinanceArchive(ArchiveSource):
    """The Binance public archive, or a mirror of it.

    Parameters
    ----------
    archive_url, listing_url
        http(s) URLs of the files and of the bucket listing. Credentials in a URL are sent as basic authentication
        and never shown.
    concurrency
        Maximum number of parallel requests to each of the two URLs.
    attempts
        Maximum number of attempts per request.
    timeout
        Longest silence while connecting or reading, in seconds.
    least_rate
        Minimum rate of a body in bytes per second, measured over ``timeout`` seconds of waiting.

    Raises
    ------
    ValueError
        For numbers out of range and for invalid URLs.
    """

    def __init__(
        self,
        archive_url: str,
        listing_url: str,
        concurrency: int = 128,
        attempts: int = 5,
        timeout: float = 60.0,
        least_rate: float = 1000.0,
    ) -> None:
        if concurrency < 1 or attempts < 1 or timeout <= 0 or least_rate < 0:
            raise ValueError("concurrency and attempts must be at least 1, timeout more than 0 s, least_rate 0 or more")
        self._archive_url, self._archive_auth = split_credentials(archive_url)
        self._listing_url, self._listing_auth = split_credentials(listing_url)
        self._concurrency = concurrency
        self._attempts = attempts
        self._timeout = timeout
        self._least_rate = least_rate
        # Of all clients, since a day's client may ask for a few files only.
        self._bans = {url: BanWatch(url, timeout / 2) for url in (self._archive_url, self._listing_url)}

    def symbols(self, feed: Feed) -> list[str]:
        """All symbols with a folder for the feed, sorted. Raises ArchiveError if the listing fails."""
        prefix = _folder(feed)

        async def one(client: HttpClient, prefix: str) -> list[str]:
            pages = listing.pages(client, self._listing_url, prefix, delimiter="/")
            return [folder async for page in pages for folder in page.prefixes]

        names = []
        for folders in self._each([prefix], self._listed(one), self._listing_url, self._listing_auth):
            for folder in folders:
                try:
                    names.append(check_symbol(folder.removeprefix(prefix).removesuffix("/")))
                except ValueError as error:
                    log.warning("skipped a folder of %s at %s: %s", feed.name, self._listing_url, error)
        return sorted(set(names))

    def files(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> list[ArchiveFile]:
        """Files of ``symbols`` whose period starts in [first, end) UTC, sorted by (period, symbol).

        Raises ArchiveError if a listing fails, ValueError for a name that is no symbol.
        """
        lists = self._of_each_symbol(feed, symbols, first, end, _listed_file)
        return sorted((file for _, files in lists for file in files), key=lambda file: (file.period, file.symbol))

    def periods(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> Iterator[tuple[str, list[str]]]:
        """Yield each symbol with its sorted periods in [first, end) UTC that have a zip, as listings arrive.

        Keeps only period keys, so it can list a whole market over years. Raises as ``files`` does.
        """
        return self._of_each_symbol(feed, symbols, first, end, _listed_period)

    def _of_each_symbol(
        self,
        feed: Feed,
        symbols: Sequence[str],
        first: date,
        end: date,
        make: Callable[[str, str, listing.ListedObject], T],
    ) -> Iterator[tuple[str, list[T]]]:
        """Per symbol, ``make(symbol, period, object)`` of every zip in [first, end), by period."""
        wanted = _checked(symbols)
        if not partition_keys(first, end, feed.cadence):
            return iter([(symbol, []) for symbol in wanted])
        return self._each(wanted, self._lister(feed, first, end, make), self._listing_url, self._listing_auth)

    def _lister(
        self, feed: Feed, first: date, end: date, make: Callable[[str, str, listing.ListedObject], T]
    ) -> Callable[[HttpClient, str], Awaitable[tuple[str, list[T]]]]:
        """A function that lists one symbol and raises ArchiveError on failure."""
        periods = len(partition_keys(first, end, feed.cadence))
        # Each file has a CHECKSUM next to it, and one key past the end shows that the range is complete.
        max_keys = min(listing.MAX_KEYS, 2 * periods + 1)

        async def one(client: HttpClient, symbol: str) -> tuple[str, list[T]]:
            interval = f"{feed.interval.name}/" if feed.interval else ""
            prefix = f"{_folder(feed)}{symbol}/{interval}"
            stem = f"{prefix}{symbol}-{feed.interval.name if feed.interval else feed.archive_type}-"
            marker = stem + partition_key(first, feed.cadence)
            results: list[T] = []
            async for page in listing.pages(client, self._listing_url, prefix, marker=marker, max_keys=max_keys):
                for item in page.objects:
                    period = item.key.removeprefix(stem).removesuffix(".zip")
                    if item.key != f"{stem}{period}.zip" or not period.isascii():
                        continue
                    try:
                        start, _ = parse_partition(period, feed.cadence)
                    except ValueError:
                        continue
                    if start >= end:
                        return symbol, results
                    if start >= first:
                        self._bans[self._archive_url].noted(file_url(self._archive_url, f"{item.key}.CHECKSUM"))
                        results.append(make(symbol, period, item))
            return symbol, results

        return self._listed(one)

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, budget: MemoryBudget | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        """Download and verify into ``directory``, small files into ``budget`` while it has room; yields one result per
        file, as they arrive.

        Files that are already complete, with the stated sha256, are not downloaded again; partial files are resumed.
        Unsafe file names are rejected. Closing the iterator stops the downloads. Raises ArchiveError if the folder is
        missing or cannot be written, ValueError if two keys have the same file name.
        """
        _check_folder(directory)
        keys: dict[str, str] = {}
        for file in files:
            name = file.key.rpartition("/")[2]
            if name in keys:
                raise ValueError(f"{keys[name]} and {file.key} would both be {name}: fetch them separately")
            keys[name] = file.key

        return self._each(files, self._fetcher(directory, budget), self._archive_url, self._archive_auth)

    def list_and_fetch(
        self,
        feed: Feed,
        symbols: Sequence[str],
        first: date,
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
        list_one, fetch_one = self._lister(feed, first, end, _listed_file), self._fetcher(directory, budget)

        async def main(emit: Callable[[ListedSymbol | FetchedFile | RejectedFile], None]) -> None:
            wanted: asyncio.Queue[ArchiveFile | None] = asyncio.Queue()

            async def one(client: HttpClient, symbol: str) -> ListedSymbol:
                _, files = await list_one(client, symbol)
                for file in filter(is_wanted, files):
                    wanted.put_nowait(file)
                return ListedSymbol(symbol, files)

            async def list_all() -> None:
                async with self._client(self._listing_url, self._listing_auth) as client:
                    await self._work(client, _filled(names), one, emit)
                wanted.put_nowait(None)

            async def fetch_all() -> None:
                async with self._client(self._archive_url, self._archive_auth) as client:
                    await self._work(client, wanted, fetch_one, emit)

            await _all([list_all(), fetch_all()])

        return _in_thread(main)

    def _fetcher(
        self, directory: Path, budget: MemoryBudget | None
    ) -> Callable[[HttpClient, ArchiveFile], Awaitable[FetchedFile | RejectedFile]]:
        async def one(client: HttpClient, file: ArchiveFile) -> FetchedFile | RejectedFile:
            return await Downloader(client, self._archive_url, directory, self._listed_again, budget).fetch(file)

        return one

    async def _listed_again(self, file: ArchiveFile) -> ArchiveFile | None:
        """The file as the archive lists it now; None if it is no longer listed."""
        async with self._client(self._listing_url, self._listing_auth) as client:
            async for page in listing.pages(client, self._listing_url, file.key, max_keys=1):
                for item in page.objects:
                    if item.key == file.key:
                        return _listed_file(file.symbol, file.period, item)
                break
        return None

    def _client(self, url: str, auth: aiohttp.BasicAuth | None) -> HttpClient:
        return HttpClient(
            url, self._concurrency, self._attempts, self._timeout, self._least_rate, self._bans[url], auth
        )

    def _listed(self, one: Callable[[HttpClient, str], Awaitable[T]]) -> Callable[[HttpClient, str], Awaitable[T]]:
        """``one``, which raises ArchiveError for a failed request."""

        async def wrapped(client: HttpClient, name: str) -> T:
            try:
                return await one(client, name)
            except RequestError as error:
                raise ArchiveError(
                    f"cannot list {name} at {self._listing_url}: {error}; made up to "
                    f"{self._attempts} attempts: check the network and the URL, then run again"
                ) from error

        return wrapped

    def _each(
        self,
        items: Iterable[Item],
        one: Callable[[HttpClient, Item], Awaitable[T]],
        url: str,
        auth: aiohttp.BasicAuth | None,
    ) -> Iterator[T]:
        """Results of ``one`` for all items, as they arrive, from ``concurrency`` workers with a client of ``url``."""

        async def main(emit: Callable[[T], None]) -> None:
            async with self._client(url, auth) as client:
                await self._work(client, _filled(items), one, emit)

        return _in_thread(main)

    async def _work(
        self,
        client: HttpClient,
        items: asyncio.Queue[Item | None],
        one: Callable[[HttpClient, Item], Awaitable[T]],
        emit: Callable[[T], None],
    ) -> None:
        """Emit ``one`` of each item, up to None, with ``concurrency`` workers."""

        async def worker() -> None:
            while (item := await items.get()) is not None:
                emit(await one(client, item))
            # For the next worker.
            items.put_nowait(None)

        await _all(worker() for _ in range(self._concurrency))


def _checked(symbols: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(check_symbol(symbol) for symbol in symbols))


def _check_folder(directory: Path) -> None:
    if not directory.is_dir():
        raise ArchiveError(f"cannot download to {directory}: there is no such folder; create it first")


def _filled(items: Iterable[Item]) -> asyncio.Queue[Item | None]:
    """A queue of the items, followed by None."""
    queue: asyncio.Queue[Item | None] = asyncio.Queue()
    for item in items:
        queue.put_nowait(item)
    queue.put_nowait(None)
    return queue


async def _all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all in parallel; if one fails, cancel the others before raising its error."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _listed_file(symbol: str, period: str, item: listing.ListedObject) -> ArchiveFile:
    return ArchiveFile(item.key, symbol, period, item.size, item.etag, item.last_modified)


def _listed_period(_symbol: str, period: str, _item: listing.ListedObject) -> str:
    return period


def _folder(feed: Feed) -> str:
    return f"data/{feed.market.archive_path}/{feed.cadence.value}/{feed.archive_type}/"


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task awaits, without the exception: one of a library may contain headers."""
    log.warning("%s: %s", context["message"], type(context.get("exception")).__name__)


def _in_thread(main: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
    """Yield what ``main`` emits in an event loop in a thread of its own; closing the iterator cancels it.

    It needs a thread because the caller may have a running loop (notebooks), and works while downloads continue.
    """
    results: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        task = asyncio.ensure_future(main(lambda result: results.put((result,))))
        running.append((asyncio.get_running_loop(), task))
        if stop.is_set():
            task.cancel()
        await task

    def run() -> None:
        try:
            asyncio.run(body())
        except BaseException as error:
            results.put(error)
        else:
            results.put(None)

    def consume() -> Iterator[T]:
        thread = threading.Thread(target=run, name="archive-source", daemon=True)
        thread.start()
        try:
            while (item := interrupts.wait(results)) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item[0]
        finally:
            stop.set()
            for loop, task in running:
                # RuntimeError: the loop has ended by itself in the meantime.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)
            thread.join()

    return consume()
