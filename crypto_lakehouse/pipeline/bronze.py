"""Archive files to bronze partitions, with a ledger row for every file and a quarantine row for every fault.

Fetching is the archive's work, reading the files that of ``batches.py`` and ``reading.py``; here is only which files
make a partition, and what is recorded of them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby, tee
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.ledger import read_states
from crypto_lakehouse.lake.leftovers import TEMPORARY
from crypto_lakehouse.lake.origin import Origin, StoredPartition, stored_partition
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.raw import RawStore
from crypto_lakehouse.lake.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.account import Account, Counts
from crypto_lakehouse.pipeline.ahead import ahead
from crypto_lakehouse.pipeline.arrivals import Arrivals
from crypto_lakehouse.pipeline.batches import Batch, batches, read_ahead
from crypto_lakehouse.pipeline.days import Day, Step, steps
from crypto_lakehouse.pipeline.reading import Read
from crypto_lakehouse.pipeline.reconcile import Problem, problem_of
from crypto_lakehouse.pipeline.stored_rows import StoredRows
from crypto_lakehouse.pipeline.symbols import check_symbols_exist
from crypto_lakehouse.pipeline.unchanged import bronze_made_from, is_made_of, made_from
from crypto_lakehouse.transforms.frames import Frame

# What can heal by itself: the file is asked for again by the next run of its partition. An archive that is
# publishing lists files before they, their checksums or the fitting ones are served everywhere.
_TRANSIENT = {
    "http_error",
    "timeout",
    "connection_error",
    "forbidden",
    "not_found",
    "checksum_missing",
    "checksum_malformed",
    "checksum_mismatch",
    "size_mismatch",
}

# Frames that wait for the writer, or begins and ends of days.
_AHEAD = 2
# Rows of small files are joined up to so many.
_JOINED_ROWS = 50_000


class _Begun(NamedTuple):
    """A day of which something is made, or of which what is stored stays."""

    account: Account
    unchanged: StoredPartition | None


_Made: TypeAlias = _Begun | pa.Table | None
"""What becomes of days, one behind the other: of each its begin, its rows, and its end."""

_States: TypeAlias = Mapping[str, dict[str, Any]]
"""What the ledger knows of partitions, by their keys: the row of each file, by its key."""


@dataclass(slots=True)
class BronzePartition:
    """One partition: its rows in the feed's bronze schema, in order, and what happened on the way.

    ``rows`` are made while they are taken, once, and have to be taken to the end; ``counts`` and ``origin()`` are
    right then. Where nothing is new, ``unchanged`` is what is stored, ``rows`` are its own, and none need be taken.
    """

    key: str
    rows: Iterator[Frame]
    counts: Counts
    origin: Callable[[], Origin]
    unchanged: StoredPartition | None = None


@dataclass(slots=True)
class BronzeIngest:
    """Makes bronze partitions of one feed. ``now`` is asked once per partition, for ledger and quarantine.

    Files that are in a stored partition as the archive lists them now are neither had nor parsed again, unless
    ``remake``. ``unknown`` are the names and patterns that match nothing in the archive, from the first partition on.
    ``named_for_feed`` are symbols that were named for this feed alone, not by settings that are for all markets.
    """

    feed: Feed
    source: ArchiveSource
    store: LakeStore
    raw: RawStore
    symbols: SymbolFilter
    now: Callable[[], datetime]
    remake: bool = False
    named_for_feed: bool = False
    unknown: list[str] = field(default_factory=list, init=False)

    def partitions(self, keys: Sequence[str]) -> Iterator[BronzePartition]:
        """Yield every partition of ``keys``, in their order; store one before asking for the next, and ask to the end.

        When the next one is asked for, the ledger is told what the one before holds: never sooner than it is stored,
        so that what breaks off in between is made again. A partition holds the files of the wanted symbols and of all
        symbols that the ledger knows for it, so that a run for a few symbols never takes others away. Raises
        UnknownSymbolsError, before the first partition, where a name is no symbol of the archive or the ledger,
        ArchiveError where the archive cannot be listed or the disk is full, LakeError where two runs stored a partition
        at the same time and one of them lost files; a single bad file never raises.
        """
        with (
            tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder,
            closing(Arrivals(self.source, self.raw, Path(folder))) as arrivals,
            closing(ahead(self._made(keys, arrivals), _AHEAD)) as made,
        ):
            for key in keys:
                # Behind what may be left of the day before.
                begun = next(item for item in made if isinstance(item, _Begun))
                origin = partial(_origin, begun.account)
                if begun.unchanged:
                    there = read_pieces(self.store, *self._place, key)
                    yield BronzePartition(key, there, begun.account.counts, origin, begun.unchanged)
                else:
                    with closing(_of_one_day(made)) as rows:
                        yield BronzePartition(key, rows, begun.account.counts, origin)
                    self._record(begun.account)

    def steps(self, keys: Sequence[str], arrivals: Arrivals) -> Iterator[Step]:
        """What is to be done for the partitions; for the first one that can have files, while they are listed.

        Its new files are fetched meanwhile. Raises ArchiveError where the archive cannot be listed, and
        UnknownSymbolsError where it knows a name as little as the ledger.
        """
        states = read_states(self.store, self.feed, keys)
        covered = [key for key in keys if self.feed.covers(parse_partition(key, self.feed.cadence)[0])]
        later: dict[str, list[tuple[str, list[ArchiveFile]]]] = {key: [] for key in covered}
        available = self.source.symbols(self.feed) if covered else []
        if covered:
            self.unknown = check_symbols_exist(
                self.feed, self.source, self.store, self.symbols, available, for_feed=self.named_for_feed
            )
        for key in keys:
            listed = self._listed(available, later, states, arrivals) if key in covered[:1] else later.get(key, [])
            stored = None if self.remake else stored_partition(self.store, *self._place, key)
            yield from steps(key, states[key], stored, is_made_of(self.feed, states[key], stored), listed)

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return "bronze", self.feed.table, self.feed.exchange, self.feed.market.name

    def _record(self, account: Account) -> None:
        """Tell the ledger what is stored. Both agree then, unless another run stored the same partition meanwhile: what
        that lost counts as failed, so that it is seen and made again.
        """
        state = account.record()
        stored = stored_partition(self.store, *self._place, account.key)
        if stored is None or is_made_of(self.feed, state, stored):
            return
        own = {row["key"] for row in account.entries}
        is_ours = made_from(stored) == bronze_made_from(self.feed, account.entries)
        lost = [row for row in state.values() if row["status"] == "ingested" and (row["key"] in own) != is_ours]
        account.lose(lost)
        raise LakeError(
            f"{self.feed.name} {account.key} was stored by two runs at the same time, and lacks {len(lost)} files of"
            " one of them, which the ledger has as failed now: materialize it again"
        )

    def _account(self, key: str) -> Account:
        return Account(self.feed, self.store, key, Counts(), self.now())

    def _made(self, keys: Sequence[str], arrivals: Arrivals) -> Iterator[_Made]:
        """What becomes of partitions: of each its account, its rows in the order of the table, and its end."""
        todo, wanted = tee(self.steps(keys, arrivals))
        arrivals.want((s.file, s.day.state.get(s.file.key)) for s in wanted if s.file and not (s.is_settled or s.gone))
        with closing(read_ahead(self.feed, batches(self.feed, todo), arrivals)) as read:
            for day, some in groupby(read, key=lambda result: result[0].day):
                account = self._account(day.key)
                if day.unchanged:
                    for batch, _ in some:
                        for file in batch.files:
                            account.leave(day.state[file.key])
                    account.count()
                    yield _Begun(account, day.unchanged)
                else:
                    yield _Begun(account, None)
                    yield from _joined(self._rows(day, some, account))
                yield None

    def _rows(self, day: Day, read: Iterator[tuple[Batch, Iterable[Read]]], account: Account) -> Iterator[pa.Table]:
        """Rows of the partition; then its account is closed."""
        with closing(StoredRows(self.store, self.feed, day.key)) as stored:
            for batch, results in read:
                if batch.is_settled:
                    for file in batch.files:
                        account.leave(day.state[file.key])
                        yield from self._left(file, day, stored)
                else:
                    yield from self._settle(results, account, day.state, stored)
        account.close()

    def _left(self, file: ArchiveFile, day: Day, stored: StoredRows) -> Iterator[pa.Table]:
        """The rows of a settled file, which are all in the stored partition."""
        row, count = day.state[file.key], 0
        for rows in stored.take(file, row["sha256"]):
            count += rows.num_rows
            yield rows
        if row["status"] == "ingested" and count != row["rows"]:
            raise LakeError(
                f"{self.feed.name} {day.key} holds {count} rows of {file.key} where the ledger has {row['rows']}:"
                " another run stores it at the same time; materialize it again"
            )

    def _settle(
        self, results: Iterable[Read], account: Account, state: Mapping[str, Any], stored: StoredRows
    ) -> Iterator[pa.Table]:
        """Rows of a batch of files, which are kept and entered in the ledger behind them."""
        used: dict[str, FetchedFile] = {}
        rows, refused = Counter[str](), Counter[str]()
        for result in results:
            if isinstance(result, RejectedFile):
                yield from _reject(result, account, state, stored)
                continue
            for file, height, lines in zip(result.files, result.heights, result.refused, strict=True):
                key = file.file.key
                used[key] = file
                rows[key] += height
                refused[key] += len(lines)
                account.reject(file.file, file.sha256, lines)
            yield result.rows
        for key, file in used.items():
            self.raw.put(key, file.sha256, file.path)
            account.counts.files += 1
            account.enter(file.file, "ingested", file.sha256, rows[key], refused[key])

    def _listed(
        self,
        available: Sequence[str],
        days: dict[str, list[tuple[str, list[ArchiveFile]]]],
        states: _States,
        arrivals: Arrivals,
    ) -> Iterator[tuple[str, list[ArchiveFile]]]:
        """The files of the first of the days, by symbol; those of the others are put there meanwhile."""
        known = {key: {row["symbol"] for row in states[key].values()} for key in days}
        wanted = set(self.symbols.select(available))
        asked = wanted | (set(available) & set().union(*known.values()))
        spans = [parse_partition(key, self.feed.cadence) for key in days]
        first, end = min(span[0] for span in spans), max(span[1] for span in spans)
        now, *_ = days

        def is_asked_for(file: ArchiveFile) -> bool:
            return file.period in days and (file.symbol in wanted or file.symbol in known[file.period])

        def is_early(file: ArchiveFile) -> bool:
            if file.period != now or not is_asked_for(file):
                return False
            # What is as it was may be in the raw layer.
            return problem_of(file, states[now].get(file.key)) in (Problem.NEW, Problem.REPLACED, Problem.FAILED)

        for symbol, files in arrivals.listed(self.feed, sorted(asked), first, end, is_early):
            of_now: list[ArchiveFile] = []
            for period, some in groupby(filter(is_asked_for, files), key=lambda file: file.period):
                if period == now:
                    of_now.extend(some)
                else:
                    days[period].append((symbol, [*some]))
            yield symbol, of_now


def _reject(result: RejectedFile, account: Account, state: Mapping[str, Any], stored: StoredRows) -> Iterator[pa.Table]:
    file = result.file
    account.reject_file(result)
    before = state.get(file.key)
    if before is not None and before["status"] == "ingested":
        # Good rows are never replaced by none: what the partition already has of the file stays,
        # and the ledger goes on to state those bytes, so that the new ones are asked for again.
        kept = 0
        for rows in stored.take(file, before["sha256"]):
            kept += rows.num_rows
            yield rows
        if kept:
            account.counts.files += 1
            account.keep(before)
            return
    status = "failed" if result.reason in _TRANSIENT else "quarantined"
    account.enter(file, status, result.sha256, 0, 0, result.reason, result.detail)


def _of_one_day(made: Iterable[_Made]) -> Generator[pa.Table]:
    """The rows up to the end of their day."""
    for item in made:
        if not isinstance(item, pa.Table):
            return
        yield item


def _origin(account: Account) -> Origin:
    return Origin(bronze_made_from(account.feed, account.entries))


def _joined(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables: small ones joined where their types are the same."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        if held and (table.schema != held[0].schema or rows >= _JOINED_ROWS):
            yield pa.concat_tables(held)
            held, rows = [], 0
        held.append(table)
        rows += table.num_rows
    if held:
        yield pa.concat_tables(held)
