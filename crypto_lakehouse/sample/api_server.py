"""A local exchange API over real HTTP: the exchange's paths over a folder in the archive's format.

Contains HTTP, the record of requests and the faults that a test injects. What is answered, and the limits, are in
``exchange_api``; the thread is that of the archive's server.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.exchange_api.binance_answers import ExchangeApi
from crypto_lakehouse.exchange_api.binance_parameters import TIME_UNIT, ApiError
from crypto_lakehouse.exchange_api.binance_shapes import error
from crypto_lakehouse.exchange_api.limiter import Limiter, Refusal
from crypto_lakehouse.sample.api_rows import ArchiveRows
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.sample.server_listing import Folder

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request that the server has answered: ``at`` is in seconds of the monotonic clock, when it arrived."""

    at: float
    path: str
    query: Mapping[str, str]
    status: int


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer instead of the right one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiServer(ArchiveServer):
    """Serves the rows of ``directory`` as the exchange's API from a daemon thread within a ``with`` block.

    Parameters
    ----------
    directory
        Folder in the archive's format: spot, USD-M and COIN-M are all below one ``url``.
    port, host
        Where it listens; port 0 selects a free one.
    now
        UTC time of the server's clock when it starts; None for the machine's. Later rows do not exist yet.
    pools
        Pools with other limits than the exchange's, by name.
    has_retry_after
        Whether refusals have the header Retry-After; without it, the body says until when.
    limiter
        The limits, where ``pools`` is not enough.

    Attributes
    ----------
    calls
        The requests so far, in the order of their answers.
    faults
        Answers that come first, by path: one of the list for each request, until it is empty.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        host: str = "127.0.0.1",
        now: datetime | None = None,
        pools: Mapping[str, RestPool] | None = None,
        has_retry_after: bool = True,
        limiter: Limiter | None = None,
    ) -> None:
        super().__init__(directory, port, host)
        self._now, self._started = now or datetime.now(UTC), time.monotonic()
        self._has_retry_after = has_retry_after
        self._limiter = limiter or Limiter(pools or {})
        self._api: ExchangeApi | None = None
        self.calls: list[ApiCall] = []
        self.faults: dict[str, list[Fault]] = {}

    def clock(self) -> int:
        """The server's time, in milliseconds since the epoch."""
        passed = timedelta(seconds=time.monotonic() - self._started)
        return (self._now + passed - _EPOCH) // timedelta(milliseconds=1)

    def _app(self) -> web.Application:
        self._api = ExchangeApi(ArchiveRows(Folder(self.directory).root), self.clock, pools=self._limiter.pools)
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        at = time.monotonic()
        assert self._api is not None
        unit = request.headers.get(TIME_UNIT, "")
        response = await self._response(self._api, request.path, dict(request.query), unit)
        self.calls.append(ApiCall(at, request.path, dict(request.query), response.status))
        return response

    async def _response(self, api: ExchangeApi, path: str, query: dict[str, str], unit: str) -> web.Response:
        if waiting := self.faults.get(path):
            fault = waiting.pop(0)
            return _json(fault.body, fault.status, dict(fault.headers))
        headers, refusal = self._limiter.charge(*api.costs(path, query))
        if refusal is not None:
            return self._refused(refusal, headers)
        try:
            return _json(await asyncio.to_thread(api.answer, path, query, unit), 200, headers)
        except ApiError as wrong:
            return _json(wrong.body, wrong.status, headers)

    def _refused(self, refusal: Refusal, headers: dict[str, str]) -> web.Response:
        wait = max(refusal.until - time.time(), 0.0)
        if self._has_retry_after:
            headers["Retry-After"] = str(math.ceil(wait))
        if refusal.status == 418:
            until = self.clock() + round(wait * 1000)
            message = f"Way too many requests; IP(127.0.0.1) banned until {until}."
        else:
            message = "Too many requests; current limit of IP(127.0.0.1) is exceeded."
        return _json(error(-1003, message), refusal.status, headers)


def _json(body: Any, status: int, headers: dict[str, str]) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
