"""Days of bars from the continuous minutes that the lake holds, several kinds of them from one read.

Here belongs which days of minutes a day of bars is made from. How bars are made is in ``transforms``, which stored
days become outdated in ``gold.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import Cadence, Market, partition_keys
from crypto_lakehouse.catalog.bars import ActivityBars, Bars, TimeBars
from crypto_lakehouse.lake.partitions import list_keys
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.gold import CONTINUOUS, day_span, lacking
from crypto_lakehouse.pipeline.minutes import Minutes
from crypto_lakehouse.pipeline.side_by_side import THREADS, side_by_side
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.activity_bars import activity_bars, month_begin
from crypto_lakehouse.transforms.bars import time_bars_of_kinds
from crypto_lakehouse.transforms.windows import earliest_open

_DAY = timedelta(days=1)
# A bar's VWAP is made of sums, not of the minutes' own.
_COLUMNS = [name for name in schema_of("gold", CONTINUOUS).column_names if name != "vwap"]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a day is made from: where each kind's minutes begin, and the days of minutes."""

    key: str
    begins: Mapping[Bars, datetime | None]
    days: Mapping[str, pl.DataFrame]


class DayBars:
    """Makes days of some kinds of a market's bars. To be closed.

    ``keys`` are the days that are going to be made, in order of time: the minutes of the next ones are read
    meanwhile, and those that a later day needs are kept, so that a day of minutes is read once as a rule.
    """

    def __init__(self, store: LakeStore, market: Market, kinds: Sequence[Bars], keys: Sequence[str]) -> None:
        self._market, self._kinds, self._keys = market, tuple(kinds), sorted(keys)
        place = (market.exchange, market.name)
        self._there = list_keys(store, "gold", CONTINUOUS, *place)
        self._minutes = Minutes(store, "gold", CONTINUOUS, place, _COLUMNS)
        # Minutes of earlier days, each from a time on.
        self._kept: dict[str, tuple[datetime, pl.DataFrame]] = {}

    def close(self) -> None:
        """End the threads that read."""
        self._minutes.close()

    def days(self) -> Iterator[dict[str, pl.DataFrame]]:
        """The bars of each of the days ``keys``, as ``make`` gives them; the next ones are made meanwhile."""
        return side_by_side(self._made, map(self._inputs, self._keys))

    def make(self, key: str) -> dict[str, pl.DataFrame]:
        """The bars that close on a day, by table, from that day's continuous minutes and those before it.

        Days before that are not in the lake leave their bars partial. Raises MissingPartition where the day
        itself was never made.
        """
        return self._made(self._inputs(key))

    def _inputs(self, key: str) -> _Inputs:
        if key not in self._there:
            raise lacking("gold", CONTINUOUS, self._market, key)
        begins = {bars: _opening(bars, key) for bars in self._kinds}
        days = self._days(key, begins)
        self._keep(days, key)
        return _Inputs(key, begins, days)

    def _made(self, inputs: _Inputs) -> dict[str, pl.DataFrame]:
        key, begins, days = inputs.key, inputs.begins, inputs.days
        first, end = day_span(key)
        made = {bars.table: pl.DataFrame(schema_of("gold", bars.table).arrow.empty_table()) for bars in self._kinds}
        # Those that begin at the same time are made together.
        for begin in {begin for begin in begins.values() if begin is not None}:
            rows = pl.concat(_since(begin, day, rows) for day, rows in days.items() if day >= _day(begin))
            same = [bars for bars in self._kinds if begins[bars] == begin]
            times = [bars for bars in same if isinstance(bars, TimeBars)]
            of_time = time_bars_of_kinds(rows, [(b.interval, _closing(b, key)) for b in times], first, end)
            made |= {bars.table: frame for bars, frame in zip(times, of_time, strict=True)}
            made |= {
                bars.table: activity_bars(rows, bars, first, end) for bars in same if isinstance(bars, ActivityBars)
            }
        return made

    def _days(self, key: str, begins: Mapping[Bars, datetime | None]) -> dict[str, pl.DataFrame]:
        """Minutes of the days since the earliest begin, as far as they are needed and in the lake."""
        opening = min(filter(None, begins.values()), default=None)
        if opening is None:
            return {}
        days = partition_keys(opening.date(), _midnight(key).date() + _DAY, Cadence.DAILY)
        known = {day: rows for day, (since, rows) in self._kept.items() if since <= max(opening, _midnight(day))}
        wanted = [day for day in days if day in self._there]
        self._minutes.begin([*(day for day in wanted if day not in known), *self._next(key)])
        return {day: known[day] if day in known else self._minutes.take(day) for day in wanted}

    def _next(self, key: str) -> list[str]:
        """The days behind ``key`` that are read meanwhile."""
        following = [day for day in self._keys if day > key and day in self._there][:THREADS]
        return [day for day in following if any(_opening(bars, day) for bars in self._kinds)]

    def _keep(self, days: Mapping[str, pl.DataFrame], key: str) -> None:
        following = next((day for day in self._keys if day > key), None)
        begins = [] if following is None else [_opening(bars, following) for bars in self._kinds]
        opening = min(filter(None, begins), default=None)
        self._kept = {}
        if opening is not None:
            for day, rows in days.items():
                if day >= _day(opening):
                    self._kept[day] = (max(opening, _midnight(day)), _since(opening, day, rows))


def _opening(bars: Bars, key: str) -> datetime | None:
    """Begin of the minutes that a day of bars is made from; None where none closes on it."""
    first, _ = day_span(key)
    if isinstance(bars, ActivityBars):
        return month_begin(first)
    offsets = _closing(bars, key)
    return earliest_open(bars.interval, offsets, first) if offsets else None


def _closing(bars: TimeBars, key: str) -> list[timedelta]:
    """The offsets at which bars close on a day."""
    first, end = day_span(key)
    return [
        offset
        for offset in bars.offsets
        if earliest_open(bars.interval, [offset], first) != earliest_open(bars.interval, [offset], end)
    ]


def _since(begin: datetime, day: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows if begin <= _midnight(day) else rows.filter(pl.col("open_time") >= begin)


def _midnight(day: str) -> datetime:
    return day_span(day)[0]


def _day(time: datetime) -> str:
    return time.date().isoformat()
