"""HTTP for archives: one polite client with retries, and verified downloads of single files through it.

Here belong retrying, pacing, resuming and checksums. Which files there are is known to ``listing.py``,
what they are called to ``binance.py``; nothing here looks into a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import stamina
from yarl import URL

from crypto_lakehouse.archive.hold import HeldFile, Hold
from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.archive.part import Part

MAX_RETRY_AFTER = 600.0
"""Seconds. A server that asks for a longer pause is not waited for: its requests fail at once."""

_PAUSES = (418, 429, 503)
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_RETRIED = (408, 418, 425, 429, 500, 502, 503, 504)
_COMPONENT = re.compile(r"\w[\w.-]*")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S+)\s*")
_CHECKSUM_LIMIT = 4096
# A CDN may hold a stale zip, beside a new CHECKSUM or its own, so one mismatch is not the last word.
_CHECKSUM_TRIES = 2
_NO_CACHE = {"Cache-Control": "no-cache"}
_USERINFO = re.compile(r"(?<=://).*@")


class HttpError(Exception):
    """An answer that is not a success; ``pause`` is its Retry-After in seconds, ``place`` its Location."""

    def __init__(self, url: str, status: int, pause: float = 0.0, place: str = "") -> None:
        wait = f", and asks to wait {pause:,.0f} s" if pause else ""
        lead = f", and leads to {mask_url(place)!r}: only {_MAX_REDIRECTS} redirects within one server are followed"
        super().__init__(f"{mask_url(url)} answered HTTP {status}{wait}{lead if place else ''}")
        self.status = status
        self.pause = pause


class MalformedAnswerError(Exception):
    """An answer that came whole but is not what was asked for; asking again can help."""


class _Credentials(aiohttp.BasicAuth):
    """Shows nothing of itself: aiohttp's errors hold it, and retries are logged with the repr of these."""

    def __repr__(self) -> str:
        return "****"


def mask_url(text: str) -> str:
    """The URL ``text``, which need not be valid, or a text with one, with ``****`` for user and password."""
    return _USERINFO.sub("****@", text)


def split_credentials(url: str) -> tuple[str, aiohttp.BasicAuth | None]:
    """An http(s) URL without user and password, and these. Raises ValueError, which does not quote them."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # A slash in a password ends the host too early; what follows would be taken for the path.
        usable = usable and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        usable = False
    if not usable:
        # Not in the except clause: the parser's own message may quote the credentials.
        raise ValueError(
            f"{mask_url(url)!r} is not an http:// or https:// URL; write / and @ of a password as %2F and %40"
        )
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    auth = _Credentials(unquote(user), unquote(password), encoding="utf-8")
    return parts._replace(netloc=host).geturl(), auth


def proxy_of(url: str) -> tuple[str | None, aiohttp.BasicAuth | None]:
    """The proxy for ``url`` by HTTP_PROXY, HTTPS_PROXY and NO_PROXY, without its user and password, and these.

    Asked once: aiohttp's own ``trust_env`` reads all of the environment and ``.netrc`` for every request, in a thread.
    Raises ArchiveError for a proxy that cannot be used, which names the variable and does not quote it.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return None, None
    with suppress(ValueError):
        return split_credentials(proxy)
    # Not in an except clause: that error quotes what may be a password.
    raise ArchiveError(
        f"{parts.scheme.upper()}_PROXY is no http:// or https:// URL: correct it, with / and @ of a password as %2F "
        "and %40, then run again"
    )


def in_words(error: Exception) -> str:
    """The kind and the text of an error; one that is not of this module may quote credentials of a URL."""
    is_own = isinstance(error, (HttpError, MalformedAnswerError))
    return f"{type(error).__name__}: {error if is_own else mask_url(str(error))}"


def is_worth_retrying(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, HttpError):
        return error.status in _RETRIED and error.pause <= MAX_RETRY_AFTER
    if isinstance(error, aiohttp.InvalidURL):
        return False
    return isinstance(error, (aiohttp.ClientError, TimeoutError, ConnectionError, MalformedAnswerError))


class _FirstAttempt(AbstractContextManager[None]):
    """Keeps its failure, if trying again may help, to be told to stamina, which is only set up where it is needed."""

    failure: Exception | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or not is_worth_retrying(error):
            return False
        self.failure = error
        return True


class HttpClient:
    """A connection pool with retries for the host of ``url``, through the proxy that the environment names for it.

    ``timeout`` is in seconds, to connect and of silence while reading. ``auth`` goes with every request; URLs must
    hold no credentials, because errors quote them. A Retry-After holds back every request of the client, not only
    the one that got it.
    """

    def __init__(
        self, url: str, concurrency: int, attempts: int, timeout: float, auth: aiohttp.BasicAuth | None = None
    ) -> None:
        self._auth = auth
        self._proxy, self._proxy_auth = proxy_of(url)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        self._concurrency = concurrency
        self._attempts = attempts
        self._not_before = 0.0

    async def __aenter__(self) -> HttpClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            timeout=self._timeout,
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

    async def attempts(self) -> AsyncIterator[AbstractContextManager[None]]:
        """``async for attempt in client.attempts(): with attempt: ...``: exponential backoff with jitter."""
        first = _FirstAttempt()
        yield first
        if first.failure is None:
            return
        async for attempt in stamina.retry_context(
            on=is_worth_retrying,
            attempts=self._attempts,
            timeout=None,
            wait_initial=0.2,
            wait_max=30.0,
            wait_jitter=0.5,
        ):
            if attempt.num == 1:
                with attempt:
                    raise first.failure
            else:
                yield attempt

    @asynccontextmanager
    async def request(
        self,
        url: URL,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        method: str = "GET",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One try of one request. Raises HttpError unless the status is one of ``accept``, also a proxy's."""
        loop = asyncio.get_running_loop()
        while (wait := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        try:
            async with await self._answer(method, url, headers) as response:
                if response.status not in accept:
                    pause = retry_after(response.headers) if response.status in _PAUSES else 0.0
                    if 0 < pause <= MAX_RETRY_AFTER:
                        self._not_before = max(self._not_before, loop.time() + pause)
                    raise HttpError(str(url), response.status, pause)
                yield response
        except aiohttp.ClientHttpProxyError as error:
            # Its repr holds the headers, and with them the password.
            raise HttpError(f"the proxy {self._proxy}", error.status) from None

    async def _answer(
        self, method: str, url: URL, headers: Mapping[str, str] | None, left: int = _MAX_REDIRECTS
    ) -> aiohttp.ClientResponse:
        """The answer at ``url``, or where its server redirects to within itself: elsewhere can be anyone's."""
        response = await self._session.request(method, url, headers=headers, auth=self._auth, allow_redirects=False)
        place = response.headers.get("Location")
        if response.status not in _REDIRECTS or not place:
            return response
        response.release()
        target = _within(url, place)
        if target is None or not left:
            raise HttpError(str(url), response.status, place=place)
        return await self._answer(method, target, headers, left - 1)


def _within(url: URL, place: str) -> URL | None:
    """Where the Location ``place`` leads to from ``url``, if that is the same server."""
    with suppress(ValueError):
        target = url.join(URL(place)).with_user(None)
        if target.origin() == url.origin():
            return target
    return None


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, in either of its two forms; 0 without a usable one."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def local_name(key: str) -> str:
    """File name for ``key``: its last component. Raises ValueError unless the whole key is safe."""
    parts = key.split("/")
    if not all(_COMPONENT.fullmatch(part) and len(part.encode()) <= 200 for part in parts):
        raise ValueError(f"{key!r} is not a safe archive key: names of letters, digits, '_', '-' and '.' only")
    return parts[-1]


def parse_checksum(text: str, name: str) -> str:
    """The lower-case sha256 in a CHECKSUM text for the file ``name``. Raises ValueError if it is not one."""
    match = _CHECKSUM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is not '<sha256>  <file name>'")
    if match[2] != name:
        raise ValueError(f"it is for {match[2][:100]!r}, not for {name!r}")
    return match[1].lower()


class _RejectedError(Exception):
    def __init__(self, reason: str, detail: str, sha256: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.sha256 = sha256


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches single files of the archive at ``url`` into ``directory``, small ones into ``hold`` where it has room."""

    client: HttpClient
    url: str
    directory: Path
    hold: Hold | None = None

    async def fetch(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """Download and verify one file.

        Raises ArchiveError if the folder cannot be written, because then no other file can be had either,
        and ValueError if the key is unsafe.
        """
        path = self.directory / local_name(file.key)
        try:
            sha256, place = await self._verified(file, path)
        except _RejectedError as error:
            return RejectedFile(file, error.reason, str(error), error.sha256)
        except HttpError as error:
            reason = {404: "not_found", 403: "forbidden"}.get(error.status, "http_error")
            return RejectedFile(file, reason, str(error))
        except TimeoutError as error:
            return RejectedFile(file, "timeout", f"{file.key}: no answer in time ({mask_url(str(error))})")
        except (aiohttp.ClientError, ConnectionError, MalformedAnswerError) as error:
            return RejectedFile(file, "connection_error", f"{file.key}: {in_words(error)}")
        except OSError as error:
            raise ArchiveError(
                f"cannot write {path.name} to {self.directory}: {error}; free space or correct the folder's "
                "rights, then run again: finished and partial files are kept"
            ) from error
        return FetchedFile(file, place, sha256)

    async def _verified(self, file: ArchiveFile, path: Path) -> tuple[str, Path | HeldFile]:
        served, size, stated = "", 0, ""
        for number in range(_CHECKSUM_TRIES):
            fresh = _NO_CACHE if number else {}
            stated = await self._stated_sha256(file, path.name, fresh)
            if _has_size(path, file.size) and await asyncio.to_thread(_sha256, path) == stated:
                return stated, path
            part = Part(path)
            if part.is_on_disk:
                await asyncio.to_thread(part.load)
            try:
                await self._download(file, part, fresh)
            except BaseException:
                part.keep()
                raise
            served, size = part.sha256(), part.size
            # The sums agree for an old zip with its old CHECKSUM too; an ETag need not be the MD5 of the bytes.
            if served == stated and size == file.size:
                if self.hold is not None and not part.is_on_disk and self.hold.take(part.size):
                    return served, HeldFile(path.name, part.content())
                part.publish()
                return served, path
            part.discard()
        if served == stated:
            raise _RejectedError(
                "size_mismatch",
                f"{file.key}: the archive lists {file.size:,} bytes and serves {size:,}, whose CHECKSUM fits; one of "
                "the two is of an older version: try again later",
                served,
            )
        raise _RejectedError(
            "checksum_mismatch",
            f"{file.key}: the archive states sha256 {stated} and serves {served}; it may be republishing: "
            "try again later",
            served,
        )

    async def _stated_sha256(self, file: ArchiveFile, name: str, headers: Mapping[str, str]) -> str:
        try:
            body = await self._small_body(f"{file.key}.CHECKSUM", headers)
        except HttpError as error:
            if error.status != 404:
                raise
            # A file that is gone altogether is another matter than one without a checksum.
            async for attempt in self.client.attempts():
                with attempt:
                    async with self.client.request(self._url(file.key), method="HEAD"):
                        pass
            raise _RejectedError(
                "checksum_missing", f"{file.key}.CHECKSUM does not exist, but the file does"
            ) from error
        try:
            return parse_checksum(body.decode(), name)
        except ValueError as error:
            raise _RejectedError("checksum_malformed", f"{file.key}.CHECKSUM: {error}") from error

    async def _small_body(self, key: str, headers: Mapping[str, str]) -> bytes:
        body = b""
        async for attempt in self.client.attempts():
            with attempt:
                body = b""
                async with self.client.request(self._url(key), headers) as response:
                    async for chunk in response.content.iter_chunked(_CHECKSUM_LIMIT):
                        body += chunk
                        if len(body) > _CHECKSUM_LIMIT:
                            break
        return body

    async def _download(self, file: ArchiveFile, part: Part, headers: Mapping[str, str]) -> None:
        async for attempt in self.client.attempts():
            with attempt:
                await self._download_once(file, part, headers)

    async def _download_once(self, file: ArchiveFile, part: Part, headers: Mapping[str, str]) -> None:
        """One try; what arrives stays in ``part``, and the next try goes on from there."""
        offset, etag = (part.size, part.etag) if part.can_go_on else (0, "")
        if offset:
            headers = {**headers, "Range": f"bytes={offset}-", "If-Range": etag}
        async with self.client.request(self._url(file.key), headers, accept=(200, 206, 416)) as response:
            if response.status == 200:
                part.restart(response.headers.get("ETag", ""))
            elif not (
                response.status == 206
                and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
                and response.headers.get("ETag", etag) == etag
            ):
                part.discard()
                raise MalformedAnswerError(f"HTTP {response.status} does not continue the file at byte {offset}")
            async for chunk in response.content.iter_any():
                part.write(chunk)

    def _url(self, key: str) -> URL:
        return URL(f"{self.url.rstrip('/')}/{quote(key)}", encoded=True)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
