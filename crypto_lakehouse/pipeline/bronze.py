"""Archive files to bronze partitions, with a ledger row for every file and a quarantine row for every fault.

Fetching is the archive's work, reading the files that of ``reading.py``; here is only which files make a
partition, and what is recorded of them.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.ledger import read_states
from crypto_lakehouse.lake.origin import Origin, StoredPartition, stored_partition
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.raw import RawStore
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.account import Account, Counts
from crypto_lakehouse.pipeline.ahead import ahead
from crypto_lakehouse.pipeline.arrivals import Arrivals
from crypto_lakehouse.pipeline.reading import JOINED_BYTES, Read, read_blocks, read_together
from crypto_lakehouse.pipeline.stored_rows import StoredRows
from crypto_lakehouse.pipeline.unchanged import bronze_made_from, nothing_new, settled_files
from crypto_lakehouse.transforms.frames import Frame

log = logging.getLogger(__name__)

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
}

# Batches of small files that are read at a time; more than cores gains nothing, and each holds some 30 MB.
_READERS = 2
_BATCH_FILES = 500
# Frames that wait for the writer.
_FRAMES_AHEAD = 2
# Rows of small files are joined up to so many.
_JOINED_ROWS = 50_000


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
    ``remake``.
    """

    feed: Feed
    source: ArchiveSource
    store: LakeStore
    raw: RawStore
    symbols: SymbolFilter
    now: Callable[[], datetime]
    remake: bool = False

    def partitions(self, keys: Sequence[str]) -> Iterator[BronzePartition]:
        """Yield every partition of ``keys``, in their order; take the rows of one before the next.

        A partition holds the files of the wanted symbols and of all symbols that the ledger knows for
        it, so that a run for a few symbols never takes others away. Raises ArchiveError where the
        archive cannot be listed or the disk is full; a single bad file never raises.
        """
        states = read_states(self.store, self.feed, keys)
        listed = self._list(
            [key for key in keys if self.feed.covers(parse_partition(key, self.feed.cadence)[0])], states
        )
        todo = {key: sorted(listed.get(key, []), key=_place) for key in keys}
        stored = {key: None if self.remake else stored_partition(self.store, *self._place, key) for key in keys}
        settled = {key: settled_files(self.feed, todo[key], states[key], stored[key]) for key in keys}
        with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-") as folder:
            wanted = [
                (file, states[key].get(file.key))
                for key in keys
                for file in todo[key]
                if file.key not in (settled[key] or ())
            ]
            with closing(Arrivals(self.source, self.raw, Path(folder), wanted)) as arrivals:
                for key in keys:
                    account = Account(self.feed, self.store, key, Counts(), self.now())
                    origin = partial(_origin, self.feed, account)
                    if nothing_new(todo[key], states[key], settled[key]):
                        for file in todo[key]:
                            account.leave(states[key][file.key])
                        account.count()
                        there = read_pieces(self.store, *self._place, key)
                        yield BronzePartition(key, there, account.counts, origin, stored[key])
                        continue
                    made = _joined(self._rows(todo[key], arrivals, account, states[key], settled[key] or set()))
                    with closing(ahead(made, _FRAMES_AHEAD)) as rows:
                        yield BronzePartition(key, rows, account.counts, origin)

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return "bronze", self.feed.table, self.feed.exchange, self.feed.market.name

    def _rows(
        self,
        files: Sequence[ArchiveFile],
        arrivals: Arrivals,
        account: Account,
        state: dict[str, Any],
        settled: set[str],
    ) -> Iterator[pa.Table]:
        """Rows of the partition, file by file in the order of the table; then the ledger is written."""
        vanished = {gone.file.key: gone for gone in _vanished(files, state)}
        ordered = sorted([*files, *(gone.file for gone in vanished.values())], key=_place)
        with closing(StoredRows(self.store, self.feed, account.key)) as stored:
            for is_there, some in groupby(ordered, key=lambda file: file.key in settled):
                if is_there:
                    for file in some:
                        account.leave(state[file.key])
                        yield from stored.take(file, state[file.key]["sha256"])
                    continue
                for batch in self._read(list(some), vanished, arrivals):
                    yield from self._settle(batch, account, state, stored)
        account.close()

    def _read(
        self, files: Sequence[ArchiveFile], vanished: Mapping[str, RejectedFile], arrivals: Arrivals
    ) -> Iterator[Iterable[Read]]:
        """What comes of the files, batch by batch in their order; small ones in threads, some batches ahead."""
        begun: deque[tuple[list[ArchiveFile], Future[list[Read]]]] = deque()

        def settled(batch: list[ArchiveFile], results: Iterable[Read]) -> Iterator[Iterable[Read]]:
            yield results
            for file in batch:
                arrivals.drop(file)

        with ThreadPoolExecutor(_READERS, "lakehouse-read") as pool:
            for batch in _batches(files, self.feed.file_format.large):
                came = [vanished.get(file.key) or arrivals.take(file) for file in batch]
                streamed = self.feed.file_format.large or came[0].file.size > JOINED_BYTES
                if not streamed:
                    begun.append((batch, pool.submit(read_together, self.feed, came)))
                while begun and (streamed or len(begun) > _READERS):
                    oldest, future = begun.popleft()
                    yield from settled(oldest, future.result())
                if streamed:
                    yield from settled(batch, read_blocks(self.feed, came[0]))
            for oldest, future in begun:
                yield from settled(oldest, future.result())

    def _settle(
        self, results: Iterable[Read], account: Account, state: dict[str, Any], stored: StoredRows
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

    def _list(self, keys: Sequence[str], states: dict[str, dict[str, Any]]) -> dict[str, list[ArchiveFile]]:
        if not keys:
            return {}
        available = self.source.symbols(self.feed)
        for name in self.symbols.unknown(available):
            log.warning("%s: no symbol matches %r in the archive", self.feed.name, name)
        known = {key: {row["symbol"] for row in state.values()} for key, state in states.items()}
        wanted = set(self.symbols.select(available))
        asked = wanted | (set(available) & set().union(*known.values()))
        listed: dict[str, list[ArchiveFile]] = {key: [] for key in keys}
        spans = [parse_partition(key, self.feed.cadence) for key in keys]
        first, end = min(span[0] for span in spans), max(span[1] for span in spans)
        for file in self.source.files(self.feed, sorted(asked), first, end):
            if file.period in listed and (file.symbol in wanted or file.symbol in known[file.period]):
                listed[file.period].append(file)
        return listed


def _reject(result: RejectedFile, account: Account, state: dict[str, Any], stored: StoredRows) -> Iterator[pa.Table]:
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


def _origin(feed: Feed, account: Account) -> Origin:
    return Origin(bronze_made_from(feed, account.entries))


def _place(file: ArchiveFile) -> tuple[str, str]:
    """Where the rows of a file stand in the table."""
    return file.symbol, file.key


def _batches(files: Sequence[ArchiveFile], one_by_one: bool) -> Iterator[list[ArchiveFile]]:
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


def _joined(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables: small ones joined where their types are the same."""
    held: list[pa.Table] = []
    for table in tables:
        if held and (table.schema != held[0].schema or sum(one.num_rows for one in held) >= _JOINED_ROWS):
            yield pa.concat_tables(held)
            held = []
        held.append(table)
    if held:
        yield pa.concat_tables(held)


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
