"""The gold transforms as plain Polars expressions: a simple path that the fast one must equal, value by value.

It defines continuous minutes, gaps, states and time bars declaratively, without regard to speed. ``reference_gold.py``
has the slow reference, which uses no frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.schemas.continuous import CONTINUOUS, GAPS
from crypto_lakehouse.transforms.gold.continuous import Continuous, GapRule

_MINUTE, _FIVE = timedelta(minutes=1), timedelta(minutes=5)
_MICROSECOND = timedelta(microseconds=1)
_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
_STATE = ("symbol", "segment", "first_time", "last_time", "last_close", "missing_days")
_FUNDING_FLOOR = 1e-6


def obvious_minutes(
    minutes: pl.DataFrame,
    funding: pl.DataFrame | None,
    state: pl.DataFrame,
    span: tuple[datetime, datetime] | None,
    rule: GapRule,
    *,
    inverse: bool = False,
    legacy: bool = False,
) -> Continuous:
    """``continuous_minutes``."""
    traded = minutes.filter(pl.col("base_volume") > 0).sort("symbol", "open_time")
    traded = _segmented(traded, state, rule)
    segments = _segments_after(traded, state)
    after = segments.unique("symbol", keep="last", maintain_order=True)
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
    rows = _with_funding(rows, funding, after, legacy)
    return Continuous(rows.select(CONTINUOUS.column_names).to_arrow(), _gaps(traded), segments, untraded, [])


def obvious_bars(
    minutes: pl.DataFrame, interval: Interval, offsets: Iterable[timedelta], first: datetime, end: datetime
) -> pl.DataFrame:
    """``time_bars``."""
    ordered = minutes.sort("symbol", "open_time")
    return pl.concat(_on_grid(ordered, interval, offset, first, end) for offset in offsets).sort(BARS.primary_key)


def _segmented(traded: pl.DataFrame, state: pl.DataFrame, rule: GapRule) -> pl.DataFrame:
    before = {name: pl.col(column).shift(1).over("symbol") for name, column in _BEFORE.items()}
    carried = state.unique("symbol", keep="last", maintain_order=True).select(
        "symbol", carried_time="last_time", carried_close="last_close", carried_segment="segment"
    )
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


def _segments_after(traded: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    here = traded.group_by("symbol", "segment", maintain_order=True).agg(
        first_time=pl.col("open_time").first(), last_time=pl.col("open_time").last(), last_close=pl.col("close").last()
    )
    went_on = here.join(state.select("symbol", "segment", begun="first_time"), on=["symbol", "segment"], how="left")
    here = went_on.with_columns(first_time=pl.coalesce("begun", "first_time"), missing_days=pl.lit(0, pl.Int64))
    kept = state.join(here, on=["symbol", "segment"], how="anti")
    return pl.concat([kept.select(_STATE), here.select(_STATE)]).sort("symbol", "segment")


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


def _with_funding(rows: pl.DataFrame, funding: pl.DataFrame | None, state: pl.DataFrame, legacy: bool) -> pl.DataFrame:
    if funding is None:
        return rows.with_columns(funding_rate=pl.lit(None, pl.Float64), has_funding=pl.lit(None, pl.Boolean))
    events = funding.select("symbol", pl.col("funding_hour").alias("open_time"), "funding_rate")
    joined = rows.join(events, on=["symbol", "open_time"], how="left", maintain_order="left")
    joined = joined.join(state.select("symbol", "last_time"), on="symbol", how="left", maintain_order="left")
    there = pl.col("funding_rate").is_not_null() & (pl.col("open_time") <= pl.col("last_time"))
    if legacy:
        there = there & ~pl.col("is_filled")
    paid = joined.with_columns(
        has_funding=there, funding_rate=pl.when(there).then(pl.col("funding_rate")).otherwise(0.0)
    )
    if legacy:
        return paid
    months = events.select("symbol", pl.col("open_time").dt.truncate("1mo").alias("month"), is_known=True).unique()
    paid = paid.with_columns(month=pl.col("open_time").dt.truncate("1mo"))
    paid = paid.join(months, on=["symbol", "month"], how="left", maintain_order="left")
    return paid.with_columns(pl.when("is_known").then(name).alias(name) for name in ("funding_rate", "has_funding"))


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
        reason=pl.lit("silence"),
        missing_days=pl.lit(0, pl.Int64),
    ).select(GAPS.column_names)


def _window(time: pl.Expr, interval: Interval, offset: timedelta) -> pl.Expr:
    return (time - offset).dt.truncate(interval.name) + offset


def _on_grid(
    minutes: pl.DataFrame, interval: Interval, offset: timedelta, first: datetime, end: datetime
) -> pl.DataFrame:
    keyed = (
        minutes.with_columns(window=_window(pl.col("open_time"), interval, offset))
        .with_columns(window_end=(pl.col("window") - offset).dt.offset_by(interval.name) + offset)
        .filter((pl.col("window_end") > first) & (pl.col("window_end") <= end))
    )
    traded = pl.col("open_time").filter(~pl.col("is_filled"))
    paid = pl.col("funding_rate").abs() > _FUNDING_FLOOR
    known = pl.col("funding_rate").null_count() == 0
    bars = keyed.group_by("symbol", "segment", "window", "window_end", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col(*_VOLUMES),
        times=pl.col("open_time"),
        trade_count=pl.col("trade_count").sum(),
        contracts=pl.when(pl.col("contracts").null_count() == 0).then(pl.col("contracts").sum()),
        first_minute=traded.first(),
        last_minute=traded.last(),
        n_minutes=pl.len().cast(pl.Int64),
        n_filled=pl.col("is_filled").sum().cast(pl.Int64),
        n_archive=pl.col("in_archive").sum().cast(pl.Int64),
        funding_rate=pl.col("funding_rate").filter(paid).first(),
        funding_price=pl.col("open").filter(paid).first(),
        funding_time=pl.col("open_time").filter(paid).first(),
        rates=pl.col("funding_rate"),
        funding_count=pl.when(known).then(pl.col("has_funding").sum().cast(pl.Int64)),
    )
    fives = all(part % _FIVE == timedelta(0) for part in (offset, interval.length or _FIVE))

    def sums(name: str) -> list[float | None]:
        columns = zip(bars[name], bars["times"], strict=True)
        return [_kahan(_of_fives(values, times) if fives else values) for values, times in columns]

    bars = bars.with_columns(
        *(pl.Series(name, sums(name), pl.Float64) for name in _VOLUMES),
        pl.Series("funding_sum", sums("rates"), pl.Float64),
    )
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    length = pl.col("window_end") - pl.col("window")
    return bars.with_columns(
        offset=pl.lit(offset // _MINUTE, pl.Int64),
        open_time="window",
        close_time=pl.col("window_end") - _MICROSECOND,
        vwap=pl.when(pl.col("base_volume") > 0).then(vwap),
        complete=pl.col("n_archive") * _MINUTE == length,
    ).select(BARS.column_names)


def _of_fives(values: Iterable[float | None], times: Iterable[datetime]) -> list[float | None]:
    """The sums of each five minutes since midnight."""
    parts: dict[datetime, list[float | None]] = {}
    for value, time in zip(values, times, strict=True):
        parts.setdefault(time.replace(minute=time.minute // 5 * 5), []).append(value)
    return [_kahan(part) for part in parts.values()]


def _kahan(values: Iterable[float | None]) -> float | None:
    """The sum in the order of ``values`` with Kahan's compensation; null where one is null."""
    total = lost = 0.0
    for value in values:
        if value is None:
            return None
        term = value - lost
        raised = total + term
        lost, total = (raised - total) - term, raised
    return total
