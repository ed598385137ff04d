"""Work done ahead of the one who takes it, so that reading, parsing and writing overlap in bounded memory.

Here belongs the thread and its queue. What is made in it is told by ``bronze.py`` and ``silver.py``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

from crypto_lakehouse import interrupts

T = TypeVar("T")

_LOOK_UP = 0.1


def ahead(items: Iterator[T], depth: int) -> Generator[T]:
    """The same items in the same order, made in a thread of their own, at most ``depth`` before they are taken.

    What making an item raises is raised where it would have been taken. Closing the generator ends the thread
    and closes ``items``; nothing is made before the first item is asked for.

    >>> list(ahead(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=_LOOK_UP)
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
            # A generator can only be closed where it does not run.
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=run, name="lakehouse-ahead", daemon=True)
    thread.start()
    try:
        while (item := interrupts.wait(made)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        thread.join()
