"""Detects a server that has banned this client, from repeated refusals such as HTTP 403, and slows requests down.

Forbidden files alone are not a ban, even many in a row. ``http_client.py`` sends the requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from yarl import URL

from crypto_lakehouse.archive.model import ArchiveBanError

log = logging.getLogger(__name__)

REFUSALS = 10
"""Number of refusals in a row that count as a ban."""

PAUSES = 4
"""Number of pauses, each twice as long as the one before, before the run fails."""


class BanWatch:
    """Counts the refusals in a row of one server, over all its clients.

    ``refusals`` are the HTTP statuses of a server that has banned someone, ``absent`` those of a file that does not
    exist.

    During a suspected ban, each client sends its requests one at a time, and first probes another URL: one that was
    served before, or a listed file of another folder. If the server answers the probe, only the refused files are
    forbidden, and there is no ban. Otherwise all requests wait, the first time for ``first_pause`` seconds.
    """

    def __init__(self, url: str, first_pause: float, refusals: frozenset[int], absent: frozenset[int]) -> None:
        self._url, self._first_pause = url, first_pause
        self.refusals, self._absent = refusals, absent
        self._refusals = self._pauses = 0
        self._served: URL | None = None
        self._listed: dict[URL, URL] = {}
        self._refused: set[URL] = set()

    @asynccontextmanager
    async def turn(self, lock: asyncio.Lock, is_served: Callable[[URL], Awaitable[bool]]) -> AsyncIterator[None]:
        """Wait until a request may be sent. Raises ArchiveError if the server still refuses after all pauses.

        ``lock`` is the client's; ``is_served`` sends one probe.
        """
        if not self._is_suspected:
            yield
            return
        async with lock:
            # The previous request may have ended the suspicion.
            while self._is_suspected:
                other = self._other()
                if other is not None and await is_served(other):
                    log.info("%s: %d files in a row are forbidden, others are served", self._url, self._refusals)
                    self.answered(other)
                    break
                await self._pause()
                if other is None:
                    # The request itself shows whether the ban continues.
                    break
            yield

    def noted(self, url: URL) -> None:
        """Record a listed URL; the last one of each folder can serve as a probe."""
        self._listed[url.parent] = url

    def answered(self, served: URL | None = None) -> None:
        """Record a request that the server did not refuse; a ``served`` URL can serve as a probe."""
        self._refusals = self._pauses = 0
        self._served = served or self._served

    def failed(self, url: URL, status: int) -> bool:
        """Record an HTTP status that is no success; returns whether a ban is suspected, so that the caller sends the
        request again.
        """
        if status in self._absent:
            self.answered()
        if status not in self.refusals:
            return False
        self._refusals += 1
        self._refused.add(url.parent)
        return self._is_suspected

    @property
    def _is_suspected(self) -> bool:
        return self._refusals >= REFUSALS

    @property
    def _status(self) -> str:
        return " or ".join(map(str, sorted(self.refusals)))

    def _other(self) -> URL | None:
        """A URL to probe, or None; each listed file is used only once."""
        if self._served is not None:
            return self._served
        folders = sorted(self._listed, key=self._refused.__contains__)
        return self._listed.pop(folders[0]) if folders else None

    async def _pause(self) -> None:
        if self._pauses == PAUSES:
            raise ArchiveBanError(
                f"{self._url} answers HTTP {self._status} to everything, {self._refusals} times in a row and also "
                f"after {PAUSES} pauses: it seems to have banned this address, or a proxy forbids it. Wait some hours "
                "or use another network, lower LAKEHOUSE_CONCURRENCY, then run again: stored data is kept"
            )
        pause = self._first_pause * 2**self._pauses
        self._pauses += 1
        log.warning(
            "%s: HTTP %s %d times in a row; all requests wait %.1f s", self._url, self._status, self._refusals, pause
        )
        await asyncio.sleep(pause)
