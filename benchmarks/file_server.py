"""A server for measuring clients: serves small files of a folder from memory, over HTTP/1.1 with keep-alive.

It does little work per request, so that it never limits the client. The server with listings and ranges is
``crypto_lakehouse.sample.server``; ``latency.py`` adds delays.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def serve_files(directory: Path) -> Iterator[int]:
    """Serve the files below ``directory`` by their path until the block ends; yield the port on 127.0.0.1."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(directory, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


def _run(directory: Path, sender: Connection) -> None:
    answers = {
        f"/{path.relative_to(directory).as_posix()}".encode(): _answer(path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(answers), "127.0.0.1", 0, backlog=1024)
        sender.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def _answer(body: bytes) -> bytes:
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    head = (
        f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/zip\r\nETag: "{etag}"\r\n'
        "Last-Modified: Wed, 01 Jan 2025 08:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(self._answers.get(request.split(b" ", 2)[1], _NOT_FOUND))
