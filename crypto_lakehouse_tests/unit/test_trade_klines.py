"""Klines rebuilt from trades: by hand, against a plain loop, and for any cut or order of the trades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS, MARKETS
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades, merge_klines
from crypto_lakehouse_tests.unit.reference_gold import Row, empty, frame
from crypto_lakehouse_tests.unit.reference_trades import START, aggregate, klines, trade, trades

SPOT, UM, CM = (MARKETS["binance", name] for name in ("spot", "um", "cm"))
MINUTE, HOUR = INTERVALS["1m"], INTERVALS["1h"]
MS, US = timedelta(milliseconds=1), timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def of(rows: list[Row], table: str = "trades") -> pl.DataFrame:
    return frame("silver", table, rows)


@pytest.mark.requirement("F4.9")
def test_two_minutes_by_hand() -> None:
    rows = [
        # Open is the price of the smallest id, close that of the greatest, whatever their times say.
        trade(7, START + 2 * SECOND, 10.0, 1.0),
        trade(8, START + 1 * SECOND, 12.0, 2.0, is_buyer_maker=True),
        trade(9, START + 59 * SECOND, 9.0, 0.5),
        trade(10, START + 60 * SECOND, 11.0, 4.0, is_buyer_maker=True),
    ]
    made = klines_from_trades(of(rows[::-1]), MINUTE, UM)
    assert made.schema == empty(KLINES).schema
    assert made.to_dicts() == [
        {
            "symbol": "A",
            "open_time": START,
            "close_time": START + timedelta(minutes=1) - MS,
            "open": 10.0,
            "high": 12.0,
            "low": 9.0,
            "close": 9.0,
            "base_volume": 3.5,  # 1 + 2 + 0.5
            "quote_volume": 38.5,  # 10 + 24 + 4.5
            "trade_count": 3,
            "taker_buy_base_volume": 1.5,  # 1 + 0.5: in the second the buyer was the maker
            "taker_buy_quote_volume": 14.5,  # 10 + 4.5
            "contracts": None,
            "source": "trades",
        },
        {
            "symbol": "A",
            "open_time": START + timedelta(minutes=1),
            "close_time": START + timedelta(minutes=2) - MS,
            **dict.fromkeys(("open", "high", "low", "close"), 11.0),
            "base_volume": 4.0,
            "quote_volume": 44.0,
            "trade_count": 1,
            "taker_buy_base_volume": 0.0,
            "taker_buy_quote_volume": 0.0,
            "contracts": None,
            "source": "trades",
        },
    ]


@pytest.mark.requirement("F4.9")
def test_coin_margined_aggregates_by_hand() -> None:
    size = {"base_quantity": 0.125, "quote_quantity": 10000.0, "contracts": 100}
    rows = [
        aggregate(1, START, (50, 54), price=80000.0, **size),
        aggregate(2, START + SECOND, (55, 55), price=80000.0, is_buyer_maker=True, **size),
    ]
    [made] = klines_from_trades(of(rows, "agg_trades"), HOUR, CM).to_dicts()
    # Single trades 50 to 54 and 55 are 5 + 1.
    assert (made["trade_count"], made["contracts"], made["source"]) == (6, 200, "agg_trades")
    assert (made["base_volume"], made["quote_volume"]) == (0.25, 20000.0)
    assert (made["taker_buy_base_volume"], made["taker_buy_quote_volume"]) == (0.125, 10000.0)
    assert made["close_time"] == START + timedelta(hours=1) - MS


@pytest.mark.requirement("F4.9", "D1")
@pytest.mark.parametrize(
    ("market", "day", "instant"),
    [
        (SPOT, datetime(2024, 12, 31, tzinfo=UTC), MS),
        (SPOT, datetime(2025, 1, 1, tzinfo=UTC), US),
        (UM, datetime(2026, 1, 1, tzinfo=UTC), MS),
        (CM, datetime(2026, 1, 1, tzinfo=UTC), MS),
    ],
)
def test_close_times_are_as_the_exchange_states_them(market: object, day: datetime, instant: timedelta) -> None:
    made = klines_from_trades(of([trade(1, day)]), MINUTE, market)  # type: ignore[arg-type]
    assert made["close_time"].to_list() == [day + timedelta(minutes=1) - instant]
    # A window of the last minute before an era's end belongs to that era.
    both = klines_from_trades(of([trade(1, day - SECOND), trade(2, day)]), MINUTE, SPOT)
    assert both["close_time"][0] == day - (MS if day <= datetime(2025, 1, 1, tzinfo=UTC) else US)


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize(
    ("interval", "opens", "ends"),
    [
        ("1s", "2024-02-29 13:07:08", "2024-02-29 13:07:09"),
        ("8h", "2024-02-29 08:00", "2024-02-29 16:00"),
        ("1d", "2024-02-29", "2024-03-01"),
        ("1w", "2024-02-26", "2024-03-04"),
        ("1mo", "2024-02-01", "2024-03-01"),
    ],
)
def test_windows_of_all_lengths(interval: str, opens: str, ends: str) -> None:
    time = datetime(2024, 2, 29, 13, 7, 8, 500_000, tzinfo=UTC)
    [made] = klines_from_trades(of([trade(1, time)]), INTERVALS[interval], SPOT).to_dicts()
    assert made["open_time"] == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert made["close_time"] == datetime.fromisoformat(ends).replace(tzinfo=UTC) - MS


@pytest.mark.requirement("F4.9")
@settings(max_examples=60, deadline=None)
@given(trades())
def test_klines_equal_a_plain_reading(rows: list[Row]) -> None:
    made = klines_from_trades(of(rows), MINUTE, UM)
    assert made.equals(klines(rows, timedelta(minutes=1), MS, "trades"))


@pytest.mark.requirement("F4.9", "D6")
@settings(max_examples=60, deadline=None)
@given(trades(), st.sets(st.integers(0, 90), max_size=8), st.sampled_from(["1m", "15m", "1d"]))
def test_chunks_cut_anywhere_give_the_klines_of_the_whole(rows: list[Row], cuts: set[int], interval: str) -> None:
    whole = of(rows)
    parts = [
        klines_from_trades(
            whole.filter(pl.col("trade_id").is_between(first, end, closed="left")), INTERVALS[interval], UM
        )
        for first, end in pairwise([0, *sorted(cuts), 10**9])
    ]
    at_once = klines_from_trades(whole, INTERVALS[interval], UM)
    assert merge_klines(parts).equals(at_once)
    step_by_step = parts[0]
    for part in parts[1:]:
        step_by_step = merge_klines([step_by_step, part])
    assert step_by_step.equals(at_once)


@pytest.mark.requirement("F4.9")
def test_contracts_of_chunks_add_up() -> None:
    parts = [klines_from_trades(of([trade(n, START, contracts=n)]), MINUTE, CM) for n in (3, 4)]
    assert merge_klines(parts)["contracts"].to_list() == [7]
    assert merge_klines(parts).schema == empty(KLINES).schema


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize("table", ["trades", "agg_trades"])
def test_no_trades_give_no_klines(table: str) -> None:
    made = klines_from_trades(of([], table), MINUTE, CM)
    assert made.equals(empty(KLINES))
    assert merge_klines([made, made]).equals(empty(KLINES))


@pytest.mark.requirement("F4.9")
def test_a_market_without_klines_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"no table .klines_1m. in binance/option"):
        klines_from_trades(of([trade(1, START)]), MINUTE, MARKETS["binance", "option"])
