"""Asyncio for synchronous callers: queues of work, tasks that end together, and a loop in a thread of its own.

Contains no HTTP. ``listed.py`` says what the tasks do.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from crypto_lakehouse import interrupts

T = TypeVar("T")
Item = TypeVar("Item")

log = logging.getLogger(__name__)


def filled(items: Iterable[Item]) -> asyncio.Queue[Item | None]:
    """A queue of the items, followed by None."""
    queue: asyncio.Queue[Item | None] = asyncio.Queue()
    for item in items:
        queue.put_nowait(item)
    queue.put_nowait(None)
    return queue


async def run_all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all in parallel; if one fails, cancel the others before raising its error."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task awaits, without the exception: one of a library may contain headers."""
    log.warning("%s: %s", context["message"], type(context.get("exception")).__name__)


def in_thread(main: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
    """Yield what ``main`` emits in an event loop in a thread of its own; closing the iterator cancels it.

    It needs a thread because the caller may have a running loop (notebooks), and works while downloads continue.
    """
    results: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        task = asyncio.ensure_future(main(lambda result: results.put((result,))))
        running.append((asyncio.get_running_loop(), task))
        if stop.is_set():
            task.cancel()
        await task

    def run() -> None:
        try:
            asyncio.run(body())
        except BaseException as error:
            results.put(error)
        else:
            results.put(None)

    def consume() -> Iterator[T]:
        thread = threading.Thread(target=run, name="archive-source", daemon=True)
        thread.start()
        try:
            while (item := interrupts.wait(results)) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item[0]
        finally:
            stop.set()
            for loop, task in running:
                # RuntimeError: the loop has ended by itself in the meantime.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(task.cancel)
            thread.join()

    return consume()
