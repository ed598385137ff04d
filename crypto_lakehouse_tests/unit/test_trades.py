"""Trades and aggregate trades to silver: amounts of the three markets, flags, each rule, repeated ids."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse_tests.unit.tables import DAY, T0, bronze, clean, cleaned, instant, row

pytestmark = pytest.mark.requirement("D11")

SPOT, UM, CM = (feed("binance", market, "trades") for market in ("spot", "um", "cm"))
SPOT_AGG, UM_AGG, CM_AGG = (feed("binance", market, "agg_trades") for market in ("spot", "um", "cm"))
TRADES, AGGREGATES = [SPOT, UM, CM], [SPOT_AGG, UM_AGG, CM_AGG]


def one(of: Feed, text: str, symbol: str = "") -> dict[str, Any]:
    result = clean(of, bronze(of, text.encode(), symbol))
    assert result.rejected.is_empty()
    return result.rows.row(0, named=True)


def test_a_spot_trade() -> None:
    # 0.5 of the coin at 30,000.1: the file's own value is 15,000.05.
    assert one(SPOT, "28457,30000.10000000,0.50000000,15000.05000000,1688169600123,True,False\n") == {
        "symbol": "BTCUSDT",
        "trade_id": 28457,
        "time": instant(T0 + 123),
        "price": 30000.1,
        "base_quantity": 0.5,
        "quote_quantity": 15000.05,
        "contracts": None,
        "is_buyer_maker": True,
        "is_best_match": False,
        "source": "archive_daily",
    }


def test_a_usd_margined_trade_has_no_best_match() -> None:
    got = one(UM, "id,price,qty,quote_qty,time,is_buyer_maker\n7,2.5,4,10,1688169600000,false\n")
    assert (got["base_quantity"], got["quote_quantity"], got["contracts"]) == (4.0, 10.0, None)
    assert (got["is_buyer_maker"], got["is_best_match"]) == (False, None)


@pytest.mark.requirement("D4")
@pytest.mark.parametrize(
    ("symbol", "value"), [("BTCUSD_PERP", 1600.0), ("BTCUSD_230929", 1600.0), ("ETHUSD_PERP", 160.0)]
)
def test_a_coin_margined_trade_is_in_contracts(symbol: str, value: float) -> None:
    # 16 contracts of 100 USD (BTC) or 10 USD (others); at 32,000 that is 1,600 / 32,000 = 0.05 BTC.
    got = one(CM, "id,price,qty,base_qty,time,is_buyer_maker\n7,32000.0,16,0.05,1688169600000,true\n", symbol)
    assert (got["contracts"], got["quote_quantity"], got["base_quantity"]) == (16, value, 0.05)


def test_contract_sizes_are_those_of_each_rows_symbol() -> None:
    text = b"7,32000.0,16,0.05,1688169600000,true\n"
    frame = pl.concat([bronze(CM, text, symbol) for symbol in ("BTCUSD_PERP", "ETHUSD_PERP")])
    assert clean(CM, frame).rows.select("symbol", "quote_quantity").rows() == [
        ("BTCUSD_PERP", 1600.0),
        ("ETHUSD_PERP", 160.0),
    ]


@pytest.mark.parametrize(("of", "best"), [(SPOT_AGG, ",True"), (UM_AGG, "")], ids=["spot", "um"])
def test_a_linear_aggregate_is_worth_price_times_quantity(of: Feed, best: str) -> None:
    # 2.5 * 4 = 10; the trades 10, 11 and 12 are in it.
    assert one(of, f"7,2.5,4.0,10,12,1688169600000,True{best}\n") == {
        "symbol": "BTCUSDT",
        "trade_id": 7,
        "time": instant(T0),
        "price": 2.5,
        "base_quantity": 4.0,
        "quote_quantity": 10.0,
        "contracts": None,
        "is_buyer_maker": True,
        "first_trade_id": 10,
        "last_trade_id": 12,
        "source": "archive_daily",
    }


@pytest.mark.requirement("D4")
def test_a_coin_margined_aggregate_is_worth_its_contracts() -> None:
    # 542 contracts * 100 USD = 54,200 USD; at 80,000 that is 0.6775 BTC.
    got = one(CM_AGG, "480537903,80000.0,542.0,10,14,1688169600020,false\n")
    assert (got["contracts"], got["quote_quantity"], got["base_quantity"]) == (542, 54200.0, 0.6775)


COMMON: list[tuple[str, dict[str, Any]]] = [
    ("bad_time", {"time": T0 // 1000}),
    ("outside_partition", {"time": T0 - 1}),
    ("outside_partition", {"time": T0 + 86_400_000}),
    ("negative_id", {"id": -1}),
    ("price_not_positive", {"price": 0}),
    ("price_not_positive", {"price": -1}),
    ("quantity_not_positive", {"qty": 0}),
    ("quantity_not_positive", {"qty": -1}),
    ("not_finite", {"price": "nan"}),
    ("not_finite", {"price": "inf"}),
    ("not_finite", {"qty": "inf"}),
    *(("bad_flag", {"is_buyer_maker": text}) for text in ("", "1", "TRUE", "yes")),
]
AGGREGATE_NAMES = {"id": "agg_trade_id", "qty": "quantity", "time": "transact_time"}
CASES = [
    *((of, reason, change) for of in TRADES for reason, change in COMMON),
    *(
        (of, reason, {AGGREGATE_NAMES.get(name, name): value for name, value in change.items()})
        for of in AGGREGATES
        for reason, change in COMMON
    ),
    *((of, "bad_trade_range", {"first_trade_id": 5, "last_trade_id": 4}) for of in AGGREGATES),
    *((of, "bad_trade_range", {"first_trade_id": -1, "last_trade_id": -1}) for of in AGGREGATES),
    *((of, "quantity_not_positive", {"quote_qty": -0.1}) for of in (SPOT, UM)),
    *((of, "not_finite", {"quote_qty": "nan"}) for of in (SPOT, UM)),
    (CM, "quantity_not_positive", {"base_qty": -0.1}),
    (CM, "not_finite", {"base_qty": "nan"}),
    (CM, "contracts_not_whole", {"qty": 1.5}),
    (CM, "contracts_not_whole", {"qty": 1e30}),
    (CM_AGG, "contracts_not_whole", {"quantity": 1.5}),
    (SPOT, "bad_flag", {"is_best_match": "maybe"}),
    (UM_AGG, "not_finite", {"price": 1e200, "quantity": 1e200}),
]


@pytest.mark.requirement("D3", "F3.3")
@pytest.mark.parametrize(
    ("of", "reason", "change"), CASES, ids=[f"{of.name}-{r}-{i}" for i, (of, r, _) in enumerate(CASES)]
)
def test_a_row_that_breaks_a_rule_is_rejected_and_the_others_kept(
    of: Feed, reason: str, change: dict[str, Any]
) -> None:
    result = cleaned(of, [row(of, 0), {**row(of, 1), **change}, row(of, 2)])
    assert result.rows["trade_id"].to_list() == [500, 502]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]
    assert len(rejected["raw"].split(",")) == len(of.file_format.columns)


def test_a_trade_so_small_that_its_value_is_rounded_to_nothing_is_kept() -> None:
    # 0.1 at 0.00000001 is worth 1e-9, which the file's eight decimals write as 0.
    result = cleaned(SPOT, [{**row(SPOT, 0), "price": "0.00000001", "qty": 0.1, "quote_qty": "0.00000000"}])
    assert result.rows["quote_quantity"].to_list() == [0.0]


@pytest.mark.requirement("D2")
@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"time": T0 + 5}, 1),  # later
        ({"time": T0}, 2),  # earlier
        ({"qty": 4.0}, 2),  # as early, with more
        ({"qty": 2.0}, 1),
        ({"price": 81.0}, 2),  # as early and as much, dearer
        ({"price": 79.0}, 1),
        ({"is_buyer_maker": "true"}, 2),  # nothing to choose by: the last in the file
    ],
)
def test_of_one_id_the_earliest_then_the_largest_then_the_dearest_survives(change: dict[str, Any], kept: int) -> None:
    result = cleaned(UM, [row(UM, 1), {**row(UM, 1), **change}, row(UM, 2)])
    assert result.rows["trade_id"].to_list() == [501, 502]
    [rejected] = result.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == ("duplicate_conflict", 3 - kept)
    assert "earlier" in rejected["detail"]


def test_a_trade_that_the_next_days_file_repeats_belongs_to_its_own_day() -> None:
    late = {**row(UM, 1), "time": T0 + 86_399_999}
    assert cleaned(UM, [late]).rows["trade_id"].to_list() == [501]
    next_day = DAY.replace(day=2)
    result = cleaned(UM, [late, {**row(UM, 2), "time": T0 + 86_400_000}], next_day)
    assert result.rows["trade_id"].to_list() == [502]
    assert result.rejected["reason"].to_list() == ["outside_partition"]
