"""Real COIN-M aggregate trades of a day: contiguous ids, and klines that agree with each other and with the file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crypto_lakehouse.catalog import INTERVALS, MARKETS
from crypto_lakehouse.transforms.checks.compare import klines_against_trades
from crypto_lakehouse.transforms.gold.trade_ids import id_summary, missing_ranges, no_ids
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades, merge_klines
from crypto_lakehouse_tests.system.realdata import csv_rows, instant, needs_real_archive
from crypto_lakehouse_tests.unit.reference_gold import frame

KEY = "data/futures/cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2026-05-08.zip"
CM = MARKETS["binance", "cm"]
DAY = datetime(2026, 5, 8, tzinfo=UTC)
SUMS = ("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume", "contracts")

pytestmark = needs_real_archive


@pytest.fixture(scope="module")
def lines() -> list[list[str]]:
    return csv_rows(KEY)


@pytest.fixture(scope="module")
def aggregates(lines: list[list[str]]) -> pl.DataFrame:
    """The file as silver.agg_trades; one contract of BTCUSD is 100 USD."""
    rows = [
        {
            "symbol": "BTCUSD_PERP",
            "trade_id": int(line[0]),
            "time": instant(line[5]),
            "price": float(line[1]),
            "base_quantity": float(line[2]) * 100 / float(line[1]),
            "quote_quantity": float(line[2]) * 100,
            "contracts": int(float(line[2])),
            "is_buyer_maker": line[6] == "true",
            "first_trade_id": int(line[3]),
            "last_trade_id": int(line[4]),
            "source": "archive_daily",
        }
        for line in lines
    ]
    return frame("silver", "agg_trades", rows)


@pytest.mark.requirement("F4.8")
def test_ids_are_contiguous(aggregates: pl.DataFrame) -> None:
    [found] = id_summary(aggregates).to_dicts()
    assert (found["rows"], found["first_id"], found["last_id"]) == (105_280, 480_537_903, 480_643_182)
    assert missing_ranges(aggregates, no_ids()).height == 0
    cut = aggregates.filter(~pl.col("trade_id").is_between(480_600_000, 480_600_009))
    assert missing_ranges(cut, no_ids())["missing_ids"].to_list() == [10]


@pytest.mark.requirement("F4.9")
def test_klines_agree_with_the_file_and_with_one_another(lines: list[list[str]], aggregates: pl.DataFrame) -> None:
    minutes = klines_from_trades(aggregates, INTERVALS["1m"], CM)
    # Three minutes of the day have no trade.
    assert minutes.height == len({int(line[5]) // 60_000 for line in lines}) == 1437
    assert minutes["contracts"].sum() == sum(int(float(line[2])) for line in lines)
    assert minutes["trade_count"].sum() == int(lines[-1][4]) - int(lines[0][3]) + 1 == 240_198
    first = [line for line in lines if int(line[5]) // 60_000 == int(lines[0][5]) // 60_000]
    assert minutes.row(0, named=True) == {
        "symbol": "BTCUSD_PERP",
        "open_time": DAY,
        "close_time": DAY + timedelta(minutes=1) - timedelta(milliseconds=1),
        "open": float(first[0][1]),
        "high": max(float(line[1]) for line in first),
        "low": min(float(line[1]) for line in first),
        "close": float(first[-1][1]),
        "base_volume": pytest.approx(sum(float(line[2]) * 100 / float(line[1]) for line in first), rel=1e-12),
        "quote_volume": sum(float(line[2]) * 100 for line in first),
        "trade_count": sum(int(line[4]) - int(line[3]) + 1 for line in first),
        "taker_buy_base_volume": pytest.approx(
            sum(float(line[2]) * 100 / float(line[1]) for line in first if line[6] == "false"), rel=1e-12
        ),
        "taker_buy_quote_volume": sum(float(line[2]) * 100 for line in first if line[6] == "false"),
        "contracts": sum(int(float(line[2])) for line in first),
        "source": "agg_trades",
    }
    hours = klines_from_trades(aggregates, INTERVALS["1h"], CM)
    assert hours.height == 24
    of_minutes = minutes.group_by("symbol", pl.col("open_time").dt.truncate("1h"), maintain_order=True).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(), pl.col(SUMS).sum()
    )
    assert klines_against_trades(of_minutes, hours) == []


@pytest.mark.requirement("F4.9")
def test_klines_of_chunks_equal_the_klines_of_the_whole_day(aggregates: pl.DataFrame) -> None:
    whole = klines_from_trades(aggregates, INTERVALS["1m"], CM)
    parts = [
        klines_from_trades(aggregates.slice(first, 9_973), INTERVALS["1m"], CM)
        for first in range(0, aggregates.height, 9_973)
    ]
    merged = merge_klines(parts)
    assert klines_against_trades(merged, whole) == []
    exact = pl.exclude("base_volume", "taker_buy_base_volume")
    assert merged.select(exact).equals(whole.select(exact))
