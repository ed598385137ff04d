"""The same work on many things in a few threads, results in order, in bounded memory.

Here belong the threads. What is read, made or written in them is told by the modules that use them; one thread that
works ahead of another is in ``ahead.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from crypto_lakehouse import interrupts

A = TypeVar("A")
B = TypeVar("B")

THREADS = 2
"""Days that are worked on at once: each of them keeps a core busy with decoding or encoding."""

WRITERS = 3
"""Made days that are written at once: one of them mostly waits for the disk."""


def side_by_side(work: Callable[[A], B], items: Iterable[A], threads: int = THREADS) -> Iterator[B]:
    """``work`` of each item, in order; at most ``threads`` items are worked on or wait to be taken. With one thread
    each is done before the next one is asked for, in the caller's own.

    What ``work`` raises is raised where its result would have been taken; items behind it are not begun then. What
    ``items`` raise comes behind the results of those before.

    >>> list(side_by_side(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "lakehouse-side") as pool:
        begun: deque[Future[B]] = deque()
        source, failure = iter(items), None
        try:
            while True:
                interrupts.ask()
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                if len(begun) == threads:
                    yield begun.popleft().result()
                begun.append(pool.submit(work, item))
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
        if failure is not None:
            raise failure
