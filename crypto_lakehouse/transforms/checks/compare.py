"""Compare bars and klines with their inputs and with the exchange's klines; report differences as findings.

This module defines the compared columns and their precision. It computes sums in another way than ``gold/bars.py`` and
``gold/activity_bars.py``, whose windows and sums it checks. Orchestration chooses the partitions and what a finding
means for an asset.

A finding is (symbol, description): one for each symbol and kind of fault, with the number of bars or klines that have
it and the first of them by open_time, UTC.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter

import polars as pl

Finding = tuple[str, str]

_PRICES = ("open", "high", "low", "close")
_VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
_COUNTS = ("trade_count", "contracts")
_MINUTE = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
# Sums in another order differ in the last of 15 digits, times the number of summands: 44,640 in a month.
_RELATIVE = 1e-9
# The archive writes volumes with eight decimals. On COIN-M the coin volume is a quotient, so each minute is rounded.
_LAST_DECIMAL = 1e-8
# Rates are written with eight decimals too; the rest is the rounding of running totals.
_RATE_ROUNDING = 1e-12


def bars_against_minutes(bars: pl.DataFrame, minutes: pl.DataFrame) -> list[Finding]:
    """Compare bars (BARS of one interval, or ACTIVITY_BARS) with their gold.continuous_1m rows.

    A bar covers the ``minutes`` of its symbol and segment within [open_time, close_time], both inclusive. n_minutes is
    compared first. For bars whose n_minutes agrees, n_filled, first_minute, last_minute, open, high, low, close,
    trade_count and contracts must be equal; volumes and vwap (quote_volume / base_volume within [low, high]) must
    agree to 1e-9 relative. So a minute that is missing from ``minutes`` shows as a difference in n_minutes.
    ``minutes`` may hold more than the bars need; both may be in any order. A missing bar is not a finding.
    """
    if bars.is_empty():
        return []
    numbered = bars.sort("symbol", "open_time").with_row_index("bar")
    ordered = minutes.sort("open_time")
    # Windows of one grid do not overlap, so a minute is in one bar of each grid.
    grids = numbered.partition_by("offset") if "offset" in numbered.columns else [numbered]
    expected = pl.concat([_of_minutes(grid, ordered) for grid in grids])
    pairs = numbered.join(expected, on="bar", how="left", maintain_order="left").with_columns(
        pl.col("n_minutes_right").fill_null(0)
    )
    counted = pairs.filter(pl.col("n_minutes") == pl.col("n_minutes_right"))
    exact = ("n_filled", "first_minute", "last_minute", *_PRICES, *_COUNTS)
    return _by_symbol(
        _differing(pairs, "n_minutes", _unequal("n_minutes"), "minutes"),
        *(_differing(counted, name, _unequal(name), "minutes") for name in exact),
        *(_differing(counted, name, _apart(name, _share(name)), "minutes") for name in (*_VOLUMES, "vwap")),
    )


def bars_against_klines(bars: pl.DataFrame, klines: pl.DataFrame) -> list[Finding]:
    """Compare time bars (BARS) of offset 0 with the exchange's own klines of that interval (KLINES).

    Both must cover the same time; both may be in any order. A kline with volume but no bar is a finding, and so is a
    bar with volume but no kline. ``complete`` bars with volume are compared with their klines: open, high, low, close,
    trade_count and contracts must be equal; volumes may differ by 1e-9 relative plus 1e-8, the last decimal of the
    archive, for each traded minute.

    If the first minute of a bar has no trade, its open is the last earlier close, while the exchange may use the first
    price of the interval. Then open, and high or low if it equals that carried price, may differ as long as the
    exchange's price is within the bar's [low, high].
    """
    own_bars = bars.filter(pl.col("offset") == 0).sort("symbol", "open_time")
    exchange_klines = klines.sort("symbol", "open_time")
    key, has_volume = ["symbol", "open_time"], pl.col("base_volume") > 0
    pairs = own_bars.filter(has_volume & pl.col("complete")).join(exchange_klines, on=key, maintain_order="left")
    rounding = _LAST_DECIMAL * (pl.col("n_minutes") - pl.col("n_filled"))
    no_bar = exchange_klines.filter(has_volume).join(own_bars, on=key, how="anti", maintain_order="left")
    no_kline = own_bars.filter(has_volume).join(exchange_klines, on=key, how="anti", maintain_order="left")
    return _by_symbol(
        _listed(no_bar, "klines of the exchange have volume and no bar"),
        _listed(no_kline, "bars have volume and no kline of the exchange"),
        *(_differing(pairs, name, _unequal(name) & ~_carried(name), "exchange") for name in ("open", "high", "low")),
        *(_differing(pairs, name, _unequal(name), "exchange") for name in ("close", *_COUNTS)),
        *(_differing(pairs, name, _apart(name, _share(name) + rounding), "exchange") for name in _VOLUMES),
    )


def klines_against_trades(klines: pl.DataFrame, rebuilt: pl.DataFrame) -> list[Finding]:
    """Compare the archive's klines (KLINES) with those of ``gold/trade_klines.py`` of the same interval and time.

    Both may be in any order. A kline without volume counts as absent, on either side. A kline that only one side has is
    a finding. Otherwise open, high, low, close, trade_count and contracts must be equal; volumes may differ by 1e-9
    relative plus rounding. Rounding is 1e-8, the last decimal of the archive, or 1e-8 for each trade if the exchange
    rounds each trade. It does so for the coins of COIN-M (contracts times contract size over price), and on other
    markets for the quote volume (price times quantity), which aggregates have without rounding.

    Futures aggregates hold only market trades, without those of the insurance fund and of auto-deleveraging
    (https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Aggregate-Trade-Streams).
    If klines count such a trade, its minute differs, and the finding is correct: the trade is missing from the
    aggregates. An aggregate has one time, so fills on both sides of a minute's end count in one of the two minutes.
    """
    key, has_volume = ["symbol", "open_time"], pl.col("base_volume") > 0
    from_archive = klines.filter(has_volume).sort(key)
    from_trades = rebuilt.filter(has_volume).sort(key)
    pairs = from_archive.join(from_trades, on=key, maintain_order="left")
    each_trade = _LAST_DECIMAL * pl.max_horizontal("trade_count", "trade_count_right")
    inverse = pl.col("contracts_right").is_not_null()
    base = pl.when(inverse).then(each_trade).otherwise(_LAST_DECIMAL)
    quote = pl.when(inverse).then(_LAST_DECIMAL).otherwise(each_trade)
    rounding = dict(zip(_VOLUMES, (base, quote, base, quote), strict=True))

    def differing(column: str, differs: pl.Expr) -> list[Finding]:
        return _differing(pairs, column, differs, "trades", "klines", "archive")

    no_trades = from_archive.join(from_trades, on=key, how="anti", maintain_order="left")
    no_kline = from_trades.join(from_archive, on=key, how="anti", maintain_order="left")
    return _by_symbol(
        _listed(no_trades, "klines of the archive have volume and no trades"),
        _listed(no_kline, "windows have trades and no volume in the archive's klines"),
        *(differing(name, _unequal(name)) for name in (*_PRICES, *_COUNTS)),
        *(differing(name, _apart(name, _share(name) + rounding[name])) for name in _VOLUMES),
    )


def bars_against_funding(bars: pl.DataFrame, events: pl.DataFrame) -> list[Finding]:
    """Compare funding_sum and funding_count of time bars (BARS) with silver.funding_rates rows ``events``.

    A bar counts the events of its symbol with funding_hour within [open_time, close_time], both inclusive; sums are
    compared to 1e-12. ``events`` must hold all stored rows of the months that the bars touch; both may be in any order.
    A bar with minutes missing from its window (before the first trade, at a gap) may count fewer events, because an
    event in a missing minute is in no bar; its sum is then not compared. It may not count more.

    A null funding_sum despite events means that the funding arrived after the bar was built. A bar that touches a month
    in which ``events`` has no row of any symbol is correctly null, and not a finding.
    """
    numbered = bars.sort("symbol", "open_time").with_row_index("bar")
    until_close = _funding_until(numbered, events, "close_time", inclusive=True)
    before_open = _funding_until(numbered, events, "open_time", inclusive=False)
    pairs = numbered.join(until_close.join(before_open, on="bar"), on="bar", maintain_order="left").with_columns(
        funding_count_right=pl.col("count") - pl.col("count_right"),
        funding_sum_right=pl.col("sum") - pl.col("sum_right"),
    )
    unknown = pl.col("funding_sum").is_null()
    late = unknown & _in_months_of(events) & (pl.col("funding_count_right") > 0)
    whole = pl.col("n_minutes") * _MINUTE == pl.col("close_time") - pl.col("open_time") + _MICROSECOND
    fewer = (pl.col("funding_count") < pl.col("funding_count_right")).fill_null(False)
    known = pairs.filter(~unknown & (whole | ~fewer))
    return _by_symbol(
        _listed(pairs.filter(late), "bars have no funding because it arrived after they were built: rebuild them"),
        _differing(known, "funding_count", _unequal("funding_count"), "events"),
        _differing(known, "funding_sum", _apart("funding_sum", pl.lit(_RATE_ROUNDING)), "events"),
    )


def counting_events(events: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """The silver.funding_rates rows that gold.continuous_1m ``minutes`` have. No bar counts the others, which
    ``events_not_counted`` names.
    """
    counting = minutes.filter("has_funding")
    return events.join(counting, left_on=["symbol", "funding_hour"], right_on=["symbol", "open_time"], how="semi")


def events_not_counted(events: pl.DataFrame, minutes: pl.DataFrame) -> list[Finding]:
    """silver.funding_rates rows in gold.continuous_1m ``minutes`` that do not count them."""
    paired = events.join(minutes, left_on=["symbol", "funding_hour"], right_on=["symbol", "open_time"])
    lost = paired.filter(~pl.col("has_funding")).group_by("symbol")
    ranges = lost.agg(n=pl.len(), first=pl.col("funding_hour").min(), last=pl.col("funding_hour").max()).sort("symbol")
    return [
        (
            symbol,
            f"{n} funding events from {_text(first)} to {_text(last)} UTC do not count: the lake has no trade that"
            " follows within two gap thresholds",
        )
        for symbol, n, first, last in ranges.iter_rows()
    ]


def _of_minutes(bars: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """The columns of each bar, by ``bar``, from its minutes. ``minutes`` are in order of time; bars do not overlap."""
    windows = bars.select("bar", "symbol", "segment", "close_time", window="open_time").sort("window")
    inside = minutes.join_asof(
        windows,
        left_on="open_time",
        right_on="window",
        by=["symbol", "segment"],
        strategy="backward",
        check_sortedness=False,
    ).filter(pl.col("open_time") <= pl.col("close_time"))
    traded_at = pl.col("open_time").filter(~pl.col("is_filled"))
    # Polars keeps the order of rows within a group.
    sums = inside.group_by("bar").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("trade_count", *_VOLUMES).sum(),
        contracts=pl.when(pl.col("contracts").is_not_null().all()).then(pl.col("contracts").sum()),
        first_minute=traded_at.min(),
        last_minute=traded_at.max(),
        n_minutes=pl.len().cast(pl.Int64),
        n_filled=pl.col("is_filled").sum().cast(pl.Int64),
    )
    vwap = (pl.col("quote_volume") / pl.col("base_volume")).clip(pl.col("low"), pl.col("high"))
    expected = sums.with_columns(vwap=pl.when(pl.col("base_volume") > 0).then(vwap))
    return expected.select("bar", pl.exclude("bar").name.suffix("_right"))


def _funding_until(bars: pl.DataFrame, events: pl.DataFrame, time: str, *, inclusive: bool) -> pl.DataFrame:
    """``count`` and ``sum`` of all events of the symbol up to the column ``time`` of each ``bar``."""
    totals = events.sort("symbol", "funding_hour").select(
        "symbol",
        "funding_hour",
        count=pl.col("funding_rate").cum_count().over("symbol").cast(pl.Int64),
        sum=pl.col("funding_rate").cum_sum().over("symbol"),
    )
    joined = bars.sort(time).join_asof(
        totals,
        left_on=time,
        right_on="funding_hour",
        by="symbol",
        strategy="backward",
        allow_exact_matches=inclusive,
        check_sortedness=False,
    )
    return joined.select("bar", pl.col("count").fill_null(0), pl.col("sum").fill_null(0.0))


def _in_months_of(events: pl.DataFrame) -> pl.Expr:
    months = events["funding_hour"].dt.truncate("1mo").unique().implode()
    return pl.all_horizontal(pl.col(name).dt.truncate("1mo").is_in(months) for name in ("open_time", "close_time"))


def _unequal(column: str) -> pl.Expr:
    return pl.col(column).ne_missing(pl.col(f"{column}_right"))


def _apart(column: str, allowed: pl.Expr) -> pl.Expr:
    """Whether values differ by more than ``allowed``, or one side is null, NaN or infinite."""
    distance = (pl.col(column) - pl.col(f"{column}_right")).abs()
    return _unequal(column) & ~(distance.is_finite() & (distance <= allowed)).fill_null(False)


def _share(column: str) -> pl.Expr:
    return _RELATIVE * pl.col(f"{column}_right").abs()


def _carried(column: str) -> pl.Expr:
    """Whether the bar's price may be carried from before its first trade, and the exchange's is within the bar."""
    quiet_begin = (pl.col("first_minute") > pl.col("open_time")).fill_null(False)
    return quiet_begin & (pl.col(column) == pl.col("open")) & pl.col(f"{column}_right").is_between("low", "high")


def _differing(
    pairs: pl.DataFrame, column: str, differs: pl.Expr, source: str, noun: str = "bars", side: str = "bar"
) -> list[Finding]:
    """Findings for pairs, in order of time, whose ``column`` differs from that of ``source``."""
    by_symbol = pairs.group_by("symbol").agg(
        n=differs.sum(),
        total=pl.len(),
        at=pl.col("open_time").filter(differs).first(),
        value=pl.col(column).filter(differs).first(),
        source_value=pl.col(f"{column}_right").filter(differs).first(),
    )
    return [
        (
            symbol,
            f"{column} differs in {n} of {total} {noun}, first {_text(at)}:"
            f" {side} {_text(value)}, {source} {_text(source_value)}",
        )
        for symbol, n, total, at, value, source_value in by_symbol.filter(pl.col("n") > 0).iter_rows()
    ]


def _listed(rows: pl.DataFrame, noun: str) -> list[Finding]:
    """Findings for rows, in order of time, that are all at fault."""
    by_symbol = rows.group_by("symbol").agg(n=pl.len(), at=pl.col("open_time").first())
    return [(symbol, f"{n} {noun}, first {_text(at)}") for symbol, n, at in by_symbol.iter_rows()]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "null" if value is None else str(value)


def _by_symbol(*findings: list[Finding]) -> list[Finding]:
    return sorted((finding for kind in findings for finding in kind), key=itemgetter(0))
