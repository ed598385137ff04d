"""One host of a REST API: a request with its charge, its retries, the pauses that the exchange asks for, its errors.

Many requests in parallel are in ``client.py``, the budget in ``budget.py``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from yarl import URL

from crypto_lakehouse.archive.addresses import mask_url, split_credentials
from crypto_lakehouse.archive.bans import BanWatch
from crypto_lakehouse.archive.http_client import HttpClient, HttpError, MalformedAnswerError, RequestError, retry_after
from crypto_lakehouse.archive.limits import Limits, Pace
from crypto_lakehouse.catalog.rest import Paging, RestApi, RestCost, RestPool
from crypto_lakehouse.rest.budget import Budget, ban_error, charged, shared_budget
from crypto_lakehouse.rest.model import (
    AnswerStatus,
    RestAnswer,
    RestError,
    RestRefusedError,
    RestRequestError,
)
from crypto_lakehouse.rest.requests import RestRequest, from_milliseconds

log = logging.getLogger(__name__)

MAX_WAIT = 600.0
"""Longest pause in seconds that one request waits for in all."""

_PAUSE = 120.0
"""Seconds to wait where the exchange does not say how long: its shortest ban."""

_PAUSES = (418, 429)
_REFUSALS = (403, 451)
# Everything else (408, 5xx) is an error of the HTTP client, which it retries.
_ACCEPTED = (200, 400, 401, 404, *_REFUSALS, *_PAUSES)
_MAX_BODY = 32 * 1024 * 1024
_SHOWN = 200
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})\b")
_CLOCK_AGE = 600.0


class RestFailedError(RestError):
    """A request that failed after all attempts; others may succeed."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection pool to a host, for one event loop. The clock is read in turns, so only once by many workers."""

    http: HttpClient
    turn: asyncio.Lock


class Host:
    """The host of a ``role``. Hosts that share a pool share its budget, also those of other clients of this process."""

    def __init__(
        self,
        api: RestApi,
        role: str,
        urls: Mapping[str, str],
        limits: Limits,
        share: float,
        max_wait: float,
        pools: Mapping[str, RestPool],
    ) -> None:
        self._api, self._role, self._limits, self._share, self._max_wait = api, role, limits, share, max_wait
        self._url, self._auth = split_credentials(urls[role])
        self._clock: tuple[datetime, float] | None = None
        names = {each: {cost.pool.name: cost.pool for cost in _costs(api, each)} for each in api.hosts}
        self._budgets = {
            name: shared_budget(pools.get(name, pool), (urls[each] for each in api.hosts if name in names[each]))
            for name, pool in names[role].items()
        }

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A new connection pool to the host."""
        # The exchange's answers say what a refusal means, so nothing has to be guessed from many of them.
        ban = BanWatch(self._url, 0.0, frozenset(), frozenset())
        async with HttpClient(self._url, self._limits, ban, Pace(None), self._auth) as http:
            yield Connection(http, asyncio.Lock())

    async def server_time(self, connection: Connection) -> datetime:
        """The time of the host's clock now, or a little less. Raises RestError."""
        async with connection.turn:
            if self._clock is None or time.monotonic() - self._clock[1] > _CLOCK_AGE:
                clock = self._api.clocks[self._role]
                body = await self._body(connection.http, clock.path, clock.costs, 0)
                self._clock = self._parsed_time(clock.path, body), time.monotonic()
        return self._now()

    def _parsed_time(self, path: str, body: bytes) -> datetime:
        try:
            return from_milliseconds(int(json.loads(body)["serverTime"]))
        except (ValueError, KeyError, TypeError, OverflowError):
            raise RestRefusedError(
                f"{self._shown}{path} does not answer a time; set LAKEHOUSE_REST_URLS to a host of the exchange, such"
                f" as {self._role}={self._api.hosts[self._role]}"
            ) from None

    async def answer(self, connection: Connection, request: RestRequest) -> tuple[RestAnswer, RestRequest | None]:
        """The answer to one request, and the request for the next page. Raises RestError."""
        server_time = await self.server_time(connection)
        endpoint = request.endpoint
        rows: list[Any] = []
        status, reason, detail = AnswerStatus.REFUSED, "", ""
        try:
            body = await self._body(connection.http, request.canonical, endpoint.costs, request.rows, is_list=True)
            rows = json.loads(body)
            status = AnswerStatus.ANSWERED if rows else AnswerStatus.EMPTY
        except RestRequestError as error:
            body = error.body
            reason, detail = self._api.refusals.get(error.code, "request_refused"), str(error)
        answer = RestAnswer(
            request=request,
            status=status,
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
            rows=len(rows),
            server_time=server_time,
            fetched_at=datetime.now(UTC),
            reason=reason,
            detail=detail,
        )
        is_paged = endpoint.paging is Paging.ID and status is not AnswerStatus.REFUSED
        return answer, request.following(rows) if is_paged else None

    async def _body(
        self, http: HttpClient, target: str, costs: Iterable[RestCost], rows: int, is_list: bool = False
    ) -> bytes:
        """The body of a successful answer; JSON if ``is_list``."""
        body = b""
        try:
            async for attempt in http.attempts(target):
                with attempt:
                    body = await self._paused(http, target, costs, rows)
                    if is_list and not _is_list(body):
                        raise MalformedAnswerError("the body is not a list in JSON")
        except RequestError as error:
            raise RestFailedError(
                f"{self._shown}{target.partition('?')[0]}: {error} (up to {self._limits.attempts} attempts). Check the"
                " network, the proxy and LAKEHOUSE_REST_URLS, then run again: answers that came are kept"
            ) from error
        return body

    async def _paused(self, http: HttpClient, target: str, costs: Iterable[RestCost], rows: int) -> bytes:
        """One attempt; it is repeated after each pause that the exchange asks for."""
        waited = 0.0
        url = URL(f"{self._url}{target}", encoded=True)
        while True:
            async with charged(self._charges(costs, rows), self._max_wait):
                async with http.request(url, accept=_ACCEPTED) as response:
                    for cost in costs:
                        self._see(cost, response.headers)
                    body = b""
                    async for chunk in response.chunks():
                        body += chunk
                        if len(body) > _MAX_BODY:
                            raise MalformedAnswerError(f"the body has more than {_MAX_BODY:,} bytes")
                if response.status == 200:
                    return body
                if response.status not in _PAUSES:
                    raise self._refusal(url, response.status, body)
                # Before the charge ends, so that no other request starts in between.
                pause = self._pause(response.status, response.headers, body, costs)
            waited += pause
            if waited > self._max_wait:
                raise ban_error(f"{self._shown} answers HTTP {response.status} and wants no requests", pause)
            log.warning("%s: HTTP %d, no requests for %.0f s", self._shown, response.status, pause)

    def _charges(self, costs: Iterable[RestCost], rows: int) -> list[tuple[Budget, int, int]]:
        charges = [(self._budgets[cost.pool.name], cost.weight(rows)) for cost in costs]
        return [(budget, weight, max(1, int(budget.pool.limit * self._share))) for budget, weight in charges]

    def _see(self, cost: RestCost, headers: Mapping[str, str]) -> None:
        budget = self._budgets[cost.pool.name]
        used = headers.get(budget.pool.header, "") if budget.pool.header else ""
        if used.isascii() and used.isdigit():
            budget.saw(int(used))

    def _pause(self, status: int, headers: Mapping[str, str], body: bytes, costs: Iterable[RestCost]) -> float:
        """Stop the pools of a request (HTTP 429), or of the whole host (418); returns for how many seconds."""
        pause = retry_after(headers)
        if not pause and (match := _BANNED_UNTIL.search(body.decode("utf-8", "replace"))):
            pause = max(1.0, (from_milliseconds(int(match[1])) - self._now()).total_seconds())
        pause = pause or _PAUSE
        pools = [cost.pool.name for cost in costs] if status == 429 else list(self._budgets)
        for name in pools:
            self._budgets[name].pause(pause)
        return pause

    def _now(self) -> datetime:
        if self._clock is None:
            return datetime.now(UTC)
        return self._clock[0] + timedelta(seconds=time.monotonic() - self._clock[1])

    def _refusal(self, url: URL, status: int, body: bytes) -> Exception:
        """The error of an answer that neither succeeds nor asks for a pause."""
        code, message = _code(body)
        if status in _REFUSALS:
            other = self._api.alternatives.get(self._role)
            if other is not None and other != self._url:
                advice = f"Set LAKEHOUSE_REST_URLS={self._role}={other}, which serves the same data, or use"
            else:
                advice = "No other host of the exchange serves this; use"
            return RestRefusedError(
                f"{self._shown} answers HTTP {status}: the exchange refuses this place or network. {advice} another"
                " network, or switch completion off: stored data is kept"
            )
        if code in self._api.retried:
            return HttpError(str(url.with_query(None)), 503)
        if code is None:
            return RestRefusedError(
                f"{self._shown}{url.path} answers HTTP {status}: this host does not serve the path. Set"
                f" LAKEHOUSE_REST_URLS to a host that does, such as {self._role}={self._api.hosts[self._role]}"
            )
        return RestRequestError(code, message, body)

    @property
    def _shown(self) -> str:
        return mask_url(self._url)


def _costs(api: RestApi, role: str) -> list[RestCost]:
    """All costs of requests to a host."""
    endpoints = [endpoint for group in api.endpoints.values() for endpoint in group if endpoint.role == role]
    return [*api.clocks[role].costs, *(cost for endpoint in endpoints for cost in endpoint.costs)]


def _is_list(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), list)
    except ValueError:
        return False


def _code(body: bytes) -> tuple[int | None, str]:
    """Code and message of an error; None for a body that has none."""
    try:
        error = json.loads(body)
        return int(error["code"]), str(error.get("msg", ""))[:_SHOWN]
    except (ValueError, KeyError, TypeError):
        return None, ""
