"""Compute days of bars from the stored continuous minutes, several kinds of bars from one read.

This module chooses the days of minutes that a day of bars needs. ``transforms`` computes bars; ``continuous.py`` finds
outdated stored days.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence, Market, partition_keys
from crypto_lakehouse.catalog.bars import ActivityBars, Bars, TimeBars
from crypto_lakehouse.concurrency.map_ordered import THREADS
from crypto_lakehouse.lake.storage.parquet import frame_of
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS
from crypto_lakehouse.pipeline.gold.day_keys import day_span
from crypto_lakehouse.pipeline.gold.minutes import Minutes
from crypto_lakehouse.pipeline.gold.missing import missing_partition
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars, month_begin
from crypto_lakehouse.transforms.gold.bars import bars_of_blocks, block_lengths
from crypto_lakehouse.transforms.gold.kernels.blocks import BlockTable
from crypto_lakehouse.transforms.gold.windows import EPOCH, MINUTE, earliest_open, minute_number

_DAY = timedelta(days=1)
# The VWAP of a bar comes from its sums, not from the VWAPs of its minutes.
_COLUMNS = [name for name in schema_of("gold", CONTINUOUS).column_names if name != "vwap"]


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of minutes: its blocks by length in minutes, for time bars, and its rows if activity bars need them."""

    blocks: Mapping[int, BlockTable]
    rows: pa.Table | None


@dataclass(frozen=True, slots=True)
class _Joined:
    """Consecutive days joined from a start time on; kinds of bars with the same start share the result."""

    days: Mapping[str, _Day]
    block_tables: dict[tuple[int, datetime], BlockTable] = field(default_factory=dict)

    def blocks(self, length: int, begin: datetime) -> BlockTable:
        if (length, begin) not in self.block_tables:
            tables = [day.blocks[length] for day in self._since(begin)]
            self.block_tables[length, begin] = BlockTable.joined(tables, minute_number(begin))
        return self.block_tables[length, begin]

    def rows(self, begin: datetime) -> pl.DataFrame:
        return frame_of(pa.concat_tables(day.rows for day in self._since(begin) if day.rows is not None))

    def _since(self, begin: datetime) -> list[_Day]:
        return [day for key, day in self.days.items() if key >= _date(begin)]


class DayBars:
    """Compute days of several kinds of bars of a market. Close it after use.

    ``keys`` are the days to compute. Threads read the minutes of the next days and turn them into blocks ahead of time.
    Days of minutes that a later day needs stay in memory, so each is usually read once.
    """

    def __init__(self, store: LakeStore, market: Market, kinds: Sequence[Bars], keys: Sequence[str]) -> None:
        self._kinds, self._keys = tuple(kinds), sorted(keys)
        self._slice = TableSlice.of_market("gold", market, CONTINUOUS)
        self._store, self._stored = store, list_keys(store, self._slice)
        times = [bars for bars in kinds if isinstance(bars, TimeBars)]
        self._leads = _leads(times)
        self._needs_rows = len(times) < len(kinds)
        self._minutes = Minutes(store, self._slice, _COLUMNS, self._day)
        # Earlier days that the next day also needs.
        self._kept: Mapping[str, _Day] = {}

    def close(self) -> None:
        """End the threads that read."""
        self._minutes.close()

    def make(self, key: str) -> dict[str, pa.Table]:
        """The bars that close on a UTC day, by table, from the continuous minutes of that day and earlier days.

        If an earlier day is missing, its bars are partial. Raises MissingPartition if the day itself is missing.
        """
        if key not in self._stored:
            raise missing_partition(self._store, self._slice.partition(key))
        begins = {bars: _opening(bars, key) for bars in self._kinds}
        days = self._days(key, begins)
        self._keep(days, key)
        (first, end), joined = day_span(key), _Joined(days)
        by_table: dict[str, pa.Table] = {}
        for bars, begin in begins.items():
            if begin is None:
                by_table[bars.table] = schema_of("gold", bars.table).empty()
            elif isinstance(bars, TimeBars):
                offsets = _closing(bars, key)
                blocks = {length: joined.blocks(length, begin) for length in block_lengths(bars.interval, offsets)}
                by_table[bars.table] = bars_of_blocks(blocks, bars.interval, offsets, first, end)
            else:
                by_table[bars.table] = activity_bars(joined.rows(begin), bars, first, end).to_arrow()
        return by_table

    def _day(self, rows: pa.Table, _origin: Provenance) -> _Day:
        blocks = {length: BlockTable.of_minutes(rows, length, lead) for length, lead in self._leads.items()}
        return _Day(blocks, rows if self._needs_rows else None)

    def _days(self, key: str, begins: Mapping[Bars, datetime | None]) -> dict[str, _Day]:
        """The stored days since the earliest start."""
        opening = min(filter(None, begins.values()), default=None)
        if opening is None:
            return {}
        days = partition_keys(opening.date(), date.fromisoformat(key) + _DAY, Cadence.DAILY)
        wanted = [day for day in days if day in self._stored]
        self._minutes.begin([*(day for day in wanted if day not in self._kept), *self._next(key)])
        return {day: self._kept[day] if day in self._kept else self._minutes.take(day) for day in wanted}

    def _next(self, key: str) -> list[str]:
        """The days after ``key`` to read ahead."""
        following = [day for day in self._after(key)[:THREADS] if day in self._stored]
        return [day for day in following if any(_opening(bars, day) for bars in self._kinds)]

    def _after(self, key: str) -> Sequence[str]:
        return self._keys[bisect_right(self._keys, key) :]

    def _keep(self, days: Mapping[str, _Day], key: str) -> None:
        following = next(iter(self._after(key)), None)
        begins = [] if following is None else [_opening(bars, following) for bars in self._kinds]
        opening = min(filter(None, begins), default=None)
        self._kept = {} if opening is None else {d: day for d, day in days.items() if d >= _date(opening)}


@lru_cache
def _opening(bars: Bars, key: str) -> datetime | None:
    """The start of the minutes that a day of bars needs; None if no bar closes on that day."""
    first, _ = day_span(key)
    if isinstance(bars, ActivityBars):
        return month_begin(first)
    offsets = _closing(bars, key)
    return earliest_open(bars.interval, offsets, first) if offsets else None


@lru_cache
def _closing(bars: TimeBars, key: str) -> tuple[timedelta, ...]:
    """The offsets at which bars close on a day."""
    first, end = day_span(key)
    return tuple(
        offset
        for offset in bars.offsets
        if earliest_open(bars.interval, [offset], first) != earliest_open(bars.interval, [offset], end)
    )


def _leads(kinds: Iterable[TimeBars]) -> dict[int, int]:
    """The block lengths in minutes that the bars need, each with the number of blocks of the day before that the bars
    of a day may include.

    Bars longer than a day count 0: keeping those blocks costs more memory than it is worth in time.
    """
    leads: dict[int, int] = {}
    for bars in kinds:
        minutes = (EPOCH - earliest_open(bars.interval, bars.offsets, EPOCH)) // MINUTE
        is_short = bars.interval.length is not None and bars.interval.length <= _DAY
        for length in block_lengths(bars.interval, bars.offsets):
            leads[length] = max(leads.get(length, 0), -(-minutes // length) if is_short else 0)
    return leads


def _date(time: datetime) -> str:
    return time.date().isoformat()
