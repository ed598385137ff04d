"""A bucket that can only be listed: any number of keys, generated while they are listed, in its own process.

It lists daily 1m klines of the given markets, each a zip and its CHECKSUM, by the rules of S3's ListObjects V1. Symbols
start one after the other and none ends early. It counts requests.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crypto_lakehouse.catalog import Feed, feed

FIRST, END = date(2017, 8, 17), date(2026, 8, 17)
"""Nine years of days, [FIRST, END)."""

_PERIODS = [f"{FIRST + timedelta(days=number):%Y-%m-%d}" for number in range((END - FIRST).days)]
_INDEX = {period: index for index, period in enumerate(_PERIODS)}
_LONGEST = 1.5
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


@dataclass(frozen=True, slots=True)
class Bucket:
    """``symbols``: their number in each market; ``keys``: the total, two per day and symbol."""

    symbols: Mapping[str, int]
    keys: int

    def longest(self, market: str) -> int:
        """Return the number of days of the first symbol of a market."""
        return round(min(_LONGEST * self._mean, (END - feed_of(market).first_date).days))

    def days(self, market: str, number: int) -> int:
        """Return the number of days of a symbol, up to END: it falls evenly, around the same mean in all markets."""
        last = self.symbols[market] - 1
        longest = self.longest(market)
        return max(1, round(longest - 2 * (longest - self._mean) * (number / last if last else 0.5)))

    @property
    def _mean(self) -> float:
        return self.keys / (2 * sum(self.symbols.values()))

    @property
    def listed(self) -> int:
        """The number of listed keys, which differs slightly from ``keys`` because of rounding."""
        return 2 * sum(self.days(market, number) for market, count in self.symbols.items() for number in range(count))

    def answer(self, prefix: str, delimiter: str, marker: str, max_keys: int) -> str:
        """Return a page as XML: with a delimiter the symbols of a folder, without one the files of a symbol."""
        market = next(name for name in self.symbols if prefix.startswith(_folder(name)))
        folder, count = _folder(market), self.symbols[market]
        if delimiter:
            names = [f"{folder}{symbol(number)}/" for number in range(count)] if prefix == folder else []
            rest = [name for name in names if name > marker]
            body = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in rest[:max_keys])
            truncated = len(rest) > max_keys
            following = f"<NextMarker>{rest[max_keys - 1]}</NextMarker>" if truncated else ""
        else:
            body, truncated = self._files(market, prefix, marker, max_keys)
            following = ""
        return f"{_HEAD}<IsTruncated>{str(truncated).lower()}</IsTruncated>{following}{body}</ListBucketResult>"

    def _files(self, market: str, prefix: str, marker: str, max_keys: int) -> tuple[str, bool]:
        name = prefix.split("/")[-3]
        stem = f"{prefix}{name}-1m-"
        start = len(_PERIODS) - self.days(market, int(name[1:-4]))
        # A marker is a listed key, or the date at which a listing starts.
        start = max(start, _INDEX.get(marker.removeprefix(stem)[:10], 0))
        end = min(start + max_keys // 2 + 2, len(_PERIODS))
        keys = [
            (f"{stem}{_PERIODS[index]}.zip{suffix}", index)
            for index in range(start, end)
            for suffix in ("", ".CHECKSUM")
        ]
        rest = [(key, index) for key, index in keys if key > marker]
        body = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{_PERIODS[index]}T09:30:00.000Z</LastModified>"
            f"<ETag>&quot;{index:032x}&quot;</ETag><Size>{57_000 + index}</Size></Contents>"
            for key, index in rest[:max_keys]
        )
        return body, end < len(_PERIODS) or len(rest) > max_keys


def feed_of(market: str) -> Feed:
    """Return the bucket's feed of a market."""
    return feed("binance", market, "klines_1m")


def _folder(market: str) -> str:
    return f"data/{feed_of(market).market.archive_path}/daily/klines/"


def symbol(number: int) -> str:
    """Return the name of a symbol; names sort like their numbers below 10,000."""
    return f"S{number:04}USDT"


@dataclass(frozen=True, slots=True)
class ListingServer:
    """A running server: listings at ``url``."""

    url: str
    _requests: Any
    _most: Any

    @property
    def requests(self) -> int:
        """Requests so far."""
        return int(self._requests.value)

    @property
    def most_at_once(self) -> int:
        """The largest number of requests that waited for an answer at the same time."""
        return int(self._most.value)


@contextmanager
def serve_listing(bucket: Bucket, delay: float = 0.0) -> Iterator[ListingServer]:
    """Serve until the block ends; every answer is delayed by ``delay`` seconds."""
    context = multiprocessing.get_context("spawn")
    counters = [context.Value("q", 0) for _ in range(2)]
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(bucket, delay, sender, *counters), daemon=True)
    process.start()
    sender.close()
    try:
        yield ListingServer(f"http://127.0.0.1:{receiver.recv()}/bucket", *counters)
    finally:
        process.terminate()
        process.join()


def _run(
    bucket: Bucket,
    delay: float,
    sender: Connection,
    requests: Synchronized[int],
    most: Synchronized[int],
) -> None:
    waiting = 0

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport, self._rest = transport, b""

        def data_received(self, data: bytes) -> None:
            nonlocal waiting
            *found, self._rest = (self._rest + data).split(b"\r\n\r\n")
            for request in found:
                waiting += 1
                requests.value += 1
                most.value = max(most.value, waiting)
                asyncio.get_running_loop().call_later(delay, self._answer, request)

        def _answer(self, request: bytes) -> None:
            nonlocal waiting
            waiting -= 1
            query = parse_qs(urlsplit(request.split(b" ", 2)[1].decode()).query)
            page = bucket.answer(
                query["prefix"][0],
                query.get("delimiter", [""])[0],
                query.get("marker", [""])[0],
                int(query["max-keys"][0]),
            ).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {len(page)}\r\n\r\n"
            self._transport.write(head.encode() + page)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", 0, backlog=1024)
        sender.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
