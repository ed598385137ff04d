"""Continuous minutes to bars of any interval on any offset grid.

Here belongs what a bar says of its minutes. Where windows lie is in ``windows.py``, how minutes become matrices and
these are summed up in ``minute_grid.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.transforms.minute_grid import Matrices, Reducer, Series, matrices
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS, Array
from crypto_lakehouse.transforms.windows import MINUTE, Windows, windows

_FLOAT_SUMS = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
# What is not known on every market: columns of bars, and how many of a bar's minutes lack it.
_NOT_EVERYWHERE = (
    *("contracts", "unknown_contracts", "unknown_funding"),
    *("funding_rate", "funding_price", "funding_time", "funding_sum", "funding_count"),
)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = np.int32(np.iinfo(np.int32).max)
# Beyond this a funding rate is one; smaller ones are rounding of a rate that was not paid.
FUNDING_FLOOR = 1e-6


def time_bars(
    minutes: pl.DataFrame,
    interval: Interval,
    offsets: Iterable[timedelta],
    first: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Bars (BARS) whose windows close within (first, end], from gold.continuous_1m rows in any order.

    ``minutes`` must hold every minute of these windows, so begin at ``earliest_open(...)``, each once. Windows
    are [w, w + interval) with w = offset modulo the interval, counted from 00:00 UTC of 1970-01-01; ``1w``
    begins on Monday and ``1mo`` on the first, as the exchange's do, plus the offset. No bar spans a
    gap: a window with minutes of two segments gives two rows. A window without any minute gives none.
    Sums are added in order of time, with Kahan's compensation. VWAP = sum(quote_volume) / sum(base_volume), held
    within [low, high] because both sums are rounded.
    """
    (bars,) = time_bars_of_kinds(minutes, [(interval, offsets)], first, end)
    return bars


def time_bars_of_kinds(
    minutes: pl.DataFrame, kinds: Sequence[tuple[Interval, Iterable[timedelta]]], first: datetime, end: datetime
) -> list[pl.DataFrame]:
    """``time_bars`` of several intervals and their offsets, which is faster than one by one."""
    if minutes.is_empty():
        return [_no_bars() for _ in kinds]
    series = Series.of(minutes)
    columns = _Columns(series.rows)
    # What is made over the same time can be made of the same matrices.
    together: dict[tuple[int, int, int], list[tuple[int, Reducer]]] = defaultdict(list)
    for kind, (interval, offsets) in enumerate(kinds):
        for grids in _blocks(minutes, interval, sorted(offsets), first, end):
            reducer = Reducer(grids)
            together[reducer.begin, reducer.end, reducer.at_once].append((kind, reducer))
    made: list[list[dict[str, Array]]] = [[] for _ in kinds]
    for place, reducers in together.items():
        for part in matrices(series, *place):
            for kind, reducer in reducers:
                bars = _bars(columns, part, reducer)
                if len(bars["series"]):
                    made[kind].append(bars)
    return [_frame(series, parts) if parts else _no_bars() for parts in made]


def bar_vwap() -> pl.Expr:
    """VWAP of a bar from its sums, held within [low, high] because they are rounded; null without volume."""
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    return pl.when(pl.col("base_volume") > 0).then(vwap)


def _blocks(
    minutes: pl.DataFrame, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> Iterator[list[Windows]]:
    """The windows that can hold a minute, by times that are worked on together: of about a day, or of one month."""
    earliest, latest = minutes["open_time"].min(), minutes["open_time"].max()
    assert isinstance(earliest, datetime)
    assert isinstance(latest, datetime)
    first, end = max(first, earliest), min(end, latest + (interval.length or timedelta(days=32)))
    if interval.length is None:
        for offset in offsets:
            yield from ([window] for window in windows(interval, offset, first, end))
        return
    while first < end:
        until = min(first + max(_DAY, interval.length), end)
        if grids := [grid for offset in offsets for grid in windows(interval, offset, first, until)]:
            yield grids
        first = until


class _Columns:
    """Columns of continuous minutes as arrays, and which of those that may be null are known at all."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows
        self.present = np.ones(rows.height, bool)
        self.has_contracts = rows["contracts"].null_count() < rows.height
        self.has_funding = rows["funding_rate"].null_count() < rows.height
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        """A column; nulls are 0."""
        if name not in self._made:
            column = self._rows[name]
            if column.null_count():
                column = column.fill_null(False if column.dtype == pl.Boolean else 0)
            self._made[name] = column.to_numpy()
        return self._made[name]

    def nulls(self, name: str) -> Array:
        """Whether each value of a column is null."""
        return self._made.setdefault(f"{name} is null", self._rows[name].is_null().to_numpy())


def _bars(columns: _Columns, part: Matrices, reducer: Reducer) -> dict[str, Array]:
    """Bars of some series, series by series, as arrays; times are minutes since 1970-01-01, -1 where there is none."""
    row = np.arange(part.length, dtype=np.int32)[:, None]
    opening = np.concatenate([np.arange(grid.begin, grid.end, grid.length) for grid in reducer.grids])[:, None]
    length = reducer.grids[0].length
    shape = (len(opening), len(part.series))

    def of(name: str, absent: float | bool) -> Array:
        return part.of(name, columns[name], absent)

    there, filled = part.of("", columns.present, False), of("is_filled", True)

    def count(flags: Array) -> Array:
        return reducer.exact(np.add, flags, np.int64)

    def first(flags: Array) -> Array:
        if flags.all():
            return np.broadcast_to(opening - part.begin, shape)
        found = reducer.exact(np.minimum, np.where(flags, row, _NEVER))
        return np.where(found == _NEVER, -1, found)

    def last(flags: Array) -> Array:
        if flags.all():
            return np.broadcast_to(opening - part.begin + length - 1, shape)
        return reducer.exact(np.maximum, np.where(flags, row, np.int32(-1)))

    def at(matrix: Array, rows: Array) -> Array:
        return np.take_along_axis(matrix, np.maximum(rows, 0), axis=0)

    def minute(rows: Array) -> Array:
        return np.where(rows < 0, -1, rows + np.int64(part.begin))

    opens = of("open", 0.0)
    made = {
        "open": at(opens, first(there)),
        "high": reducer.exact(np.maximum, of("high", -np.inf)),
        "low": reducer.exact(np.minimum, of("low", np.inf)),
        "close": at(of("close", 0.0), last(there)),
        "trade_count": count(of("trade_count", 0)),
        "first_minute": minute(first(~filled)),
        "last_minute": minute(last(~filled)),
        "n_minutes": count(there),
        "n_filled": count(there & filled),
        "n_archive": count(of("in_archive", False)),
    }
    summed = {name: name for name in _FLOAT_SUMS}
    if columns.has_contracts:
        made["contracts"] = count(of("contracts", 0))
        made["unknown_contracts"] = count(part.of("unknown contracts", columns.nulls("contracts"), False))
    if columns.has_funding:
        rates = of("funding_rate", 0.0)
        paid = first(np.abs(rates) > FUNDING_FLOOR)
        made |= {"funding_rate": at(rates, paid), "funding_price": at(opens, paid), "funding_time": minute(paid)}
        made["funding_count"] = count(of("has_funding", False))
        made["unknown_funding"] = count(part.of("unknown funding_rate", columns.nulls("funding_rate"), False))
        summed["funding_sum"] = "funding_rate"
    made |= zip(summed, reducer.sums([of(name, 0.0) for name in summed.values()], there), strict=True)

    made |= {"window": np.broadcast_to(opening, shape), "length": np.broadcast_to(length, shape)}
    offsets = [np.full((grid.count, 1), grid.offset // MINUTE) for grid in reducer.grids]
    made |= {"offset": np.broadcast_to(np.concatenate(offsets), shape), "series": np.broadcast_to(part.series, shape)}
    chosen = made["n_minutes"].T > 0
    if chosen.all():
        return {name: values.T.ravel() for name, values in made.items()}
    return {name: values.T[chosen] for name, values in made.items()}


def _frame(series: Series, parts: list[dict[str, Array]]) -> pl.DataFrame:
    """The bars of ``_bars``, some series and windows a part, in the schema and in order."""
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    unknown = [pl.lit(None, pl.Int64).alias(name) for name in _NOT_EVERYWHERE if name not in arrays]
    bars = pl.DataFrame(arrays).with_columns(unknown)
    paid, known = pl.col("funding_time") >= 0, pl.col("unknown_funding") == 0
    made = (
        bars.with_columns(
            symbol=series.symbols.gather(bars["series"]),
            segment=pl.Series(series.segments).gather(bars["series"]),
            open_time=_time(pl.col("window")),
            close_time=_time(pl.col("window") + pl.col("length")) - _MICROSECOND,
            contracts=pl.when(pl.col("unknown_contracts") == 0).then("contracts"),
            vwap=bar_vwap(),
            first_minute=_time(pl.col("first_minute")),
            last_minute=_time(pl.col("last_minute")),
            complete=pl.col("n_archive") == pl.col("length"),
            funding_rate=pl.when(paid).then("funding_rate"),
            funding_price=pl.when(paid).then("funding_price"),
            funding_time=_time(pl.col("funding_time")),
            funding_sum=pl.when(known).then("funding_sum"),
            funding_count=pl.when(known).then("funding_count"),
        )
        .select(BARS.column_names)
        .cast(_no_bars().schema)
    )
    whole_series = all(before["series"][-1] < part["series"][0] for before, part in pairwise(parts))
    return made if whole_series and series.one_per_symbol else made.sort(BARS.primary_key)


def _time(minute: pl.Expr) -> pl.Expr:
    """Minutes since 1970-01-01 as a time; null below 0."""
    return pl.when(minute >= 0).then(minute * MINUTE_MICROSECONDS).cast(pl.Datetime("us", "UTC"))


def _no_bars() -> pl.DataFrame:
    return pl.DataFrame(BARS.arrow.empty_table())
