"""The request that is being answered: who asks, what for, and what was sent. Warnings of the reader gather here.

Threads that work for a request see it, because they run in a copy of its context.
"""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from crypto_lakehouse.api.tokens import OPEN, Token
from crypto_lakehouse.lake.reader.warn import LakeWarning

CALL: ContextVar[Call] = ContextVar("CALL")


class Slots:
    """How many requests of each caller are answered at the same time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._used: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> bool:
        """Take a slot; False if all are taken."""
        with self._lock:
            used = self._used.get(caller, 0)
            if used >= self.most:
                return False
            self._used[caller] = used + 1
            return True

    def free(self, caller: str) -> None:
        """Return a slot."""
        with self._lock:
            self._used[caller] -= 1
            if not self._used[caller]:
                del self._used[caller]


@dataclass(slots=True)
class Call:
    """One request. ``token`` is None if the server is open; ``facts`` are checked arguments for the log."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    start: float = field(default_factory=time.monotonic)
    token: Token | None = None
    route: str = ""
    status: int = 0
    rows: int = 0
    bytes: int = 0
    is_whole: bool = False
    outcome: str = "complete"
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _holders: int = 0
    _release: Callable[[], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def caller(self) -> str:
        """The name of the token, or OPEN."""
        return OPEN if self.token is None else self.token.name

    def occupy(self, release: Callable[[], None] | None = None) -> None:
        """Hold the slot of this request once more. The first holder says how to release it."""
        with self._lock:
            self._holders += 1
            self._release = release or self._release

    def leave(self) -> None:
        """Stop to hold the slot. A thread that outlives its request is the last holder."""
        with self._lock:
            self._holders -= 1
            release = self._release if not self._holders else None
        if release is not None:
            release()


def gather_warnings() -> None:
    """Let each warning of the reader go to its request. Filters of ``warnings`` are those of the whole process."""
    show = warnings.showwarning

    def to_call(message: Warning | str, category: type[Warning], *others: Any, **named: Any) -> None:
        call = CALL.get(None)
        if call is not None and issubclass(category, LakeWarning):
            call.warnings.append(str(message))
        else:
            show(message, category, *others, **named)

    warnings.showwarning = to_call
    warnings.simplefilter("always", LakeWarning)
