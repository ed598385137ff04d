"""Archive files to bronze partitions, with a ledger row for every file and a quarantine row for every fault.

Fetching is the archive's work, parsing that of ``transforms.parse``; here is only which files make a
partition, and what is recorded of them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.archive.unzip import LARGE_MAX_BYTES, MAX_BYTES, BadZip, verified_member
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.ledger import read_state
from crypto_lakehouse.lake.partitions import partition_exists
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.raw import RawStore
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.account import Account, Counts
from crypto_lakehouse.pipeline.arrivals import Arrivals
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.parse import UnusableFile, parse_blocks

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

# Rows of small files are joined up to so many.
_JOINED_ROWS = 100_000


@dataclass(slots=True)
class BronzePartition:
    """One partition: its rows in the feed's bronze schema, in order, and what happened on the way.

    ``rows`` are made while they are taken, once, and have to be taken to the end; ``counts`` is right then.
    """

    key: str
    rows: Iterator[pl.DataFrame]
    counts: Counts


@dataclass(slots=True)
class BronzeIngest:
    """Makes bronze partitions of one feed. ``now`` is asked once per partition, for ledger and quarantine."""

    feed: Feed
    source: ArchiveSource
    store: LakeStore
    raw: RawStore
    symbols: SymbolFilter
    now: Callable[[], datetime]

    def partitions(self, keys: Sequence[str]) -> Iterator[BronzePartition]:
        """Yield every partition of ``keys``, in their order; take the rows of one before the next.

        A partition holds the files of the wanted symbols and of all symbols that the ledger knows for
        it, so that a run for a few symbols never takes others away. Raises ArchiveError where the
        archive cannot be listed or the disk is full; a single bad file never raises.
        """
        states = {key: read_state(self.store, self.feed, key) for key in keys}
        listed = self._list(
            [key for key in keys if self.feed.covers(parse_partition(key, self.feed.cadence)[0])], states
        )
        todo = {key: sorted(listed.get(key, []), key=_place) for key in keys}
        with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-") as folder:
            wanted = [(file, states[key].get(file.key)) for key in keys for file in todo[key]]
            with closing(Arrivals(self.source, self.raw, Path(folder), wanted)) as arrivals:
                for key in keys:
                    counts = Counts()
                    account = Account(self.feed, self.store, key, counts, self.now())
                    yield BronzePartition(key, _joined(self._rows(todo[key], arrivals, account, states[key])), counts)

    def _rows(
        self, files: Sequence[ArchiveFile], arrivals: Arrivals, account: Account, state: dict[str, Any]
    ) -> Iterator[pl.DataFrame]:
        """Rows of the partition, file by file in the order of the table; then the ledger is written."""
        vanished = {gone.file.key: gone for gone in _vanished(files, state)}
        for file in sorted([*files, *(gone.file for gone in vanished.values())], key=_place):
            yield from self._take(vanished.get(file.key) or arrivals.take(file), account, state)
            arrivals.drop(file)
        account.close()

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

    def _take(
        self, result: FetchedFile | RejectedFile, account: Account, state: dict[str, Any]
    ) -> Iterator[pl.DataFrame]:
        file = result.file
        if isinstance(result, FetchedFile):
            file_format = self.feed.file_format
            limit = LARGE_MAX_BYTES if file_format.large else MAX_BYTES
            blocks = parse_blocks(verified_member(result.path, f"{Path(file.key).stem}.csv", limit), file_format)
            try:
                # What is wrong with a file as a whole shows before its first rows are given.
                first = next(blocks)
            except (BadZip, UnusableFile) as error:
                result = RejectedFile(file, error.reason, error.detail, result.sha256)
        if isinstance(result, RejectedFile):
            yield from self._reject(result, account, state)
            return
        self.raw.put(file.key, result.sha256, result.path)
        columns = bronze_schema(self.feed).column_names
        rows = rejected = 0
        for parsed in chain([first], blocks):
            rows, rejected = rows + parsed.rows.height, rejected + len(parsed.rejected)
            account.reject(file, result.sha256, parsed.rejected)
            yield parsed.rows.with_columns(
                pl.lit(file.symbol).alias("symbol"),
                pl.lit(file.key).alias("source_key"),
                pl.lit(result.sha256).alias("source_sha256"),
            ).select(columns)
        account.counts.files += 1
        account.enter(file, "ingested", result.sha256, rows, rejected)

    def _reject(self, result: RejectedFile, account: Account, state: dict[str, Any]) -> Iterator[pl.DataFrame]:
        file = result.file
        account.reject_file(result)
        before = state.get(file.key)
        if before is not None and before["status"] == "ingested":
            # Good rows are never replaced by none: what the partition already has of the file stays,
            # and the ledger goes on to state those bytes, so that the new ones are asked for again.
            kept = 0
            for rows in self._rows_of(file, before["sha256"]):
                kept += rows.height
                yield rows
            if kept:
                account.counts.files += 1
                account.keep(before)
                return
        status = "failed" if result.reason in _TRANSIENT else "quarantined"
        account.enter(file, status, result.sha256, 0, 0, result.reason, result.detail)

    def _rows_of(self, file: ArchiveFile, sha256: str) -> Iterator[pl.DataFrame]:
        """What the stored partition has of these bytes, in order."""
        feed = self.feed
        where = ("bronze", feed.table, feed.exchange, feed.market.name, file.period)
        if not partition_exists(self.store, *where):
            return
        order = "source_line" if feed.file_format.large else None
        for rows in read_pieces(self.store, *where, order=order, symbol=file.symbol):
            yield rows.filter((pl.col("source_key") == file.key) & (pl.col("source_sha256") == sha256))


def _place(file: ArchiveFile) -> tuple[str, str]:
    """Where the rows of a file stand in the table."""
    return file.symbol, file.key


def _joined(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in fewer frames: small ones joined."""
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        if sum(one.height for one in held) >= _JOINED_ROWS:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)


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
