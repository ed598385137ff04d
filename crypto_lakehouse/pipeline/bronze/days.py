"""Plan the work for days of bronze, file by file, while the archive still lists its symbols.

This module decides which files are new, settled, or removed from the archive. ``download_queue.py`` fetches files,
``batches.py`` reads them, and ``partitions.py`` records them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple

from crypto_lakehouse.archive.model import ArchiveFile, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.lake.storage.provenance import StoredPartition
from crypto_lakehouse.pipeline.chosen_files import replaced_rows
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols
from crypto_lakehouse.pipeline.reconcile import Problem, problem_of


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A partition: the ledger rows of its files, by key, the symbols that runs have chosen for it, and the stored
    partition if its inputs are unchanged.
    """

    key: str
    state: Mapping[str, Any]
    chosen: ChosenSymbols
    unchanged: StoredPartition | None


class FileTask(NamedTuple):
    """A file of a day, or the start of the day if ``file`` is None.

    A settled file is already stored or quarantined for good, so it is not fetched again. The archive no longer lists a
    file that is ``vanished``.
    """

    day: Day
    file: ArchiveFile | None = None
    is_up_to_date: bool = True
    vanished: RejectedFile | None = None


class _ListedFile(NamedTuple):
    file: ArchiveFile
    is_up_to_date: bool
    vanished: RejectedFile | None


def table_order(file: ArchiveFile) -> tuple[str, str]:
    """The sort key of a file's rows in the table."""
    return file.symbol, file.object_key


def tasks(
    key: str,
    state: Mapping[str, Any],
    stored: StoredPartition | None,
    is_made: bool,
    chosen: ChosenSymbols,
    listed: Iterable[tuple[str, Sequence[ArchiveFile]]],
    feed: Feed,
) -> Iterator[FileTask]:
    """The tasks of a day in the order of the table. They start when the first new file is known, or that none is new.

    Parameters
    ----------
    key
        The partition.
    state
        The ledger rows of its files, by file key.
    stored
        The stored partition, if any.
    is_made
        Whether ``stored`` holds exactly the files that ``state`` lists as ingested.
    chosen
        The symbols that this run or an earlier one has chosen. If the footer of ``stored`` says less, the partition is
        written again, with the same rows.
    listed
        The files that the archive lists: (symbol, files), in order of symbols.
    feed
        The feed of the partition.
    """
    ingested: dict[str, list[Any]] = {}
    for row in state.values():
        if row["status"] == "ingested":
            ingested.setdefault(row["symbol"], []).append(row)
    files = _files(ingested, state, is_made, listed, feed)
    seen: list[_ListedFile] = []
    for file in files:
        seen.append(file)
        if not file.is_up_to_date:
            break
    else:
        is_recorded = bool(seen) or any(row["status"] == "no_file" for row in state.values())
        if not (is_made and is_recorded and chosen == chosen_symbols(stored)):
            stored = None
        yield from _of_day(Day(key, state, chosen, stored), seen)
        return
    yield from _of_day(Day(key, state, chosen, None), chain(seen, files))


def _of_day(day: Day, files: Iterable[_ListedFile]) -> Iterator[FileTask]:
    yield FileTask(day)
    for file in files:
        yield FileTask(day, *file)


def _files(
    ingested: Mapping[str, list[Any]],
    state: Mapping[str, Any],
    is_made: bool,
    listed: Iterable[tuple[str, Sequence[ArchiveFile]]],
    feed: Feed,
) -> Iterator[_ListedFile]:
    """Each file, in the order of the table."""
    settled = (None, Problem.QUARANTINED) if is_made else ()
    # Add every ingested symbol, because the archive may no longer list it.
    before: Iterable[tuple[str, Sequence[ArchiveFile]]] = ((symbol, ()) for symbol in sorted(ingested))
    last = None
    for symbol, files in merge(listed, before, key=lambda item: item[0]):
        if symbol == last:
            continue
        last = symbol
        rows = ingested.get(symbol, ())
        # A daily file that is new replaces the monthly file; if it is known to be bad, the rows of the other stay.
        replaced = {row["key"]: row for file in files for row in replaced_rows(feed, file, rows)}
        is_settled = all(problem_of(file, state.get(file.object_key)) in settled for file in files)
        kept = [_file_of(row) for row in replaced.values()] if is_settled else []
        gone = _vanished(files, [row for row in rows if row["key"] not in replaced])
        vanished = {rejected.file.object_key: rejected for rejected in gone}
        for file in sorted([*files, *kept, *(rejected.file for rejected in gone)], key=table_order):
            reason = vanished.get(file.object_key)
            is_up_to_date = reason is None and problem_of(file, state.get(file.object_key)) in settled
            yield _ListedFile(file, is_up_to_date, reason)


def _vanished(listed: Sequence[ArchiveFile], ingested: Sequence[Any]) -> list[RejectedFile]:
    """Ingested files that the archive no longer lists: their rows stay, and the quarantine records the fact."""
    listed_keys = {file.object_key for file in listed}
    return [
        RejectedFile(
            _file_of(row),
            "no_longer_listed",
            "the archive listed this file before and does so no more; the rows that were made of it stay",
            row["sha256"],
        )
        for row in ingested
        if row["key"] not in listed_keys
    ]


def _file_of(row: Mapping[str, Any]) -> ArchiveFile:
    names = ("symbol", "period", "size", "etag", "last_modified")
    return ArchiveFile(row["key"], **{name: row[name] for name in names})
