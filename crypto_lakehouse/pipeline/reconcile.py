"""Compare the archive's listing with the ledger: new, replaced and failed files.

Sensors compare a window and some symbols, the daily reconciliation compares everything. Both decide themselves what
to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource
from crypto_lakehouse.catalog import Feed, parse_partition, partition_keys
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.chosen_files import available_symbols, chosen_files
from crypto_lakehouse.pipeline.symbols import check_symbols_exist

# Listed files in memory at once: about 60 MB.
_FILES_AT_ONCE = 120_000


class Problem(StrEnum):
    """How a listed file differs from its ledger row."""

    NEW = "new"
    REPLACED = "replaced"
    FAILED = "failed"
    QUARANTINED = "quarantined"


# By the status of the same version in the ledger. A file that another one has replaced has no rows in the lake.
_PROBLEMS = {"failed": Problem.FAILED, "quarantined": Problem.QUARANTINED, "superseded": Problem.NEW}


@dataclass(frozen=True, slots=True)
class Difference:
    """One file whose present version in the archive is not in the lake."""

    period: str
    symbol: str
    key: str
    last_modified: datetime
    problem: Problem
    detail: str


def differences(files: Iterable[ArchiveFile], states: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """Differences between a listing and the ledger's present state of each partition, in listing order."""
    different = []
    for file in files:
        row = states.get(file.period, {}).get(file.object_key)
        problem = problem_of(file, row)
        if problem is not None:
            detail = (row and row["detail"]) or ""
            different.append(Difference(file.period, file.symbol, file.object_key, file.last_modified, problem, detail))
    return different


def problem_of(file: ArchiveFile, row: Mapping[str, Any] | None) -> Problem | None:
    """How a listed file differs from its ledger row; None if it does not."""
    if row is None:
        return Problem.NEW
    if (row["etag"], row["size"], row["last_modified"]) != (file.etag, file.size, file.last_modified):
        return Problem.REPLACED
    return _PROBLEMS.get(row["status"])


def compare(
    feed: Feed,
    source: ArchiveSource,
    store: LakeStore,
    symbols: SymbolFilter,
    first: date,
    end: date,
    most_symbols: int | None = None,
    files: ArchiveFiles = ArchiveFiles.DAILY,
) -> list[Difference]:
    """Differences between archive and ledger for the files of the selected symbols.

    Memory is bounded: it holds the files of some dates at a time and the ledger's state of one.

    Parameters
    ----------
    first, end
        UTC days [first, end).
    most_symbols
        List at most this many symbols, evenly spread over all, so that a sensor stays fast.
    files
        Which files to prefer where the archive has daily and monthly ones.

    Raises
    ------
    ArchiveError
        The archive cannot be listed.
    UnknownSymbolsError
        No market has a symbol that the user selected by name.
    """
    listed = available_symbols(feed, source, files)
    check_symbols_exist(feed, source, store, symbols, listed, for_feed=False)
    wanted = symbols.select(listed)
    if most_symbols is not None and len(wanted) > most_symbols:
        wanted = [wanted[i * len(wanted) // most_symbols] for i in range(most_symbols)]
    different: list[Difference] = []
    for slice_start, slice_end in _slices(feed, len(wanted), first, end):
        states = read_states(store, feed, partition_keys(slice_start, slice_end, feed.cadence))
        different += differences(chosen_files(feed, source, wanted, slice_start, slice_end, states, files), states)
    return different


def chunks_of(keys: Sequence[str], symbols: int) -> Iterator[Sequence[str]]:
    """Cut partitions of that many symbols into chunks whose listed files fit in memory."""
    length = max(1, _FILES_AT_ONCE // max(1, symbols))
    for start in range(0, len(keys), length):
        yield keys[start : start + length]


def _slices(feed: Feed, symbols: int, first: date, end: date) -> Iterator[tuple[date, date]]:
    """Split [first, end) into slices of whole periods with a bounded number of files: years of a whole market do not
    fit in memory.
    """
    keys = partition_keys(first, end, feed.cadence)
    for chunk in chunks_of(keys, symbols):
        slice_start, slice_end = parse_partition(chunk[0], feed.cadence)[0], parse_partition(chunk[-1], feed.cadence)[1]
        yield max(slice_start, first), min(slice_end, end)
