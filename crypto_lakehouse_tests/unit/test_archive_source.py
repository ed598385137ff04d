"""The Binance archive source against a real HTTP server that misbehaves as told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import resource
import socketserver
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.archive.binance import BinanceArchive
from crypto_lakehouse.archive.download import (
    HttpError,
    is_worth_retrying,
    local_name,
    parse_checksum,
    retry_after,
)
from crypto_lakehouse.archive.hold import HeldFile, Hold
from crypto_lakehouse.archive.listing import MalformedAnswerError, parse_page
from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveFile,
    ArchiveSource,
    FetchedFile,
    ListedSymbol,
    RejectedFile,
)
from crypto_lakehouse.catalog import feed

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

SPOT_1M = feed("binance", "spot", "klines_1m")
SPOT_1W = feed("binance", "spot", "klines_1w")
FUNDING = feed("binance", "um", "funding_rates")
FOLDER = "data/spot/daily/klines/BTCUSDT/1m"
KEY = f"{FOLDER}/BTCUSDT-1m-2024-01-01.zip"
DATA = bytes(range(256)) * 4000
BUCKET = "bucket"


class Server:
    """Files in memory; ``faults[path]`` are asked first, one per request, until the list is empty."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.hits: Counter[str] = Counter()
        self.ranges: list[str | None] = []
        self.page_size = 1000
        self.released = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def stop(self) -> None:
        self.released.set()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def put(self, key: str, data: bytes = DATA, checksum: str | None = "{sha}  {name}\n") -> ArchiveFile:
        sha, name = hashlib.sha256(data).hexdigest(), key.rpartition("/")[2]
        self.files[key] = data
        if checksum is not None:
            self.files[f"{key}.CHECKSUM"] = checksum.format(sha=sha, name=name).encode()
        return ArchiveFile(key, "BTCUSDT", "2024-01-01", len(data), "e", datetime(2024, 1, 2, tzinfo=UTC))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.hits[path] += 1
        if self.faults.get(path) and (answer := await self.faults[path].pop(0)(request)) is not None:
            return answer
        if path == BUCKET:
            return self._list(request)
        if path not in self.files:
            return web.Response(status=404)
        data = self.files[path]
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        if path.endswith(".zip") and request.method == "GET":
            self.ranges.append(request.headers.get("Range"))
        start = request.http_range.start or 0
        if start and request.headers.get("If-Range") == etag:
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return web.Response(status=206, body=data[start:], headers={"ETag": etag, "Content-Range": span})
        return web.Response(body=data, headers={"ETag": etag})

    def _list(self, request: web.Request) -> web.Response:
        query = request.query
        prefix, marker, delimiter = query["prefix"], query.get("marker", ""), query.get("delimiter", "")
        entries: dict[str, str] = {}
        for key in sorted(self.files):
            if key.startswith(prefix):
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                name = key if cut < 0 else key[: cut + 1]
                kind = "Contents" if cut < 0 else "CommonPrefixes"
                if name > marker:
                    entries[name] = (
                        f"<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"
                        f"<ETag>&quot;abc&quot;</ETag><Size>{len(self.files[key])}</Size></Contents>"
                        if kind == "Contents"
                        else f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
                    )
        size = min(self.page_size, int(query["max-keys"]))
        names = list(entries)[:size]
        truncated = len(entries) > size
        following = f"<NextMarker>{names[-1]}</NextMarker>" if truncated and delimiter else ""
        body = "".join(entries[name] for name in names)
        return web.Response(text=listing(f"{following}{body}", truncated), content_type="application/xml")


def listing(body: str, truncated: bool = False) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{body}</ListBucketResult>"
    )


def status(code: int, **headers: str) -> Fault:
    async def fault(request: web.Request) -> web.Response:
        return web.Response(status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return fault


def serve(data: bytes) -> Fault:
    async def fault(request: web.Request) -> web.Response:
        return web.Response(body=data)

    return fault


def stop_after(count: int, stall: bool = False, data: bytes = DATA) -> Fault:
    """Send ``count`` bytes of the file, then break the connection or fall silent."""

    async def fault(request: web.Request) -> web.StreamResponse:
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        response = web.StreamResponse(headers={"ETag": etag, "Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:count])
        if stall:
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    return fault


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def source(server: Server, attempts: int = 3, timeout: float = 5.0, concurrency: int = 4) -> BinanceArchive:
    return BinanceArchive(server.url, f"{server.url}/{BUCKET}", concurrency, attempts, timeout)


def fetch_one(
    server: Server, file: ArchiveFile, directory: Path, attempts: int = 3, timeout: float = 5.0
) -> FetchedFile | RejectedFile:
    (result,) = source(server, attempts, timeout).fetch([file], directory)
    return result


def rejected(server: Server, file: ArchiveFile, directory: Path, attempts: int = 3, timeout: float = 5.0) -> str:
    result = fetch_one(server, file, directory, attempts, timeout)
    assert isinstance(result, RejectedFile)
    assert not list(directory.glob("*.zip"))
    return result.reason


def check_fetched(result: FetchedFile | RejectedFile, directory: Path) -> None:
    assert isinstance(result, FetchedFile), result
    assert result.path.read_bytes() == DATA
    assert result.sha256 == hashlib.sha256(DATA).hexdigest()
    assert list(directory.iterdir()) == [result.path]


# --- listing


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_symbols_over_pages(server: Server, page_size: int, caplog: pytest.LogCaptureFixture) -> None:
    server.page_size = page_size
    for name in ("ETHUSDT", "BTCUSDT", "币安人生USDT", "BAD NAME"):
        server.put(f"data/spot/daily/klines/{name}/1m/{name}-1m-2024-01-01.zip")
    server.files["data/spot/daily/klines/readme.txt"] = b"beside the folders"
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
    assert "BAD NAME" in caplog.text


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_files_of_a_range(server: Server, page_size: int) -> None:
    server.page_size = page_size
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for day in range(1, 29):
            server.put(f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-{day:02}.zip", b"12")
    server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-10-new.zip")
    server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-1x.zip")
    found = source(server).files(SPOT_1M, ["ETHUSDT", "BTCUSDT", "NONE"], date(2024, 1, 10), date(2024, 1, 12))
    assert [(file.period, file.symbol) for file in found] == [
        ("2024-01-10", "BTCUSDT"),
        ("2024-01-10", "ETHUSDT"),
        ("2024-01-11", "BTCUSDT"),
        ("2024-01-11", "ETHUSDT"),
    ]
    assert found[0].key == f"{FOLDER}/BTCUSDT-1m-2024-01-10.zip"
    assert (found[0].size, found[0].etag) == (2, "abc")
    assert found[0].last_modified == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.requirement("F2.1")
def test_a_listing_stops_at_the_end_of_the_range(server: Server) -> None:
    for day in range(1, 29):
        server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip")
    assert len(source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 3))) == 2
    assert server.hits[BUCKET] == 1
    assert source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 3), date(2024, 1, 3)) == []
    assert server.hits[BUCKET] == 1


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [3, 1000])
def test_periods_are_those_of_the_files(server: Server, page_size: int) -> None:
    server.page_size = page_size
    for symbol, days in (("BTCUSDT", range(1, 13)), ("ETHUSDT", range(11, 29))):
        for day in days:
            server.put(f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-{day:02}.zip")
    wanted = ["ETHUSDT", "BTCUSDT", "NONE", "BTCUSDT"]
    first, end = date(2024, 1, 10), date(2024, 1, 14)
    assert dict(source(server).periods(SPOT_1M, wanted, first, end)) == {
        "BTCUSDT": ["2024-01-10", "2024-01-11", "2024-01-12"],
        "ETHUSDT": ["2024-01-11", "2024-01-12", "2024-01-13"],
        "NONE": [],
    }
    assert dict(source(server).periods(SPOT_1M, ["BTCUSDT"], end, first)) == {"BTCUSDT": []}
    with pytest.raises(ValueError, match="not a symbol"):
        source(server).periods(SPOT_1M, ["../x"], first, end)
    server.faults[BUCKET] = [status(403)]
    with pytest.raises(ArchiveError, match="HTTP 403"):
        list(source(server).periods(SPOT_1M, ["BTCUSDT"], first, end))


@pytest.mark.requirement("F2.1")
def test_monthly_folders(server: Server) -> None:
    for month in ("2024-01", "2024-02", "2024-03"):
        server.put(f"data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-{month}.zip")
        server.put(f"data/spot/monthly/klines/BTCUSDT/1w/BTCUSDT-1w-{month}.zip")
    for wanted in (FUNDING, SPOT_1W):
        files = source(server).files(wanted, ["BTCUSDT"], date(2024, 1, 2), date(2024, 3, 1))
        assert [file.period for file in files] == ["2024-02"]


@pytest.mark.requirement("F2.1", "F2.4")
def test_listing_retries_then_says_what_failed(server: Server) -> None:
    server.put(KEY)
    server.faults[BUCKET] = [status(500), serve(b"<html>")]
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT"]
    server.faults[BUCKET] = [status(500)] * 3
    with pytest.raises(ArchiveError, match=r"cannot list .*HTTP 500.*check the network"):
        source(server).symbols(SPOT_1M)
    server.faults[BUCKET] = [status(403)]
    with pytest.raises(ArchiveError, match="HTTP 403"):
        source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 2))


@pytest.mark.requirement("F2.1")
def test_a_listing_that_does_not_advance_ends(server: Server) -> None:
    body = listing("<NextMarker>a</NextMarker>", truncated=True).encode()
    server.faults[BUCKET] = [serve(body)] * 9
    with pytest.raises(ArchiveError, match="goes back"):
        source(server).symbols(SPOT_1M)


@pytest.mark.requirement("F2.1")
def test_a_listing_without_an_end_is_cut(server: Server) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)
            sent += 2**20

    server.faults[BUCKET] = [endless]
    with pytest.raises(ArchiveError, match="listing has more than 33,554,432 bytes"):
        source(server, attempts=1).symbols(SPOT_1M)
    assert sent < 64 * 2**20


@pytest.mark.requirement("F2.1", "T7")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Error/>",
        b"\xff",
        listing("").replace("<List", "<!DOCTYPE x [<!ENTITY a 'b'>]><List", 1).encode(),
        listing("<!ENTITY a 'b'>").encode("utf-16"),
        listing("", truncated=True).encode(),
        listing("<Contents><Key>a</Key></Contents>").encode(),
    ],
)
def test_pages_that_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        parse_page(body)


@pytest.mark.requirement("F2.1", "T7")
def test_unsafe_symbols_are_never_asked_for(server: Server) -> None:
    with pytest.raises(ValueError, match="not a symbol"):
        source(server).files(SPOT_1M, ["../x"], date(2024, 1, 1), date(2024, 1, 2))
    assert not server.hits


@pytest.mark.requirement("F2.1")
def test_sync_methods_work_inside_a_running_loop(server: Server) -> None:
    server.put(KEY)

    async def notebook_cell() -> list[str]:
        return source(server).symbols(SPOT_1M)

    assert asyncio.run(notebook_cell()) == ["BTCUSDT"]


# --- download


@pytest.mark.requirement("F2.2")
@pytest.mark.parametrize("text", ["{sha}  {name}\n", "{sha}  {name}", "{sha}  {name}\r\n"])
def test_fetch_verifies(server: Server, tmp_path: Path, text: str) -> None:
    check_fetched(fetch_one(server, server.put(KEY, checksum=text), tmp_path), tmp_path)


@pytest.mark.requirement("F2.2")
def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    for _ in range(2):
        check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 1
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").write_bytes(b"damaged")
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 2


@pytest.mark.requirement("F2.2")
def test_rejects(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY, checksum=None)
    assert rejected(server, file, tmp_path) == "checksum_missing"
    for text in ("", "no", "{sha}", "{sha}  other.zip", "{sha}  {name}\nmore", "x" * 9000):
        assert rejected(server, server.put(KEY, checksum=text), tmp_path) == "checksum_malformed"
    server.put(KEY)
    server.faults[KEY] = [status(403)]
    assert rejected(server, file, tmp_path) == "forbidden"
    server.faults[KEY] = [status(404)]
    assert rejected(server, file, tmp_path) == "not_found"
    server.files.clear()
    assert rejected(server, file, tmp_path) == "not_found"


@pytest.mark.requirement("F2.2")
def test_checksum_mismatch(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [serve(b"stale")]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").unlink()
    server.faults[KEY] = [serve(b"stale")] * 2
    result = fetch_one(server, file, tmp_path)
    assert isinstance(result, RejectedFile)
    assert (result.reason, result.sha256) == ("checksum_mismatch", hashlib.sha256(b"stale").hexdigest())
    assert not list(tmp_path.iterdir())


@pytest.mark.requirement("F2.2")
def test_an_old_zip_with_its_old_checksum_is_not_the_file_that_is_listed(server: Server, tmp_path: Path) -> None:
    old, new = DATA[:-1], DATA
    server.put(KEY, old)
    older = [serve(server.files[KEY]), serve(server.files[KEY])], [serve(server.files[f"{KEY}.CHECKSUM"])] * 2
    file = server.put(KEY, new)
    server.faults = {KEY: older[0][:1], f"{KEY}.CHECKSUM": older[1][:1]}
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 2
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").write_bytes(old)
    server.faults = {KEY: older[0], f"{KEY}.CHECKSUM": older[1]}
    (result,) = source(server).fetch([file], tmp_path, Hold(2 * len(DATA)))
    assert isinstance(result, RejectedFile)
    assert (result.reason, result.sha256) == ("size_mismatch", hashlib.sha256(old).hexdigest())
    assert "lists 1,024,000 bytes and serves 1,023,999" in result.detail


@pytest.mark.requirement("F2.2")
def test_many_files_one_bad(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 29)]
    files = [server.put(key, key.encode()) for key in keys]
    del server.files[keys[3]]
    results = list(source(server).fetch(files, tmp_path))
    assert {result.file.key for result in results} == set(keys)
    assert [r.file.key for r in results if isinstance(r, RejectedFile)] == [keys[3]]
    assert len(list(tmp_path.iterdir())) == len(keys) - 1


@pytest.mark.requirement("F2.2")
def test_a_folder_that_cannot_be_written_is_not_a_reject(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    with pytest.raises(ArchiveError, match="no such folder"):
        source(server).fetch([file], tmp_path / "none")
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip.part").mkdir()
    with pytest.raises(ArchiveError, match=f"cannot write .* to {tmp_path}"):
        list(source(server).fetch([file], tmp_path))


@pytest.mark.requirement("F2.2")
def test_a_write_that_fails_midway_is_not_a_reject(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    # A file size limit makes the kernel refuse the write, as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(ArchiveError, match="free space"):
            list(source(server).fetch([file], tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("P4")
def test_a_file_costs_two_requests(server: Server, tmp_path: Path) -> None:
    check_fetched(fetch_one(server, server.put(KEY), tmp_path), tmp_path)
    assert server.hits == {KEY: 1, f"{KEY}.CHECKSUM": 1}


@pytest.mark.requirement("F2.2")
def test_closing_the_iterator_stops_the_downloads(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 29)]
    files = [server.put(key) for key in keys]
    for key in keys[1:]:
        server.faults[key] = [stop_after(10, stall=True)]
    results = source(server, concurrency=2).fetch(files, tmp_path)
    check = next(results)
    assert isinstance(check, FetchedFile)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "archive-source"]
    assert server.hits[keys[-1]] == 0


@pytest.mark.requirement("F2.2", "P3")
def test_small_files_are_held_in_memory_while_there_is_room(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 5)]
    small, hold = DATA[:1000], Hold(2_500)
    files = [server.put(key, small) for key in keys]
    large = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-31.zip")
    come = list(source(server).fetch([large, *files], tmp_path, hold))
    places = {got.file.key: got.path for got in come if isinstance(got, FetchedFile)}
    for key, place in places.items():
        with place.open("rb") as stream:
            assert stream.read() == server.files[key]
    held = [place for place in places.values() if isinstance(place, HeldFile)]
    assert len(held) == 2
    assert sorted(tmp_path.iterdir()) == sorted(place for place in places.values() if isinstance(place, Path))
    assert len(places) == 5
    hold.give_back(1000)
    (again,) = source(server).fetch([server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-30.zip", small)], tmp_path, hold)
    assert isinstance(again, FetchedFile)
    assert isinstance(again.path, HeldFile)


@pytest.mark.requirement("F2.2")
def test_what_does_not_fit_its_checksum_is_not_held(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY, DATA[:1000], checksum=f"{'0' * 64}  {{name}}\n")
    hold = Hold(1000)
    (result,) = source(server).fetch([file], tmp_path, hold)
    assert isinstance(result, RejectedFile)
    assert result.reason == "checksum_mismatch"
    assert hold.take(1000)


# --- both at once


async def as_usual(_: web.Request) -> None:
    """No fault."""


def listed_and_fetched(
    of: Callable[..., Iterator[ListedSymbol | FetchedFile | RejectedFile]], directory: Path, symbols: Sequence[str]
) -> tuple[dict[str, list[str]], set[str]]:
    """Keys by symbol, and those of files that came; wanted are those of 2024-01-02."""
    directory.mkdir()
    span = date(2024, 1, 1), date(2024, 1, 4)
    come = list(of(SPOT_1M, symbols, *span, lambda file: file.period == "2024-01-02", directory, None))
    by_symbol = {one.symbol: [file.key for file in one.files] for one in come if isinstance(one, ListedSymbol)}
    fetched = {one.file.key for one in come if isinstance(one, FetchedFile)}
    assert len(come) == len(by_symbol) + len(fetched)
    return by_symbol, fetched


@pytest.mark.requirement("F2.1", "P4")
def test_listing_and_fetching_at_once_is_one_after_the_other(server: Server, tmp_path: Path) -> None:
    keys = [
        f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-0{day}.zip"
        for symbol in ("BTCUSDT", "ETHUSDT")
        for day in range(1, 5)
    ]
    for key in keys:
        server.put(key)
    both = source(server)
    symbols = ["ETHUSDT", "NONE", "BTCUSDT"]
    at_once = listed_and_fetched(both.list_and_fetch, tmp_path / "at once", symbols)
    in_turn = listed_and_fetched(partial(ArchiveSource.list_and_fetch, both), tmp_path / "in turn", symbols)
    assert at_once == in_turn
    by_symbol, fetched = at_once
    assert by_symbol == {"BTCUSDT": keys[:3], "ETHUSDT": keys[4:7], "NONE": []}
    assert fetched == {keys[1], keys[5]}


@pytest.mark.requirement("P4")
def test_files_are_fetched_while_others_are_listed(server: Server, tmp_path: Path) -> None:
    file = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-02.zip")

    async def when_the_file_was_asked_for(_: web.Request) -> None:
        async with asyncio.timeout(30):
            while not server.hits[file.key]:
                await asyncio.sleep(0.01)

    server.faults[BUCKET] = [as_usual, when_the_file_was_asked_for]
    by_symbol, fetched = listed_and_fetched(
        source(server, concurrency=1).list_and_fetch, tmp_path / "folder", ["BTCUSDT", "ETHUSDT"]
    )
    assert by_symbol == {"BTCUSDT": [file.key], "ETHUSDT": []}
    assert fetched == {file.key}


@pytest.mark.requirement("F2.1")
def test_a_listing_that_fails_ends_the_downloads_beside_it(server: Server, tmp_path: Path) -> None:
    file = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-02.zip")
    server.faults[file.key] = [stop_after(10, stall=True)]
    server.faults[BUCKET] = [as_usual, status(404)]
    begun = source(server, attempts=1, concurrency=1).list_and_fetch
    with pytest.raises(ArchiveError, match="cannot list ETHUSDT"):
        listed_and_fetched(begun, tmp_path / "folder", ["BTCUSDT", "ETHUSDT"])
    assert not [thread for thread in threading.enumerate() if thread.name == "archive-source"]
    with pytest.raises(ArchiveError, match="no such folder"):
        source(server).list_and_fetch(SPOT_1M, [], date(2024, 1, 1), date(2024, 1, 2), bool, tmp_path / "none")
    with pytest.raises(ValueError, match="x"):
        source(server).list_and_fetch(SPOT_1M, ["../x"], date(2024, 1, 1), date(2024, 1, 2), bool, tmp_path)


# --- retries and resume


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("code", [500, 502, 429, 503, 418])
def test_passing_errors_are_retried(server: Server, tmp_path: Path, code: int) -> None:
    file = server.put(KEY)
    server.faults = {KEY: [status(code, Retry_After="1")], f"{KEY}.CHECKSUM": [status(code)]}
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("F2.4")
def test_tries_are_bounded(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [status(500)] * 9
    assert rejected(server, file, tmp_path) == "http_error"
    assert server.hits[KEY] == 3
    server.faults[KEY] = [status(429, Retry_After="86400")] * 9
    assert rejected(server, file, tmp_path) == "http_error"
    assert server.hits[KEY] == 4


@pytest.mark.requirement("F2.4")
def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(300_000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    kept = (tmp_path / "BTCUSDT-1m-2024-01-01.zip.part").stat().st_size
    assert 0 < kept <= 300_000
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == [f"bytes={kept}-"]


@pytest.mark.requirement("F2.4")
def test_a_small_file_goes_on_too(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(10_000)]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == ["bytes=10000-"]
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").unlink()
    server.faults[KEY] = [stop_after(10_000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == ["bytes=10000-"] * 2


@pytest.mark.requirement("F2.4")
def test_a_stall_times_out_and_is_resumed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(300_000, stall=True)]
    check_fetched(fetch_one(server, file, tmp_path, timeout=0.3), tmp_path)
    assert server.ranges[-1] is not None
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").unlink()
    server.faults[KEY] = [stop_after(0, stall=True)]
    assert rejected(server, file, tmp_path, attempts=1, timeout=0.3) == "timeout"


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("fault", [None, 416, 206])
def test_a_part_of_an_older_file_is_not_used(server: Server, tmp_path: Path, fault: int | None) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(1000, data=b"older" * 1000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    if fault:
        server.faults[KEY] = [status(fault)]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("F2.4")
def test_nothing_listens(tmp_path: Path, server: Server) -> None:
    file = server.put(KEY)
    gone = BinanceArchive("http://127.0.0.1:9", "http://127.0.0.1:9/bucket", attempts=2)
    (result,) = gone.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "connection_error"
    with pytest.raises(ArchiveError, match="cannot list"):
        gone.symbols(SPOT_1M)


@pytest.mark.requirement("F1.2", "F2.4")
def test_credentials_of_a_url_are_sent_and_never_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent: set[str | None] = set()

    async def note(request: web.Request) -> None:
        sent.add(request.headers.get("Authorization"))

    async def odd_listing(request: web.Request) -> web.Response:
        await note(request)
        return web.Response(text="<html/>")

    missing = server.put(KEY)
    server.files.clear()
    server.put("data/spot/daily/klines/bad name/1m/x.zip")
    server.faults = {f"{KEY}.CHECKSUM": [note], BUCKET: [note, odd_listing, status(404)]}
    url = server.url.replace("http://", "http://bob:s3cr%40t@")
    source = BinanceArchive(url, f"{url}/{BUCKET}", attempts=1)
    [rejected] = source.fetch([missing], tmp_path)
    assert isinstance(rejected, RejectedFile)
    texts = [rejected.detail, str(source.symbols(SPOT_1M))]
    for _ in range(2):
        with pytest.raises(ArchiveError, match="cannot list") as caught:
            source.symbols(SPOT_1M)
        texts += [str(caught.value), str(caught.value.__cause__)]
    assert sent == {"Basic " + base64.b64encode(b"bob:s3cr@t").decode()}
    gone = BinanceArchive("http://bob:s3cr%40t@127.0.0.1:9", "http://bob:s3cr%40t@127.0.0.1:9/bucket", attempts=1)
    with pytest.raises(ArchiveError, match="cannot list") as caught:
        gone.symbols(SPOT_1M)
    texts += [str(caught.value), *(str(one) for one in gone.fetch([missing], tmp_path))]
    for bad in (
        "ftp://bob:s3cr%40t@host",
        "http://bob:s3cr%40t@",
        "http://bob:s3cr%40t@host:x",
        "http://bob:s3cr%40t@[h",
        "http://bob:12/s3cr@host",
    ):
        with pytest.raises(ValueError, match=r"\*\*\*\*@") as refused:
            BinanceArchive("http://host", bad)
        texts += [str(refused.value), str(refused.value.__context__)]
    texts += [str(HttpError(f"{url}/x", 404)), caplog.text]
    assert "skipped a folder" in caplog.text
    assert not [text for text in texts if "s3cr" in text or "bob" in text]


@pytest.mark.requirement("F2.4")
def test_the_proxy_of_the_environment_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = server.put(KEY)
    sent: set[str | None] = set()

    async def note(request: web.Request) -> None:
        sent.add(request.headers.get("Proxy-Authorization"))

    server.faults[KEY] = [note, note]
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://bob:s3cr%40t@"))
    away = BinanceArchive("http://archive.invalid", "http://archive.invalid/bucket", attempts=1)
    (result,) = away.fetch([file], tmp_path)
    check_fetched(result, tmp_path)
    assert sent == {"Basic " + base64.b64encode(b"bob:s3cr@t").decode()}
    (tmp_path / "BTCUSDT-1m-2024-01-01.zip").unlink()
    monkeypatch.setenv("no_proxy", "archive.invalid")
    (result,) = away.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "http://bob:s3cr%40t@127.0.0.1:9")
    (result,) = away.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert "s3cr" not in result.detail


@pytest.mark.requirement("F2.4")
def test_redirects_within_the_server_are_followed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults = {
        KEY: [status(302, Location="/moved/there")],
        "moved/there": [status(307, Location=f"{server.url}/{KEY}")],
        BUCKET: [status(301, Location=f"/{BUCKET}?prefix=data/spot/daily/klines/&max-keys=9&delimiter=/")],
    }
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT"]


@pytest.mark.requirement("F2.4", "F1.2")
def test_redirects_to_elsewhere_are_told_and_not_followed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    other = Server()
    try:
        places = [
            other.url.replace("http://", "http://bob:s3cr@"),
            other.url.removeprefix("http:"),
            server.url.replace("http:", "https:"),
            "file:///etc/passwd",
            "http://[h",
            "/moved",
        ]
        for place in places:
            server.faults = {name: [status(302, Location=place)] * 30 for name in (KEY, BUCKET, "moved")}
            result = fetch_one(server, file, tmp_path)
            assert isinstance(result, RejectedFile)
            with pytest.raises(ArchiveError, match="cannot list") as caught:
                source(server).symbols(SPOT_1M)
            for text in (result.detail, str(caught.value)):
                assert "HTTP 302" in text
                assert place.rpartition("@")[2] in text
                assert "s3cr" not in text
        assert not other.hits
        # Nothing of it heals by asking again.
        assert server.hits[KEY] == server.hits[BUCKET] == len(places)
    finally:
        other.stop()


class Proxy(socketserver.ThreadingTCPServer):
    """Answers everything with a status and no more; ``asked`` are the heads of the requests."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Answer(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        lines = [line.decode() for line in iter(self.rfile.readline, b"\r\n")]
        self.server.asked.append("".join(lines))
        self.wfile.write(f"HTTP/1.1 {self.server.status} Told\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize(
    ("scheme", "status"),
    [("http", 407), ("https", 407), ("https", 200), ("http", 0), ("https", 0)],
    ids=["refused", "tunnel refused", "no TLS in the tunnel", "away", "tunnel away"],
)
def test_the_password_of_a_proxy_is_sent_to_it_and_never_shown(
    scheme: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = ArchiveFile(KEY, "BTCUSDT", "2024-01-01", 1, "e", datetime(2024, 1, 2, tzinfo=UTC))
    with Proxy(status) as proxy:
        address = f"127.0.0.1:{proxy.server_address[1] if status else 9}"
        monkeypatch.setenv(f"{scheme}_proxy", f"http://bob:s3cr%40t@{address}")
        away = BinanceArchive(f"{scheme}://archive.invalid", f"{scheme}://archive.invalid/bucket", attempts=2)
        (result,) = away.fetch([file], tmp_path)
        with pytest.raises(ArchiveError, match="cannot list") as caught:
            away.symbols(SPOT_1M)
        proxy.shutdown()
    assert isinstance(result, RejectedFile)
    secret = base64.b64encode(b"bob:s3cr@t").decode()
    assert bool(proxy.asked) is bool(status)
    assert all(f"Proxy-Authorization: Basic {secret}\r\n" in head for head in proxy.asked)
    cause = caught.value.__cause__
    texts = [result.detail, str(caught.value), str(cause), repr(cause), *(str(vars(one)) for one in caplog.records)]
    assert not [text for text in texts if "s3cr" in text or "bob" in text or secret in text]
    if status == 407:
        assert all("407" in text for text in texts[:2])
        # A wrong password does not become right by asking again.
        assert len(proxy.asked) == 2


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize(
    "value", ["bob:s3cr@host:3128", "http://bob:s3/cr@host", "socks5://bob:s3cr@host", "http://bob:s3cr@host:x"]
)
def test_a_bad_proxy_is_told_by_its_variable(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(ArchiveError, match="HTTPS_PROXY is no http:// or https:// URL") as caught:
        BinanceArchive("https://archive.invalid", "https://archive.invalid/bucket").symbols(SPOT_1M)
    assert "s3" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.requirement("F2.4")
def test_retry_after_forms() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2115 07:28:00 GMT"}) > 1e9
    assert retry_after({"Retry-After": "soon"}) == retry_after({}) == 0
    assert retry_after({"Retry-After": f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT"}) == 0
    assert is_worth_retrying(HttpError("u", 429, 10))
    assert not is_worth_retrying(HttpError("u", 429, 1e9))
    assert not is_worth_retrying(HttpError("u", 404))


# --- names


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    "key",
    ["", "/etc/x.zip", "a/../x.zip", "a//x.zip", "a/.x.zip", "a/x?y.zip", "a\\x", "a/x\n", f"a/{'x' * 300}"],
)
def test_unsafe_keys(server: Server, tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a safe archive key"):
        local_name(key)
    file = ArchiveFile(key, "X", "2024-01-01", 1, "e", datetime(2024, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="not a safe archive key"):
        source(server).fetch([file], tmp_path)
    assert not server.hits


@pytest.mark.requirement("T7")
def test_keys_with_one_file_name_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fetch them separately"):
        source(server).fetch([server.put("a/x.zip"), server.put("b/x.zip")], tmp_path)


@pytest.mark.requirement("F2.2")
def test_checksum_text() -> None:
    assert parse_checksum(f"{'AB' * 32} *x.zip", "x.zip") == "ab" * 32
    with pytest.raises(ValueError, match="not for"):
        parse_checksum(f"{'ab' * 32}  y.zip", "x.zip")
