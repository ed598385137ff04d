"""HTTP for archives: a client with retries, rate limits and errors of its own.

No exception of a library leaves this module, because it may contain request headers, and so passwords, and text of the
server. Credentials and proxies are in ``addresses.py``, files and listings in ``download.py`` and ``listing.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import TracebackType
from typing import TypeVar

import aiohttp
import tenacity
from yarl import URL

from crypto_lakehouse.archive.addresses import Credentials, mask_url, proxy_of
from crypto_lakehouse.archive.bans import BanWatch
from crypto_lakehouse.archive.limits import Limits, Pace

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_RETRY_AFTER = 600.0
"""Longest pause in seconds. If a server asks for a longer one, its requests fail at once."""

_PAUSES = (418, 429, 503)
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_RETRIED = (408, 418, 425, 429, 500, 502, 503, 504)
# The head of an answer may take this many times the longest silence: to connect, for TLS, and to arrive.
_HEAD_SILENCES = 3
_SHOWN = 200


class RequestError(Exception):
    """A failed request, in this project's own words: it keeps nothing of a library's exception."""


class HttpError(RequestError):
    """An answer that is not a success; ``pause`` is its Retry-After in seconds, ``location`` its Location."""

    def __init__(self, url: str, status: int, pause: float = 0.0, location: str = "") -> None:
        wait = f", and asks to wait {pause:,.0f} s" if pause else ""
        lead = f", and redirects to {_shown(location)}: only {_MAX_REDIRECTS} redirects within one server are followed"
        super().__init__(f"{mask_url(url)} answered HTTP {status}{wait}{lead if location else ''}")
        self.status = status
        self.pause = pause


class MalformedAnswerError(RequestError):
    """A complete answer with invalid content; a retry may help."""


class ConnectionLostError(RequestError):
    """No connection, or one that was interrupted."""


class AnswerTimeoutError(RequestError):
    """An answer that did not arrive in time."""


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, HttpError):
        return error.status in _RETRIED and error.pause <= MAX_RETRY_AFTER
    return isinstance(error, RequestError)


class _FirstAttempt(AbstractContextManager[None]):
    """The first attempt. It keeps its failure if a retry may help; the retries are set up only then."""

    failure: Exception | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or not is_worth_retrying(error):
            return False
        self.failure = error
        return True


class Answer:
    """The answer to a request: its status, its headers, and its body, which is read once."""

    def __init__(self, response: aiohttp.ClientResponse, client: HttpClient) -> None:
        self.status, self.headers = response.status, response.headers
        self._response, self._client = response, client

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises RequestError if it is interrupted, stalls, or is too slow."""
        loop = asyncio.get_running_loop()
        # Only time spent waiting for the server counts: the consumer of the chunks may be busy.
        waited, received = 0.0, 0
        while True:
            requested_at = loop.time()
            chunk = await self._client.in_own_words(self._response.content.readany())
            if not chunk:
                return
            waited, received = waited + loop.time() - requested_at, received + len(chunk)
            yield chunk
            if waited >= self._client.silence:
                self._client.check_rate(received, waited)
                waited, received = 0.0, 0


class _MaskedAuth(aiohttp.BasicAuth):
    """Credentials for aiohttp, whose own repr shows the password."""

    def __repr__(self) -> str:
        return "****"


def _basic_auth(credentials: Credentials | None) -> aiohttp.BasicAuth | None:
    return _MaskedAuth(credentials.user, credentials.password, encoding="utf-8") if credentials else None


class HttpClient:
    """A connection pool with retries for the host of ``url``, through the proxy that the environment sets for it.

    ``auth`` is sent with every request; URLs must not contain credentials, because errors quote them. A Retry-After
    delays every request of the client, not only the one that received it; so does ``ban`` after many refusals in a row.
    Clients of one server share ``ban``, those of one archive ``pace``.
    """

    def __init__(
        self,
        url: str,
        limits: Limits,
        ban: BanWatch,
        pace: Pace,
        auth: Credentials | None = None,
    ) -> None:
        self._auth = _basic_auth(auth)
        self._proxy, proxy_auth = proxy_of(url)
        self._proxy_auth = _basic_auth(proxy_auth)
        self.silence = limits.timeout
        self._limits = limits
        self._ban, self._turn = ban, asyncio.Lock()
        self._pace = pace
        self._not_before = 0.0

    async def __aenter__(self) -> HttpClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limits.concurrency),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.silence, sock_read=self.silence),
            auto_decompress=False,
            proxy=self._proxy,
            proxy_auth=self._proxy_auth,
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def attempts(self, name: str) -> AsyncIterator[AbstractContextManager[object]]:
        """``async for attempt in client.attempts(name): with attempt: ...``: exponential backoff with jitter.

        ``name`` identifies the request in the log of failures.
        """
        first = _FirstAttempt()
        yield first
        if first.failure is None:
            return
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_worth_retrying),
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=tenacity.wait_exponential_jitter(initial=0.2, max=30.0, jitter=0.5),
            before_sleep=partial(self._log_retry, name),
            reraise=True,
        ):
            if attempt.retry_state.attempt_number == 1:
                with attempt:
                    raise first.failure
            else:
                yield attempt

    def _log_retry(self, name: str, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        number, pause = state.attempt_number, state.upcoming_sleep
        log.warning(
            "%s: attempt %d of %d failed, next in %.1f s: %s", name, number, self._limits.attempts, pause, failure
        )

    @asynccontextmanager
    async def request(
        self,
        url: URL,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        method: str = "GET",
    ) -> AsyncIterator[Answer]:
        """One attempt at one request. Raises HttpError if the status (of the server or a proxy) is not in ``accept``,
        and RequestError if no answer arrives.
        """
        loop = asyncio.get_running_loop()
        while (wait := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        response = await self._permitted(method, url, headers, accept)
        try:
            yield Answer(response, self)
        finally:
            # Keeps the connection if the body was read to its end, closes it otherwise.
            response.release()

    def check_rate(self, received: int, seconds: float) -> None:
        """Raise AnswerTimeoutError if ``received`` bytes in ``seconds`` are below the minimum rate."""
        least = self._limits.least_rate
        if received < least * seconds:
            raise AnswerTimeoutError(
                f"only {received:,} bytes arrived in {seconds:,.1f} s; the least rate is {least:g} bytes/s"
            )

    async def _permitted(
        self, method: str, url: URL, headers: Mapping[str, str] | None, accept: tuple[int, ...]
    ) -> aiohttp.ClientResponse:
        """The accepted answer; a request that a suspected ban refused is sent again."""
        while True:
            try:
                async with self._ban.turn(self._turn, self._is_served):
                    response = await self._accepted(method, url, headers, accept)
            except HttpError as error:
                if not self._ban.failed(url, error.status):
                    raise
            else:
                self._ban.answered(url)
                return response

    async def _is_served(self, url: URL) -> bool:
        """Whether the server gives anything but a refusal for what it should serve."""
        try:
            (await self._accepted("GET", url, None, (200,))).release()
        except HttpError as error:
            return error.status not in self._ban.refusals
        except RequestError:
            return False
        return True

    async def _accepted(
        self, method: str, url: URL, headers: Mapping[str, str] | None, accept: tuple[int, ...]
    ) -> aiohttp.ClientResponse:
        await self._pace.turn()
        response = await self._response(method, url, headers)
        if response.status in accept:
            return response
        response.release()
        pause = retry_after(response.headers) if response.status in _PAUSES else 0.0
        if 0 < pause <= MAX_RETRY_AFTER:
            self._not_before = max(self._not_before, asyncio.get_running_loop().time() + pause)
        raise HttpError(str(url), response.status, pause)

    async def _response(
        self, method: str, url: URL, headers: Mapping[str, str] | None, left: int = _MAX_REDIRECTS
    ) -> aiohttp.ClientResponse:
        """The answer at ``url``, following redirects only within its server: other targets are not trusted."""
        response = await self.in_own_words(self._head(method, url, headers))
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location:
            return response
        response.release()
        target = _within(url, location)
        if target is None or not left:
            raise HttpError(str(url), response.status, location=location)
        return await self._response(method, target, headers, left - 1)

    async def _head(self, method: str, url: URL, headers: Mapping[str, str] | None) -> aiohttp.ClientResponse:
        """The head of an answer. The library limits neither a proxy's silence nor a head that arrives byte by byte."""
        async with asyncio.timeout(_HEAD_SILENCES * self.silence):
            return await self._session.request(method, url, headers=headers, auth=self._auth, allow_redirects=False)

    async def in_own_words(self, step: Awaitable[T]) -> T:
        """Await a step of the library; its exceptions become those of this module."""
        try:
            return await step
        except Exception as error:
            failure = self._translated(error)
        # Not in the except clause, so that the error is not even the context of the new one.
        raise failure

    def _translated(self, error: Exception) -> RequestError:
        """The same failure in our own words or the operating system's, without texts of the library or the server."""
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return HttpError(f"the proxy {self._proxy}", error.status)
        if isinstance(error, TimeoutError):
            return AnswerTimeoutError(f"no answer arrived in time: the longest silence is {self.silence:g} s")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ConnectionLostError(f"the certificate of {error.host}:{error.port} is refused: {_reason(error)}")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return ConnectionLostError(f"cannot connect to the proxy {error.host}:{error.port}: {_reason(error)}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return ConnectionLostError(f"cannot connect to {error.host}:{error.port}: {_reason(error)}")
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return ConnectionLostError("the server closed the connection before it answered")
        if isinstance(error, aiohttp.ClientPayloadError):
            return ConnectionLostError("the answer was interrupted, or is not valid HTTP framing")
        if isinstance(error, OSError):
            return ConnectionLostError(f"the connection was interrupted: {_reason(error)}")
        if isinstance(error, aiohttp.ClientResponseError):
            return MalformedAnswerError("the answer is not valid HTTP")
        return ConnectionLostError(f"the HTTP library failed with {type(error).__name__}")


def _reason(error: OSError | aiohttp.ClientConnectorCertificateError) -> str:
    """The operating system's reason for a failed connection; it quotes neither headers nor the server."""
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    text = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or type(cause).__name__
    if isinstance(cause, OSError) and str(text).startswith("Connect call failed"):
        # The words of asyncio, which repeat the address instead of the reason.
        text = os.strerror(cause.errno or 0)
    return str(text)[:_SHOWN]


def _shown(location: str) -> str:
    """A Location that is safe to show: without credentials and query, and of limited length."""
    return ascii(mask_url(location).partition("?")[0][:_SHOWN])


def _within(url: URL, location: str) -> URL | None:
    """The target of a Location relative to ``url``; None unless it is on the same server."""
    with suppress(ValueError):
        target = url.join(URL(location)).with_user(None)
        if target.origin() == url.origin():
            return target
    return None


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, in either of its two forms; 0 without a valid one."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
