"""Silver one-minute klines to continuous minutes: quiet ones filled, series cut at gaps.

Here belongs what a minute without trades is, what a gap is, and what a day must know of the days before
it; the loops are in ``minute_rows.py``. Where that knowledge is stored is the pipeline's business, longer bars are in
``bars.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS, SYMBOL_STATES
from crypto_lakehouse.transforms.minute_rows import (
    Candles,
    Last,
    Places,
    Steps,
    lay_out,
    rows_at,
    spread,
    spread_or_zero,
    walk,
)
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS, Array, Ints, Ordered, minutes_of
from crypto_lakehouse.transforms.windows import MINUTE, minute_number

_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
_STATE = ("symbol", "last_time", "last_close", "segment")


@dataclass(frozen=True, slots=True)
class GapRule:
    """When a pause between two traded minutes is a gap.

    With dt the time between their open_times and p = open / previous close - 1: gap iff
    (dt > ``after`` and |p| > ``change``) or (dt > 2 ``after`` and p is not 0); all strict.
    """

    after: timedelta = timedelta(days=1)
    change: float = 0.1

    @classmethod
    def of_days(cls, days: float, change: float) -> GapRule:
        """The rule for ``after`` in days."""
        return cls(timedelta(days=days), change)

    @property
    def patience(self) -> timedelta:
        """How long after its last trade a symbol is filled on, while nothing tells that it lives."""
        return 2 * self.after


@dataclass(frozen=True, slots=True)
class Continuous:
    """``rows`` (CONTINUOUS), ``gaps`` (GAPS), ``state`` at the end (SYMBOL_STATES but ``prior``), each sorted
    by its primary key, and the symbols that have candles and never traded.
    """

    rows: pl.DataFrame
    gaps: pl.DataFrame
    state: pl.DataFrame
    untraded: list[str]


def no_state() -> pl.DataFrame:
    """The state before the first day: no symbol has traded yet."""
    empty = pl.from_arrow(SYMBOL_STATES.arrow.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.select(_STATE)


def continuous_minutes(
    minutes: pl.DataFrame,
    funding: pl.DataFrame | None,
    state: pl.DataFrame,
    span: tuple[datetime, datetime] | None,
    rule: GapRule,
    *,
    inverse: bool = False,
    legacy: bool = False,
) -> Continuous:
    """Continuous minutes of one market from its silver.klines_1m rows ``minutes``, in any order.

    ``state`` is that of the end of the time before (``no_state()`` at the begin), ``funding`` the
    silver.funding_rates rows of the time, None where they are not known. Minutes without volume are as
    absent ones: filled with the last close, from a symbol's first traded minute on. Minutes within a gap
    are left out.

    With ``span`` [first, end) the result is a part of the series, such as a day: filling begins at
    ``first`` from the state and goes on to ``end``, but no longer than ``rule.patience`` after the last
    trade or to the last candle, whichever is later. A part knows nothing of what follows it, so the
    filled rows that a gap turns out to swallow later stay in the parts before its end; and where a longer
    silence ends without a gap (at the same price), those parts hold no row beyond that. Without ``span``
    the series ends with each symbol's last traded minute, and no filled row lies within a gap.
    ``inverse`` says that the market counts in contracts (0 in filled minutes, null on other markets).

    ``legacy`` gives what the legacy tool made: COIN-M's VWAP from contracts and coin (always the low),
    and funding in traded minutes alone.
    """
    first, end = (0, 0) if span is None else map(minute_number, span)
    series = _Series.of(minutes, state)
    steps = series.walk(rule, first)
    place = lay_out(series.candles, steps, series.last, series.behind(first, end, rule), first)
    rows = {
        **_rows(series, place, inverse, legacy),
        "is_filled": place.candle < 0,
        "in_archive": place.in_archive,
        **_funding(series.names, place, funding, only_traded=legacy),
    }
    untraded = series.names.filter(pl.Series(series.last.time < 0)).to_list()
    made = pl.DataFrame(rows).select(CONTINUOUS.column_names)
    return Continuous(made, _gaps(series, steps), series.state(), untraded)


def next_state(minutes: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    """The state after ``minutes``, as ``continuous_minutes`` gives it, without making the rows.

    Of ``minutes`` only symbol, open_time, open, close and base_volume are needed.
    """
    series = _Series.of(minutes, state)
    series.walk(rule, 0)
    return series.state()


@dataclass(frozen=True, slots=True)
class _Series:
    """All symbols in order, their candles (``rows`` are those as they came) and their last traded minute so far."""

    names: pl.Series
    rows: pl.DataFrame
    candles: Candles
    last: Last

    @classmethod
    def of(cls, minutes: pl.DataFrame, state: pl.DataFrame) -> _Series:
        """The symbols of silver minutes and of a state."""
        ordered = Ordered.of(minutes)
        rows, having = ordered.rows, ordered.names
        names = pl.concat([having, state["symbol"]]).unique().sort()
        begins, stops = np.zeros((2, len(names)), np.int64)
        run = names.search_sorted(having).to_numpy()
        begins[run], stops[run] = ordered.begins, np.append(ordered.begins[1:], rows.height)[: len(run)]
        last = Last(np.full(len(names), -1), np.full(len(names), np.nan), np.zeros(len(names), np.int64))
        known = names.search_sorted(state["symbol"]).to_numpy()
        last.time[known], last.close[known] = minutes_of(state, "last_time"), state["last_close"].to_numpy()
        last.segment[known] = state["segment"].to_numpy()
        traded = (rows["base_volume"] > 0).to_numpy()
        candles = Candles(begins, stops, ordered.minutes, rows["open"].to_numpy(), rows["close"].to_numpy(), traded)
        return cls(names, rows, candles, last)

    def walk(self, rule: GapRule, first: int) -> Steps:
        """From traded minute to traded minute; ``last`` is as of the end afterwards."""
        return walk(self.candles, self.last, first, rule.after // timedelta(microseconds=1), rule.change)

    def behind(self, first: int, end: int, rule: GapRule) -> Ints:
        """How many minutes of [first, end) are filled behind each symbol's last trade."""
        stops, last = self.candles.stops, self.last.time
        seen = np.full(len(stops), -1)
        having = self.candles.begins < stops
        seen[having] = self.candles.time[stops[having] - 1]
        alive = np.maximum(last + -(-rule.patience // MINUTE), seen) + 1
        return np.where(last >= 0, np.maximum(np.minimum(alive, end) - np.maximum(last + 1, first), 0), 0)

    def state(self) -> pl.DataFrame:
        """The state as of ``last``."""
        last = self.last
        frame = pl.DataFrame(
            {"symbol": self.names, "last_time": _times(last.time), "last_close": last.close, "segment": last.segment}
        )
        return frame.filter(pl.Series(last.time >= 0, dtype=pl.Boolean)).select(_STATE)


def _gaps(series: _Series, steps: Steps) -> pl.DataFrame:
    found = np.flatnonzero(steps.tier)
    candles = series.candles
    opened, before = candles.open[found], steps.previous_close[found]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = opened / before - 1
    return pl.DataFrame(
        {
            "symbol": series.rows["symbol"].gather(found).cast(pl.String),
            "gap_begin": _times(steps.previous_time[found]),
            "gap_end": _times(candles.time[found]),
            "silence": candles.time[found] - steps.previous_time[found],
            "close_before": before,
            "open_after": opened,
            "price_change": change,
            "tier": steps.tier[found],
            "segment": steps.segment[found],
        }
    ).select(GAPS.column_names)


def _rows(series: _Series, place: Places, inverse: bool, legacy: bool) -> dict[str, pl.Series | Array]:
    candles = series.rows

    def column(name: str) -> Array:
        return candles[name].to_numpy()

    def price(values: Array) -> Array:
        return spread(values, place.candle, place.price)

    def amount(values: Array) -> Array:
        return spread_or_zero(values, place.candle)

    unknown = pl.repeat(None, len(place.candle), dtype=pl.Int64, eager=True)
    return {
        "symbol": series.names.gather(np.repeat(np.arange(len(series.names)), np.diff(place.begins))),
        "open_time": _times(place.time),
        "segment": place.segment,
        **{name: price(column(name)) for name in _PRICES},
        **{name: amount(column(name)) for name in (*_VOLUMES, "trade_count")},
        "contracts": _contracts(candles["contracts"], place) if inverse else unknown,
        "vwap": price(_vwap(candles, legacy)),
    }


def _vwap(candles: pl.DataFrame, legacy: bool) -> Array:
    value, volume = candles["quote_volume"].to_numpy(), candles["base_volume"].to_numpy()
    if legacy and candles["contracts"].null_count() == 0:
        # The legacy tool divided the archive's columns, which on COIN-M are coin and contracts.
        value, volume = volume, candles["contracts"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(value / volume, candles["low"].to_numpy(), candles["high"].to_numpy())


def _contracts(of_candles: pl.Series, place: Places) -> pl.Series:
    made = pl.Series(spread_or_zero(of_candles.fill_null(0).to_numpy(), place.candle))
    return made.set(pl.Series(spread_or_zero(of_candles.is_null().to_numpy(), place.candle)), None)


def _funding(
    names: pl.Series, place: Places, funding: pl.DataFrame | None, only_traded: bool
) -> dict[str, pl.Series | Array]:
    if funding is None:
        nulls = pl.repeat(None, len(place.candle), eager=True)
        return {"funding_rate": nulls.cast(pl.Float64), "has_funding": nulls.cast(pl.Boolean)}
    events = funding.filter(pl.col("symbol").is_in(names.implode()))
    symbols = names.search_sorted(events["symbol"]).to_numpy().astype(np.int64)
    row = rows_at(place, symbols, minutes_of(events, "funding_hour"))
    found = np.flatnonzero(row >= 0)
    rate, there = np.zeros(len(place.candle)), np.zeros(len(place.candle), bool)
    rate[row[found]], there[row[found]] = events["funding_rate"].to_numpy()[found], True
    if only_traded:
        filled = place.candle < 0
        rate[filled], there[filled] = 0.0, False
    return {"funding_rate": rate, "has_funding": there}


def _times(minutes: Ints) -> pl.Series:
    return pl.Series(minutes * MINUTE_MICROSECONDS).cast(pl.Datetime("us", "UTC"))
