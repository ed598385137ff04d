"""Klines of the archive against klines rebuilt from trades: no finding for rounding; each fault is named."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import INTERVALS, MARKETS
from crypto_lakehouse.transforms.checks.compare import klines_against_trades
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades
from crypto_lakehouse_tests.unit.reference_gold import frame
from crypto_lakehouse_tests.unit.reference_trades import START, trade

VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
PRICES = ("open", "high", "low", "close")
MINUTE = timedelta(minutes=1)
A, B = (pl.col("symbol") == name for name in "AB")


def at(minute: int) -> pl.Expr:
    return pl.col("open_time") == START + minute * MINUTE


@cache
def rebuilt(inverse: bool = False) -> pl.DataFrame:
    """Ten minutes of two symbols, four trades a minute; minute 5 of B has none."""
    rows = []
    for symbol in "AB":
        for number in range(40):
            if symbol == "B" and number // 4 == 5:
                continue
            values: dict[str, Any] = {"symbol": symbol, "is_buyer_maker": number % 3 == 0}
            price = 100.0 + number % 7
            if inverse:
                values |= {"contracts": 3, "base_quantity": 300 / price, "quote_quantity": 300.0}
            rows.append(trade(number, START + number * MINUTE / 4, price, 0.25 + number, **values))
    market = MARKETS["binance", "cm" if inverse else "um"]
    return klines_from_trades(frame("silver", "trades", rows), INTERVALS["1m"], market)


def spoilt(rows: pl.DataFrame, where: pl.Expr, **values: Any) -> pl.DataFrame:
    """``rows`` with ``values`` where ``where`` holds, in another order."""
    assert rows.filter(where).height
    return rows.with_columns(
        **{
            name: pl.when(where)
            .then(value if isinstance(value, pl.Expr) else pl.lit(value, rows.schema[name]))
            .otherwise(pl.col(name))
            for name, value in values.items()
        }
    ).reverse()


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize("inverse", [False, True])
def test_equal_klines_have_no_findings(inverse: bool) -> None:
    assert rebuilt(inverse).height == 19
    assert klines_against_trades(rebuilt(inverse).reverse(), rebuilt(inverse)) == []
    assert klines_against_trades(rebuilt().clear(), rebuilt().clear()) == []
    # What klines say of their close and source is not compared.
    other = spoilt(rebuilt(), A, close_time=START, source="archive_daily")
    assert klines_against_trades(other, rebuilt()) == []


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize(
    ("column", "change"),
    [
        *((name, pl.col(name) + 1e-8) for name in PRICES),
        ("trade_count", pl.col("trade_count") + 1),
        ("contracts", pl.col("contracts") - 1),
        *((name, pl.col(name) + 1e-5) for name in VOLUMES),
        *((name, float("nan")) for name in VOLUMES),
    ],
)
def test_each_column_that_differs_is_named_once_per_symbol(column: str, change: Any) -> None:
    archive = spoilt(rebuilt(True), B & (at(3) | at(7)), **{column: change})
    [(symbol, what)] = klines_against_trades(archive, rebuilt(True))
    assert symbol == "B"
    assert what.startswith(f"{column} differs in 2 of 9 klines, first 2024-12-31 00:03: archive ")


@pytest.mark.requirement("F4.9")
def test_a_difference_is_reported_with_both_values() -> None:
    archive = spoilt(rebuilt(), A & at(2), close=7.25, trade_count=5)
    assert klines_against_trades(archive, rebuilt()) == [
        # Trades 8 to 11: prices 101, 102, 103, 104.
        ("A", "close differs in 1 of 10 klines, first 2024-12-31 00:02: archive 7.25, trades 104.0"),
        ("A", "trade_count differs in 1 of 10 klines, first 2024-12-31 00:02: archive 5, trades 4"),
    ]


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize(
    ("inverse", "rounded", "exact"), [(False, "quote_volume", "base_volume"), (True, "base_volume", "quote_volume")]
)
def test_volumes_may_differ_by_the_rounding_of_each_trade_where_each_is_rounded(
    inverse: bool, rounded: str, exact: str
) -> None:
    """Four trades a minute, 1e-8 each: 4e-8, plus 1e-9 of the volume itself. The other side is rounded once."""
    small = rebuilt(inverse).with_columns(pl.col(VOLUMES) / 1e6)

    def found(column: str, by: float) -> list[str]:
        archive = spoilt(small, A & at(2), **{column: pl.col(column) + by, f"taker_buy_{column}": pl.col(column)})
        archive = spoilt(
            archive, A & at(2), **{f"taker_buy_{column}": small.filter(A, at(2))[f"taker_buy_{column}"][0]}
        )
        return [what.split()[0] for _, what in klines_against_trades(archive, small)]

    assert found(rounded, 3.9e-8) == []
    assert found(rounded, -3.9e-8) == []
    assert found(rounded, 5e-8) == [rounded]
    assert found(exact, 0.9e-8) == []
    assert found(exact, 2e-8) == [exact]


@pytest.mark.requirement("F4.9")
def test_minutes_missing_on_one_side_are_findings() -> None:
    archive = rebuilt().filter(~(A & (at(4) | at(6))))
    assert klines_against_trades(archive, rebuilt()) == [
        ("A", "2 windows have trades and no volume in the archive's klines, first 2024-12-31 00:04")
    ]
    assert klines_against_trades(rebuilt(), archive) == [
        ("A", "2 klines of the archive have volume and no trades, first 2024-12-31 00:04")
    ]


@pytest.mark.requirement("F4.9")
def test_a_kline_without_volume_counts_as_absent() -> None:
    quiet = rebuilt().filter(B & at(4)).with_columns(open_time=pl.lit(START + 5 * MINUTE), trade_count=pl.lit(0))
    quiet = quiet.with_columns(pl.lit(0.0).alias(name) for name in VOLUMES).select(rebuilt().columns)
    with_quiet = pl.concat([rebuilt(), quiet.cast(rebuilt().schema)])
    assert klines_against_trades(with_quiet, rebuilt()) == []
    emptied = spoilt(rebuilt(), A & at(4), **dict.fromkeys(VOLUMES, 0.0), trade_count=0)
    assert klines_against_trades(emptied, rebuilt()) == [
        ("A", "1 windows have trades and no volume in the archive's klines, first 2024-12-31 00:04")
    ]
