"""The ingest of real archive files, compared with an independent parse of the same zips."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.realdata import ARCHIVE, csv_rows, instant, klines_key, needs_real_archive
from crypto_lakehouse_tests.system.runs import read, run, settings

pytestmark = needs_real_archive


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    folder: Path = tmp_path_factory.mktemp("real") / "lake"
    with ArchiveServer(ARCHIVE) as server:
        environment = settings(server, folder)
        for market, first, last, symbols, cadence in (
            ("um", "2023-08-01", "2023-09-30", "FILUSDT,NEARUSDT", "daily"),
            ("spot", "2020-01-01", "2020-01-04", "BTCUSDT", "daily"),
            ("spot", "2026-01-14", "2026-01-14", "BTCUSDT", "daily"),
            ("cm", "2022-10-24", "2022-10-25", "", "daily"),
            ("um", "2026-04", "2026-04", "", "monthly"),
        ):
            assert run(environment, market, first, last, symbols, cadence).success
    return Lakehouse(folder)


def expected(folder: str, symbol: str, day: str) -> list[dict[str, Any]]:
    rows = []
    for f in csv_rows(klines_key(folder, symbol, day)):
        inverse = folder == "futures/cm"
        base, quote, taker_base, taker_quote = (
            (float(f[7]), float(f[5]) * 100, float(f[10]), float(f[9]) * 100)
            if inverse
            else (float(f[5]), float(f[7]), float(f[9]), float(f[10]))
        )
        rows.append(
            {
                "symbol": symbol,
                "open_time": instant(f[0]),
                "close_time": instant(f[6]),
                **dict(zip(("open", "high", "low", "close"), map(float, f[1:5]), strict=True)),
                "base_volume": base,
                "quote_volume": quote,
                "trade_count": int(f[8]),
                "taker_buy_base_volume": taker_base,
                "taker_buy_quote_volume": taker_quote,
                "contracts": int(float(f[5])) if inverse else None,
                "source": "archive_daily",
            }
        )
    return rows


def silver(lake: Lakehouse, market: str, day: str) -> list[dict[str, Any]]:
    frame = read(lake, "silver.klines_1m", market=market)
    frame = frame.filter(pl.col("open_time").dt.strftime("%Y-%m-%d") == day)
    return frame.drop("exchange", "market", "date", "month", strict=False).to_dicts()


@pytest.mark.requirement("D8", "F3.2")
def test_every_symbol_and_day_present_has_its_1440_minutes(lake: Lakehouse) -> None:
    frame = read(lake, "silver.klines_1m", market="um")
    counts = frame.group_by("symbol", pl.col("open_time").dt.date().alias("day")).agg(
        pl.len(), pl.col("open_time").n_unique().alias("minutes")
    )
    assert set(counts["len"]) == set(counts["minutes"]) == {1440}
    days = dict(counts.group_by("symbol").len().iter_rows())
    assert days == {"FILUSDT": 61, "NEARUSDT": 31}


@pytest.mark.requirement("D8", "D1", "D4", "F3.2")
@pytest.mark.parametrize(
    ("market", "folder", "symbol", "day"),
    [
        ("spot", "spot", "BTCUSDT", "2020-01-01"),
        ("spot", "spot", "BTCUSDT", "2020-01-02"),
        ("spot", "spot", "BTCUSDT", "2020-01-03"),
        ("spot", "spot", "BTCUSDT", "2026-01-14"),
        ("cm", "futures/cm", "BTCUSD_PERP", "2022-10-24"),
        ("cm", "futures/cm", "BTCUSD_PERP", "2022-10-25"),
    ],
)
def test_silver_has_every_value_of_the_zip(lake: Lakehouse, market: str, folder: str, symbol: str, day: str) -> None:
    assert silver(lake, market, day) == expected(folder, symbol, day)


@pytest.mark.requirement("D8", "F3.1")
def test_bronze_has_every_line_of_the_file_in_order(lake: Lakehouse) -> None:
    lines = csv_rows(klines_key("spot", "BTCUSDT", "2020-01-02"))
    rows = read(lake, "bronze.klines_1m", market="spot", start="2020-01-02", end="2020-01-03")
    assert rows.columns[:3] == ["open_time", "open", "high"]
    assert [row[:11] for row in rows.iter_rows()] == [
        (int(f[0]), *map(float, f[1:6]), int(f[6]), float(f[7]), int(f[8]), *map(float, f[9:11])) for f in lines
    ]
    assert rows["source_line"].to_list() == list(range(1, len(lines) + 1))
    assert rows["source_key"].unique().to_list() == [klines_key("spot", "BTCUSDT", "2020-01-02")]


@pytest.mark.requirement("D8")
def test_a_month_of_funding_has_all_its_events(lake: Lakehouse) -> None:
    rows = read(lake, "silver.funding_rates", market="um")
    lines = csv_rows("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip")
    assert rows.height == len(lines) == 90
    assert rows["funding_rate"].to_list() == [float(line[2]) for line in lines]


@pytest.mark.requirement("D8")
def test_hourly_bars_equal_an_independent_sum(lake: Lakehouse) -> None:
    made = read(lake, "gold.bars_1h", market="spot").filter(pl.col("open_time").dt.year() == 2020)
    bars = made.filter(pl.col("base_volume") > 0)
    # The archive at hand has no file between 2020-01-03 and 2026-01-14. The day after is stored as filled, and readers
    # leave it out, because its series had ended.
    assert made.height == bars.height
    day = Path(lake.uri, "gold/bars_1h/exchange=binance/market=spot/date=2020-01-04/part-0.parquet")
    assert pl.read_parquet(day).select("n_filled", "complete").unique().rows() == [(60, False)]
    minutes = [row for day in ("01", "02", "03") for row in expected("spot", "BTCUSDT", f"2020-01-{day}")]
    assert bars.height == 72
    for bar in bars.iter_rows(named=True):
        stop = bar["open_time"] + timedelta(hours=1)
        part = [row for row in minutes if bar["open_time"] <= row["open_time"] < stop]
        assert (bar["n_minutes"], bar["complete"]) == (len(part), True)
        assert (bar["open"], bar["close"]) == (part[0]["open"], part[-1]["close"])
        assert bar["high"] == max(row["high"] for row in part)
        assert bar["low"] == min(row["low"] for row in part)
        assert bar["trade_count"] == sum(row["trade_count"] for row in part)
        for name in ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume"):
            assert math.isclose(bar[name], math.fsum(row[name] for row in part), rel_tol=1e-12)


@pytest.mark.requirement("F3.4", "D8")
def test_a_date_without_a_file_is_empty_and_the_ledger_says_why(lake: Lakehouse) -> None:
    ledger = read(lake, "ledger.files", market="spot")
    row = ledger.filter(pl.col("period") == "2020-01-04").row(0, named=True)
    assert (row["status"], row["reason"], row["rows"]) == ("no_file", "not_listed", 0)
    empty = Path(lake.uri, "silver/klines_1m/exchange=binance/market=spot/date=2020-01-04/part-0.parquet")
    assert pl.read_parquet(empty).height == 0
    ingested = ledger.filter(pl.col("status") == "ingested")
    assert ingested.height == 4
    assert ingested.select("size", "etag", "last_modified", "sha256", "first_seen").null_count().row(0) == (0,) * 5
