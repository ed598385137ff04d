"""Bars compared with their minutes: no finding for equal data; each fault is named, counted and located."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.transforms.checks.compare import bars_against_funding, bars_against_klines, bars_against_minutes
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars
from crypto_lakehouse_tests.unit.compared_gold import (
    DAY,
    END,
    FIVE,
    GREW,
    HOUR,
    PRICES,
    QUIET,
    START,
    VOLUMES,
    ZERO,
    A,
    B,
    C,
    at,
    bar_at,
    bars,
    candle,
    events,
    klines,
    minutes,
    spoilt,
)
from crypto_lakehouse_tests.unit.reference_gold import MINUTE, frame


def dollar_bars(inverse: bool = False) -> pl.DataFrame:
    return activity_bars(minutes(inverse), parse_bars("dollar:30000000"), START, END + 40 * DAY)  # type: ignore[arg-type]


EACH_VALUE = [
    *((name, pl.col(name) + 0.001) for name in PRICES),
    *((name, pl.col(name) * GREW) for name in (*VOLUMES, "vwap")),
    *((name, float("nan")) for name in (*VOLUMES, "vwap")),
    ("vwap", None),
    *((name, pl.col(name) + 1) for name in ("trade_count", "n_minutes", "n_filled")),
    ("contracts", 5),
    ("first_minute", pl.col("first_minute") + MINUTE),
    ("last_minute", None),
]


@pytest.mark.requirement("F4.6")
def test_the_generated_data_have_the_cases_to_compare() -> None:
    made = bars("1h", ZERO, FIVE)
    assert set(made["symbol"]) == set(QUIET)
    assert dict(made.group_by("symbol").agg(pl.col("segment").max()).iter_rows()) == {"AAA": 0, "BBB": 0, "CCC": 1}
    # 10:20 to 12:19 is a gap: the hours of 10:00 and 12:00 are partial, that of 11:00 is not there.
    partial = made.filter(C & at(10) | C & at(11) | C & at(12)).select("n_minutes", "segment").rows()
    assert partial == [(20, 0), (40, 1)]
    assert made.filter(B, offset=0)["n_minutes"][0] == 35
    assert made["n_filled"].sum() > 100
    assert minutes().filter("is_filled", "has_funding", A & at(8)).height == 1
    quiet_begin = made.filter(pl.col("first_minute") > pl.col("open_time"), pl.col("n_minutes") == 60)
    assert quiet_begin.height > 10


@pytest.mark.requirement("F4.6", "F4.1")
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("interval", ["3m", "1h", "1d", "1w", "1mo"])
def test_time_bars_agree_with_their_minutes(interval: str, inverse: bool) -> None:
    made = bars(interval, ZERO, FIVE, of=minutes(inverse)) if interval != "3m" else bars("3m", of=minutes(inverse))
    assert made.height
    assert bars_against_minutes(made.reverse(), minutes(inverse).reverse()) == []


@pytest.mark.requirement("F4.6", "F4.4")
@pytest.mark.parametrize("inverse", [False, True])
def test_activity_bars_agree_with_their_minutes(inverse: bool) -> None:
    made = dollar_bars(inverse)
    assert made.height > 50
    assert bars_against_minutes(made.reverse(), minutes(inverse).reverse()) == []


@pytest.mark.requirement("F4.6", "F4.4")
def test_an_activity_bar_by_hand() -> None:
    rows = [
        {**minute, "symbol": "AAA", "segment": 0, "is_filled": False, "in_archive": True, "vwap": 10.0}
        for minute in (candle("AAA", n, 10.0, 200) for n in range(4))
    ]
    of = frame(
        "gold", "continuous_1m", [{k: v for k, v in r.items() if k not in ("close_time", "source")} for r in rows]
    )
    bar = {
        "symbol": "AAA",
        "segment": 0,
        "open_time": START + MINUTE,
        "close_time": START + 3 * MINUTE - timedelta(microseconds=1),
        "open": 10.0,
        "high": 10.01,
        "low": 10.0,
        "close": 10.005,
        "base_volume": 2 * 2.0,
        "quote_volume": 2 * 2.0 * 10.0025,
        "trade_count": 2 * 200,
        "taker_buy_base_volume": 2 * 0.5,
        "taker_buy_quote_volume": 2 * 0.5 * 10.005,
        "contracts": None,
        "vwap": 10.0025,
        "first_minute": START + MINUTE,
        "last_minute": START + 2 * MINUTE,
        "n_minutes": 2,
        "n_filled": 0,
        "complete": True,
    }
    good = frame("gold", "bars_dollar_40", [bar])
    assert bars_against_minutes(good, of) == []
    bad = good.with_columns(base_volume=pl.lit(4.5), trade_count=pl.lit(401, pl.Int64))
    assert bars_against_minutes(bad, of) == [
        ("AAA", "trade_count differs in 1 of 1 bars, first 2024-01-31 00:01: bar 401, minutes 400"),
        ("AAA", "base_volume differs in 1 of 1 bars, first 2024-01-31 00:01: bar 4.5, minutes 4.0"),
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("kind", ["time", "activity"])
@pytest.mark.parametrize(("column", "value"), EACH_VALUE)
def test_each_column_that_differs_from_the_minutes_is_named(kind: str, column: str, value: Any) -> None:
    good = bars("1h", FIVE, ZERO) if kind == "time" else dollar_bars()
    times = good.filter(B)["open_time"].sort()
    where = B & pl.col("open_time").is_in(times[5:8].implode())
    [(symbol, what)] = bars_against_minutes(spoilt(good, where, **{column: value}), minutes())
    assert symbol == "BBB"
    assert what.startswith(f"{column} differs in 3 of {len(times)} bars, first {times[5]:%Y-%m-%d %H:%M}: bar ")


@pytest.mark.requirement("F4.6")
def test_rounding_of_sums_is_no_difference() -> None:
    within = {name: pl.col(name) * (1 + 5e-10) for name in (*VOLUMES, "vwap")}
    assert bars_against_minutes(spoilt(bars(), A, **within), minutes()) == []


@pytest.mark.requirement("F4.6")
def test_vwap_is_held_within_the_prices_as_that_of_bars_is() -> None:
    """Where all traded at one price, rounded volumes give another: 1e-8 / 3e-8 is not 0.33."""
    of = (
        minutes()
        .filter(A)
        .head(60)
        .with_columns(
            *(pl.lit(0.33).alias(name) for name in (*PRICES, "vwap")),
            base_volume=pl.lit(3e-8),
            quote_volume=pl.lit(1e-8),
        )
    )
    made = bars(of=of)
    assert made["vwap"].to_list() == [0.33]
    assert bars_against_minutes(made, of) == []


@pytest.mark.requirement("F4.6")
def test_a_difference_is_reported_with_both_values_per_symbol_in_order() -> None:
    bad = spoilt(spoilt(bars("1h", ZERO, FIVE), C & at(30), close=7.25), A & at(3), high=1e6, trade_count=1)
    right = {(s, h): bar_at(bars(), s, h) for s, h in (("AAA", 3), ("CCC", 30))}
    counts = {symbol: bad.filter(symbol=symbol).height for symbol in QUIET}
    assert bars_against_minutes(bad, minutes()) == [
        (
            "AAA",
            f"high differs in 1 of {counts['AAA']} bars, first 2024-01-31 03:00:"
            f" bar 1000000.0, minutes {right['AAA', 3]['high']}",
        ),
        (
            "AAA",
            f"trade_count differs in 1 of {counts['AAA']} bars, first 2024-01-31 03:00:"
            f" bar 1, minutes {right['AAA', 3]['trade_count']}",
        ),
        (
            "CCC",
            f"close differs in 1 of {counts['CCC']} bars, first 2024-02-01 06:00:"
            f" bar 7.25, minutes {right['CCC', 30]['close']}",
        ),
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(
    ("missing", "found"),
    [
        (A & (pl.col("open_time") == START + 3 * HOUR + 59 * MINUTE), 59),
        (A & (pl.col("open_time").dt.truncate("1h") == START + 3 * HOUR), 0),
    ],
)
def test_a_bar_with_missing_minutes_is_one_finding(missing: pl.Expr, found: int) -> None:
    assert bars_against_minutes(bars(), minutes().filter(~missing)) == [
        ("AAA", f"n_minutes differs in 1 of 48 bars, first 2024-01-31 03:00: bar 60, minutes {found}")
    ]


@pytest.mark.requirement("F4.6")
def test_minutes_rebuilt_after_the_bar_are_reported() -> None:
    extra = minutes().filter(B).sort("open_time").head(1).with_columns(pl.col("open_time") - MINUTE)
    assert bars_against_minutes(bars(), pl.concat([minutes(), extra])) == [
        ("BBB", "n_minutes differs in 1 of 41 bars, first 2024-01-31 07:00: bar 35, minutes 36")
    ]


@pytest.mark.requirement("F4.6", "F4.3")
def test_a_bar_of_the_wrong_segment_or_window_differs_from_its_minutes() -> None:
    wrong_segment = bars_against_minutes(spoilt(bars(), A & at(3), segment=1), minutes())
    assert wrong_segment == [("AAA", "n_minutes differs in 1 of 48 bars, first 2024-01-31 03:00: bar 60, minutes 0")]
    late_close = spoilt(bars(), A & at(47), close_time=pl.col("close_time") - MINUTE)
    assert bars_against_minutes(late_close, minutes()) == [
        ("AAA", "n_minutes differs in 1 of 48 bars, first 2024-02-01 23:00: bar 60, minutes 59")
    ]


@pytest.mark.requirement("F4.6")
def test_no_rows_have_no_findings() -> None:
    assert bars_against_minutes(bars().clear(), minutes()) == []
    assert bars_against_klines(bars().clear(), klines().clear()) == []
    assert bars_against_funding(bars().clear(), events().clear()) == []
