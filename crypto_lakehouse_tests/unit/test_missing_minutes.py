"""The reasons of missing minutes: the order of the rules, and days whose stretches are counted in the test."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.transforms.gold.gap_reasons import explained_gaps
from crypto_lakehouse.transforms.gold.missing_minutes import (
    Evidence,
    Listing,
    Reason,
    Stretch,
    missing_minutes,
    reason_of,
)

DAY, START = date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)
DAY_MINUTES = 1440
B, E, F = "BTCUSDT", "ETHUSDT", "FILUSDT"
TIME = pl.Datetime("us", "UTC")
ALL = Stretch(
    minutes=7,
    day_minutes=7,
    listing=Listing(is_first_day=True, file=(Reason.NOT_FETCHED, {"chosen": False})),
    is_edge=True,
    is_refused=True,
    is_rest=True,
    is_traded=True,
    is_halt=True,
    is_empty=True,
    present=3,
    other_rows=7,
    before_id=41,
    after_id=42,
    trades_table="trades",
)


@pytest.mark.requirement("D18")
def test_of_several_reasons_the_first_of_the_documented_order_is_given() -> None:
    order: list[tuple[dict[str, Any], Reason]] = [
        ({}, Reason.NOT_LISTED),
        ({"is_edge": False}, Reason.NOT_FETCHED),
        ({"listing": Listing()}, Reason.NOT_FETCHED),
        ({"is_refused": False}, Reason.ARCHIVE_HOLE),
        ({"is_rest": False}, Reason.ARCHIVE_HOLE),
        ({"is_traded": False}, Reason.ARCHIVE_HOLE),
        # The other file has 6 rows more, and 7 minutes are missing: it does not have all of them.
        ({"other_rows": 6, "listing": Listing(file=(Reason.NOT_YET_PUBLISHED, {}))}, Reason.NOT_YET_PUBLISHED),
        ({"listing": Listing()}, Reason.EXCHANGE_HALT),
        ({"is_halt": False}, Reason.NO_TRADES),
        # 43 - 41 - 1: one id is missing.
        ({"after_id": 43}, Reason.LOST),
        ({"is_empty": False}, Reason.UNKNOWN),
    ]
    stretch = ALL
    for change, expected in order:
        stretch = replace(stretch, **change)
        assert reason_of(stretch)[0] is expected, change
    assert reason_of(stretch)[1] == {"table": "trades", "before_id": 41, "after_id": 43}


def rows(minutes: dict[str, Iterable[int]], source: str = "archive_daily") -> pl.DataFrame:
    found = [(symbol, START + n * timedelta(minutes=1), source) for symbol, of in minutes.items() for n in of]
    return pl.DataFrame(found, schema={"symbol": pl.String, "open_time": TIME, "source": pl.String}, orient="row")


def without(*missing: range) -> list[int]:
    return [n for n in range(DAY_MINUTES) if not any(n in each for each in missing)]


def found(frame: pl.DataFrame) -> list[tuple[str, int, int, str]]:
    """Symbol, first and number of minutes, and reason of each stretch."""
    at = (pl.col("start") - START).dt.total_minutes()
    assert frame.filter(pl.col("end") - pl.col("start") != pl.duration(minutes="minutes")).is_empty()
    return frame.select("symbol", at, "minutes", "reason").rows()


LISTED = {symbol: Listing() for symbol in (B, E, F)}


@pytest.mark.requirement("D18")
def test_a_day_without_a_missing_minute_has_no_row() -> None:
    assert missing_minutes(DAY, rows({B: without(), E: without()}), Evidence(LISTED | {F: Listing()}))[
        "symbol"
    ].unique().to_list() == [F]
    assert missing_minutes(DAY, rows({B: without()}), Evidence({B: Listing()})).is_empty()


@pytest.mark.requirement("D18")
def test_a_stretch_is_cut_where_the_whole_market_is_missing() -> None:
    # All three miss 100 to 109; BTCUSDT misses 95 to 119: 5 minutes alone, 10 with all, 10 alone.
    halt = range(100, 110)
    day = rows({B: without(range(95, 120)), E: without(halt), F: without(halt)})
    table = missing_minutes(DAY, day, Evidence(LISTED))
    assert found(table) == [
        (B, 95, 5, "unknown"),
        (B, 100, 10, "exchange_halt"),
        (B, 110, 10, "unknown"),
        (E, 100, 10, "exchange_halt"),
        (F, 100, 10, "exchange_halt"),
    ]
    assert json.loads(table["evidence"][1]) == {"symbols": 3}
    # Two symbols are too few to call it a halt.
    two = missing_minutes(DAY, day.filter(pl.col("symbol") != F), Evidence({B: Listing(), E: Listing()}))
    assert set(two["reason"]) == {"unknown"}


@pytest.mark.requirement("D18")
def test_ids_around_a_stretch_say_whether_something_was_traded() -> None:
    trades = pl.DataFrame(
        [
            (B, START + n * timedelta(minutes=1), first, last)
            for n, first, last in ((9, 5, 8), (20, 9, 9), (41, 12, 15))
        ],
        schema={"symbol": pl.String, "open_time": TIME, "first_id": pl.Int64, "last_id": pl.Int64},
        orient="row",
    )
    before = pl.DataFrame({"symbol": [B], "last_id": [4]})
    day = rows({B: without(range(0, 5), range(10, 15), range(19, 22), range(30, 40))})
    table = missing_minutes(DAY, day, Evidence({B: Listing()}, traded=trades, ids_before=before, trades_table="trades"))
    assert found(table) == [
        (B, 0, 5, "no_trades"),  # 4 on the day before, then 5
        (B, 10, 5, "no_trades"),  # 8, then 9
        (B, 19, 1, "no_trades"),
        (B, 20, 1, "archive_hole"),  # id 9 was traded in this minute
        (B, 21, 1, "unknown"),  # 9, then 12: two ids are missing
        (B, 30, 10, "unknown"),
    ]
    assert json.loads(table["evidence"][1]) == {"table": "trades", "before_id": 8, "after_id": 9}


@pytest.mark.requirement("D18")
def test_rest_rows_are_a_hole_of_the_archive_and_confirmed_empty_minutes_are_lost() -> None:
    day = pl.concat([rows({B: without(range(60, 90))}), rows({B: range(60, 70)}, "rest")])
    empty = pl.DataFrame(
        {
            "symbol": [B, B],
            "start": [START + timedelta(minutes=70), START + timedelta(minutes=72)],
            "end": [START + timedelta(minutes=80), START + timedelta(minutes=75)],
        },
        schema={"symbol": pl.String, "start": TIME, "end": TIME},
    )
    table = missing_minutes(DAY, day, Evidence({B: Listing()}, empty=empty))
    assert found(table) == [(B, 60, 10, "archive_hole"), (B, 70, 10, "lost"), (B, 80, 10, "unknown")]


@pytest.mark.requirement("D18")
def test_the_ends_of_a_listing_are_not_missing_from_it() -> None:
    day = rows({B: range(480, 490), E: range(480, 490)})
    listings = {B: Listing(is_first_day=True), E: Listing(is_last_day=True)}
    assert found(missing_minutes(DAY, day, Evidence(listings))) == [
        (B, 0, 480, "not_listed"),
        (B, 490, 950, "unknown"),
        (E, 0, 480, "unknown"),
        (E, 490, 950, "not_listed"),
    ]


@pytest.mark.requirement("D18")
def test_the_cause_of_a_gap_is_the_reason_of_most_of_its_minutes() -> None:
    # From 10:00 (a trade) to 13:00 (a trade): 179 minutes between. 100 of them are a halt, 20 a hole, 59 have candles.
    at = START + timedelta(hours=10)
    gaps = pl.DataFrame(
        {"symbol": [B], "gap_begin": [at], "gap_end": [at + timedelta(hours=3)], "silence": [180]},
        schema={"symbol": pl.String, "gap_begin": TIME, "gap_end": TIME, "silence": pl.Int64},
    )
    stretches = [(-5, 0, "lost"), (1, 101, "exchange_halt"), (160, 200, "archive_hole")]
    missing = pl.DataFrame(
        [(B, at + timedelta(minutes=a), at + timedelta(minutes=b), why) for a, b, why in stretches],
        schema={"symbol": pl.String, "start": TIME, "end": TIME, "reason": pl.String},
        orient="row",
    )
    (row,) = explained_gaps(gaps, missing, {DAY}).iter_rows(named=True)
    assert row["cause"] == "exchange_halt"
    assert json.loads(row["evidence"]) == {"exchange_halt": 100, "no_trades": 59, "archive_hole": 20}
    (row,) = explained_gaps(gaps, missing, ()).iter_rows(named=True)
    assert (row["cause"], row["evidence"]) == (None, None)
