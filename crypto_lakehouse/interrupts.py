"""Ctrl-C and SIGTERM: what a signal sets, and what work asks between its steps. It knows nothing of what is stopped.

An error that a signal handler raises comes up wherever Python is at that moment. In a callback of the garbage
collection it is printed and lost, and the work goes on. So a handler here only notes the signal, and work that takes
long calls ``ask`` between its steps.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import Empty, Queue, SimpleQueue
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_LOOK_UP = 0.1

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Work that stopped because a signal had come. A KeyboardInterrupt, so that no ``except Exception`` takes it."""


class _State:
    """What is known of the signals of this process. ``received`` is the first one, 0 where none has come."""

    received: int = 0
    is_raising: bool = False


_state = _State()


def received() -> int:
    """The first signal that has come, 0 where none has."""
    return _state.received


def ask() -> None:
    """Raises Interrupted if a signal has come."""
    if _state.received:
        raise Interrupted(signal.Signals(_state.received).name)


def wait(items: Queue[T] | SimpleQueue[T]) -> T:
    """The next item of a queue, once it is there. Raises Interrupted if a signal comes before it."""
    while True:
        ask()
        with suppress(Empty):
            return items.get(timeout=_LOOK_UP)


def aside(work: Callable[[], T]) -> T:
    """What ``work`` returns, from a thread of its own: in the main thread Dagster has signals raised as errors, at any
    place, and where that is a callback of the garbage collection they are lost.
    """
    with ThreadPoolExecutor(1, "lakehouse-run") as pool:
        result = pool.submit(copy_context().run, work)
        while not result.done():
            # Handlers run in the main thread, which does not wake up for a signal that another thread got.
            futures.wait([result], timeout=_LOOK_UP)
        return result.result()


def exit_code() -> int:
    """The exit code of a process that was stopped by the signal that came, as shells have it: 130 or 143."""
    return 128 + (_state.received or signal.SIGINT)


def install() -> None:
    """Note the signals of this program. Until ``defer`` they are also raised at once, for what waits and never asks."""
    _state.received, _state.is_raising = 0, True
    _handle(_note)


def defer() -> None:
    """From here on signals are noted and no longer raised: the program calls ``ask``, and decides on its exit code."""
    _state.is_raising = False


def ignore() -> None:
    """The exit code is decided: a signal that comes while Python ends does not change it."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, signals are noted, where another program has handlers of its own (Dagster's runs); one that was noted
    and not asked for goes to that program's handler at the end.

    In a thread other than the main one it does nothing: Python calls handlers in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is _note:
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.received, _state.is_raising = 0, False
    _handle(_note)
    is_asked = False
    try:
        yield
    except Interrupted:
        is_asked = True
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        noted, _state.received = _state.received, 0
        if noted and not is_asked:
            signal.raise_signal(noted)


def _note(number: int, _frame: FrameType | None) -> None:
    _state.received = _state.received or number
    if _state.is_raising:
        raise Interrupted(signal.Signals(number).name)


def _handle(handler: signal.Handlers | object) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)  # type: ignore[arg-type]
