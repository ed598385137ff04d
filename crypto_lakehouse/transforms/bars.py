"""Continuous minutes to bars of any interval on any offset grid.

Here belongs what a bar says of its minutes. Where windows lie is in ``windows.py``, which rows are a bar's and how they
are added up in ``bar_rows.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.transforms.bar_rows import (
    bar_rows,
    counts,
    first_set,
    highest,
    last_set,
    lowest,
    sparse_sum,
    sums,
)
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS, Array, Ordered
from crypto_lakehouse.transforms.windows import MINUTE, Windows, windows

_FLOAT_SUMS = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
# What is not known on every market: columns of bars, and how many of a bar's minutes lack it.
_NOT_EVERYWHERE = (
    *("contracts", "unknown_contracts", "unknown_funding"),
    *("funding_rate", "funding_price", "funding_time", "funding_sum", "funding_count"),
)
_MICROSECOND = timedelta(microseconds=1)
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


def bar_vwap() -> pl.Expr:
    """VWAP of a bar from its sums, held within [low, high] because they are rounded; null without volume."""
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    return pl.when(pl.col("base_volume") > 0).then(vwap)


class _Rows:
    """Continuous minutes in order, their columns as arrays, and which of those that may be null are known at all."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self._rows = rows = ordered.rows
        self.segments = rows["segment"].to_numpy()
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

    @property
    def traded(self) -> Array:
        """Whether something was traded in each minute."""
        return self._made.setdefault("traded", ~self["is_filled"])

    @property
    def paid(self) -> Array:
        """Whether a funding rate was paid in each minute."""
        return self._made.setdefault("paid", np.abs(self["funding_rate"]) > FUNDING_FLOOR)


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
    minutes = rows.ordered.minutes
    bars = bar_rows(minutes, rows.segments, rows.ordered.begins, _grids(rows, interval, offsets, first, end))
    place = (bars.first, bars.stop)

    def at(name: str, row: Array) -> Array:
        return rows[name][np.maximum(row, 0)]

    def time(row: Array) -> Array:
        return np.where(row < 0, -1, minutes[np.maximum(row, 0)])

    def count(flags: Array) -> Array:
        return counts(flags, *place)

    base, quote, taker_base, taker_quote = (rows[name] for name in _FLOAT_SUMS)
    made = {
        "segment": rows.segments[bars.first],
        "offset": np.array([offset // MINUTE for offset in offsets], np.int64)[bars.grid],
        "window": bars.window,
        "length": bars.length,
        "open": rows["open"][bars.first],
        "high": highest(rows["high"], *place),
        "low": lowest(rows["low"], *place),
        "close": rows["close"][bars.stop - 1],
        **dict(zip(_FLOAT_SUMS, sums(base, quote, taker_base, taker_quote, *place), strict=True)),
        "trade_count": count(rows["trade_count"]),
        "first_minute": time(first_set(rows.traded, *place)),
        "last_minute": time(last_set(rows.traded, *place)),
        "n_minutes": bars.stop - bars.first,
        "n_filled": count(rows["is_filled"]),
        "n_archive": count(rows["in_archive"]),
    }
    if rows.has_contracts:
        made |= {"contracts": count(rows["contracts"]), "unknown_contracts": count(rows.nulls("contracts"))}
    if rows.has_funding:
        paid = first_set(rows.paid, *place)
        made |= {
            "funding_rate": at("funding_rate", paid),
            "funding_price": at("open", paid),
            "funding_time": time(paid),
            "funding_sum": sparse_sum(rows["funding_rate"], *place),
            "funding_count": count(rows["has_funding"]),
            "unknown_funding": count(rows.nulls("funding_rate")),
        }
    return _frame(rows.ordered.rows["symbol"].gather(bars.first), made)


def _frame(symbols: pl.Series, arrays: Mapping[str, Array]) -> pl.DataFrame:
    """The arrays of ``_bars`` in the schema; times are minutes since 1970-01-01, -1 where there is none."""
    unknown = [pl.lit(None, pl.Int64).alias(name) for name in _NOT_EVERYWHERE if name not in arrays]
    paid, known = pl.col("funding_time") >= 0, pl.col("unknown_funding") == 0
    return (
        pl.DataFrame({"symbol": symbols, **arrays})
        .with_columns(unknown)
        .with_columns(
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


def _time(minute: pl.Expr) -> pl.Expr:
    """Minutes since 1970-01-01 as a time; null below 0."""
    return pl.when(minute >= 0).then(minute * MINUTE_MICROSECONDS).cast(pl.Datetime("us", "UTC"))


def _no_bars() -> pl.DataFrame:
    return pl.DataFrame(BARS.arrow.empty_table())
