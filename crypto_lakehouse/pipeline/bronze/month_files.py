"""Days of monthly files: each file is fetched and parsed once, and its days are read from a temporary file.

``pipeline/chosen_files.py`` decides which days come from monthly files.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveFile,
    ArchiveSource,
    FetchedFile,
    MonthDay,
    RejectedFile,
)
from crypto_lakehouse.catalog import Cadence, Feed, parse_partition
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.pipeline.bronze.download_queue import DownloadQueue
from crypto_lakehouse.pipeline.bronze.parsing import Read, Reading, read_blocks, read_together
from crypto_lakehouse.transforms.months import days_of_rows, refused_by_day
from crypto_lakehouse.transforms.parse import RejectedRow

NOT_IN_MONTH, DAY_MISSING = "not_in_month", "day_missing"
"""Reasons of a day without rows in its monthly file: the archive has no daily file of that day either, or has one."""

Wanted = tuple[ArchiveFile, Mapping[str, Any] | None]


@dataclass(slots=True)
class _Month:
    """A fetched monthly file. ``batches`` has the number of each day's batch in the file ``path`` once it is parsed.

    ``daily`` are the fetched daily files of days that it does not have.
    """

    fetched: FetchedFile | RejectedFile
    lock: threading.Lock = field(default_factory=threading.Lock)
    path: Path | None = None
    batches: dict[str, int] = field(default_factory=dict)
    refused: dict[str, list[RejectedRow]] = field(default_factory=dict)
    daily: dict[str, FetchedFile | RejectedFile] = field(default_factory=dict)
    is_kept: bool = False


class MonthFiles:
    """The monthly files of a run.

    Parameters
    ----------
    keys
        The partitions of the run, in order: a monthly file is released after the last day that may need it.
    files
        The setting: whether a day that a monthly file does not have is read from its daily file.
    """

    def __init__(
        self,
        feed: Feed,
        source: ArchiveSource,
        downloads: DownloadQueue,
        folder: Path,
        keys: Sequence[str],
        files: ArchiveFiles,
    ) -> None:
        self._feed, self._source, self._downloads, self._folder = feed, source, downloads, folder
        self._then_daily = files is ArchiveFiles.MONTHLY_THEN_DAILY
        self._last_day = {key[:7]: key for key in keys}
        self._months: dict[str, _Month] = {}
        self._days: dict[str, dict[str, MonthDay]] = {}

    def wanted(self, files: Iterable[Wanted]) -> Iterator[Wanted]:
        """Yield the files to fetch for ``files``, in order: a monthly file once, at its first day."""
        for file, row in files:
            if not isinstance(file, MonthDay):
                yield file, row
                continue
            days = self._days.setdefault(file.object_key, {})
            if not days:
                yield file.month, row
            days[file.period] = file

    def take(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        """Return a wanted file after fetching it, like ``DownloadQueue.take``; a monthly file once for each day."""
        if not isinstance(file, MonthDay):
            return self._downloads.take(file)
        month = self._months.get(file.object_key)
        if month is None:
            month = self._months[file.object_key] = _Month(self._downloads.take(file.month))
        return replace(month.fetched, file=file)

    def drop(self, file: ArchiveFile) -> None:
        """Release a daily file; monthly files are released by ``end_of_day``."""
        if not isinstance(file, MonthDay):
            self._downloads.drop(file)

    def is_first_use(self, file: ArchiveFile) -> bool:
        """Whether a file that was used is seen here for the first time; true for each daily file."""
        month = self._months.get(file.object_key) if isinstance(file, MonthDay) else None
        is_first = month is None or not month.is_kept
        if month is not None:
            month.is_kept = True
        return is_first

    def end_of_day(self, key: str) -> None:
        """Release the monthly files that no later partition needs."""
        if self._last_day.get(key[:7]) != key:
            return
        for name in [name for name, month in self._months.items() if month.fetched.file.period == key[:7]]:
            month = self._months.pop(name)
            self._downloads.drop(month.fetched.file)
            paths = [month.path, *(file.path for file in month.daily.values() if isinstance(file, FetchedFile))]
            for path in paths:
                if isinstance(path, Path) and path.is_relative_to(self._folder):
                    path.unlink(missing_ok=True)

    def read(self, files: Sequence[FetchedFile | RejectedFile]) -> list[Read]:
        """Read several small files, in order, like ``read_together``, from any thread."""
        results: list[Read] = []
        for is_day, group in groupby(files, key=lambda file: isinstance(file.file, MonthDay)):
            of_group = list(group)
            results += self._read_days(of_group) if is_day else read_together(self._feed, of_group)
        return results

    def _read_days(self, files: Iterable[FetchedFile | RejectedFile]) -> Iterator[Read]:
        for file in files:
            assert isinstance(file.file, MonthDay)
            yield from self._read_day(file.file, self._months[file.file.object_key])

    def _read_day(self, day: MonthDay, month: _Month) -> Iterator[Read]:
        with month.lock:
            if month.path is None and isinstance(month.fetched, FetchedFile):
                self._split(month, month.fetched)
            result = _day_of(month, day)
            if isinstance(result, Reading) or not self._then_daily or day.daily is None:
                yield result
                return
            daily = self._daily(day, month)
        yield from read_blocks(self._feed, daily)
        yield result

    def _split(self, month: _Month, fetched: FetchedFile) -> None:
        """Parse a monthly file, and write the rows of each day as a batch of a temporary file."""
        results = read_together(self._feed, [fetched])
        tables = []
        refused: list[RejectedRow] = []
        for result in results:
            if isinstance(result, RejectedFile):
                month.fetched = result
                return
            tables.append(result.rows)
            refused += [row for rows in result.refused for row in rows]
        rows = pa.concat_tables(tables).combine_chunks()
        first, end = parse_partition(fetched.file.period, Cadence.MONTHLY)
        days = days_of_rows(pl.Series(rows[self._feed.file_format.time_columns[0]]), first, end)
        if days.null_count() or days.is_empty():
            detail = f"no row of {fetched.file.object_key} is in the month of its name"
            month.fetched = RejectedFile(fetched.file, "foreign_month", detail, fetched.sha256)
            return
        by_day = refused_by_day(refused, pl.Series(rows["source_line"]), days)
        month.refused = {f"{day}": of_day for day, of_day in by_day.items()}
        if not days.is_sorted():
            order = np.argsort(days.to_numpy(), kind="stable")
            rows, days = rows.take(order), days.gather(order)
        path, start = self._folder / f"{fetched.file.symbol}-{fetched.file.period}.arrow", 0
        try:
            with pa.ipc.new_file(path, rows.schema) as writer:
                for day, count in days.rle().struct.unnest().select("value", "len").iter_rows():
                    month.batches[f"{day}"] = len(month.batches)
                    writer.write_table(rows.slice(start, count))
                    start += count
        except OSError as error:
            raise ArchiveError(
                f"cannot write {path.name} to {self._folder}: {error}; free space or set TMPDIR to another folder, then"
                " run again"
            ) from error
        month.path = path

    def _daily(self, day: MonthDay, month: _Month) -> FetchedFile | RejectedFile:
        """The daily file of a day that the monthly file does not have; fetches those of all such days together."""
        if day.period not in month.daily:
            # The planning thread may add days meanwhile.
            days = list(self._days[day.object_key].values())
            missing = [
                other.daily
                for other in days
                if other.daily is not None and other.period not in month.batches and other.period not in month.daily
            ]
            for result in self._source.fetch(missing, self._folder):
                month.daily[result.file.period] = result
        return month.daily[day.period]


def _day_of(month: _Month, day: MonthDay) -> Read:
    """The rows of a day, from the parsed monthly file."""
    fetched = month.fetched
    # The fetched version may be newer than the listed one.
    file = MonthDay.of(fetched.file, day.period, day.daily)
    if isinstance(fetched, RejectedFile):
        return replace(fetched, file=file)
    number = month.batches.get(day.period)
    if number is None:
        reason = NOT_IN_MONTH if day.daily is None else DAY_MISSING
        return RejectedFile(file, reason, f"the monthly file has no row of {day.period}", fetched.sha256)
    with pa.ipc.open_file(pa.memory_map(str(month.path))) as reader:
        rows = pa.Table.from_batches([reader.get_batch(number)])
    refused = month.refused.get(day.period, [])
    return Reading([replace(fetched, file=file)], rows, [rows.num_rows], [refused])
