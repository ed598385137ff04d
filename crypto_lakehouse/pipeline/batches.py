"""The files of bronze partitions in batches that are read together, some ahead of the one that is recorded.

Here belongs which files are read together, across partitions. What is to be read is told by ``days.py``, how it is read
by ``reading.py``; what is recorded of files and what becomes of their rows is in ``bronze.py``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

from crypto_lakehouse.archive.model import ArchiveFile, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.pipeline.arrivals import Arrivals
from crypto_lakehouse.pipeline.days import Day, Step
from crypto_lakehouse.pipeline.reading import JOINED_BYTES, Read, read_blocks, read_together

# Batches of small files that are read at a time, beside the writer that needs a core of its own, and those that are
# begun before they are taken. Each holds some 30 MB.
_READERS, _BEGUN = max(1, min(2, (os.cpu_count() or 1) - 1)), 2
_BATCH_FILES = 500


class Batch(NamedTuple):
    """Files of a day that are read together, or settled ones; those that are ``gone``, by key, come as that."""

    day: Day
    files: list[ArchiveFile]
    is_settled: bool
    gone: Mapping[str, RejectedFile]


def batches(feed: Feed, some: Iterable[Step]) -> Iterator[Batch]:
    """The files of steps in their order. Each day begins with a batch of none, so that it is told of."""
    for (day, is_file, is_settled), those in groupby(some, key=lambda one: (one.day, bool(one.file), one.is_settled)):
        if not is_file:
            yield Batch(day, [], True, {})
            continue
        for part in [list(those)] if is_settled else _cut(those, feed.file_format.large):
            gone = {step.gone.file.key: step.gone for step in part if step.gone}
            yield Batch(day, [step.file for step in part if step.file], is_settled, gone)


def read_ahead(feed: Feed, some: Iterable[Batch], arrivals: Arrivals) -> Generator[tuple[Batch, Iterable[Read]]]:
    """What comes of batches, in their order; small files are read in threads, some batches ahead, across days.

    Of settled files nothing comes. What batches and arrivals raise comes behind the results of the batches before.
    """
    begun: deque[tuple[Batch, Callable[[], Iterable[Read]]]] = deque()

    def come(batch: Batch, results: Iterable[Read]) -> Iterator[tuple[Batch, Iterable[Read]]]:
        yield batch, results
        if not batch.is_settled:
            for file in batch.files:
                arrivals.drop(file)

    failure: Exception | None = None
    coming = iter(some)
    with ThreadPoolExecutor(_READERS, "lakehouse-read") as pool:
        while True:
            try:
                batch = next(coming, None)
                if batch is None:
                    break
                came = [] if batch.is_settled else [batch.gone.get(f.key) or arrivals.take(f) for f in batch.files]
            except Exception as error:
                failure = error
                break
            # One of several small files may have been replaced by a large one since it was listed.
            streamed = len(came) == 1 and (feed.file_format.large or came[0].file.size > JOINED_BYTES)
            if not streamed:
                begun.append((batch, pool.submit(read_together, feed, came).result if came else tuple))
            # For what is settled there is nothing to wait for.
            while begun and (streamed or begun[0][0].is_settled or len(begun) > _BEGUN):
                oldest, result = begun.popleft()
                yield from come(oldest, result())
            if streamed:
                yield from come(batch, read_blocks(feed, came[0]))
        for oldest, result in begun:
            yield from come(oldest, result())
    if failure is not None:
        raise failure


def _cut(some: Iterable[Step], one_by_one: bool) -> Iterator[list[Step]]:
    """The steps in their order: those of small files together, others alone."""
    batch: list[Step] = []
    size = 0
    for step in some:
        its_size = step.file.size if step.file else 0
        if batch and (one_by_one or size + its_size > JOINED_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(step)
        size += its_size
    if batch:
        yield batch
