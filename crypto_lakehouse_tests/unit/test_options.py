"""Volatility index and option summaries to silver: golden rows, blanks, contracts, each rule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse_tests.unit.tables import OPTION_VALUES, T0, bronze, clean, cleaned, instant, row

pytestmark = pytest.mark.requirement("D11")

INDEX, SUMMARIES = (feed("binance", "option", table) for table in ("volatility_index", "option_summaries"))
SUMMARY_HEADER = ",".join(SUMMARIES.file_format.column_names).replace("file_symbol", "symbol")


def test_a_second_of_the_volatility_index() -> None:
    text = "calc_time,symbol,base_asset,quote_asset,index_value\n1688169601000,BTCBVOLUSDT,BTCBVOL,USDT,44.7012\n"
    assert clean(INDEX, bronze(INDEX, text.encode(), "BTCBVOLUSDT")).rows.to_dicts() == [
        {
            "symbol": "BTCBVOLUSDT",
            "time": instant(T0 + 1000),
            "base_asset": "BTCBVOL",
            "quote_asset": "USDT",
            "index_value": 44.7012,
            "source": "archive_daily",
        }
    ]


INDEX_RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"calc_time": T0 // 1000}),
    ("outside_partition", {"calc_time": T0 - 1}),
    ("foreign_symbol", {"file_symbol": "ETHBVOLUSDT"}),
    ("not_finite", {"index_value": "nan"}),
    ("not_finite", {"index_value": "inf"}),
    ("value_not_positive", {"index_value": 0}),
    ("value_not_positive", {"index_value": -1}),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(("reason", "change"), INDEX_RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(INDEX_RULES)])
def test_an_index_value_that_breaks_a_rule_is_rejected(reason: str, change: dict[str, Any]) -> None:
    result = cleaned(INDEX, [row(INDEX, 0), {**row(INDEX, 1), **change}, row(INDEX, 2)])
    assert result.rows["time"].to_list() == [instant(T0), instant(T0 + 2000)]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]


@pytest.mark.requirement("D2")
def test_of_one_instant_the_last_index_value_survives() -> None:
    result = cleaned(INDEX, [{**row(INDEX, 0), "index_value": value} for value in (2, 3, 1)])
    assert result.rows["index_value"].to_list() == [1.0]
    assert set(result.rejected["reason"]) == {"duplicate_conflict"}


def test_an_hour_of_a_contract_with_blanks() -> None:
    # No trade and no bid in the hour: prices, volumes and the bid's volatility are blank.
    line = (
        '2023-07-01,9,BTC-230728-25000-P,BTCUSDT,P,25000,,,,,,"",,105.5,0,2.5,,0.61,101.25,0.58,'
        "-0.02,1e-05,4.5,-8.25,12.5,382000"
    )
    [got] = clean(SUMMARIES, bronze(SUMMARIES, f"{SUMMARY_HEADER}\n{line}\n".encode())).rows.to_dicts()
    assert got == {
        "symbol": "BTC-230728-25000-P",
        "time": datetime(2023, 7, 1, 9, tzinfo=UTC),
        "underlying": "BTCUSDT",
        "option_type": "P",
        "strike": 25000.0,
        **dict.fromkeys(("open", "high", "low", "close", "contracts", "quote_volume", "best_bid_price"), None),
        "best_ask_price": 105.5,
        "best_bid_quantity": 0.0,
        "best_ask_quantity": 2.5,
        "best_bid_iv": None,
        "best_ask_iv": 0.61,
        "mark_price": 101.25,
        "mark_iv": 0.58,
        "delta": -0.02,
        "gamma": 1e-05,
        "vega": 4.5,
        "theta": -8.25,
        "open_interest_contracts": 12.5,
        "open_interest_value": 382000.0,
        "source": "archive_daily",
    }


def test_contracts_come_in_order_of_their_names() -> None:
    names = ["BTC-230728-30000-C", "BTC-230728-25000-P", "BTC-230728-25000-C"]
    rows = [{**row(SUMMARIES, hour), "file_symbol": name} for hour in (1, 0) for name in names]
    result = cleaned(SUMMARIES, rows)
    assert result.rejected.is_empty()
    assert [(r["symbol"], r["time"].hour) for r in result.rows.to_dicts()] == [
        (name, hour) for name in sorted(names) for hour in (0, 1)
    ]


@pytest.mark.parametrize(("written", "meant"), [("C", "C"), ("P", "P"), ("CALL", "C"), ("PUT", "P")])
def test_calls_and_puts(written: str, meant: str) -> None:
    assert cleaned(SUMMARIES, [{**row(SUMMARIES, 0), "type": written}]).rows["option_type"].to_list() == [meant]


@pytest.mark.parametrize("name", ["BTC-230728-25000-C", "DOGE-230728-0.075-P", "1000SHIB-230728-0.01-C"])
def test_names_of_contracts(name: str) -> None:
    assert cleaned(SUMMARIES, [{**row(SUMMARIES, 0), "file_symbol": name}]).rows["symbol"].to_list() == [name]


PRICES = ("open", "high", "low", "close", "best_bid_price", "best_ask_price", "mark_price")
SUMMARY_RULES: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"date": "2023-7-01"}),
    ("bad_time", {"date": ""}),
    ("bad_time", {"hour": 24}),
    ("bad_time", {"hour": -1}),
    ("bad_time", {"hour": 2**63 - 1}),
    ("outside_partition", {"date": "2023-06-30"}),
    *(
        ("bad_contract", {"file_symbol": name})
        for name in ("", "BTCUSDT", "BTC-230728-25000", "BTC-230728-25000-X", "BTC-230728-../x-C", "BTC-230728--1-C")
    ),
    ("foreign_symbol", {"underlying": "ETHUSDT"}),
    ("unknown_option_type", {"type": "X"}),
    ("unknown_option_type", {"type": ""}),
    *(("strike_not_positive", {"strike": value}) for value in (0, -1, "nan", "inf")),
    *(("not_finite", {column: "nan"}) for column in OPTION_VALUES.values()),
    *(("negative_value", {column: -1}) for column in (*PRICES, "volume_contracts", "best_ask_qty")),
    ("price_order", {"low": 10.5}),
    ("price_order", {"high": 9.5}),
    ("price_order", {"open": None, "close": None, "high": 9.5}),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(
    ("reason", "change"), SUMMARY_RULES, ids=[f"{r}-{i}" for i, (r, _) in enumerate(SUMMARY_RULES)]
)
def test_a_summary_that_breaks_a_rule_is_rejected(reason: str, change: dict[str, Any]) -> None:
    result = cleaned(SUMMARIES, [row(SUMMARIES, 0), {**row(SUMMARIES, 1), **change}, row(SUMMARIES, 2)])
    assert [time.hour for time in result.rows["time"]] == [0, 2]
    [rejected] = result.rejected.to_dicts()
    # In the quarantine rows stand under the symbol of their file.
    assert (rejected["reason"], rejected["source_line"], rejected["symbol"]) == (reason, 2, "BTCUSDT")
    assert rejected["detail"]


def test_greeks_and_volatilities_may_be_negative() -> None:
    change = dict.fromkeys(("delta", "gamma", "vega", "theta", "best_buy_iv", "best_sell_iv", "mark_iv"), -1)
    assert cleaned(SUMMARIES, [{**row(SUMMARIES, 0), **change}]).rejected.is_empty()


@pytest.mark.requirement("D2")
def test_of_one_hour_the_most_values_then_the_last_line_survives() -> None:
    rows = [{**row(SUMMARIES, 0), **change} for change in ({"vega": 1.0}, {"vega": 2.0}, {"vega": None})]
    result = cleaned(SUMMARIES, rows)
    assert result.rows["vega"].to_list() == [2.0]
    assert sorted(result.rejected["source_line"]) == [1, 3]
