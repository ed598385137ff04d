"""Archive files to bronze partitions, with a ledger row for every file and a quarantine row for every fault.

Fetching is the archive's work, parsing that of ``transforms.parse``; here is only which files make a
partition, and what is recorded of them.
"""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.archive.unzip import BadZip, read_member
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.ledger import read_state, record_files
from crypto_lakehouse.lake.partitions import partition_exists, read_partition
from crypto_lakehouse.lake.quarantine import record_rejected
from crypto_lakehouse.lake.raw import RawStore
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.parse import UnusableFile, parse_csv

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


@dataclass(slots=True)
class BronzePartition:
    """One partition: its rows in the feed's bronze schema, and what happened on the way.

    ``failed`` names the files that could not be had now and may be had later, as ``symbol: reason``.
    """

    key: str
    rows: pl.DataFrame
    files: int
    quarantined_files: int
    quarantined_rows: int
    reasons: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Gathered:
    """What came of the files of one partition so far."""

    expected: int
    frames: list[pl.DataFrame] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)


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
        """Yield every partition of ``keys``, in their order.

        A partition holds the files of the wanted symbols and of all symbols that the ledger knows for
        it, so that a run for a few symbols never takes others away. Raises ArchiveError where the
        archive cannot be listed or the disk is full; a single bad file never raises.
        """
        states = {key: read_state(self.store, self.feed, key) for key in keys}
        files = self._list(keys, states)
        vanished = {key: _vanished(files[key], states[key]) for key in keys}
        todo = {key: _Gathered(expected=len(files[key]) + len(vanished[key])) for key in keys}
        with tempfile.TemporaryDirectory(prefix="crypto-lakehouse-") as folder:
            missing = []
            for key in keys:
                for gone in vanished[key]:
                    self._take(todo[key], gone, states[key])
                for file in files[key]:
                    known = self._from_raw(file, states[key].get(file.key), Path(folder))
                    if known is None:
                        missing.append(file)
                    else:
                        self._take(todo[key], known, states[key])
            fetched = self.source.fetch(missing, Path(folder)) if missing else iter(())
            for key in keys:
                gathered = todo[key]
                while len(gathered.ledger) < gathered.expected:
                    result = next(fetched)
                    self._take(todo[result.file.period], result, states[result.file.period])
                yield self._finish(key, todo.pop(key))

    def _list(self, keys: Sequence[str], states: dict[str, dict[str, Any]]) -> dict[str, list[ArchiveFile]]:
        available = self.source.symbols(self.feed)
        for name in self.symbols.unknown(available):
            log.warning("%s: no symbol matches %r in the archive", self.feed.name, name)
        known = {row["symbol"] for state in states.values() for row in state.values() if row["symbol"]}
        wanted = set(self.symbols.select(available))
        listed: dict[str, list[ArchiveFile]] = {key: [] for key in keys}
        spans = [parse_partition(key, self.feed.cadence) for key in keys]
        first, end = min(span[0] for span in spans), max(span[1] for span in spans)
        for file in self.source.files(self.feed, sorted(wanted | (known & set(available))), first, end):
            if file.period in listed and (
                file.symbol in wanted or any(row["symbol"] == file.symbol for row in states[file.period].values())
            ):
                listed[file.period].append(file)
        return listed

    def _from_raw(self, file: ArchiveFile, row: dict[str, Any] | None, folder: Path) -> FetchedFile | None:
        """The bytes that we hold, where the listing says that the archive's are still the same."""
        if row is None or row["status"] != "ingested":
            return None
        if (row["etag"], row["size"], row["last_modified"]) != (file.etag, file.size, file.last_modified):
            return None
        path = self.raw.get(file.key, row["sha256"], folder)
        return None if path is None else FetchedFile(file, path, row["sha256"])

    def _take(self, gathered: _Gathered, result: FetchedFile | RejectedFile, state: dict[str, Any]) -> None:
        file = result.file
        if isinstance(result, FetchedFile):
            try:
                member = f"{Path(file.key).stem}.csv"
                parsed = parse_csv(read_member(result.path, member), self.feed.file_format)
            except (BadZip, UnusableFile) as error:
                result = RejectedFile(file, error.reason, error.detail, result.sha256)
        if isinstance(result, RejectedFile):
            self._reject(gathered, result, state)
            return
        self.raw.put(file.key, result.sha256, result.path)
        gathered.frames.append(
            parsed.rows.with_columns(
                pl.lit(file.symbol).alias("symbol"),
                pl.lit(file.key).alias("source_key"),
                pl.lit(result.sha256).alias("source_sha256"),
            )
        )
        gathered.rejected += [
            self._rejection(file, row.reason, row.detail, result.sha256, row.line, row.raw) for row in parsed.rejected
        ]
        gathered.ledger.append(
            self._ledger_row(file, "ingested", result.sha256, parsed.rows.height, len(parsed.rejected))
        )

    def _reject(self, gathered: _Gathered, result: RejectedFile, state: dict[str, Any]) -> None:
        file = result.file
        gathered.rejected.append(self._rejection(file, result.reason, result.detail, result.sha256, None, None))
        before = state.get(file.key)
        if before is not None and before["status"] == "ingested":
            # Good rows are never replaced by none: what the partition already has of the file stays,
            # and the ledger goes on to state those bytes, so that the new ones are asked for again.
            kept = self._rows_of(file, before["sha256"])
            if kept is not None:
                gathered.frames.append(kept)
                gathered.ledger.append({name: before[name] for name in _LEDGER_COLUMNS})
                return
        status = "failed" if result.reason in _TRANSIENT else "quarantined"
        row = self._ledger_row(file, status, result.sha256, 0, 0)
        gathered.ledger.append({**row, "reason": result.reason, "detail": result.detail})

    def _rows_of(self, file: ArchiveFile, sha256: str) -> pl.DataFrame | None:
        feed = self.feed
        where = ("bronze", feed.table, feed.exchange, feed.market.name, file.period)
        if not partition_exists(self.store, *where):
            return None
        rows = read_partition(self.store, *where)
        rows = rows.filter((pl.col("source_key") == file.key) & (pl.col("source_sha256") == sha256))
        return rows if rows.height else None

    def _finish(self, key: str, gathered: _Gathered) -> BronzePartition:
        now = self.now()
        ledger = gathered.ledger or [self._no_file_row(key)]
        record_rejected(self.store, self.feed, key, gathered.rejected, now)
        record_files(self.store, self.feed, key, ledger, now)
        columns = bronze_schema(self.feed)
        empty = pl.from_arrow(columns.arrow.empty_table())
        assert isinstance(empty, pl.DataFrame)
        rows = pl.concat([empty, *(frame.select(columns.column_names) for frame in gathered.frames)])
        reasons: dict[str, int] = defaultdict(int)
        for row in gathered.rejected:
            reasons[row["reason"]] += 1
        bad_files = sum(row["source_line"] is None for row in gathered.rejected)
        return BronzePartition(
            key,
            rows.sort(columns.primary_key),
            files=len(gathered.frames),
            quarantined_files=bad_files,
            quarantined_rows=len(gathered.rejected) - bad_files,
            reasons=dict(sorted(reasons.items())),
            failed=sorted(f"{row['symbol']}: {row['reason']}" for row in gathered.ledger if row["status"] == "failed"),
        )

    def _ledger_row(
        self, file: ArchiveFile, status: str, sha256: str | None, rows: int, rejected_rows: int
    ) -> dict[str, Any]:
        return {
            "table": self.feed.table,
            "key": file.key,
            "symbol": file.symbol,
            "period": file.period,
            "size": file.size,
            "etag": file.etag,
            "last_modified": file.last_modified,
            "sha256": sha256,
            "rows": rows,
            "rejected_rows": rejected_rows,
            "status": status,
            "reason": None,
            "detail": None,
        }

    def _no_file_row(self, key: str) -> dict[str, Any]:
        """The fact that nothing was listed for a partition, so that an empty partition has a reason."""
        first, _ = parse_partition(key, self.feed.cadence)
        covered = self.feed.covers(first)
        file = ArchiveFile(f"{self.feed.name}/{key}", "", key, 0, "", datetime.fromtimestamp(0, self.now().tzinfo))
        detail = (
            "the archive lists no file of the wanted symbols"
            if covered
            else f"the feed has data from {self.feed.first_date} to {self.feed.last_date or 'now'}"
        )
        reason = "not_listed" if covered else "outside_coverage"
        return {**self._ledger_row(file, "no_file", None, 0, 0), "reason": reason, "detail": detail}

    def _rejection(
        self, file: ArchiveFile, reason: str, detail: str, sha256: str | None, line: int | None, raw: str | None
    ) -> dict[str, Any]:
        return {
            "table": self.feed.table,
            "layer": "bronze",
            "period": file.period,
            "symbol": file.symbol,
            "source_key": file.key,
            "source_sha256": sha256,
            "source_line": line,
            "reason": reason,
            "detail": detail,
            "raw": raw,
        }


def _vanished(listed: list[ArchiveFile], state: dict[str, Any]) -> list[RejectedFile]:
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


_LEDGER_COLUMNS = (
    "table",
    "key",
    "symbol",
    "period",
    "size",
    "etag",
    "last_modified",
    "sha256",
    "rows",
    "rejected_rows",
    "status",
    "reason",
    "detail",
)
