"""When a server that answers 403 again and again counts as one that has banned us, and what follows from it.

One file that is forbidden is that file's own; requests themselves are made by ``http_client.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crypto_lakehouse.archive.model import ArchiveError

log = logging.getLogger(__name__)

REFUSALS = 10
"""So many answers 403 in a row look like a ban."""

PAUSES = 4
"""So many pauses, each twice as long as the one before, before the run ends."""


class BanWatch:
    """Counts the answers 403 in a row of one client. While they look like a ban, requests go one at a time, each after
    a pause: the first one takes ``first_pause`` seconds.
    """

    def __init__(self, url: str, first_pause: float) -> None:
        self._url, self._first_pause = url, first_pause
        self._lock = asyncio.Lock()
        self._refusals = self._pauses = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a request may be made. Raises ArchiveError where the server goes on to refuse after all pauses."""
        if not self._is_suspected:
            yield
            return
        async with self._lock:
            # The request before this one may have been answered.
            if self._is_suspected:
                await self._pause()
            yield

    def answered(self) -> None:
        """Note a request that the server did not refuse."""
        self._refusals = self._pauses = 0

    def refused(self) -> bool:
        """Note an answer 403; whether it looks like a ban, so that the request is to be made again."""
        self._refusals += 1
        return self._is_suspected

    @property
    def _is_suspected(self) -> bool:
        return self._refusals >= REFUSALS

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
