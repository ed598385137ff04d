"""Bars of any kind and offset: read from a table that holds them, otherwise computed from the minutes.

This module knows where bars are stored and which minutes they need. Bars are computed in ``transforms``; the public
method is in ``methods/bars.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence, partition_keys
from crypto_lakehouse.catalog.bars import (
    LONGEST_MONTH,
    ActivityBars,
    Bars,
    TimeBars,
    closing_lag,
    is_bars,
    parse_bars,
    parse_offset,
)
from crypto_lakehouse.lake.reader.arguments import Output, check_one_market, check_text
from crypto_lakehouse.lake.reader.ends import CONTINUOUS, find_ends, untraded, without_filled_ends
from crypto_lakehouse.lake.reader.incomplete import NO_SYMBOLS, beyond_stored, unbuilt, utc_today
from crypto_lakehouse.lake.reader.known import Known, Mode, add_known, known_range
from crypto_lakehouse.lake.reader.reasons import absent_symbols, outside_range
from crypto_lakehouse.lake.reader.rows import months_of_symbols
from crypto_lakehouse.lake.reader.scan import select_slices
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import Time, TimeRange
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.building import build_command, ways_to_build
from crypto_lakehouse.lake.storage.damage import DamagedFile, FilesChanged, reading
from crypto_lakehouse.lake.storage.describe import existing_tables, remembered_slice_files, require_lake
from crypto_lakehouse.lake.storage.months import is_month_file
from crypto_lakehouse.lake.storage.partitions import collect_partitions, scan
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS, BARS
from crypto_lakehouse.schemas.gold import bars_in, find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars, month_begin
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.windows import earliest_open
from crypto_lakehouse.transforms.known import AVAILABLE

if TYPE_CHECKING:
    import pandas as pd

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_SHORTEST_MONTH = timedelta(days=28)
# Columns from which the time follows at which a bar was known.
_FOR_KNOWN = ("close_time", "complete", "funding_sum")


@dataclass(frozen=True, slots=True)
class BarsResult:
    """``rows``, sorted by primary key, and ``holes``: the UTC days (``YYYY-MM-DD``) without minutes.

    ``unbuilt`` are the days of the range before and after the partitions ``stored``. ``no_minutes`` says that the
    market has no continuous minutes at all.
    """

    rows: pl.DataFrame
    holes: list[str]
    no_minutes: bool = False
    stored: Sequence[str] = ()
    unbuilt: Sequence[str] = ()


def read_bars(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    bars: str,
    exchange: str,
    market: str | None,
    offset: str,
    times: TimeRange,
    limit: int | None,
    output: Output,
    known_by: Time | None = None,
    mode: Mode = "live",
    available_at: bool = False,
) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Return the bars of ``Lakehouse.bars``, and warn its caller about what is missing."""
    known = Known.parse(known_by, mode, available_at)
    times = known_range(times, known)
    rows = collect_bars(store, symbols, bars, exchange, market, offset, times, known=known)
    rows = rows if available_at else rows.drop(AVAILABLE, strict=False)
    return output.convert(rows if limit is None else rows.head(limit))


def collect_bars(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    bars: str,
    exchange: str,
    market: str | None,
    offset: str,
    times: TimeRange,
    columns: Sequence[str] | None = None,
    method: str = "lake.bars",
    expected: TimeRange | None = None,
    known: Known | None = None,
) -> pl.DataFrame:
    """Return bars, sorted by primary key, and warn about what is missing. Raises like ``Lakehouse.bars``.

    With ``columns``, only these and the primary key are returned. ``method`` is the name for errors. Days of the range
    beyond the stored partitions are missing only if they are in the range ``expected``, if given.
    """
    check_text("bars", bars, "'1h' or 'dollar:1000000'")
    check_text("offset", offset, "'5m' or '1h'")
    if isinstance(symbols, str) and is_bars(symbols):
        if not is_bars(bars):
            raise ValueError(f"{symbols!r} is a kind of bars, and {bars!r} is none: symbols come before bars")
        raise ValueError(f"{symbols!r} is a kind of bars, not a symbol: symbols come before it, or name the argument")
    kind, shift = parse_bars_offset(bars, offset)
    if market is None:
        stored = store.folders(f"gold/{CONTINUOUS}/exchange={exchange}")
        names = ", ".join(name.removeprefix("market=") for name in stored)
        choices = f"gold.{CONTINUOUS} has {names}" if names else "the markets are spot, um, cm"
        raise ValueError(f"{method} reads one market: pass market='um', for example; {choices}")
    check_one_market(method, exchange, market)
    choice = SymbolChoice.parse(symbols)
    result = find_bars(store, exchange, market, kind, shift, choice, times, columns, expected, known)
    minutes = TableSlice("gold", exchange, market, CONTINUOUS)
    source = f"gold.{CONTINUOUS} of {exchange}/{market} in {store.uri}"
    outside = None
    if choice is not None and choice.is_empty:
        warn(NO_SYMBOLS)
    if result.no_minutes:
        require_lake(store, [minutes.folder])
        warn(f"{source} has no partitions{ways_to_build(store, [(minutes, times.start, times.end)])}")
    elif result.rows.is_empty() or (choice is not None and choice.absent(result.rows["symbol"].unique())):
        span, selections = select_slices(store, [minutes], times, timedelta(0), by_month=False)
        if result.rows.is_empty() and (outside := outside_range(store, f"gold.{CONTINUOUS}", span, selections)):
            warn(outside)
        elif choice and (absent := absent_symbols(store, minutes.schema, choice, result.rows["symbol"], selections)):
            warn(f"{source} has no {bars} bars in this range for: {absent}")
    beyond = beyond_stored(store, f"gold.{CONTINUOUS}", [(minutes, result.stored, result.unbuilt)])
    if beyond and outside is None:
        warn(beyond)
    if result.holes:
        days = ", ".join(result.holes)
        command = build_command(store, minutes, result.holes[0], result.holes[-1])
        warn(f"{source} has no partition for {days}: bars over these days are partial. Build them with: {command}")
    return result.rows


def parse_bars_offset(bars: str, offset: str) -> tuple[Bars, timedelta]:
    """Parse a kind of bars (``1h``, ``dollar:1000000``) and an offset (``5m``). Raises ValueError."""
    kind, shift = parse_bars(bars), parse_offset(offset)
    if isinstance(kind, ActivityBars):
        if shift:
            raise ValueError(
                f"{kind.name} bars do not close by the clock, so they have no offset: leave out offset={offset!r}"
            )
        return kind, shift
    if kind.step is not None:
        raise ValueError(
            f"{bars!r} names several offsets, and lake.bars takes one: pass {kind.interval.name!r} and an offset such"
            " as '5m'"
        )
    if shift >= (kind.interval.length or _SHORTEST_MONTH):
        raise ValueError(f"offset {offset!r} must be shorter than the interval {kind.interval.name}")
    return kind, shift


def find_bars(
    store: LakeStore,
    exchange: str,
    market: str,
    bars: Bars,
    offset: timedelta,
    symbols: SymbolChoice | None,
    times: TimeRange,
    columns: Sequence[str] | None = None,
    expected: TimeRange | None = None,
    known: Known | None = None,
) -> BarsResult:
    """Return bars with open_time in [start, end) that close by the end of the newest partition.

    With ``columns``, only these and the primary key are read and returned. ``unbuilt`` days are those of the range
    ``expected``, by default of ``times``.

    They are read from a table that holds this kind and offset for every day on which such bars close, if no partition
    is older than its minutes; otherwise they are computed from gold.continuous_1m.
    """
    request = _Request(store, (exchange, market), bars, offset, symbols, times.start, times.end, columns, known)
    minutes = request.modified(CONTINUOUS)
    tables = [(kind, request.modified(kind.table)) for kind in _stored_with(store, bars, offset)]
    if times.last is not None:
        # Bars may be stored without their minutes.
        newest = minutes or [key for _, stored in tables for key in stored]
        start, end = times.within(date.fromisoformat(key) + _DAY for key in newest)
        request = replace(request, start=start, end=end)
    for kind, stored in tables:
        days = request.closing_days([*minutes, *stored])
        if days and _covers(stored, days, minutes, closing_lag(kind)):
            return request.compared(BarsResult(request.read(kind.table, days), []), {*minutes, *stored}, expected)
    if not minutes:
        return BarsResult(request.no_rows(), [], no_minutes=True)
    return request.compared(request.make(minutes), minutes, expected)


@dataclass(frozen=True, slots=True)
class _Request:
    store: LakeStore
    market: tuple[str, str]
    bars: Bars
    offset: timedelta
    symbols: SymbolChoice | None
    start: datetime | None
    end: datetime | None
    columns: Sequence[str] | None
    known: Known | None = None

    @property
    def schema(self) -> Schema:
        return BARS if isinstance(self.bars, TimeBars) else ACTIVITY_BARS

    def _slice(self, table: str) -> TableSlice:
        return TableSlice("gold", *self.market, table)

    def modified(self, table: str) -> dict[str, datetime]:
        """Return when each partition of a gold table was written (UTC)."""
        return {file.key: file.modified for file in remembered_slice_files(self.store, self._slice(table))}

    def span(self, keys: Iterable[str]) -> tuple[datetime, datetime]:
        """Return [first, stop) in which the requested bars close, limited to the partitions ``keys``."""
        first, stop = _midnight(min(keys)), _midnight(max(keys)) + _DAY
        if self.start is not None:
            first = max(first, self.start)
        if self.end is not None and self.end < stop:
            stop = min(stop, self.close_after(self.end - _MICROSECOND))
        return first, stop

    def close_after(self, moment: datetime) -> datetime:
        """Return the latest close of the bar that contains ``moment``; exclusive."""
        if isinstance(self.bars, ActivityBars):
            return month_begin(month_begin(moment) + LONGEST_MONTH)
        interval = self.bars.interval
        opened = earliest_open(interval, [self.offset], moment)
        return earliest_open(interval, [self.offset], opened + (interval.length or LONGEST_MONTH))

    def closing_days(self, keys: Sequence[str]) -> list[str]:
        return _days(*self.span(keys)) if keys else []

    def read(self, table: str, days: Sequence[str]) -> pl.DataFrame:
        # Polars compares statistics of each file for a condition of a scan, which costs more than to filter all rows.
        rows = self._collected(table, days, lambda rows: rows.select(self._read))
        return self._requested_rows(rows.lazy()).collect()

    def make(self, minutes: Mapping[str, datetime]) -> BarsResult:
        first, stop = self.span(list(minutes))
        if stop <= first:
            return BarsResult(self.no_rows(), [])
        start = month_begin(first) if isinstance(self.bars, ActivityBars) else first
        # Days before the market's first partition are not holes.
        days = _days(max(start, _midnight(min(minutes))), stop)
        present = [day for day in days if day in minutes]
        rows = self._minutes(start, stop, present)
        if isinstance(self.bars, ActivityBars):
            bars = activity_bars(rows, self.bars, first, stop)
        else:
            bars = time_bars(rows, self.bars.interval, [self.offset], first, stop)
        return BarsResult(self._requested_rows(bars.lazy()).collect(), [day for day in days if day not in minutes])

    def _minutes(self, start: datetime, stop: datetime, days: Sequence[str]) -> pl.DataFrame:
        """The minutes in [start, stop): from month files if the symbols are named, and from files of ``days``."""
        table_slice, months = self._slice(CONTINUOUS), None
        if self.symbols is not None and self.symbols.names:
            _, (selection,) = select_slices(
                self.store, [table_slice], TimeRange(start, stop), timedelta(0), by_month=True
            )
            columns = table_slice.schema.column_names
            months = months_of_symbols(self.store, table_slice.schema, selection, self.symbols.names, columns)
            if months is not None:
                days = [file.key for file in selection.files if not is_month_file(file)]
        within = (pl.col("open_time") >= start, pl.col("open_time") < stop)
        rows = self._collected(CONTINUOUS, days, lambda rows: rows.filter(*within))
        return rows if months is None else pl.concat([months, rows.select(months.columns)])

    def compared(self, result: BarsResult, keys: Collection[str], expected: TimeRange | None) -> BarsResult:
        """Return the result with the days of the range that the partitions ``keys`` do not reach."""
        times = expected or TimeRange(self.start, self.end)
        days = unbuilt(self._slice(CONTINUOUS), keys, times.start, times.end, utc_today())
        return replace(result, stored=sorted(keys), unbuilt=days)

    def no_rows(self) -> pl.DataFrame:
        empty = pl.DataFrame(self.schema.empty()).with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(AVAILABLE))
        return empty.select(self._output)

    @property
    def _output(self) -> list[str]:
        if self.columns is None:
            return [*self.schema.column_names, *([AVAILABLE] if self.known is not None else [])]
        return list(dict.fromkeys([*self.schema.primary_key, *self.columns]))

    @property
    def _read(self) -> list[str]:
        """The columns of the schema that the result needs."""
        # The condition for filled rows reads first_minute.
        needed = [*self._output, "segment", "first_minute"]
        if self.known is not None:
            needed += [name for name in _FOR_KNOWN if name in self.schema.column_names]
        return [name for name in dict.fromkeys(needed) if name != AVAILABLE]

    def _collected(
        self, table: str, days: Sequence[str], choose: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> pl.DataFrame:
        conditions = [] if self.symbols is None else [self.symbols.condition]
        table_slice = self._slice(table)
        paths = [table_slice.partition(day).path for day in days]
        try:
            with reading(self.store, paths):
                return choose(scan(self.store, table_slice.schema, paths).filter(*conditions)).collect()
        except (DamagedFile, FilesChanged, FileNotFoundError):
            # The listing is older than the files: list again.
            return collect_partitions(
                self.store, table_slice, days, lambda rows: choose(rows.drop("date").filter(*conditions))
            )

    def _requested_rows(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if isinstance(self.bars, TimeBars):
            rows = rows.filter(pl.col("offset") == self.offset // timedelta(minutes=1))
        if self.start is not None:
            rows = rows.filter(pl.col("open_time") >= self.start)
        if self.end is not None:
            rows = rows.filter(pl.col("open_time") < self.end)
        nothing_traded = untraded("gold", self.bars.table)
        assert nothing_traded is not None
        exchange, market = self.market
        ends = find_ends(self.store, exchange, [market], self.known)
        if not ends.is_empty():
            placed = rows.with_columns(exchange=pl.lit(exchange), market=pl.lit(market))
            rows = without_filled_ends(placed, ends, nothing_traded)
        if self.known is not None:
            entry = find_gold_table(self.bars.table)
            assert entry is not None
            placed = rows.with_columns(market=pl.lit(market))
            rows = add_known(self.store, placed, self.known, "gold", entry.name, entry.schema, exchange, [market])
        return rows.sort(self.schema.primary_key).select(self._output)


def _stored_with(store: LakeStore, bars: Bars, offset: timedelta) -> list[Bars]:
    """Return the kinds with a table in the lake that hold these bars at this offset."""
    stored = filter(None, (bars_in("gold", table) for table in existing_tables(store, "gold")))
    if isinstance(bars, ActivityBars):
        return [kind for kind in stored if kind == bars]
    times = (kind for kind in stored if isinstance(kind, TimeBars))
    return [kind for kind in times if kind.interval == bars.interval and offset in kind.offsets]


def _covers(
    stored: Mapping[str, datetime], days: Sequence[str], minutes: Mapping[str, datetime], lag: timedelta
) -> bool:
    """Whether ``stored`` has a partition of bars for all ``days``, none of them older than its minutes."""
    return all(
        day in stored and all(minutes[used] <= stored[day] for used in _days_back(day, lag) if used in minutes)
        for day in days
    )


def _midnight(key: str) -> datetime:
    return datetime.combine(date.fromisoformat(key), time(), UTC)


def _days(first: datetime, stop: datetime) -> list[str]:
    """Return the days that [first, stop) overlaps."""
    if stop <= first:
        return []
    return partition_keys(first.date(), (stop - _MICROSECOND).date() + _DAY, Cadence.DAILY)


def _days_back(day: str, lag: timedelta) -> list[str]:
    end = _midnight(day) + _DAY
    return _days(end - _DAY - lag, end)
