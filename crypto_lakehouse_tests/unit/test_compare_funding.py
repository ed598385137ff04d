"""Bars compared with the funding events: which must count, and which need not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.transforms.checks.compare import bars_against_funding
from crypto_lakehouse.transforms.gold.continuous import continuous_minutes, no_state
from crypto_lakehouse_tests.unit.compared_gold import (
    DAY,
    END,
    FIVE,
    HOUR,
    RULE,
    START,
    ZERO,
    A,
    B,
    C,
    at,
    bars,
    candles,
    events,
    minutes,
    spoilt,
)
from crypto_lakehouse_tests.unit.reference_gold import MINUTE


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize("interval", ["3m", "1h", "8h", "1d", "1mo"])
def test_bars_agree_with_the_funding_events(interval: str) -> None:
    made = bars(interval) if interval == "3m" else bars(interval, ZERO, FIVE)
    assert made["funding_count"].sum() > 0
    assert bars_against_funding(made.reverse(), events().reverse()) == []


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(
    ("hour", "column", "value", "text"),
    [
        (8, "funding_sum", pl.col("funding_sum") + 1e-8, "bar -9.999000000000001e-05, events -0.0001"),
        (8, "funding_sum", float("nan"), "bar nan, events -0.0001"),
        (8, "funding_count", 0, "bar 0, events 1"),
        (8, "funding_count", None, "bar null, events 1"),
        (9, "funding_sum", -0.0001, "bar -0.0001, events 0.0"),
        (9, "funding_count", 1, "bar 1, events 0"),
    ],
)
def test_funding_that_differs_from_the_events_is_named(hour: int, column: str, value: Any, text: str) -> None:
    bad = spoilt(bars("1h", FIVE, ZERO), A & (at(hour) | at(hour + 24)), **{column: value})
    assert bars_against_funding(bad, events()) == [
        ("AAA", f"{column} differs in 2 of 97 bars, first 2024-01-31 {hour:02}:00: {text}")
    ]


@pytest.mark.requirement("F4.6")
@pytest.mark.parametrize(("closes", "count"), [(8 * HOUR - timedelta(microseconds=1), 1), (8 * HOUR, 2)])
def test_an_event_counts_from_the_open_to_the_close_of_the_bar(closes: timedelta, count: int) -> None:
    bad = spoilt(bars("8h"), A & at(0), close_time=START + closes, n_minutes=closes // MINUTE + 1, funding_count=9)
    assert bars_against_funding(bad, events())[0] == (
        "AAA",
        f"funding_count differs in 1 of 6 bars, first 2024-01-31 00:00: bar 9, events {count}",
    )


@pytest.mark.requirement("F4.6")
def test_funding_that_came_after_the_bar_is_a_finding() -> None:
    before = continuous_minutes(candles(), None, no_state(), (START, END), RULE).rows
    early = bars("1d", of=before)
    assert early["funding_sum"].null_count() == early.height
    what = "bars have no funding because it arrived after they were built: rebuild them, first 2024-01-31 00:00"
    # CCC has a bar more, because the gap cuts its first day.
    numbers = {"AAA": 2, "BBB": 2, "CCC": 3}
    assert bars_against_funding(early, events()) == [(symbol, f"{n} {what}") for symbol, n in numbers.items()]
    # A symbol without events, such as a delivery contract, gains nothing from being made again.
    assert bars_against_funding(early, events(("AAA", "BBB"))) == [(symbol, f"2 {what}") for symbol in ("AAA", "BBB")]
    assert bars_against_funding(early, events().clear()) == []


@pytest.mark.requirement("F4.6")
def test_a_bar_in_a_month_without_stored_funding_may_be_null() -> None:
    january = events().filter(pl.col("funding_hour") < START + DAY)
    known_half = minutes().with_columns(
        funding_rate=pl.when(pl.col("open_time") < START + DAY).then("funding_rate"),
        has_funding=pl.when(pl.col("open_time") < START + DAY).then("has_funding"),
    )
    # The week from Monday 29 January to Sunday 4 February, and the day of 31 January.
    week = bars("1w", of=known_half)
    # The four rows are AAA, BBB, CCC before its gap, all of whose minutes are in January, and CCC after it.
    assert week["funding_sum"].is_null().to_list() == [True, True, False, True]
    assert bars_against_funding(week, january) == []
    assert bars_against_funding(bars("1d", of=known_half), january) == []
    assert [symbol for symbol, _ in bars_against_funding(week, events())] == ["AAA", "BBB", "CCC"]


@pytest.mark.requirement("F4.6", "F4.3")
def test_an_event_in_a_minute_that_is_not_in_the_series_is_no_difference() -> None:
    """BBB starts at 07:25, so its day does not have the event of 00:00; CCC has one more event within its gap."""
    gone = events().filter(C).head(1).with_columns(funding_hour=pl.lit(START + 11 * HOUR))
    more = pl.concat([events(), gone])
    assert bars_against_funding(bars("1d"), more) == []
    # Of the two segments of CCC's first day one has 00:00 and 08:00, the other has 16:00, and the gap's is in none.
    day = bars("1d").filter(C, at(0)).select("segment", "funding_count").rows()
    assert day == [(0, 2), (1, 1)]
    # In a symbol that has all of its minutes an event too many is found.
    late = more.with_columns(symbol=pl.lit("AAA")).tail(1)
    found = bars_against_funding(bars("1d"), pl.concat([events(), late]))
    assert found[0] == ("AAA", "funding_count differs in 1 of 2 bars, first 2024-01-31 00:00: bar 3, events 4")
    # And so is a partial bar with more events than there are.
    added = bars_against_funding(spoilt(bars("1d"), B & at(0), funding_count=4), events())
    assert added[0] == ("BBB", "funding_count differs in 1 of 2 bars, first 2024-01-31 00:00: bar 4, events 3")
