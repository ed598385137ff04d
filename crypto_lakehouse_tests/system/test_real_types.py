"""Real files of other data types through parser and cleaner, compared with an independent parse."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.catalog import feed, parse_partition
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.cleaners import CLEANERS
from crypto_lakehouse_tests.system.realdata import ARCHIVE, csv_rows, instant, needs_real_archive

pytestmark = [needs_real_archive, pytest.mark.requirement("D8", "D11")]

TRADES = "data/futures/cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2026-05-08.zip"
FUNDING = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip"


def clean(key: str, market: str, table: str, symbol: str, period: str) -> Cleaned:
    of = feed("binance", market, table)
    with zipfile.ZipFile(ARCHIVE / key) as archive:
        parsed = parse_csv(archive.read(f"{Path(key).stem}.csv"), of.file_format)
    assert not parsed.rejected
    frame = parsed.rows.with_columns(symbol=pl.lit(symbol), source_key=pl.lit(key), source_sha256=pl.lit("s"))
    return CLEANERS[of.schema](frame, of, *parse_partition(period, of.cadence))


def test_a_day_of_coin_margined_aggregates() -> None:
    result = clean(TRADES, "cm", "agg_trades", "BTCUSD_PERP", "2026-05-08")
    assert result.rejected.is_empty()
    rows = result.rows
    assert rows.height == 105_280
    assert rows["trade_id"].to_list() == list(range(480537903, 480537903 + 105_280))
    assert set(rows["time"].dt.date()) == {date(2026, 5, 8)}
    expected = [
        (int(f[0]), float(f[1]), int(float(f[2])), int(f[3]), int(f[4]), instant(f[5]), f[6] == "true")
        for f in csv_rows(TRADES)
    ]
    columns = ("trade_id", "price", "contracts", "first_trade_id", "last_trade_id", "time", "is_buyer_maker")
    assert rows.select(columns).rows() == expected
    # 100 USD a contract.
    assert rows["quote_quantity"].to_list() == [100.0 * contracts for _, _, contracts, *_ in expected]
    assert rows["base_quantity"].to_list() == [100.0 * n / price for _, price, n, *_ in expected]


def test_a_month_of_funding_on_exact_hours() -> None:
    result = clean(FUNDING, "um", "funding_rates", "BTCUSDT", "2026-04")
    assert result.rejected.is_empty()
    begin = datetime(2026, 4, 1, tzinfo=UTC)
    assert result.rows["funding_hour"].to_list() == [begin + timedelta(hours=8 * n) for n in range(90)]
    assert result.rows["funding_time"].to_list() == [instant(f[0]) for f in csv_rows(FUNDING)]
    assert result.rows["funding_rate"].to_list() == [float(f[2]) for f in csv_rows(FUNDING)]
