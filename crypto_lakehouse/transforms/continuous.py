"""Silver one-minute klines to continuous minutes: quiet ones filled, series cut at gaps.

Here belongs what a minute without trades is, what a gap is, and what a day must know of the days before
it. Where that knowledge is stored is the pipeline's business, longer bars are in ``bars.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS, SYMBOL_STATES
from crypto_lakehouse.transforms.runs import (
    MINUTE_MICROSECONDS,
    Array,
    Flags,
    Floats,
    Ints,
    Ordered,
    minutes_of,
    run_begins,
    run_keys,
)
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
    walk = _walk(minutes, state, rule)
    place = _places(walk, span, rule)
    keys = run_keys(place.spread(walk.symbol, place.symbol), place.spread(walk.time, place.time))
    filled = np.zeros(len(keys), bool)
    filled[place.filled] = True
    rows = {
        **_rows(walk, place, inverse, legacy),
        "is_filled": filled,
        "in_archive": _in_archive(walk, keys, filled),
        **_funding(walk, keys, filled, funding, only_traded=legacy),
    }
    untraded = walk.names.filter(pl.Series(walk.last.time < 0)).to_list()
    return Continuous(pl.DataFrame(rows).select(CONTINUOUS.column_names), _gaps(walk), _state(walk), untraded)


def next_state(minutes: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    """The state after ``minutes``, as ``continuous_minutes`` gives it, without making the rows.

    Of ``minutes`` only symbol, open_time, open, close and base_volume are needed.
    """
    return _state(_walk(minutes, state, rule))


@dataclass(frozen=True, slots=True)
class _Last:
    """The last traded minute of each symbol: when (-1 without one), its close and its segment."""

    time: Ints
    close: Floats
    segment: Ints


@dataclass(frozen=True, slots=True)
class _Walk:
    """Traded minutes in order of symbol and time, each with the one before it. Times are minutes since 1970-01-01.

    ``row`` is the place of each in ``candles``, which are in the same order; ``symbol`` that of its symbol in
    ``names``, which are all of them in order. ``previous_time`` is -1 where there is none; ``tier`` is 0 where no gap
    ends. ``last`` is as of the end, ``seen`` each symbol's last candle (-1 without one), ``quiet`` the symbol and time
    of candles without volume.
    """

    names: pl.Series
    candles: pl.DataFrame
    row: Ints
    symbol: Ints
    time: Ints
    previous_time: Ints
    previous_close: Floats
    price_change: Floats
    tier: Ints
    segment: Ints
    last: _Last
    seen: Ints
    quiet: tuple[Ints, Ints]


def _walk(minutes: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> _Walk:
    order = Ordered.of(minutes)
    ordered, times, begins = order.rows, order.minutes, order.begins
    candles = ordered["symbol"].gather(begins)
    names = pl.concat([candles, state["symbol"]]).unique().sort()
    last = _Last(np.full(len(names), -1), np.full(len(names), np.nan), np.zeros(len(names), np.int64))
    known = names.search_sorted(state["symbol"]).to_numpy()
    last.time[known], last.close[known] = minutes_of(state, "last_time"), state["last_close"].to_numpy()
    last.segment[known] = state["segment"].to_numpy()

    run = names.search_sorted(candles).to_numpy().astype(np.int64)
    symbols = np.repeat(run, np.diff(begins, append=ordered.height))
    seen = np.full(len(names), -1)
    seen[run] = times[np.append(begins[1:], ordered.height) - 1] if len(run) else -1
    is_traded = (ordered["base_volume"] > 0).to_numpy()
    symbol, time = symbols[is_traded], times[is_traded]

    heads = run_begins(symbol)
    opened, close = ordered["open"].to_numpy()[is_traded], ordered["close"].to_numpy()[is_traded]
    previous_time, previous_close = _shifted(time, heads, last.time[symbol]), _shifted(close, heads, last.close[symbol])
    silence = (time - previous_time) * MINUTE_MICROSECONDS
    after = rule.after // timedelta(microseconds=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = opened / previous_close - 1
    jumped, moved = (silence > after) & (np.abs(change) > rule.change), (silence > 2 * after) & (change != 0)
    tier = np.where(previous_time < 0, 0, np.where(jumped, 1, np.where(moved, 2, 0)))
    gaps = np.cumsum(tier > 0)
    lengths = np.diff(heads, append=len(symbol))
    segment = last.segment[symbol] + gaps - np.repeat(gaps[heads] - (tier[heads] > 0), lengths)

    ends = heads + lengths - 1
    for of_symbols, of_minutes in ((last.time, time), (last.close, close), (last.segment, segment)):
        of_symbols[symbol[ends]] = of_minutes[ends]
    return _Walk(
        names=names,
        candles=ordered,
        row=np.flatnonzero(is_traded),
        symbol=symbol,
        time=time,
        previous_time=previous_time,
        previous_close=previous_close,
        price_change=change,
        tier=tier,
        segment=segment,
        last=last,
        seen=seen,
        quiet=(symbols[~is_traded], times[~is_traded]),
    )


def _shifted(values: Array, heads: Ints, before: Array) -> Array:
    made = np.empty_like(values)
    made[1:] = values[:-1]
    made[heads] = before[heads]
    return made


def _state(walk: _Walk) -> pl.DataFrame:
    last = walk.last
    frame = pl.DataFrame(
        {"symbol": walk.names, "last_time": _times(last.time), "last_close": last.close, "segment": last.segment}
    )
    return frame.filter(pl.Series(last.time >= 0, dtype=pl.Boolean)).select(_STATE)


def _gaps(walk: _Walk) -> pl.DataFrame:
    found = np.flatnonzero(walk.tier)
    return pl.DataFrame(
        {
            "symbol": walk.names.gather(walk.symbol[found]),
            "gap_begin": _times(walk.previous_time[found]),
            "gap_end": _times(walk.time[found]),
            "silence": walk.time[found] - walk.previous_time[found],
            "close_before": walk.previous_close[found],
            "open_after": walk.candles["open"].to_numpy()[walk.row[found]],
            "price_change": walk.price_change[found],
            "tier": walk.tier[found],
            "segment": walk.segment[found],
        }
    ).select(GAPS.column_names)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where rows come to lie: ``source`` is the traded minute of each, which means nothing for those at ``filled``.

    ``time``, ``symbol``, ``close`` and ``segment`` are those of the filled ones.
    """

    source: Ints
    filled: Ints
    time: Ints
    symbol: Ints
    close: Floats
    segment: Ints

    def spread(self, traded: Array, filled: Array | float | bool) -> Array:
        """One value per row, from one per traded minute and those of the filled ones."""
        made = traded[self.source] if len(traded) else np.empty(len(self.source), traded.dtype)
        made[self.filled] = filled
        return made


def _places(walk: _Walk, span: tuple[datetime, datetime] | None, rule: GapRule) -> _Places:
    # Quiet stretches lie before a traded minute, unless it ends a gap, and at the end of a part behind each symbol.
    first, end = (0, 0) if span is None else map(minute_number, span)
    begin = np.maximum(walk.previous_time + 1, first)
    before = np.where((walk.tier == 0) & (walk.previous_time >= 0), np.maximum(walk.time - begin, 0), 0)
    last = walk.last
    patience = -(-rule.patience // MINUTE)
    tail_begin = np.maximum(last.time + 1, first)
    alive = np.maximum(last.time + patience, walk.seen) + 1
    behind = np.where(last.time >= 0, np.maximum(np.minimum(alive, end) - tail_begin, 0), 0)

    so_far, tails = np.cumsum(before), np.cumsum(behind)
    traded = np.arange(len(before)) + so_far + (tails - behind)[walk.symbol]
    rows_until = np.searchsorted(walk.symbol, np.arange(len(behind)), side="right")
    tail_at = rows_until + np.concatenate([[0], so_far])[rows_until] + tails - behind

    held, ending = np.flatnonzero(before), np.flatnonzero(behind)
    lengths = np.concatenate([before[held], behind[ending]])
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)

    def both(of_minutes: Array, of_symbols: Array) -> Array:
        return np.repeat(np.concatenate([of_minutes[held], of_symbols[ending]]), lengths)

    filled = both(traded - before, tail_at) + within
    source = np.zeros(len(traded) + len(filled), np.int64)
    source[traded] = np.arange(len(traded))
    return _Places(
        source,
        filled,
        both(begin, tail_begin) + within,
        both(walk.symbol, np.arange(len(behind))),
        both(walk.previous_close, last.close),
        both(walk.segment, last.segment),
    )


def _rows(walk: _Walk, place: _Places, inverse: bool, legacy: bool) -> dict[str, pl.Series | Array]:
    # Straight from the candles, without a copy of the traded ones.
    of_candles = replace(place, source=walk.row[place.source]) if len(walk.row) else place

    def column(name: str, filled: Array | float) -> Array:
        return of_candles.spread(walk.candles[name].to_numpy(), filled)

    vwap = walk.candles.select(_vwap(legacy)).to_series()
    unknown = pl.repeat(None, len(place.source), dtype=pl.Int64, eager=True)
    return {
        "symbol": walk.names.gather(place.spread(walk.symbol, place.symbol)),
        "open_time": _times(place.spread(walk.time, place.time)),
        "segment": place.spread(walk.segment, place.segment),
        **{name: column(name, place.close) for name in _PRICES},
        **{name: column(name, 0.0) for name in _VOLUMES},
        "trade_count": column("trade_count", 0),
        "contracts": _contracts(walk.candles["contracts"], of_candles) if inverse else unknown,
        "vwap": of_candles.spread(vwap.to_numpy(), place.close),
    }


def _vwap(legacy: bool) -> pl.Expr:
    value, volume = pl.col("quote_volume"), pl.col("base_volume")
    if legacy:
        # The legacy tool divided the archive's columns, which on COIN-M are coin and contracts.
        value = pl.when(pl.col("contracts").is_null()).then(value).otherwise(pl.col("base_volume"))
        volume = pl.coalesce(pl.col("contracts").cast(pl.Float64), volume)
    return (value / volume).clip(pl.col("low"), pl.col("high"))


def _contracts(of_candles: pl.Series, place: _Places) -> pl.Series:
    made = pl.Series(place.spread(of_candles.fill_null(0).to_numpy(), 0))
    return made.set(pl.Series(place.spread(of_candles.is_null().to_numpy(), False)), None)


def _in_archive(walk: _Walk, keys: Ints, filled: Flags) -> Flags:
    there = ~filled
    row, _ = _rows_of(keys, run_keys(*walk.quiet))
    there[row] = True
    return there


def _funding(
    walk: _Walk, keys: Ints, filled: Flags, funding: pl.DataFrame | None, only_traded: bool
) -> dict[str, pl.Series | Array]:
    if funding is None:
        nulls = pl.repeat(None, len(keys), eager=True)
        return {"funding_rate": nulls.cast(pl.Float64), "has_funding": nulls.cast(pl.Boolean)}
    events = funding.filter(pl.col("symbol").is_in(walk.names.implode()))
    symbol = walk.names.search_sorted(events["symbol"]).to_numpy().astype(np.int64)
    row, event = _rows_of(keys, run_keys(symbol, minutes_of(events, "funding_hour")))
    rate, there = np.zeros(len(keys)), np.zeros(len(keys), bool)
    rate[row], there[row] = events["funding_rate"].to_numpy()[event], True
    if only_traded:
        rate[filled], there[filled] = 0.0, False
    return {"funding_rate": rate, "has_funding": there}


def _rows_of(keys: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """Rows, in order of ``keys``, that have a wanted key, and the place of that among the wanted."""
    row = np.searchsorted(keys, wanted)
    inside = np.flatnonzero(row < len(keys))
    found = inside[keys[row[inside]] == wanted[inside]]
    return row[found], found


def _times(minutes: Ints) -> pl.Series:
    return pl.Series(minutes * MINUTE_MICROSECONDS).cast(pl.Datetime("us", "UTC"))
