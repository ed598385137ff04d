"""The files of bronze partitions in batches that are read together, some ahead of the one that is recorded.

Here belongs in which order files are had and read, across partitions. How files are read is in ``reading.py``, what
is recorded of them and what becomes of their rows in ``bronze.py``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from crypto_lakehouse.archive.model import ArchiveFile, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.pipeline.arrivals import Arrivals
from crypto_lakehouse.pipeline.reading import JOINED_BYTES, Read, read_blocks, read_together

# Batches of small files that are read at a time, beside the writer that needs a core of its own, and those that are
# begun before they are taken. Each holds some 30 MB.
_READERS, _BEGUN = max(1, min(2, (os.cpu_count() or 1) - 1)), 2
_BATCH_FILES = 500


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A partition to be made: the files that are listed for it, what the ledger knows of each, by key, and the keys of
    those that are settled: their rows are stored, and they are not had again.
    """

    key: str
    listed: Sequence[ArchiveFile]
    state: dict[str, Any]
    settled: set[str]


class Batch(NamedTuple):
    """Files of a day that are read together, or settled ones; those that are ``vanished``, by key, come as that."""

    day: Day
    files: list[ArchiveFile]
    is_settled: bool
    vanished: Mapping[str, RejectedFile] = {}


def table_order(file: ArchiveFile) -> tuple[str, str]:
    """Where the rows of a file stand in the table."""
    return file.symbol, file.key


def batches(feed: Feed, days: Iterable[Day]) -> Iterator[Batch]:
    """The files of the days in the order of the table. Each day begins with a batch of none, so that it is told of."""
    for day in days:
        vanished = {gone.file.key: gone for gone in _vanished(day.listed, day.state)}
        ordered = sorted([*day.listed, *(gone.file for gone in vanished.values())], key=table_order)
        yield Batch(day, [], True)
        for is_settled, some in groupby(ordered, key=lambda file: file.key in day.settled):
            for files in [list(some)] if is_settled else _cut(list(some), feed.file_format.large):
                yield Batch(day, files, is_settled, vanished)


def read_ahead(feed: Feed, some: Iterable[Batch], arrivals: Arrivals) -> Generator[tuple[Batch, Iterable[Read]]]:
    """What comes of batches, in their order; small files are read in threads, some batches ahead, across days.

    Of settled files nothing comes. What arrivals raise comes behind the results of the batches before.
    """
    begun: deque[tuple[Batch, Callable[[], Iterable[Read]]]] = deque()

    def come(batch: Batch, results: Iterable[Read]) -> Iterator[tuple[Batch, Iterable[Read]]]:
        yield batch, results
        if not batch.is_settled:
            for file in batch.files:
                arrivals.drop(file)

    failure: Exception | None = None
    with ThreadPoolExecutor(_READERS, "lakehouse-read") as pool:
        for batch in some:
            try:
                came = [] if batch.is_settled else [batch.vanished.get(f.key) or arrivals.take(f) for f in batch.files]
            except Exception as error:
                failure = error
                break
            streamed = bool(came) and (feed.file_format.large or came[0].file.size > JOINED_BYTES)
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


def _cut(files: Sequence[ArchiveFile], one_by_one: bool) -> Iterator[list[ArchiveFile]]:
    """The files in their order: small ones together, others alone."""
    batch: list[ArchiveFile] = []
    size = 0
    for file in files:
        if batch and (one_by_one or size + file.size > JOINED_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _vanished(listed: Sequence[ArchiveFile], state: dict[str, Any]) -> list[RejectedFile]:
    """Files that were ingested and are listed no more: their rows stay, and the quarantine says so."""
    there = {file.key for file in listed}
    names = ("key", "symbol", "period", "size", "etag", "last_modified")
    return [
        RejectedFile(
            ArchiveFile(**{name: row[name] for name in names}),
            "no_longer_listed",
            "the archive listed this file before and does so no more; the rows that were made of it stay",
            row["sha256"],
        )
        for row in state.values()
        if row["status"] == "ingested" and row["key"] not in there
    ]
