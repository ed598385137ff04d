"""Record the ingest of one bronze partition: ledger rows, quarantine rows, and counts.

``partitions.py`` reports the files and their results; ``lake`` writes the objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from crypto_lakehouse.archive.model import ArchiveFile, RejectedFile
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.quarantine import read_rejected, record_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.transforms.parse import RejectedRow

# Write quarantine rows in batches of this size, to bound memory: a file may consist of bad rows only.
_REJECTED_AT_ONCE = 50_000
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


@dataclass(slots=True)
class Counts:
    """Counts of the files and rows of one partition.

    ``failed`` lists the files whose download failed and that a later run tries again, as ``symbol: reason``.
    """

    files: int = 0
    quarantined_files: int = 0
    quarantined_rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class IngestRecorder:
    """The records of one partition: its rejected rows, its counts, and its ledger rows (``entries``)."""

    def __init__(self, feed: Feed, store: LakeStore, key: str, counts: Counts, now: datetime) -> None:
        self.counts = counts
        self.key = key
        self.feed = feed
        self._store, self._now = store, now
        self.entries: list[dict[str, Any]] = []
        self._left: set[str] = set()
        self._rejected: list[dict[str, Any]] = []

    def enter(
        self,
        file: ArchiveFile,
        status: str,
        sha256: str | None,
        rows: int,
        rejected_rows: int,
        reason: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Add the ledger row of a file."""
        self.entries.append(
            {
                "table": self.feed.table,
                "key": file.object_key,
                "symbol": file.symbol,
                "period": file.period,
                "size": file.size,
                "etag": file.etag,
                "last_modified": file.last_modified,
                "sha256": sha256,
                "rows": rows,
                "rejected_rows": rejected_rows,
                "status": status,
                "reason": reason,
                "detail": detail,
            }
        )
        if status == "failed":
            self.counts.failed = sorted([*self.counts.failed, f"{file.symbol}: {reason}"])

    def keep(self, row: Mapping[str, Any]) -> None:
        """Keep the ledger row of a file unchanged."""
        self.entries.append({name: row[name] for name in _LEDGER_COLUMNS})

    def leave(self, row: dict[str, Any]) -> None:
        """Record an unchanged file: keep its ledger row, and count its rejected rows again."""
        self.keep(row)
        if row["status"] == "no_file":
            return
        if row["status"] == "ingested":
            self.counts.files += 1
            self.counts.quarantined_rows += row["rejected_rows"]
            if row["rejected_rows"]:
                self._left.add(row["sha256"])
        else:
            self.counts.quarantined_files += 1
            self._count(row["reason"])

    def supersede(self, row: Mapping[str, Any]) -> None:
        """Record that another file of the same symbol and day has replaced an ingested file."""
        facts = {"status": "superseded", "rows": 0, "rejected_rows": 0, "reason": "daily_file"}
        detail = "the rows of the day are those of the daily file"
        self.entries.append({name: row[name] for name in _LEDGER_COLUMNS} | facts | {"detail": detail})

    def reject_file(self, result: RejectedFile) -> None:
        """Add the quarantine row of a whole file."""
        self.counts.quarantined_files += 1
        self._rejection(result.file, result.reason, result.detail, result.sha256, None, None)

    def reject(self, file: ArchiveFile, sha256: str, rows: Sequence[RejectedRow]) -> None:
        """Add quarantine rows of single lines of a file."""
        self.counts.quarantined_rows += len(rows)
        for row in rows:
            self._rejection(file, row.reason, row.detail, sha256, row.line, row.raw)

    def close(self) -> None:
        """Complete entries and counts after the last file, and write the remaining quarantine rows."""
        if not self.entries:
            self._no_file()
        self._write_rejected()
        self.count()

    def record(self) -> dict[str, dict[str, Any]]:
        """Write the ledger rows after the partition is stored. Returns the new state of its files, by key."""
        return record_files(self._store, self.feed, self.key, self.entries, self._now)

    def lose(self, rows: Sequence[dict[str, Any]]) -> None:
        """Mark files as failed that the ledger lists as stored and that the stored partition does not hold."""
        detail = "two runs stored the partition at the same time, and it holds the files of the other one"
        lost = {"status": "failed", "rows": 0, "rejected_rows": 0, "reason": "overwritten", "detail": detail}
        entries = [{name: row[name] for name in _LEDGER_COLUMNS} | lost for row in rows]
        record_files(self._store, self.feed, self.key, entries, self._now)

    def count(self) -> None:
        """Complete the counts of a partition that has nothing to write."""
        if self._left:
            known = read_rejected(self._store, self.feed, [self.key])
            of_unchanged_files = pl.col("source_sha256").is_in(self._left) & pl.col("source_line").is_not_null()
            for reason in known.filter(of_unchanged_files & (pl.col("layer") == "bronze"))["reason"]:
                self._count(reason)
        self.counts.reasons = dict(sorted(self.counts.reasons.items()))

    def _no_file(self) -> None:
        """Record that the archive lists no file for the partition, so that an empty partition has a reason."""
        feed, key = self.feed, self.key
        first, _ = parse_partition(key, feed.cadence)
        covered = feed.covers(first)
        detail = (
            "the archive lists no file of the wanted symbols"
            if covered
            else f"the feed has data from {feed.first_date} to {feed.last_date or 'now'}"
        )
        facts = {
            "table": feed.table,
            "key": f"{feed.name}/{key}",
            "symbol": "",
            "period": key,
            "rows": 0,
            "rejected_rows": 0,
            "status": "no_file",
            "reason": "not_listed" if covered else "outside_coverage",
            "detail": detail,
        }
        self.entries.append({**dict.fromkeys(_LEDGER_COLUMNS), **facts})

    def _rejection(
        self, file: ArchiveFile, reason: str, detail: str, sha256: str | None, line: int | None, raw: str | None
    ) -> None:
        self._count(reason)
        self._rejected.append(
            {
                "table": self.feed.table,
                "layer": "bronze",
                "period": file.period,
                "symbol": file.symbol,
                "source_key": file.object_key,
                "source_sha256": sha256,
                "source_line": line,
                "reason": reason,
                "detail": detail,
                "raw": raw,
            }
        )
        if len(self._rejected) >= _REJECTED_AT_ONCE:
            self._write_rejected()

    def _count(self, reason: str) -> None:
        self.counts.reasons[reason] = self.counts.reasons.get(reason, 0) + 1

    def _write_rejected(self) -> None:
        record_rejected(self._store, self.feed, self.key, self._rejected, self._now)
        self._rejected = []
