"""The budget of a pool: how much weight may be sent, shared by all workers of this process.

A weight is charged before its request is sent, and counts until a whole window has passed since the answer. So no
window of the server's clock, wherever it starts, holds more than the budget, and clocks need not agree. Other
processes of the same address are seen in the header of answers, which raises the charge. ``client.py`` sends requests.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.rest.model import RestBanError, RestError

# The expiry of a request on its way is unknown, so the wait for it is repeated.
_SHORT = 0.05


class Budget:
    """What this process has charged to a pool, and until when the server wants no requests to it.

    ``limit`` of a method is the greatest sum of weights in a window: clients may use different shares of the pool.
    """

    def __init__(self, pool: RestPool) -> None:
        self.pool = pool
        self._window = pool.window.total_seconds()
        self._on_their_way = 0
        self._charges: deque[tuple[float, int]] = deque()
        self._not_before = 0.0
        # Clients have event loops in threads of their own.
        self._lock = threading.Lock()

    @asynccontextmanager
    async def charged(self, weight: int, limit: int, max_pause: float) -> AsyncIterator[None]:
        """Wait until a request of this weight may be sent, and charge it.

        Raises RestError if it never may be, RestBanError if the server wants a pause of more than ``max_pause`` s.
        """
        if weight > limit:
            raise RestError(
                f"one request of weight {weight} is more than the budget of {limit} in {self._window:g} s for"
                f" {self.pool.name}; raise LAKEHOUSE_REST_SHARE"
            )
        while (wait := self._charge(weight, limit)) > 0:
            pause = self._not_before - time.monotonic()
            if pause > max_pause:
                raise ban_error(f"the exchange wants no requests of {self.pool.name}", pause)
            await asyncio.sleep(wait)
        try:
            yield
        finally:
            with self._lock:
                self._on_their_way -= weight
                self._charges.append((time.monotonic() + self._window, weight))

    def _charge(self, weight: int, limit: int) -> float:
        """Charge the weight and return 0, or return the seconds to wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._not_before:
                return self._not_before - now
            excess = self._total(now) + weight - limit
            if excess <= 0:
                self._on_their_way += weight
                return 0.0
            for expiry, charge in self._charges:
                excess -= charge
                if excess <= 0:
                    return max(expiry - now, _SHORT)
            return _SHORT

    def _total(self, now: float) -> int:
        while self._charges and self._charges[0][0] <= now:
            self._charges.popleft()
        return self._on_their_way + sum(charge for _, charge in self._charges)

    def saw(self, used: int) -> None:
        """Raise the charge to what the server says that this address has used, other processes included."""
        with self._lock:
            now = time.monotonic()
            others = used - self._total(now)
            if others > 0:
                self._charges.append((now + self._window, others))

    def pause(self, seconds: float) -> None:
        """Send nothing to this pool for so many seconds."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)


_budgets: dict[tuple[str, tuple[str, ...]], Budget] = {}
_lock = threading.Lock()


def shared_budget(pool: RestPool, urls: Iterable[str]) -> Budget:
    """The one budget in this process of a pool that hosts at these URLs share."""
    key = (pool.name, tuple(sorted(set(urls))))
    with _lock:
        budget = _budgets.get(key)
        if budget is None or budget.pool != pool:
            budget = _budgets[key] = Budget(pool)
        return budget


@asynccontextmanager
async def charged(charges: Iterable[tuple[Budget, int, int]], max_pause: float) -> AsyncIterator[None]:
    """Charge one request to several budgets: (budget, weight, limit) each."""
    async with AsyncExitStack() as stack:
        for budget, weight, limit in charges:
            await stack.enter_async_context(budget.charged(weight, limit, max_pause))
        yield


def ban_error(lead: str, pause: float) -> RestBanError:
    """The error of a pause, in seconds, that is longer than a run waits."""
    until = datetime.now(UTC) + timedelta(seconds=pause)
    return RestBanError(
        f"{lead} until {until:%Y-%m-%d %H:%M:%S} UTC. Run again after that time, with a lower LAKEHOUSE_REST_SHARE if"
        " other programs use the API from this address: answers that came are kept",
        until,
    )
