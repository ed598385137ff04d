"""The choice of files for a read, and one lazy frame over them.

Rows are read in ``rows.py``, words on what is missing are in ``reasons.py``; which month files can replace day files is
in ``storage/months.py``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import partition_key
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.storage.describe import StoredFile, holes, remembered_slice_files
from crypto_lakehouse.lake.storage.months import is_month_file, scan_months, with_months
from crypto_lakehouse.lake.storage.partitions import scan_hive
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import TableSlice

_NAMED = 10
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.combine(date.max, time.min, UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A time range [start, end) in UTC, None where open; rows may start ``lag`` before the days of their partition."""

    start: datetime | None
    end: datetime | None
    lag: timedelta

    @property
    def days(self) -> tuple[date, date]:
        """The days [first, end) whose partitions may hold rows of the range."""
        first = self.start.date() if self.start else date.min
        if self.end is None or self.end >= _LAST - self.lag:
            return first, date.max
        after = self.end + self.lag
        return first, after.date() if after == _midnight(after.date()) else after.date() + timedelta(days=1)

    def holds(self, files: Sequence[StoredFile]) -> bool:
        """Whether the days of all files are wholly within the range."""
        first, end = self.start or _FIRST, self.end or _LAST
        return all(_midnight(file.start) >= first and _midnight(file.end) <= end for file in files)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to read of a slice for a span: ``files``, and the keys of all ``stored`` partitions of the slice."""

    slice: TableSlice
    span: Span
    stored: frozenset[str]
    files: list[StoredFile]

    @property
    def missing(self) -> list[str]:
        """Keys of missing partitions of the span, between the oldest and the newest stored one."""
        return holes(self.slice, self.stored, *self.span.days)


def select_slices(
    store: LakeStore, slices: Sequence[TableSlice], times: TimeRange, lag: timedelta, by_month: bool
) -> tuple[Span, list[Selection]]:
    """Select the files of the partitions of several slices that overlap a range; return the range and the files.

    With ``by_month``, month files replace day files where they are up to date and faster to read.
    """
    listed = [remembered_slice_files(store, table_slice) for table_slice in slices]
    span = Span(*times.within(file.end for files in listed for file in files), lag)
    return span, [_select(store, *pair, span, by_month) for pair in zip(slices, listed, strict=True)]


def _select(
    store: LakeStore, table_slice: TableSlice, stored: Sequence[StoredFile], span: Span, by_month: bool
) -> Selection:
    files = _overlapping(table_slice, stored, *span.days)
    if by_month and table_slice.is_compacted:
        files = with_months(store, table_slice, stored, files)
    return Selection(table_slice, span, frozenset(file.key for file in stored), files)


def _overlapping(table_slice: TableSlice, stored: Sequence[StoredFile], first: date, end: date) -> list[StoredFile]:
    """Return the files with a day of [first, end); ``stored`` is in order of key."""
    if len({file.column for file in stored}) > 1:
        # A log holds days and months.
        return [file for file in stored if first < file.end and file.start < end]
    if end <= first:
        return []
    oldest, newest = (partition_key(day, table_slice.cadence) for day in (first, end - timedelta(days=1)))
    by_key = attrgetter("key")
    return list(stored[bisect_left(stored, oldest, key=by_key) : bisect_right(stored, newest, key=by_key)])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def scan_files(
    store: LakeStore, schema: Schema, files: Sequence[StoredFile], from_path: Mapping[str, Any]
) -> pl.LazyFrame:
    """Return lazy rows of the files, in order of partition and market, then row of the file."""
    # A log holds daily and monthly feeds in one table; in other tables month files are sorted between day files.
    is_log = not from_path.keys() & {"date", "month"}
    names = ("column", "key", "slice.market", "path") if is_log else ("key", "slice.market", "path")
    frames = []
    # All files of one Polars scan need the same partition column in their paths.
    for _, group in groupby(sorted(files, key=attrgetter(*names)), key=attrgetter("column")):
        run = list(group)
        scan = scan_months if is_month_file(run[0]) else scan_hive
        frames.append(scan(store, schema, [file.path for file in run], from_path))
    return pl.concat(frames) if frames else scan_hive(store, schema, [], from_path)


def check_unmixed(table: str, output: Sequence[str], selections: Sequence[Selection]) -> None:
    """Raise ValueError if rows come from several markets and the result has no market column."""
    markets = [selection.slice.market for selection in selections if selection.files]
    if len(markets) > 1 and "market" not in output:
        raise ValueError(
            f"rows of {table} come from several markets ({', '.join(markets)}): choose one market of them, or"
            " add 'market' to the columns"
        )


def check_one_market_each(table: str, rows: pl.DataFrame) -> None:
    """Raise ValueError if symbols of the rows are in several markets; it names both."""
    by_symbol = rows.select("symbol", "market").unique().group_by("symbol").agg(pl.col("market").sort()).sort("symbol")
    mixed = [(symbol, markets) for symbol, markets in by_symbol.iter_rows() if len(markets) > 1]
    if mixed:
        names = "; ".join(f"{symbol} is in {', '.join(markets)}" for symbol, markets in mixed[:_NAMED])
        names += f"; and {len(mixed) - _NAMED} more" if len(mixed) > _NAMED else ""
        raise ValueError(
            f"{table} has rows of these symbols in several markets: {names}. Pass one market, such as"
            f" market={mixed[0][1][-1]!r}, or a list of markets to read the rows of all of them"
        )


def by_day(frame: pl.LazyFrame, files: Sequence[StoredFile], several_symbols: bool) -> pl.LazyFrame:
    """Sort the rows of ``scan_files`` by day (and market) if some come from month files, which are sorted by symbol."""
    several = len({file.slice.market for file in files}) > 1
    if not any(map(is_month_file, files)) or not (several or several_symbols):
        return frame
    return frame.sort(["date", "market"] if several else ["date"], maintain_order=True)
