"""A round trip where there is none: a TCP proxy in a process of its own that delays both ways and counts HTTP requests.

The first bytes of a connection wait one round trip more, for the handshake. Bandwidth is not limited, packets are
not lost. What is asked through it belongs to the modules that measure.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_int64
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_REQUEST = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy: connect to ``port`` at 127.0.0.1."""

    port: int
    _counter: Any

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """HTTP requests that came by so far."""
        return int(self._counter.value)


@contextmanager
def latency(port: int, round_trip_ms: float) -> Iterator[Proxy]:
    """A proxy of ``127.0.0.1:port``, until the block ends."""
    context = multiprocessing.get_context("spawn")
    counter = context.Value(c_int64, 0)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(port, round_trip_ms / 1000, sender, counter), daemon=True)
    process.start()
    sender.close()
    try:
        yield Proxy(receiver.recv(), counter)
    finally:
        process.terminate()
        process.join()


def _run(port: int, round_trip: float, sender: Connection, counter: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(port, round_trip, counter), "127.0.0.1", 0, backlog=1024)
        sender.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


class _Delayed:
    """Bytes on their way to ``transport``, in order; None is the end of the stream."""

    def __init__(self, delay: float) -> None:
        self.transport: asyncio.Transport | None = None
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, bytes | None]] = deque()

    def send(self, data: bytes | None, extra: float = 0.0) -> None:
        when = self._loop.time() + self._delay + extra
        if self._due:
            when = max(when, self._due[-1][0])
        self._due.append((when, data))
        if len(self._due) == 1:
            self._loop.call_at(when, self._deliver)

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= self._loop.time():
            _, data = self._due.popleft()
            if self.transport is None or self.transport.is_closing():
                continue
            if data is None:
                self.transport.close()
            else:
                self.transport.write(data)
        if self._due:
            self._loop.call_at(self._due[0][0], self._deliver)


class _Server(asyncio.Protocol):
    """The far end of one connection: what comes from it goes back to the client."""

    def __init__(self, back: _Delayed) -> None:
        self._back = back

    def data_received(self, data: bytes) -> None:
        self._back.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._back.send(None)


class _Client(asyncio.Protocol):
    """The near end of one connection."""

    def __init__(self, port: int, round_trip: float, counter: Any) -> None:
        self._port, self._round_trip, self._counter = port, round_trip, counter
        self._there, self._back = _Delayed(round_trip / 2), _Delayed(round_trip / 2)
        self._handshake = round_trip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._back.transport = transport
        transport.pause_reading()
        self._connecting = asyncio.ensure_future(self._connect(transport))

    async def _connect(self, near: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            far, _ = await loop.create_connection(lambda: _Server(self._back), "127.0.0.1", self._port)
        except OSError:
            near.abort()
            return
        self._there.transport = far
        near.resume_reading()

    def data_received(self, data: bytes) -> None:
        # Only this process writes the counter.
        self._counter.value += len(_REQUEST.findall(data))
        self._there.send(data, self._handshake)
        self._handshake = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        self._there.send(None)
