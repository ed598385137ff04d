"""Produce items in a thread, ahead of their consumer, so that reading, parsing and writing overlap.

The queue bounds memory. ``map_ordered.py`` is for several threads that do the same work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

from crypto_lakehouse import interrupts

T = TypeVar("T")

_LOOK_UP = 0.1


def prefetch(items: Iterator[T], depth: int) -> Generator[T]:
    """Yield ``items`` in order, produced in a thread that is at most ``depth`` items ahead of the consumer.

    An error from ``items`` is raised where its item would have been yielded. Closing the generator ends the thread
    and closes ``items``. The thread starts with the first request for an item.

    >>> list(prefetch(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    queued: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                queued.put(item, timeout=_LOOK_UP)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for item in items:
                if not put((item,)):
                    break
        except BaseException as error:
            put(error)
        else:
            put(None)
        finally:
            # Only this thread may close the generator: no other thread can while it runs.
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=run, name="lakehouse-ahead", daemon=True)
    thread.start()
    try:
        while (item := interrupts.wait(queued)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        thread.join()
