"""Ctrl-C and SIGTERM: a handler notes the signal, and long work calls ``ask`` between its steps.

An error that a signal handler raises appears wherever Python is at that moment. In a callback of the garbage
collector Python prints it and continues, so the signal is lost. A flag cannot be lost. This module knows nothing
about the work that it stops.
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
    """A signal stopped the work. A KeyboardInterrupt, so that no ``except Exception`` catches it."""


class _State:
    """Signals of this process: ``received`` is the first one, 0 if none has come."""

    received: int = 0
    is_raising: bool = False


_state = _State()


def received() -> int:
    """The number of the first signal that has come, 0 if none has."""
    return _state.received


def note(number: int) -> None:
    """Note a signal that another process has passed on, as if it had come to this process."""
    _state.received = _state.received or number


def ask() -> None:
    """Raises Interrupted if a signal has come."""
    if _state.received:
        raise Interrupted(signal.Signals(_state.received).name)


def wait(items: Queue[T] | SimpleQueue[T]) -> T:
    """Wait for the next item of a queue and return it. Raises Interrupted if a signal comes first."""
    while True:
        ask()
        with suppress(Empty):
            return items.get(timeout=_LOOK_UP)


def aside(work: Callable[[], T]) -> T:
    """Run ``work`` in its own thread and return its result. In the main thread Dagster raises signals as errors at any
    place, also in a callback of the garbage collector, where they are lost.
    """
    with ThreadPoolExecutor(1, "lakehouse-run", initializer=shield) as pool:
        result = pool.submit(copy_context().run, work)
        while not result.done():
            # Handlers run in the main thread, and a signal delivered to another thread does not wake it up.
            futures.wait([result], timeout=_LOOK_UP)
        return result.result()


def shield() -> None:
    """Keep Ctrl-C from the programs that this thread will start, such as those with which Dagster keeps the output of a
    run: at a terminal it would end them with a traceback. The main thread still gets the signal.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def exit_code() -> int:
    """The exit code of a process that the signal stopped, by the convention of shells: 130 or 143."""
    return 128 + (_state.received or signal.SIGINT)


def install() -> None:
    """Start to note signals. Until ``defer`` they are also raised at once, for code that waits and never asks."""
    _state.received, _state.is_raising = 0, True
    _handle(_note)


def defer() -> None:
    """From now on note signals without raising them: the program calls ``ask`` and decides on its exit code."""
    _state.is_raising = False


def ignore() -> None:
    """Ignore signals from now on: the exit code is decided, and a signal while Python exits must not change it."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Note signals inside of this block, in a program that has its own handlers (Dagster's runs). At the end, that
    program's handler gets a signal that was noted and that nothing asked for.

    Does nothing outside of the main thread, because Python calls handlers only there.
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
    note(number)
    if _state.is_raising:
        raise Interrupted(signal.Signals(number).name)


def _handle(handler: signal.Handlers | object) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)  # type: ignore[arg-type]
