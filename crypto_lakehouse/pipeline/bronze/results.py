"""What becomes of the files of a day once they are read: their rows, their raw copies and their ledger rows.

``recorder.py`` keeps the records; ``stored_rows.py`` reads rows that stay when a new version of a file is bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile, MonthDay, RejectedFile
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.pipeline.bronze.days import Day
from crypto_lakehouse.pipeline.bronze.month_files import NOT_IN_MONTH, MonthFiles
from crypto_lakehouse.pipeline.bronze.parsing import Read
from crypto_lakehouse.pipeline.bronze.recorder import IngestRecorder
from crypto_lakehouse.pipeline.bronze.stored_rows import StoredRows
from crypto_lakehouse.pipeline.chosen_files import Row, replaced_rows

TRANSIENT = {
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
"""Reasons that may disappear without any change here: the next run of the partition fetches the file again.

While an archive publishes, it lists files before all its servers have the file, its checksum, or the new version of
either.
"""


class DayResults:
    """The results of one day."""

    def __init__(
        self, day: Day, recorder: IngestRecorder, stored: StoredRows, raw: RawStore, months: MonthFiles
    ) -> None:
        self._day, self._recorder, self._stored, self._raw, self._months = day, recorder, stored, raw, months
        # Symbols that have rows by now, and keys of files whose earlier rows stay.
        self._filled: set[str] = set()
        self._kept: set[str] = set()

    def settle(self, results: Iterable[Read]) -> Iterator[pa.Table]:
        """Yield the rows of a batch of files, then store the files in the raw layer and add their ledger rows."""
        used: dict[str, FetchedFile] = {}
        rows, refused = Counter[str](), Counter[str]()
        for result in results:
            if isinstance(result, RejectedFile):
                yield from self._reject(result)
                continue
            for file, height, lines in zip(result.files, result.heights, result.refused, strict=True):
                key = file.file.object_key
                used[key] = file
                rows[key] += height
                refused[key] += len(lines)
                self._filled.add(file.file.symbol)
                self._recorder.reject(file.file, file.sha256, lines)
            yield result.rows
        for key, file in used.items():
            if self._months.is_first_use(file.file):
                self._raw.put(key, file.sha256, file.path)
            self._recorder.counts.files += 1
            self._recorder.enter(file.file, "ingested", file.sha256, rows[key], refused[key])
            for row in self._replaced(file.file):
                self._recorder.supersede(row)

    def _reject(self, result: RejectedFile) -> Iterator[pa.Table]:
        """Yield the rows that stay although a file is bad: those of its earlier version, or of the file it replaces."""
        file = result.file
        if isinstance(file, MonthDay) and file.symbol in self._filled:
            # Its daily file was read first, or rows of this file's earlier version stay.
            if file.object_key not in self._kept:
                self._recorder.enter(file, "superseded", result.sha256, 0, 0, result.reason, result.detail)
            return
        before = self._day.state.get(file.object_key)
        ingested = [before] if before is not None and before["status"] == "ingested" else self._replaced(file)
        if result.reason == NOT_IN_MONTH and not ingested:
            self._recorder.enter(file, "no_file", result.sha256, 0, 0, result.reason, result.detail)
            return
        self._recorder.reject_file(result)
        for row in ingested:
            # A bad file never replaces good rows: the partition keeps the rows of the earlier version, and the ledger
            # keeps the sha256 of that version, so the next run fetches the new one again.
            count = 0
            for rows in self._stored.take(replace(file, object_key=row["key"]), row["sha256"]):
                count += rows.num_rows
                yield rows
            if count:
                self._recorder.counts.files += 1
                self._recorder.keep(row)
                self._filled.add(file.symbol)
                self._kept.add(row["key"])
            elif row["key"] != file.object_key:
                self._recorder.supersede(row)
        if file.object_key not in self._kept:
            status = "failed" if result.reason in TRANSIENT else "quarantined"
            self._recorder.enter(file, status, result.sha256, 0, 0, result.reason, result.detail)

    def _replaced(self, file: ArchiveFile) -> list[Row]:
        if isinstance(file, MonthDay) or not self._recorder.feed.monthly_folder:
            return []
        rows = (row for row in self._day.state.values() if row["symbol"] == file.symbol)
        return replaced_rows(self._recorder.feed, file, rows)
