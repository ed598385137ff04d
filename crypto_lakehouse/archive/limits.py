"""Limits of the requests to an archive: parallel requests, attempts, timeouts, and requests per second.

``http_client.py`` obeys them. Bans are in ``bans.py``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that a user chooses.

    Parameters
    ----------
    concurrency
        Maximum number of parallel requests to each URL of the archive.
    attempts
        Maximum number of attempts per request.
    timeout
        Longest silence while connecting or reading, in seconds.
    least_rate
        Minimum rate of a body in bytes per second, measured over ``timeout`` seconds of waiting.

    Raises
    ------
    ValueError
        For numbers out of range.
    """

    concurrency: int = 128
    attempts: int = 5
    timeout: float = 60.0
    least_rate: float = 1000.0

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1 or self.timeout <= 0 or self.least_rate < 0:
            raise ValueError("concurrency and attempts must be at least 1, timeout more than 0 s, least_rate 0 or more")


class Pace:
    """Spreads the requests to an archive, of all its clients, to at most ``per_second``; None for no limit."""

    def __init__(self, per_second: float | None) -> None:
        self._interval = 0.0 if per_second is None else 1 / per_second
        self._next = 0.0
        # Clients have event loops in threads of their own.
        self._lock = threading.Lock()

    async def turn(self) -> None:
        """Wait until the next request may be sent."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        await asyncio.sleep(turn - now)
