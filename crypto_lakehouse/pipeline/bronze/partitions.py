"""Archive files to bronze partitions, with a ledger row for every file and a quarantine row for every fault.

This module decides which files belong to a partition and what to record. ``archive`` fetches files; ``batches.py``
and ``parsing.py`` read them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby, tee
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import ChosenSymbols, SymbolFilter
from crypto_lakehouse.concurrency.prefetch import prefetch
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.leftovers import TEMPORARY
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.bronze.batches import Batch, batches, read_ahead
from crypto_lakehouse.pipeline.bronze.days import Day, FileTask, tasks
from crypto_lakehouse.pipeline.bronze.download_queue import DownloadQueue
from crypto_lakehouse.pipeline.bronze.month_files import MonthFiles
from crypto_lakehouse.pipeline.bronze.parsing import Read
from crypto_lakehouse.pipeline.bronze.recorder import Counts, IngestRecorder
from crypto_lakehouse.pipeline.bronze.results import DayResults
from crypto_lakehouse.pipeline.bronze.selection import Selection, States
from crypto_lakehouse.pipeline.bronze.stored_rows import StoredRows
from crypto_lakehouse.pipeline.chosen_files import available_symbols, chosen_files, uses_months
from crypto_lakehouse.pipeline.fingerprints import bronze_fingerprint, chosen_symbols, input_fingerprint, is_made_of
from crypto_lakehouse.pipeline.reconcile import Problem, chunks_of, problem_of
from crypto_lakehouse.pipeline.symbols import check_symbols_exist
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.frames import Frame

# Items that wait for the writer: frames, starts and ends of days.
_AHEAD = 2
# Join rows of small files up to this many rows.
_JOINED_ROWS = 50_000


class _DayStart(NamedTuple):
    """The start of a day: it is rebuilt, or the stored partition is ``unchanged``."""

    recorder: IngestRecorder
    chosen: ChosenSymbols
    unchanged: StoredPartition | None


_DayItem: TypeAlias = _DayStart | pa.Table | None
"""The stream of days: for each day its start, its tables of rows, and None as its end."""


@dataclass(slots=True)
class BronzePartition:
    """One partition: its rows in the feed's bronze schema, in order, and its counts.

    ``rows`` is an iterator to consume once, to its end; ``counts`` and ``provenance()`` are complete after that. If the
    inputs have not changed, ``unchanged`` is the stored partition, ``rows`` are its rows, and the caller may skip them.
    """

    key: str
    rows: Iterator[Frame]
    counts: Counts
    provenance: Callable[[], Provenance]
    unchanged: StoredPartition | None = None


@dataclass(slots=True)
class BronzeIngest:
    """Build bronze partitions of one feed.

    A file that a stored partition holds in the version that the archive lists is neither fetched nor parsed again,
    unless ``force``.

    Attributes
    ----------
    now
        The clock for ledger and quarantine, called once per partition; UTC.
    remake
        Rebuild partitions from all their files, even if nothing has changed.
    named_for_feed
        The user selected ``symbols`` for this feed alone, not in the settings for all markets.
    files
        Which files to prefer where the archive has daily and monthly ones.
    unknown
        Names and patterns that match nothing in the archive; set before the first partition.
    """

    feed: Feed
    source: ArchiveSource
    store: LakeStore
    raw: RawStore
    symbols: SymbolFilter
    now: Callable[[], datetime]
    force: bool = False
    named_for_feed: bool = False
    files: ArchiveFiles = ArchiveFiles.DAILY
    unknown: list[str] = field(default_factory=list, init=False)

    def partitions(self, keys: Sequence[str]) -> Iterator[BronzePartition]:
        """Yield the partitions ``keys``, in order. Store each before you request the next, and consume all.

        The request for the next partition writes the ledger rows of the one before. The ledger is never ahead of the
        stored rows, so a run that stops in between is repeated. A partition holds the files of the selected symbols
        and of all symbols that the ledger knows for it, so a run for a few symbols never removes others. A single bad
        file never raises.

        Raises
        ------
        UnknownSymbolsError
            Neither the archive nor the ledger has a symbol; raised before the first partition.
        ArchiveError
            The archive cannot be listed, or the disk is full.
        LakeError
            Two runs stored a partition at the same time, and files of one run are missing from it.
        """
        with (
            tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder,
            closing(DownloadQueue(self.source, self.raw, Path(folder))) as downloads,
            closing(prefetch(self._items(keys, downloads, Path(folder)), _AHEAD)) as items,
        ):
            for key in keys:
                # Skip rows of the day before that the caller did not take.
                start = next(item for item in items if isinstance(item, _DayStart))
                provenance = partial(_origin, start.recorder, start.chosen)
                if start.unchanged:
                    stored = read_pieces(self.store, self._slice.partition(key))
                    yield BronzePartition(key, stored, start.recorder.counts, provenance, start.unchanged)
                else:
                    with closing(_of_one_day(items)) as rows:
                        yield BronzePartition(key, rows, start.recorder.counts, provenance)
                    self._record(start.recorder)

    def tasks(self, keys: Sequence[str], downloads: DownloadQueue) -> Iterator[FileTask]:
        """The tasks of the partitions. For the first one that can have files, they come while the listing goes on.

        The new files of that partition are fetched at the same time. Raises ArchiveError if the archive cannot be
        listed, UnknownSymbolsError if neither the archive nor the ledger knows a name.
        """
        now_chosen = ChosenSymbols.of_filter(self.symbols)
        for key, state, listed in self._planned(keys, downloads):
            stored = stored_partition(self.store, self._slice.partition(key))
            chosen = now_chosen if stored is None else chosen_symbols(stored) | now_chosen
            reusable = None if self.force else stored
            is_made = is_made_of(self.feed, state, reusable)
            yield from tasks(key, state, reusable, is_made, chosen, listed, self.feed)

    def _planned(
        self, keys: Sequence[str], downloads: DownloadQueue
    ) -> Iterator[tuple[str, dict[str, Any], Iterable[tuple[str, list[ArchiveFile]]]]]:
        """Yield what ``listed`` yields; for the first partition that can have files, while the listing goes on."""
        states = read_states(self.store, self.feed, keys)
        if uses_months(self.feed, states, self.files):
            yield from self.listed(keys)
            return
        covered = self._covered(keys)
        later: dict[str, list[tuple[str, list[ArchiveFile]]]] = {key: [] for key in covered}
        available = self._available() if covered else []
        for key in keys:
            listed = self._listed(available, later, states, downloads) if key in covered[:1] else later.get(key, [])
            yield key, states[key], listed

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """Those of the partitions that ``partitions`` would leave unchanged. Lists the archive for stored ones.

        Raises like ``partitions``.
        """
        if self.force:
            return set()
        stored = {key: stored_partition(self.store, self._slice.partition(key)) for key in keys}
        now_chosen = ChosenSymbols.of_filter(self.symbols)
        unchanged = set()
        for key, state, listed in self.listed([key for key in keys if stored[key] is not None]):
            partition = stored[key]
            chosen = chosen_symbols(partition) | now_chosen
            is_made = is_made_of(self.feed, state, partition)
            first = next(tasks(key, state, partition, is_made, chosen, listed, self.feed))
            if first.day.unchanged is not None:
                unchanged.add(key)
        return unchanged

    def listed(self, keys: Sequence[str]) -> Iterator[tuple[str, dict[str, Any], list[tuple[str, list[ArchiveFile]]]]]:
        """Yield each partition with the ledger rows of its files, and with the files that the archive lists for it, by
        symbol. The archive lists none outside of the feed's days.

        Raises like ``partitions``.
        """
        covered = set(self._covered(keys))
        available = self._available() if covered else []
        for chunk in chunks_of(keys, len(available)):
            states = read_states(self.store, self.feed, chunk)
            of_keys: dict[str, dict[str, list[ArchiveFile]]] = {key: {} for key in chunk}
            if listable := [key for key in chunk if key in covered]:
                selection = Selection.of(self.feed, self.symbols, available, states, listable)
                of_feed = (self.feed, self.source, selection.symbols, selection.start, selection.end)
                for file in chosen_files(*of_feed, states, self.files):
                    if selection.includes(file):
                        of_keys[file.period].setdefault(file.symbol, []).append(file)
            for key, files in of_keys.items():
                yield key, states[key], sorted(files.items())

    def _covered(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if self.feed.covers(parse_partition(key, self.feed.cadence)[0])]

    def _available(self) -> list[str]:
        """The symbols of the archive. Raises UnknownSymbolsError if neither it nor the ledger knows a name."""
        available = available_symbols(self.feed, self.source, self.files)
        self.unknown = check_symbols_exist(
            self.feed, self.source, self.store, self.symbols, available, for_feed=self.named_for_feed
        )
        return available

    @property
    def _slice(self) -> TableSlice:
        return TableSlice.of_feed("bronze", self.feed)

    def _record(self, recorder: IngestRecorder) -> None:
        """Write the ledger rows of the stored partition.

        If another run stored the same partition meanwhile, record the files that it lost as failed, so that the user
        sees them and a later run fetches them.
        """
        state = recorder.record()
        stored = stored_partition(self.store, self._slice.partition(recorder.key))
        if stored is None or is_made_of(self.feed, state, stored):
            return
        own = {row["key"] for row in recorder.entries}
        is_ours = input_fingerprint(stored) == bronze_fingerprint(self.feed, recorder.entries)
        lost = [row for row in state.values() if row["status"] == "ingested" and (row["key"] in own) != is_ours]
        recorder.lose(lost)
        raise LakeError(
            f"{self.feed.name} {recorder.key}: two runs stored this partition at the same time, and {len(lost)} files"
            " of one run are missing from it. The ledger now lists them as failed. Build it again with:"
            f" {self._slice.partition(recorder.key).backfill_command()}"
        )

    def _recorder(self, key: str) -> IngestRecorder:
        return IngestRecorder(self.feed, self.store, key, Counts(), self.now())

    def _items(self, keys: Sequence[str], downloads: DownloadQueue, folder: Path) -> Iterator[_DayItem]:
        """The stream of days: for each partition its recorder, its rows in the order of the table, and its end."""
        todo, wanted = tee(self.tasks(keys, downloads))
        months = MonthFiles(self.feed, self.source, downloads, folder, keys, self.files)
        downloads.want(
            months.wanted(
                (s.file, s.day.state.get(s.file.object_key))
                for s in wanted
                if s.file and not (s.is_up_to_date or s.vanished)
            )
        )
        with closing(read_ahead(self.feed, batches(self.feed, todo), months)) as read:
            for day, results in groupby(read, key=lambda result: result[0].day):
                recorder = self._recorder(day.key)
                if day.unchanged:
                    for batch, _ in results:
                        for file in batch.files:
                            recorder.leave(day.state[file.object_key])
                    recorder.count()
                    yield _DayStart(recorder, day.chosen, day.unchanged)
                else:
                    yield _DayStart(recorder, day.chosen, None)
                    yield from _joined(self._rows(day, results, recorder, months))
                months.end_of_day(day.key)
                yield None

    def _rows(
        self, day: Day, read: Iterator[tuple[Batch, Iterable[Read]]], recorder: IngestRecorder, months: MonthFiles
    ) -> Iterator[pa.Table]:
        """Yield the rows of the partition, then close its recorder."""
        with closing(StoredRows(self.store, self.feed, day.key)) as stored:
            of_day = DayResults(day, recorder, stored, self.raw, months)
            for batch, results in read:
                if batch.is_up_to_date:
                    for file in batch.files:
                        recorder.leave(day.state[file.object_key])
                        yield from self._left(file, day, stored)
                else:
                    yield from of_day.settle(results)
        recorder.close()

    def _left(self, file: ArchiveFile, day: Day, stored: StoredRows) -> Iterator[pa.Table]:
        """The rows of a settled file, read from the stored partition."""
        row, count = day.state[file.object_key], 0
        for rows in stored.take(file, row["sha256"]):
            count += rows.num_rows
            yield rows
        if row["status"] == "ingested" and count != row["rows"]:
            raise LakeError(
                f"{self.feed.name} {day.key} holds {count} rows of {file.object_key}, but the ledger lists"
                f" {row['rows']}: another run stores this partition at the same time. Build it again with:"
                f" {self._slice.partition(day.key).backfill_command()}"
            )

    def _listed(
        self,
        available: Sequence[str],
        days: dict[str, list[tuple[str, list[ArchiveFile]]]],
        states: States,
        downloads: DownloadQueue,
    ) -> Iterator[tuple[str, list[ArchiveFile]]]:
        """Yield the files of the first of ``days``, by symbol, and collect those of the other days in ``days``."""
        selection = Selection.of(self.feed, self.symbols, available, states, days)
        now, *_ = days

        def is_early(file: ArchiveFile) -> bool:
            if file.period != now or not selection.includes(file):
                return False
            # The raw layer may already have an unchanged file.
            return problem_of(file, states[now].get(file.object_key)) in (Problem.NEW, Problem.REPLACED, Problem.FAILED)

        listed = downloads.listed(self.feed, selection.symbols, selection.start, selection.end, is_early)
        for symbol, files in listed:
            of_now: list[ArchiveFile] = []
            for period, of_period in groupby(filter(selection.includes, files), key=lambda file: file.period):
                if period == now:
                    of_now.extend(of_period)
                else:
                    days[period].append((symbol, [*of_period]))
            yield symbol, of_now


def _of_one_day(items: Iterable[_DayItem]) -> Generator[pa.Table]:
    """The rows up to the end of the day."""
    for item in items:
        if not isinstance(item, pa.Table):
            return
        yield item


def _origin(recorder: IngestRecorder, chosen: ChosenSymbols) -> Provenance:
    return Provenance(bronze_fingerprint(recorder.feed, recorder.entries), chosen.facts())


def _joined(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables: joins small tables of equal schemas."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        if waiting and (table.schema != waiting[0].schema or rows >= _JOINED_ROWS):
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
        waiting.append(table)
        rows += table.num_rows
    if waiting:
        yield pa.concat_tables(waiting)
