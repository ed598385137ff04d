"""Continuous minutes to bars of any interval on any offset grid.

Here belongs what a bar says of its minutes. Where windows lie is in ``windows.py``, which rows are a bar's and how they
are added up in ``bar_rows.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.transforms.bar_rows import (
    BarRows,
    bar_rows,
    counts,
    extremes,
    first_beyond,
    first_unset,
    last_unset,
    sparse_sum,
    sums,
)
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS, Array, Flags, Ints, Ordered
from crypto_lakehouse.transforms.windows import MINUTE, Windows, windows

_FUNDING = ("funding_rate", "funding_price", "funding_time", "funding_sum", "funding_count")
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
    rows = _Rows(Ordered.of(minutes))
    return [_bars(rows, interval, sorted(offsets), first, end) for interval, offsets in kinds]


class _Rows:
    """Continuous minutes in order, their columns as arrays, and which of those that may be null are known at all."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self._rows = rows = ordered.rows
        self.segments = ordered.values(rows["segment"])
        self.has_contracts = rows["contracts"].null_count() < rows.height
        self.has_funding = rows["funding_rate"].null_count() < rows.height
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        """A column; nulls are 0."""
        if name not in self._made:
            column = self._rows[name]
            if column.null_count():
                column = column.fill_null(False if column.dtype == pl.Boolean else 0)
            self._made[name] = self.ordered.values(column)
        return self._made[name]

    def known(self, name: str, bars: BarRows) -> Flags:
        """Of each bar, whether the column has no null in it."""
        column = self._rows[name]
        if not column.null_count():
            return np.ones(len(bars.first), bool)
        return counts(self.ordered.values(column.is_null()), bars.first, bars.stop) == 0


def _grids(
    rows: _Rows, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> list[list[Windows]]:
    """The windows of each offset, as far as there are minutes."""
    times = rows.ordered.rows["open_time"]
    earliest, latest = times.min(), times.max()
    assert isinstance(earliest, datetime)
    assert isinstance(latest, datetime)
    first, end = max(first, earliest), min(end, latest + (interval.length or timedelta(days=32)))
    return [list(windows(interval, offset, first, end)) for offset in offsets]


def _bars(
    rows: _Rows, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> pl.DataFrame:
    minutes, begins = rows.ordered.minutes, rows.ordered.begins
    bars = bar_rows(minutes, rows.segments, begins, _grids(rows, interval, offsets, first, end))
    place = (bars.first, bars.stop)
    high, low = extremes(rows["high"], rows["low"], *place)
    amounts = (rows["base_volume"], rows["quote_volume"], rows["taker_buy_base_volume"], rows["taker_buy_quote_volume"])
    base, quote, taker_base, taker_quote = sums(*amounts, *place)
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = np.clip(quote / base, low, high)

    def minute(row: Array) -> pl.Series:
        return _where(row >= 0, _times(minutes[np.maximum(row, 0)]))

    made = {
        "symbol": rows.ordered.symbols(bars.first),
        "segment": rows.segments[bars.first],
        "offset": np.array([offset // MINUTE for offset in offsets], np.int64)[bars.grid],
        "open_time": _times(bars.window),
        "close_time": _times(bars.window + bars.length, less=1),
        "open": rows["open"][bars.first],
        "high": high,
        "low": low,
        "close": rows["close"][bars.stop - 1],
        "base_volume": base,
        "quote_volume": quote,
        "trade_count": counts(rows["trade_count"], *place),
        "taker_buy_base_volume": taker_base,
        "taker_buy_quote_volume": taker_quote,
        "contracts": _contracts(rows, bars),
        "vwap": _where(base > 0, pl.Series(vwap)),
        "first_minute": minute(first_unset(rows["is_filled"], *place)),
        "last_minute": minute(last_unset(rows["is_filled"], *place)),
        "n_minutes": bars.stop - bars.first,
        "n_filled": counts(rows["is_filled"], *place),
        "complete": counts(rows["in_archive"], *place) == bars.length,
        **_funding(rows, bars, minute),
    }
    return pl.DataFrame(made)


def _contracts(rows: _Rows, bars: BarRows) -> pl.Series:
    if not rows.has_contracts:
        return pl.repeat(None, len(bars.first), dtype=pl.Int64, eager=True)
    return _where(rows.known("contracts", bars), pl.Series(counts(rows["contracts"], bars.first, bars.stop)))


def _funding(rows: _Rows, bars: BarRows, minute: Callable[[Array], pl.Series]) -> dict[str, pl.Series]:
    place = (bars.first, bars.stop)
    if not rows.has_funding:
        empty = _no_bars().select(_FUNDING)
        return {name: pl.repeat(None, len(bars.first), dtype=empty.schema[name], eager=True) for name in _FUNDING}
    paid = first_beyond(rows["funding_rate"], FUNDING_FLOOR, *place)
    is_paid, at = paid >= 0, np.maximum(paid, 0)
    is_known = rows.known("funding_rate", bars)
    return {
        "funding_rate": _where(is_paid, pl.Series(rows["funding_rate"][at])),
        "funding_price": _where(is_paid, pl.Series(rows["open"][at])),
        "funding_time": minute(paid),
        "funding_sum": _where(is_known, pl.Series(sparse_sum(rows["funding_rate"], *place))),
        "funding_count": _where(is_known, pl.Series(counts(rows["has_funding"], *place))),
    }


def _where(known: Flags, values: pl.Series) -> pl.Series:
    """The values, null where they are not known."""
    return values if known.all() else values.set(pl.Series(~known), None)


def _times(minutes: Ints, less: int = 0) -> pl.Series:
    """Minutes since 1970-01-01, ``less`` microseconds, as times."""
    return pl.Series(minutes * MINUTE_MICROSECONDS - less).cast(pl.Datetime("us", "UTC"))


def _no_bars() -> pl.DataFrame:
    return pl.DataFrame(BARS.arrow.empty_table())
