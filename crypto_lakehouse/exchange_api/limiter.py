"""The limits of an exchange API: weights per clock minute, refusals and bans, as the exchange counts them.

``sample/api_server.py`` asks it before each answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crypto_lakehouse.catalog.rest import RestCost, RestPool


@dataclass(frozen=True, slots=True)
class Refusal:
    """HTTP 429 (too many requests) or 418 (banned), until a time in seconds since the epoch."""

    status: int
    until: float


@dataclass(slots=True)
class Limiter:
    """Counts the weights of all clients. ``pools`` are pools with other limits than the catalogue's, by name.

    A client that sends ``patience`` requests over a limit within one window is banned for ``ban`` seconds.
    """

    pools: Mapping[str, RestPool] = field(default_factory=dict)
    patience: int = 10
    ban: float = 120.0
    _used: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    _banned_until: float = 0.0

    def charge(self, costs: Iterable[RestCost], rows: int) -> tuple[dict[str, str], Refusal | None]:
        """Charge a request; returns the headers of its answer, and its refusal if it is over a limit."""
        now, headers, refusal = time.time(), {}, None
        if now < self._banned_until:
            return {}, Refusal(418, self._banned_until)
        for cost in costs:
            pool = self.pools.get(cost.pool.name, cost.pool)
            length = pool.window.total_seconds()
            window = int(now // length)
            last, used, excesses = self._used.get(pool.name, (window, 0, 0))
            # A refused request costs its weight too.
            used, excesses = (used, excesses) if last == window else (0, 0)
            used += cost.weight(rows)
            if used > pool.limit:
                excesses += 1
                refusal = Refusal(429, (window + 1) * length)
            self._used[pool.name] = window, used, excesses
            if pool.header:
                headers[pool.header] = str(used)
            if excesses > self.patience:
                self._banned_until = now + self.ban
                refusal = Refusal(418, self._banned_until)
        return headers, refusal
