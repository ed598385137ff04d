"""Simulated latency: a TCP proxy in its own process that delays both directions and counts requests.

``LatencyProxy`` stands between a client and a server on this machine. Of HTTP/1.1 it recognizes only request lines, so
it works for S3 and for the archive.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_CHUNK = 256 * 1024
_QUEUED = 256
_REQUEST = re.compile(rb" HTTP/1\.1\r\n")
_CARRIED = len(b" HTTP/1.1\r\n") - 1


class LatencyProxy:
    """Makes the ``http://`` server ``upstream`` look as far away as round trips of ``round_trip`` seconds.

    Each direction is delayed by half of it, and a new connection takes a whole round trip; bandwidth is not limited.
    Clients use ``url``. ``requests`` and ``received`` count HTTP requests and bytes of the server's answers since the
    last ``reset``.

    >>> with LatencyProxy("http://127.0.0.1:8333", 0.030) as far:
    ...     read_from(far.url)
    ...     print(far.requests)
    """

    def __init__(self, upstream: str, round_trip: float) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError(f"{upstream!r} is not of the form http://host:port")
        spawn = multiprocessing.get_context("spawn")
        self._requests = spawn.Value("q", 0)
        self._received = spawn.Value("q", 0)
        self._port = spawn.Queue()
        arguments = (parts.hostname, parts.port, round_trip / 2, self._port, self._requests, self._received)
        self._process = spawn.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> LatencyProxy:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._port.get(timeout=60)}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def requests(self) -> int:
        """HTTP requests sent by clients."""
        return int(self._requests.value)

    @property
    def received(self) -> int:
        """Bytes of the server's answers, including headers."""
        return int(self._received.value)

    def reset(self) -> None:
        """Reset both counters to zero."""
        for counter in (self._requests, self._received):
            with counter.get_lock():
                counter.value = 0


def _serve(
    host: str, port: int, delay: float, ports: Any, requests: Synchronized[int], received: Synchronized[int]
) -> None:
    asyncio.run(_listen(host, port, delay, ports, requests, received))


async def _listen(
    host: str, port: int, delay: float, ports: Any, requests: Synchronized[int], received: Synchronized[int]
) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, limit=_CHUNK)
        except OSError:
            writer.close()
            return
        tail = b""

        def asked(data: bytes) -> None:
            nonlocal tail
            # A request line may continue in the next chunk.
            found = len(_REQUEST.findall(tail + data))
            tail = data[-_CARRIED:]
            with requests.get_lock():
                requests.value += found

        def answered(data: bytes) -> None:
            with received.get_lock():
                received.value += len(data)

        ways = (_pass_on(reader, far_writer, delay, asked), _pass_on(far_reader, writer, delay, answered))
        await asyncio.gather(*ways, return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_CHUNK, backlog=1024)
    ports.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, seen: Callable[[bytes], None]
) -> None:
    """Pass on each piece, and the end, ``delay`` seconds after it arrived, with any number of pieces under way."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)

    async def arrive() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    async def leave() -> None:
        while True:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            seen(data)
            await under_way.put((loop.time() + delay, data))
            if not data:
                return

    arriving, leaving = asyncio.ensure_future(arrive()), asyncio.ensure_future(leave())
    try:
        await arriving
    finally:
        # If the other side has closed, there is no need to read on.
        leaving.cancel()
        writer.close()
