"""When a server that answers 403 again and again counts as one that has banned us, and what follows from it.

Files that are forbidden are the files' own, also many of them in a row; requests themselves are made by
``http_client.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from yarl import URL

from crypto_lakehouse.archive.model import ArchiveError

log = logging.getLogger(__name__)

REFUSALS = 10
"""So many answers 403 in a row look like a ban."""

PAUSES = 4
"""So many pauses, each twice as long as the one before, before the run ends."""


class BanWatch:
    """Counts the answers 403 in a row of one server, over all clients that ask it.

    While they look like a ban, each client makes its requests one at a time, and first asks for something else: what
    was served before, or what is listed in another folder. Where that is served, the refused files are forbidden and
    nothing is banned. Else all wait, the first time for ``first_pause`` seconds.
    """

    def __init__(self, url: str, first_pause: float) -> None:
        self._url, self._first_pause = url, first_pause
        self._refusals = self._pauses = 0
        self._served: URL | None = None
        self._listed: dict[URL, URL] = {}
        self._refused: set[URL] = set()

    @asynccontextmanager
    async def turn(self, lock: asyncio.Lock, is_served: Callable[[URL], Awaitable[bool]]) -> AsyncIterator[None]:
        """Wait until a request may be made. Raises ArchiveError where the server goes on to refuse after all pauses.

        ``lock`` is that of the client, ``is_served`` makes one request.
        """
        if not self._is_suspected:
            yield
            return
        async with lock:
            # The request before this one may have been answered.
            while self._is_suspected:
                other = self._other()
                if other is not None and await is_served(other):
                    log.info("%s: %d files in a row are forbidden, others are served", self._url, self._refusals)
                    self.answered(other)
                    break
                await self._pause()
                if other is None:
                    # The request itself shows whether the ban goes on.
                    break
            yield

    def noted(self, url: URL) -> None:
        """Note what the archive lists: the last of each folder can show later whether all is refused."""
        self._listed[url.parent] = url

    def answered(self, served: URL | None = None) -> None:
        """Note a request that the server did not refuse; what was ``served`` can show later whether all is refused."""
        self._refusals = self._pauses = 0
        self._served = served or self._served

    def refused(self, url: URL) -> bool:
        """Note an answer 403; whether it looks like a ban, so that the request is to be made again."""
        self._refusals += 1
        self._refused.add(url.parent)
        return self._is_suspected

    @property
    def _is_suspected(self) -> bool:
        return self._refusals >= REFUSALS

    def _other(self) -> URL | None:
        """What should be served unless all is refused; of listed files each one is given once."""
        if self._served is not None:
            return self._served
        folders = sorted(self._listed, key=self._refused.__contains__)
        return self._listed.pop(folders[0]) if folders else None

    async def _pause(self) -> None:
        if self._pauses == PAUSES:
            raise ArchiveError(
                f"{self._url} answers HTTP 403 to everything, {self._refusals} times in a row and also after {PAUSES} "
                "pauses: it seems to have banned this address, or a proxy forbids it. Wait some hours or use another "
                "network, lower LAKEHOUSE_CONCURRENCY, then run again: what is stored stays"
            )
        pause = self._first_pause * 2**self._pauses
        self._pauses += 1
        log.warning("%s: HTTP 403 %d times in a row: all requests wait %.1f s", self._url, self._refusals, pause)
        await asyncio.sleep(pause)
