"""Group the files of bronze partitions into batches, and read batches ahead of the one that is recorded.

This module decides which files are read together, across partitions. ``days.py`` decides which files to read,
``parsing.py`` reads them, and ``partitions.py`` records files and stores rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

from crypto_lakehouse.archive.model import ArchiveFile, MonthDay, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.pipeline.bronze.days import Day, FileTask
from crypto_lakehouse.pipeline.bronze.month_files import MonthFiles
from crypto_lakehouse.pipeline.bronze.parsing import JOINED_BYTES, Read, read_blocks

# The first number is how many batches of small files are read at a time; the writer needs a core of its own. The second
# is how many batches may wait to be taken. Each holds about 30 MB.
_READERS, _BATCHES_AHEAD = max(1, min(2, (os.cpu_count() or 1) - 1)), 2
_BATCH_FILES = 500
# Of a monthly file a batch reads one day.
_DAYS = 28


class Batch(NamedTuple):
    """Files of a day to read together, or settled files. ``vanished`` holds files that the archive removed, by key."""

    day: Day
    files: list[ArchiveFile]
    is_up_to_date: bool
    vanished: Mapping[str, RejectedFile]


def batches(feed: Feed, tasks: Iterable[FileTask]) -> Iterator[Batch]:
    """The batches of the files of ``tasks``, in order. Each day starts with an empty batch that announces the day."""
    for (day, is_file, is_up_to_date), group in groupby(tasks, key=lambda s: (s.day, bool(s.file), s.is_up_to_date)):
        if not is_file:
            yield Batch(day, [], True, {})
            continue
        for batch in [list(group)] if is_up_to_date else _cut(group, feed.file_format.large):
            vanished = {task.vanished.file.object_key: task.vanished for task in batch if task.vanished}
            yield Batch(day, [task.file for task in batch if task.file], is_up_to_date, vanished)


def read_ahead(feed: Feed, waiting: Iterable[Batch], months: MonthFiles) -> Generator[tuple[Batch, Iterable[Read]]]:
    """Yield (batch, its results), in order. Threads read small files some batches ahead, across days.

    Settled files have no results. An error of a batch or of a download is raised after the results of the earlier
    batches.
    """
    started: deque[tuple[Batch, Callable[[], Iterable[Read]]]] = deque()

    def deliver(batch: Batch, results: Iterable[Read]) -> Iterator[tuple[Batch, Iterable[Read]]]:
        yield batch, results
        if not batch.is_up_to_date:
            for file in batch.files:
                months.drop(file)

    failure: Exception | None = None
    remaining = iter(waiting)
    with ThreadPoolExecutor(_READERS, "lakehouse-read") as pool:
        while True:
            try:
                batch = next(remaining, None)
                if batch is None:
                    break
                files = (
                    []
                    if batch.is_up_to_date
                    else [batch.vanished.get(f.object_key) or months.take(f) for f in batch.files]
                )
            except Exception as error:
                failure = error
                break
            # One of several small files may have been replaced by a large one since it was listed.
            streamed = len(files) == 1 and (feed.file_format.large or _size(files[0].file) > JOINED_BYTES)
            if not streamed:
                started.append((batch, pool.submit(months.read, files).result if files else tuple))
            # Settled files need no wait.
            while started and (streamed or started[0][0].is_up_to_date or len(started) > _BATCHES_AHEAD):
                oldest, result = started.popleft()
                yield from deliver(oldest, result())
            if streamed:
                yield from deliver(batch, read_blocks(feed, files[0]))
        for oldest, result in started:
            yield from deliver(oldest, result())
    if failure is not None:
        raise failure


def _cut(tasks: Iterable[FileTask], one_by_one: bool) -> Iterator[list[FileTask]]:
    """The tasks in order: several small files together, each large file alone."""
    batch: list[FileTask] = []
    size = 0
    for task in tasks:
        its_size = _size(task.file) if task.file else 0
        if batch and (one_by_one or size + its_size > JOINED_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += its_size
    if batch:
        yield batch


def _size(file: ArchiveFile) -> int:
    return file.size // _DAYS if isinstance(file, MonthDay) else file.size
