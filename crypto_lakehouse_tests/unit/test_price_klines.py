"""Mark price, index price and premium klines to silver: golden rows, the grid, each rule, the most samples."""

from __future__ import annotations

from typing import Any

import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse_tests.unit.tables import T0, bronze, clean, cleaned, instant, row

pytestmark = pytest.mark.requirement("D11")

MARK, INDEX, PREMIUM = (feed("binance", "um", f"{kind}_klines_1m") for kind in ("mark", "index", "premium"))
CM_INDEX = feed("binance", "cm", "index_klines_1m")
ALL = [MARK, INDEX, PREMIUM, *(feed("binance", "cm", f"{kind}_klines_1m") for kind in ("mark", "index", "premium"))]
names = pytest.mark.parametrize("of", ALL, ids=lambda of: of.name)


def test_a_minute_of_the_premium_may_be_below_zero() -> None:
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume"
    )
    line = "1688169600000,-0.00049829,0.00000000,-0.00060012,-0.00051000,0,1688169659999,0,12,0,0,0"
    result = clean(PREMIUM, bronze(PREMIUM, f"{header},ignore\n{line}\n".encode()))
    assert result.rows.to_dicts() == [
        {
            "symbol": "BTCUSDT",
            "open_time": instant(T0),
            "close_time": instant(T0 + 59_999),
            "open": -0.00049829,
            "high": 0.0,
            "low": -0.00060012,
            "close": -0.00051,
            "sample_count": 12,
            "source": "archive_daily",
        }
    ]
    assert clean(MARK, bronze(MARK, f"{line}\n".encode())).rejected["reason"].to_list() == ["price_not_positive"]


def test_index_prices_of_coin_margined_contracts_are_named_by_pair() -> None:
    line = "1688169600000,30471.1,30480,30460.5,30475,0,1688169659999,0,60,0,0,0"
    result = clean(CM_INDEX, bronze(CM_INDEX, f"{line}\n".encode(), "BTCUSD"))
    assert result.rows.select("symbol", "open", "sample_count").rows() == [("BTCUSD", 30471.1, 60)]


@names
@pytest.mark.parametrize("offset", [1, 59_999])
def test_off_grid_open_times_are_snapped_down(of: Feed, offset: int) -> None:
    result = cleaned(of, [{**row(of, 0), "open_time": T0 + offset, "close_time": T0 + 60_000 + offset}])
    assert result.rows["open_time"].to_list() == [instant(T0)]
    assert result.rejected.is_empty()


RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"open_time": T0 // 1000}),
    ("bad_time", {"close_time": 0}),
    ("outside_partition", {"open_time": T0 - 1}),
    ("close_before_open", {"close_time": T0}),
    ("close_after_interval", {"close_time": T0 + 3_599_999}),
    *(("not_finite", {name: "nan"}) for name in ("open", "high", "low", "close")),
    ("price_order", {"low": 10.5}),
    ("price_order", {"high": 10.5}),
    ("negative_count", {"count": -1}),
]


@pytest.mark.requirement("D3", "F3.3")
@names
@pytest.mark.parametrize(("reason", "change"), RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(RULES)])
def test_a_row_that_breaks_a_rule_is_rejected_and_the_others_kept(
    of: Feed, reason: str, change: dict[str, Any]
) -> None:
    result = cleaned(of, [row(of, 0), {**row(of, 1), **change}, row(of, 2)])
    assert result.rows["open_time"].to_list() == [instant(T0), instant(T0 + 120_000)]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)


@pytest.mark.requirement("D3")
@names
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_only_the_premium_may_be_zero_or_negative(of: Feed, low: float) -> None:
    result = cleaned(of, [{**row(of, 0), "low": low}])
    expected = [] if of.archive_type == "premiumIndexKlines" else ["price_not_positive"]
    assert result.rejected["reason"].to_list() == expected
    assert result.rows.height == 1 - len(expected)


@pytest.mark.requirement("D2")
def test_of_one_minute_the_most_samples_then_the_last_line_survives() -> None:
    changes = [{"count": 9, "close": 10.0}, {"count": 9, "close": 10.5}, {"count": 9, "close": 10.5}, {"count": 8}]
    result = cleaned(MARK, [{**row(MARK, 0), **change} for change in changes])
    assert result.rows.select("sample_count", "close").rows() == [(9, 10.5)]
    assert result.rejected.sort("source_line").select("source_line", "reason").rows() == [
        (1, "duplicate_conflict"),
        (2, "duplicate"),
        (4, "duplicate_conflict"),
    ]
