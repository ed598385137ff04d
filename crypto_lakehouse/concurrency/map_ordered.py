"""Run the same function on many items in a few threads, with results in order and bounded memory.

``prefetch.py`` is for one thread that works ahead of another; ``interrupts.py`` says when to stop.
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
"""Days to process at once: each keeps a core busy with decoding or encoding."""

WRITERS = 3
"""Days to write at once: one of them usually waits for the disk."""


def map_ordered(
    work: Callable[[A], B], items: Iterable[A], threads: int = THREADS, most_waiting: int | None = None
) -> Iterator[B]:
    """Yield ``work(item)`` for each item, in order, from ``threads`` threads.

    At most ``most_waiting`` items (default: as many as threads) are in work or wait to be taken. With one thread the
    work runs in the caller's thread, one item after another. An error of ``work`` is raised where its result would have
    been yielded, and later items do not start. An error of ``items`` is raised after the results of the earlier items.

    >>> list(map_ordered(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    most_waiting = most_waiting or threads
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "lakehouse-side") as pool:
        started: deque[Future[B]] = deque()
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
                if len(started) == most_waiting:
                    yield started.popleft().result()
                started.append(pool.submit(work, item))
            while started:
                yield started.popleft().result()
        finally:
            for future in started:
                future.cancel()
        if failure is not None:
            raise failure
