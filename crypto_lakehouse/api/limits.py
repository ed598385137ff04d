"""The rate of requests of each caller, as a bucket that fills steadily and from which each request takes one."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """At most ``rate`` requests a second of each caller, and twice as many at once after a pause."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, max(1.0, 2 * rate)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, caller: str) -> float:
        """Take one request and return 0, or return the seconds until the next one is allowed.

        >>> limit = RateLimit(1.0, lambda: 0.0)
        >>> [limit.wait("a") for _ in range(3)]
        [0.0, 0.0, 1.0]
        """
        now = self._clock()
        left, seen = self._buckets.get(caller, (self.burst, now))
        left = min(self.burst, left + (now - seen) * self.rate)
        if left < 1:
            self._buckets[caller] = left, now
            return (1 - left) / self.rate
        self._buckets[caller] = left - 1, now
        return 0.0
