"""A server whose answers a test defines, and an archive client for it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from crypto_lakehouse.archive.model import (
    ArchiveFile,
    FetchedFile,
    RejectedFile,
)
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.sample.server import shut_down
from crypto_lakehouse_tests.binance_archive import BinanceArchive

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

SPOT_1M = feed("binance", "spot", "klines_1m")
SPOT_1W = feed("binance", "spot", "klines_1w")
FUNDING = feed("binance", "um", "funding_rates")
FOLDER = "data/spot/daily/klines/BTCUSDT/1m"
KEY = f"{FOLDER}/BTCUSDT-1m-2024-01-01.zip"
DATA = bytes(range(256)) * 4000
BUCKET = "bucket"


class Server:
    """Files in memory. ``faults[path]`` answers first, one entry per request, until the list is empty."""

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
        asyncio.run_coroutine_threadsafe(shut_down(self._runner), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def put(self, key: str, data: bytes = DATA, checksum: str | None = "{sha}  {name}\n") -> ArchiveFile:
        sha, name = hashlib.sha256(data).hexdigest(), key.rpartition("/")[2]
        self.files[key] = data
        if checksum is not None:
            self.files[f"{key}.CHECKSUM"] = checksum.format(sha=sha, name=name).encode()
        modified = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
        return ArchiveFile(key, "BTCUSDT", "2024-01-01", len(data), "abc", modified)

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
    assert not [path for path in saved(directory) if path.suffix == ".zip"]
    return result.reason


def check_fetched(result: FetchedFile | RejectedFile, directory: Path) -> None:
    assert isinstance(result, FetchedFile), result
    assert result.path.read_bytes() == DATA
    assert result.sha256 == hashlib.sha256(DATA).hexdigest()
    assert saved(directory) == [result.path]


def saved(directory: Path) -> list[Path]:
    """The files below a directory, sorted."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


# --- listing
