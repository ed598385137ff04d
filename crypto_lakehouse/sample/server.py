"""An HTTP server that serves a folder like the Binance public archive: files and S3 listings.

Contains HTTP (routes, ranges, conditions) and the thread for tests and demos. ``server_listing.py`` builds the
listings; the contents of the folder do not matter here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from crypto_lakehouse.sample.server_listing import MAX_KEYS, Folder, error_xml, listing_xml

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def create_app(directory: Path) -> web.Application:
    """The application: files at ``/<key>``, listings at ``/listing`` and ``/`` with S3's query parameters.

    Raises NotADirectoryError if the directory does not exist.
    """
    folder = Folder(directory)

    async def listing(request: web.Request) -> web.Response:
        query = request.query
        delimiter, keys = query.get("delimiter", ""), query.get("max-keys", str(MAX_KEYS))
        if delimiter not in ("", "/"):
            return _error(400, "InvalidArgument", f"delimiter {delimiter!r} is not served; use '/' or none")
        if not re.fullmatch(r"[0-9]{1,9}", keys):
            return _error(400, "InvalidArgument", f"max-keys {keys!r} is not a whole number from 0")
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        page = await asyncio.to_thread(folder.page, prefix, delimiter, marker, min(int(keys), MAX_KEYS))
        return web.Response(body=listing_xml(page), content_type="application/xml")

    async def file(request: web.Request) -> web.StreamResponse:
        return await _file(folder, request)

    app = web.Application()
    app.router.add_get("/", listing)
    app.router.add_get("/listing", listing)
    app.router.add_get("/{key:.+}", file)
    return app


class ArchiveServer:
    """Serves ``directory`` from a daemon thread within a ``with`` block; port 0 selects a free one.

    ``url`` is the base of files (``{url}/data/...``), ``listing_url`` that of listings. Entering raises
    NotADirectoryError if the directory does not exist, and OSError if the port is in use.
    """

    def __init__(self, directory: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self.directory, self.port, self.host = directory, port, host
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="archive-server", daemon=True)

    @property
    def url(self) -> str:
        """Base of file addresses, without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    @property
    def listing_url(self) -> str:
        """Address of listings, to which the query is added."""
        return f"{self.url}/listing"

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _app(self) -> web.Application:
        return create_app(self.directory)

    async def _start(self) -> None:
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise OSError(
                f"cannot serve on {self.host}:{self.port}: {reason}. Choose another port, or 0 for a free one"
            ) from error
        self.port = self._runner.addresses[0][1]

    def _stop(self) -> None:
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(shut_down(self._runner), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def shut_down(runner: web.AppRunner) -> None:
    """Stop a server, and end the answers that it could not finish, so that its loop can be closed."""
    await runner.cleanup()
    unfinished = asyncio.all_tasks() - {asyncio.current_task()}
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*unfinished, return_exceptions=True)


async def _file(folder: Folder, request: web.Request) -> web.StreamResponse:
    key = request.match_info["key"]
    opened = await asyncio.to_thread(folder.open, key)
    if opened is None:
        return _error(404, "NoSuchKey", "The specified key does not exist.", key)
    with opened.handle:
        etag, size = f'"{opened.etag}"', opened.size
        modified = datetime.fromtimestamp(int(opened.modified), UTC)
        headers = {
            "ETag": etag,
            "Last-Modified": format_datetime(modified, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if _unchanged(request, etag, modified):
            return web.Response(status=304, headers=headers)
        first, last, status = 0, size - 1, 200
        wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
        if wanted and any(wanted.groups()) and _range_holds(request, etag, modified):
            span = _span(*wanted.groups(), size=size)
            if span is None:
                message = "The requested range is not satisfiable"
                return _error(416, "InvalidRange", message, key, {"Content-Range": f"bytes */{size}"})
            first, last = span
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = "application/zip" if key.endswith(".zip") else "binary/octet-stream"
        left = response.content_length = last - first + 1
        await response.prepare(request)
        if request.method != "HEAD":
            opened.handle.seek(first)
            try:
                while left and (chunk := await asyncio.to_thread(opened.handle.read, min(_CHUNK, left))):
                    await response.write(chunk)
                    left -= len(chunk)
                await response.write_eof()
            except ConnectionResetError:
                # A client that was stopped is no fault of the server.
                log.info("%s: the client closed the connection, %d bytes before the end", key, left)
        return response


def _unchanged(request: web.Request, etag: str, modified: datetime) -> bool:
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in tags.split(","))
    since = request.if_modified_since
    return since is not None and modified <= since


def _range_holds(request: web.Request, etag: str, modified: datetime) -> bool:
    condition = request.headers.get("If-Range")
    if condition is None or condition == etag:
        return True
    try:
        return parsedate_to_datetime(condition) == modified
    except (ValueError, TypeError):
        return False


def _span(first: str, last: str, *, size: int) -> tuple[int, int] | None:
    """First and last byte of a range, or None where it lies outside the file."""
    if not first:
        start, stop = max(size - int(last), 0), size - 1
    else:
        start, stop = int(first), min(int(last or size), size - 1)
    return (start, stop) if start <= stop else None


def _error(status: int, code: str, message: str, key: str = "", headers: dict[str, str] | None = None) -> web.Response:
    body = error_xml(code, message, key)
    return web.Response(status=status, body=body, content_type="application/xml", headers=headers)
