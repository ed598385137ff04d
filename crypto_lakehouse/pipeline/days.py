"""What is to be done for days of bronze, file by file, while the archive still lists its symbols.

Here belongs what is new, what is settled and what has vanished. How files are had and read is in ``arrivals.py`` and
``batches.py``, what is recorded of them in ``bronze.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple

from crypto_lakehouse.archive.model import ArchiveFile, RejectedFile
from crypto_lakehouse.lake.origin import StoredPartition
from crypto_lakehouse.pipeline.reconcile import Problem, problem_of


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A partition: what the ledger knows of its files, by their keys, and what is stored, if nothing is new."""

    key: str
    state: Mapping[str, Any]
    unchanged: StoredPartition | None


class Step(NamedTuple):
    """A file of a day; without one, the day begins.

    What there is of a settled file is stored, or in the quarantine for good: it is not had again. One that is ``gone``
    cannot be had any more.
    """

    day: Day
    file: ArchiveFile | None = None
    is_settled: bool = True
    gone: RejectedFile | None = None


class _Found(NamedTuple):
    file: ArchiveFile
    is_settled: bool
    gone: RejectedFile | None


def table_order(file: ArchiveFile) -> tuple[str, str]:
    """Where the rows of a file stand in the table."""
    return file.symbol, file.key


def steps(
    key: str,
    state: Mapping[str, Any],
    stored: StoredPartition | None,
    is_made: bool,
    listed: Iterable[tuple[str, Sequence[ArchiveFile]]],
) -> Iterator[Step]:
    """The steps of a day in the order of the table, as soon as it is known whether there is anything new.

    ``listed`` are its files by symbol, in order of symbols. ``is_made`` tells whether ``stored`` is made of just what
    the ledger, ``state``, says.
    """
    ingested: dict[str, list[Any]] = {}
    for row in state.values():
        if row["status"] == "ingested":
            ingested.setdefault(row["symbol"], []).append(row)
    files = _files(ingested, state, is_made, listed)
    seen: list[_Found] = []
    for found in files:
        seen.append(found)
        if not found.is_settled:
            break
    else:
        told = bool(seen) or any(row["status"] == "no_file" for row in state.values())
        if not (is_made and told):
            stored = None
        yield from _of_day(Day(key, state, stored), seen)
        return
    yield from _of_day(Day(key, state, None), chain(seen, files))


def _of_day(day: Day, files: Iterable[_Found]) -> Iterator[Step]:
    yield Step(day)
    for found in files:
        yield Step(day, *found)


def _files(
    ingested: Mapping[str, list[Any]],
    state: Mapping[str, Any],
    is_made: bool,
    listed: Iterable[tuple[str, Sequence[ArchiveFile]]],
) -> Iterator[_Found]:
    """Each file, in the order of the table."""
    settled = (None, Problem.QUARANTINED) if is_made else ()
    # Every symbol that was ingested once more, because it may be listed no more.
    before: Iterable[tuple[str, Sequence[ArchiveFile]]] = ((symbol, ()) for symbol in sorted(ingested))
    last = None
    for symbol, files in merge(listed, before, key=lambda one: one[0]):
        if symbol == last:
            continue
        last = symbol
        gone = {one.file.key: one for one in _vanished(files, ingested.get(symbol, ()))}
        for file in sorted([*files, *(one.file for one in gone.values())], key=table_order):
            reason = gone.get(file.key)
            is_settled = reason is None and problem_of(file, state.get(file.key)) in settled
            yield _Found(file, is_settled, reason)


def _vanished(listed: Sequence[ArchiveFile], ingested: Sequence[Any]) -> list[RejectedFile]:
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
        for row in ingested
        if row["key"] not in there
    ]
