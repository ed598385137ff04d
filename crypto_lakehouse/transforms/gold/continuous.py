"""Silver one-minute klines to continuous minutes: quiet minutes filled, series cut at gaps.

This module defines minutes without trades, gaps, and the state that one day passes to the next. The columns of the
rows are in ``minute_columns.py``, the loops in ``kernels/minute_rows.py``; the pipeline stores the state, and
``bars.py`` computes longer bars.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS, SYMBOL_STATES
from crypto_lakehouse.transforms.frames import Frame, places_of, together
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Floats, Ints, allocate
from crypto_lakehouse.transforms.gold.kernels.minute_rows import (
    Breaks,
    Candles,
    Last,
    Places,
    lay_out,
    walk,
)
from crypto_lakehouse.transforms.gold.minute_columns import fill_funding, known_funding, rows_table, spread_rows
from crypto_lakehouse.transforms.gold.runs import MINUTE_MICROSECONDS, Ordered, minutes_of, numbered
from crypto_lakehouse.transforms.gold.windows import MINUTE, minute_number

STATE_COLUMNS = ("symbol", "segment", "first_time", "last_time", "last_close", "missing_days")
"""Columns of SYMBOL_STATES that one day passes to the next; the other columns describe the stored state itself."""

SILENCE, MISSING_DAYS = "silence", "missing_days"
"""Reasons of a gap: nothing was traded, or days are missing from the lake on which there may have been trades."""


@dataclass(frozen=True, slots=True)
class GapRule:
    """The rule that decides whether a pause between two traded minutes is a gap.

    Let dt be the time between their open_times and p = open / previous close - 1. The pause is a gap iff
    (dt > ``after`` and abs(p) > ``change``) or (dt > 2 ``after`` and p is not 0); all comparisons are strict. A gap
    that exists only because days are missing from the lake starts no new segment.
    """

    after: timedelta = timedelta(days=1)
    change: float = 0.1

    @classmethod
    def of_days(cls, days: float, change: float) -> GapRule:
        """The rule for ``after`` in days."""
        return cls(timedelta(days=days), change)

    @property
    def patience(self) -> timedelta:
        """How long after its last trade a symbol is forward-filled without any sign that it is still listed."""
        return 2 * self.after


@dataclass(frozen=True, slots=True)
class Continuous:
    """The result of ``continuous_minutes``; all tables are sorted by primary key.

    ``table`` has the rows (CONTINUOUS, symbols as a dictionary), ``gaps`` the gaps (GAPS), ``state`` the state at the
    end (STATE_COLUMNS). ``untraded`` lists the symbols that have candles but never traded, ``waiting`` those with
    funding events after their last trade, which count only if a trade follows later.
    """

    table: pa.Table
    gaps: pl.DataFrame
    state: pl.DataFrame
    untraded: list[str]
    waiting: list[str]

    @property
    def rows(self) -> pl.DataFrame:
        """The rows as a frame, with plain text."""
        return pl.DataFrame(self.table.cast(CONTINUOUS.arrow))


def no_state() -> pl.DataFrame:
    """The state before the first day: no symbol has traded yet."""
    empty = pl.from_arrow(SYMBOL_STATES.empty())
    assert isinstance(empty, pl.DataFrame)
    return empty.select(STATE_COLUMNS)


def continuous_minutes(
    minutes: Frame,
    funding: pl.DataFrame | None,
    state: pl.DataFrame,
    span: tuple[datetime, datetime] | None,
    rule: GapRule,
    *,
    traded_later: Collection[str] = (),
    inverse: bool = False,
    legacy: bool = False,
) -> Continuous:
    """Continuous minutes of one market from its silver.klines_1m rows.

    A minute without volume counts as absent: it is filled with the last close, from the symbol's first traded minute
    on. Minutes within a gap have no row. A funding event counts if its minute was traded or a trade follows it:
    within the result or, for the symbols ``traded_later``, after it. The archive's funding files go on for months
    after a contract is settled.

    A part (``span``) does not know what follows it. If a gap later turns out to cover filled rows, they stay in the
    parts before the end of the gap (readers drop them, see ``has_ended``). If a silence longer than ``rule.patience``
    ends without a gap, at the same price, those parts have no rows for the time beyond ``rule.patience``.

    Parameters
    ----------
    minutes
        silver.klines_1m rows in any order.
    funding
        silver.funding_rates rows of whole UTC months, or None if the lake has none. The funding of a symbol in a month
        is known if the month has an event of the symbol.
    state
        The state at the end of the time before; ``no_state()`` at the start.
    span
        UTC [first, end) of a part of the series, such as a day. Filling starts at ``first`` from the state and goes on
        to ``end``, but not beyond ``rule.patience`` after the last trade or the last candle, whichever is later.
        None returns the whole series: it ends with each symbol's last traded minute, and no filled row is in a gap.
    rule
        The rule for gaps.
    traded_later
        Symbols that are traded after ``span``, soon enough for their last funding events to count.
    inverse
        Whether the market counts in contracts (0 in filled minutes; null on other markets).
    legacy
        Reproduce the legacy tool: COIN-M's VWAP from contracts and coin (always the low), and funding only in traded
        minutes, 0 if unknown.
    """
    first, end = (0, 0) if span is None else map(minute_number, span)
    series = _Series.of_minutes(minutes, state)
    before = series.last.copy()
    breaks, count = series.walk(rule, first)
    trailing = series.trailing_fills(first, end, rule)
    places = allocate(Places, count + int(trailing.sum()))
    begins = lay_out(series.candles, breaks, before, trailing, first, places)
    rows = spread_rows(series.ordered, places, inverse, legacy)
    codes, known = numbered(begins[:-1], begins[-1]), None
    waiting: list[str] = []
    if funding is not None:
        waiting = fill_funding(
            rows, places, begins, series.names, series.last.time, funding, traded_later, only_traded=legacy
        )
        known = np.full(len(places.time), True) if legacy else known_funding(places.time, codes, series.names, funding)
    untraded = series.names.gather(np.flatnonzero(series.last.time < 0)).to_list()
    table = rows_table(rows, places, codes, series.names, inverse, known)
    return Continuous(table, _gaps(series, breaks), series.state(breaks), untraded, waiting)


def next_state(minutes: Frame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    """The state after ``minutes``, equal to that of ``continuous_minutes``, without the rows.

    ``minutes`` needs only the columns symbol, open_time, open, close and base_volume.
    """
    series = _Series.of_minutes(minutes, state)
    breaks, _ = series.walk(rule, 0)
    return series.state(breaks)


def without_days(state: pl.DataFrame, days: int) -> pl.DataFrame:
    """The state after this number of ``days`` that are missing from the lake."""
    if not days:
        return state
    return state.with_columns(pl.col("missing_days") + pl.when(_is_newest()).then(days).otherwise(0))


def set_aside(state: pl.DataFrame, symbols: Collection[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a state: that without ``symbols``, and that of ``symbols`` after a day which is missing for them."""
    aside = pl.col("symbol").is_in(symbols)
    return state.filter(~aside), without_days(state.filter(aside), 1)


def put_back(state: pl.DataFrame, aside: pl.DataFrame) -> pl.DataFrame:
    """Join both parts of a state after that day."""
    return pl.concat([state, aside]).sort("symbol", "segment") if len(aside) else state


def has_ended(state: pl.DataFrame, end: datetime, rule: GapRule) -> pl.Series:
    """Whether the series of each row of a state is over at ``end``: another segment follows, or the symbol did not
    trade for longer than ``rule.patience``, not counting days that are missing from the lake.
    """
    silence = pl.lit(end) - pl.col("last_time") - pl.duration(days="missing_days")
    return state.select(has_ended=~_is_newest() | (silence > rule.patience)).to_series()


def _is_newest() -> pl.Expr:
    """Whether a row of a sorted state is the last segment of its symbol."""
    return pl.col("symbol").ne_missing(pl.col("symbol").shift(-1))


@dataclass(frozen=True, slots=True)
class _Series:
    """All symbols in order, with their candles, their last traded minute so far, and their earlier segments (``over``,
    rows of a state). ``ordered`` has all columns of the candles.
    """

    names: pl.Series
    ordered: Ordered
    candles: Candles
    last: Last
    over: pl.DataFrame

    @classmethod
    def of_minutes(cls, minutes: Frame, state: pl.DataFrame) -> _Series:
        """The symbols of silver minutes and of a state."""
        ordered = Ordered.sort(minutes)
        state = state.sort("symbol", "segment")
        newest = state.select(_is_newest()).to_series()
        state, over = state.filter(newest), state.filter(~newest)
        names = together(ordered.names, state["symbol"])
        begins, stops = np.zeros((2, len(names)), np.int64)
        run = places_of(ordered.names, names)
        begins[run], stops[run] = ordered.begins, np.append(ordered.begins[1:], len(ordered.minutes))[: len(run)]
        last = Last(np.full(len(names), -1), np.full(len(names), np.nan), *np.zeros((3, len(names)), np.int64))
        known = places_of(state["symbol"], names)
        last.time[known], last.close[known] = minutes_of(state["last_time"]), state["last_close"].to_numpy()
        last.segment[known], last.begin[known] = state["segment"].to_numpy(), minutes_of(state["first_time"])
        last.missing[known] = state["missing_days"].to_numpy()
        columns = (ordered[name] for name in ("open", "close", "base_volume"))
        return cls(names, ordered, Candles(begins, stops, ordered.minutes, *columns), last, over)

    def walk(self, rule: GapRule, first: int) -> tuple[Breaks, int]:
        """Walk from traded minute to traded minute. Returns the gaps and the number of rows, and moves ``last`` to the
        end.
        """
        breaks = allocate(Breaks, len(self.candles.time))
        after = rule.after // timedelta(microseconds=1)
        n_breaks, count = walk(self.candles, self.last, first, after, rule.change, breaks)
        columns: list[Array] = [column[:n_breaks] for column in breaks]
        return Breaks(*columns), count

    def trailing_fills(self, first: int, end: int, rule: GapRule) -> Ints:
        """The number of minutes of [first, end) to fill after each symbol's last trade."""
        stops, last = self.candles.stops, self.last.time
        last_candle = np.full(len(stops), -1)
        has_candles = self.candles.begins < stops
        last_candle[has_candles] = self.candles.time[stops[has_candles] - 1]
        filled_until = np.maximum(last + -(-rule.patience // MINUTE), last_candle) + 1
        return np.where(last >= 0, np.maximum(np.minimum(filled_until, end) - np.maximum(last + 1, first), 0), 0)

    def state(self, breaks: Breaks) -> pl.DataFrame:
        """The state at ``last``, after the walk that found ``breaks``."""
        last, traded, cuts = self.last, self.last.time >= 0, breaks.cuts
        newest = _state(self.names, last.segment, last.begin, last.time, last.close, last.missing)
        if not traded.all():
            newest = newest.filter(pl.Series(traded))
        if not len(self.over) and not cuts.any():
            return newest
        ended = _state(
            self.symbols_of(breaks).filter(pl.Series(cuts)),
            breaks.segment[cuts] - 1,
            breaks.previous_begin[cuts],
            breaks.previous_time[cuts],
            breaks.previous_close[cuts],
            np.zeros(int(cuts.sum()), np.int64),
        )
        return pl.concat([self.over, ended, newest]).sort("symbol", "segment")

    def symbols_of(self, breaks: Breaks) -> pl.Series:
        """The symbol of each break."""
        return pl.Series(self.ordered.rows["symbol"].take(pa.array(breaks.candle)).cast(pa.string()))


def _state(symbol: pl.Series, segment: Ints, first: Ints, last: Ints, close: Floats, missing: Ints) -> pl.DataFrame:
    columns = (symbol, segment, _times(first), _times(last), close, missing)
    return pl.DataFrame(dict(zip(STATE_COLUMNS, columns, strict=True)))


def _gaps(series: _Series, breaks: Breaks) -> pl.DataFrame:
    if not len(breaks.candle):
        return pl.DataFrame(GAPS.empty())
    opened, resumed = series.candles.open[breaks.candle], series.candles.time[breaks.candle]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = opened / breaks.previous_close - 1
    return pl.DataFrame(
        {
            "symbol": series.symbols_of(breaks),
            "gap_begin": _times(breaks.previous_time),
            "gap_end": _times(resumed),
            "silence": resumed - breaks.previous_time,
            "close_before": breaks.previous_close,
            "open_after": opened,
            "price_change": change,
            "tier": breaks.tier,
            "segment": breaks.segment,
            "reason": pl.Series(np.where(breaks.cuts, SILENCE, MISSING_DAYS), dtype=pl.String),
            "missing_days": breaks.missing,
        }
    ).select(GAPS.column_names)


def _times(minutes: Ints) -> pl.Series:
    return pl.Series(minutes * MINUTE_MICROSECONDS).cast(pl.Datetime("us", "UTC"))
