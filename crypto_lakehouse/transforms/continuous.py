"""Silver one-minute klines to continuous minutes: quiet ones filled, series cut at gaps.

Here belongs what a minute without trades is, what a gap is, and what a day must know of the days before
it. Where that knowledge is stored is the pipeline's business, longer bars are in ``bars.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS, SYMBOL_STATES

_MINUTE = timedelta(minutes=1)
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
    traded = minutes.filter(pl.col("base_volume") > 0).sort("symbol", "open_time")
    traded = _segmented(traded, state, rule)
    after = _state_after(traded, state)
    untraded = sorted(set(minutes["symbol"].unique()) - set(after["symbol"]))
    stretches = _between(traded)
    if span is not None:
        first, end = span
        begin = pl.max_horizontal("begin", pl.lit(first))
        stretches = pl.concat([stretches.with_columns(begin=begin), _tails(after, minutes, first, end, rule)])
    filled = _filled(stretches.filter(pl.col("begin") < pl.col("stop")))
    rows = pl.concat([_traded_rows(traded, legacy), filled], how="diagonal_relaxed").sort("symbol", "open_time")
    rows = _with_archive(rows, minutes)
    if not inverse:
        rows = rows.with_columns(contracts=pl.lit(None, pl.Int64))
    rows = _with_funding(rows, funding, only_traded=legacy)
    return Continuous(rows.select(CONTINUOUS.column_names), _gaps(traded), after, untraded)


def next_state(minutes: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    """The state after ``minutes``, as ``continuous_minutes`` gives it, without making the rows.

    Of ``minutes`` only symbol, open_time, open, close and base_volume are needed.
    """
    traded = minutes.filter(pl.col("base_volume") > 0).sort("symbol", "open_time")
    return _state_after(_segmented(traded, state, rule), state)


def _segmented(traded: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    before = {name: pl.col(column).shift(1).over("symbol") for name, column in _BEFORE.items()}
    carried = state.select("symbol", carried_time="last_time", carried_close="last_close", carried_segment="segment")
    joined = traded.join(carried, on="symbol", how="left", maintain_order="left").with_columns(
        previous_time=pl.coalesce(before["time"], "carried_time"),
        previous_close=pl.coalesce(before["close"], "carried_close"),
    )
    silence = pl.col("open_time") - pl.col("previous_time")
    change = pl.col("open") / pl.col("previous_close") - 1
    tier = (
        pl.when((silence > rule.after) & (change.abs() > rule.change))
        .then(1)
        .when((silence > 2 * rule.after) & (change != 0))
        .then(2)
        .otherwise(0)
    )
    return joined.with_columns(price_change=change, tier=tier.cast(pl.Int64)).with_columns(
        segment=pl.col("carried_segment").fill_null(0) + (pl.col("tier") > 0).cast(pl.Int64).cum_sum().over("symbol")
    )


_BEFORE = {"time": "open_time", "close": "close"}


def _state_after(traded: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    last = traded.group_by("symbol", maintain_order=True).agg(
        last_time=pl.col("open_time").last(), last_close=pl.col("close").last(), segment=pl.col("segment").last()
    )
    kept = state.select(_STATE).join(last, on="symbol", how="anti")
    return pl.concat([kept, last.select(_STATE)]).sort("symbol")


def _between(traded: pl.DataFrame) -> pl.DataFrame:
    """Quiet stretches [begin, stop) between a traded minute and the next, unless a gap lies between them."""
    return traded.filter((pl.col("tier") == 0) & pl.col("previous_time").is_not_null()).select(
        "symbol",
        "segment",
        begin=pl.col("previous_time") + _MINUTE,
        stop=pl.col("open_time"),
        close=pl.col("previous_close"),
    )


def _tails(after: pl.DataFrame, minutes: pl.DataFrame, first: datetime, end: datetime, rule: GapRule) -> pl.DataFrame:
    seen = minutes.group_by("symbol").agg(seen=pl.col("open_time").max())
    alive = pl.max_horizontal(pl.col("last_time") + rule.patience, "seen") + _MINUTE
    return after.join(seen, on="symbol", how="left").select(
        "symbol",
        "segment",
        begin=pl.max_horizontal(pl.col("last_time") + _MINUTE, pl.lit(first)),
        stop=pl.min_horizontal(alive, pl.lit(end)),
        close="last_close",
    )


def _filled(stretches: pl.DataFrame) -> pl.DataFrame:
    times = pl.datetime_ranges("begin", "stop", interval="1m", closed="left")
    exploded = stretches.with_columns(open_time=times).explode("open_time")
    return exploded.select(
        "symbol",
        "open_time",
        "segment",
        *(pl.col("close").alias(name) for name in _PRICES),
        *(pl.lit(0.0).alias(name) for name in _VOLUMES),
        trade_count=pl.lit(0, pl.Int64),
        contracts=pl.lit(0, pl.Int64),
        vwap="close",
        is_filled=True,
    )


def _traded_rows(traded: pl.DataFrame, legacy: bool) -> pl.DataFrame:
    value, volume = pl.col("quote_volume"), pl.col("base_volume")
    if legacy:
        # The legacy tool divided the archive's columns, which on COIN-M are coin and contracts.
        value = pl.when(pl.col("contracts").is_null()).then(value).otherwise(pl.col("base_volume"))
        volume = pl.coalesce(pl.col("contracts").cast(pl.Float64), volume)
    vwap = (value / volume).clip(pl.col("low"), pl.col("high"))
    names = ("symbol", "open_time", "segment", *_PRICES, *_VOLUMES, "trade_count", "contracts")
    return traded.select(*names, vwap=vwap, is_filled=False)


def _with_archive(rows: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    there = minutes.select("symbol", "open_time", in_archive=True)
    joined = rows.join(there, on=["symbol", "open_time"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("in_archive").fill_null(False))


def _with_funding(rows: pl.DataFrame, funding: pl.DataFrame | None, only_traded: bool) -> pl.DataFrame:
    if funding is None:
        return rows.with_columns(funding_rate=pl.lit(None, pl.Float64), has_funding=pl.lit(None, pl.Boolean))
    events = funding.select("symbol", pl.col("funding_hour").alias("open_time"), "funding_rate")
    joined = rows.join(events, on=["symbol", "open_time"], how="left", maintain_order="left")
    there = pl.col("funding_rate").is_not_null()
    if only_traded:
        there = there & ~pl.col("is_filled")
    return joined.with_columns(
        has_funding=there, funding_rate=pl.when(there).then(pl.col("funding_rate")).otherwise(0.0)
    )


def _gaps(traded: pl.DataFrame) -> pl.DataFrame:
    found = traded.filter(pl.col("tier") > 0)
    return found.select(
        "symbol",
        "price_change",
        "tier",
        "segment",
        gap_begin="previous_time",
        gap_end="open_time",
        silence=(pl.col("open_time") - pl.col("previous_time")).dt.total_minutes(),
        close_before="previous_close",
        open_after="open",
    ).select(GAPS.column_names)
