"""The rules of gold.witnesses: verdicts, and the largest difference, with the arithmetic in the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.transforms.gold.witnesses import Difference, Verdict, differences, verdict

START = datetime(2024, 1, 1, tzinfo=UTC)
EMPTY = pl.DataFrame(KLINES.empty())


def minutes(*numbers: int, **values: Any) -> pl.DataFrame:
    """Klines of these minutes of the day, all alike but for ``values``."""
    usual = {"open": 10.0, "high": 12.0, "low": 8.0, "close": 11.0, "base_volume": 4.0, "quote_volume": 40.0}
    usual |= {"taker_buy_base_volume": 1.0, "taker_buy_quote_volume": 10.0}
    rows = [
        {
            **usual,
            "symbol": "BTCUSDT",
            "open_time": START + number * timedelta(minutes=1),
            "close_time": START + number * timedelta(minutes=1, seconds=59),
            "trade_count": 3,
            "contracts": None,
            "source": "archive_daily",
            **values,
        }
        for number in numbers
    ]
    return pl.DataFrame(rows, schema=EMPTY.schema)


@pytest.mark.parametrize(
    ("daily", "monthly", "expected"),
    [
        (3, 3, Verdict.AGREE),
        (3, 2, Verdict.MONTHLY_SHORT),
        (2, 3, Verdict.DAILY_SHORT),
        (3, 0, Verdict.ONLY_DAILY),
        (0, 3, Verdict.ONLY_MONTHLY),
        (0, 0, Verdict.NO_ROWS),
    ],
)
def test_rows_decide_if_no_value_differs(daily: int, monthly: int, expected: Verdict) -> None:
    left, right = minutes(*range(daily)), minutes(*range(monthly))
    assert verdict(daily, monthly, differences(left, right, KLINES)) is expected


def test_if_each_misses_rows_the_one_that_misses_more_is_short() -> None:
    assert verdict(3, 3, Difference(only_left=1, only_right=2, different=0)) is Verdict.DAILY_SHORT
    assert verdict(3, 3, Difference(only_left=2, only_right=2, different=0)) is Verdict.MONTHLY_SHORT


def test_the_largest_difference_is_relative_to_the_greater_value() -> None:
    left = minutes(0, 1, 2)
    # 12 against 15: 3 / 15 = 0.2; 40 against 50: 10 / 50 = 0.2, a later column; 4 against 5 at an earlier minute: 0.2.
    right = pl.concat([minutes(0, base_volume=5.0), minutes(1, high=15.0, quote_volume=50.0), minutes(2, close=11.1)])
    found = differences(left, right, KLINES)
    assert found == Difference(0, 0, 3, 0.2, "base_volume", START)
    assert verdict(3, 3, found) is Verdict.VALUES_DIFFER
    assert differences(left[1:], right[1:], KLINES) == Difference(0, 0, 2, 0.2, "high", START + timedelta(minutes=1))


def test_a_value_that_one_side_lacks_differs_wholly() -> None:
    found = differences(minutes(0, contracts=5), minutes(0), KLINES)
    assert (found.different, found.largest, found.column) == (1, 1.0, "contracts")


def test_source_and_close_time_are_not_compared() -> None:
    other = minutes(0, source="archive_monthly", close_time=START)
    assert differences(minutes(0), other, KLINES) == Difference(0, 0, 0)


def test_sums_of_trades_may_be_rounded_and_prices_may_not() -> None:
    # Three trades, each rounded to 1e-8: 40 + 3e-8 is allowed, 40 + 1e-6 is not (3e-8 + 40e-9 = 7e-8).
    near, far = minutes(0, quote_volume=40 + 3e-8), minutes(0, quote_volume=40 + 1e-6)
    assert differences(minutes(0), near, KLINES, rounded=True).different == 0
    assert differences(minutes(0), near, KLINES).different == 1
    assert differences(minutes(0), far, KLINES, rounded=True).column == "quote_volume"
    price = minutes(0, close=11 + 1e-9)
    assert differences(minutes(0), price, KLINES, rounded=True).column == "close"
