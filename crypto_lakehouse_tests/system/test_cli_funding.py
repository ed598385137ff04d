"""A backfill of klines first builds the funding rates of its months; bars without funding rates give a warning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.test_cli import run

pytestmark = pytest.mark.requirement("F7.3", "F4.2")

FUNDING_COMMAND = "backfill --market um --table funding_rates --from 2024-12 --to 2024-12"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Those of an empty lake and a served archive: three days across two months, and a contract without funding."""
    make_sample(tmp_path / "archive", symbols=1, days=3, specials=True)
    with ArchiveServer(tmp_path / "archive") as server:
        yield {
            "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_RETRIES": "1",
        }


def backfill(
    folder: Path, settings: dict[str, str], *options: str, market: str = "um", table: str = "klines_1m"
) -> tuple[int, str]:
    days = ("--from", "2024-12-28", "--to", "2024-12-29")
    done = run(folder, "backfill", "--market", market, "--table", table, *days, *options, **settings)
    return done.returncode, done.stdout + done.stderr


def funding(folder: Path) -> pl.DataFrame:
    """Number and sum of the events of each bar of a day."""
    rows = Lakehouse(folder / "lake").read("gold.bars_1d", market="um", symbols="BTCUSDT", format="polars")
    assert isinstance(rows, pl.DataFrame)
    return rows.select("open_time", "funding_count", "funding_sum")


def test_bars_have_the_funding_rates_of_their_months_after_one_command(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    code, text = backfill(tmp_path, settings, "--symbols", "BTCUSDT")
    assert code == 0, text
    assert "update_binance_um_monthly: 1 partition of binance/um/funding_rates in 1 run" in text
    assert "null" not in text
    assert funding(tmp_path)["funding_count"].to_list() == [3, 3]
    rates = Lakehouse(tmp_path / "lake").read("silver.funding_rates", market="um", format="polars")
    assert rates["symbol"].unique().to_list() == ["BTCUSDT"]
    # Nothing is new, so nothing is rebuilt.
    code, text = backfill(tmp_path, settings, "--symbols", "BTCUSDT")
    assert code == 0
    assert "rebuild" not in text


def test_stored_days_get_the_funding_rates_too(tmp_path: Path, settings: dict[str, str]) -> None:
    without = {**settings, "LAKEHOUSE_TABLES": "klines_1m"}
    code, text = backfill(tmp_path, without, "--symbols", "BTCUSDT")
    assert code == 0
    assert "funding columns are null: funding_rates is not in LAKEHOUSE_TABLES" in text
    assert funding(tmp_path)["funding_count"].to_list() == [None, None]
    done = run(
        tmp_path,
        *("backfill", "--market", "um", "--table", "klines_1m", "--from", "2024-12-29", "--to", "2024-12-29"),
        *("--symbols", "BTCUSDT"),
        **settings,
    )
    assert done.returncode == 0
    assert "rebuild gold of 1 day: their funding rates are stored now" in done.stdout
    assert funding(tmp_path)["funding_count"].to_list() == [3, 3]


def test_gold_without_funding_names_the_command_that_builds_it(tmp_path: Path, settings: dict[str, str]) -> None:
    backfill(tmp_path, {**settings, "LAKEHOUSE_TABLES": "klines_1m"})
    code, text = backfill(tmp_path, settings, table="continuous_1m")
    assert code == 0
    assert "no funding_rates in the lake for 2024-12: funding columns of these months are null" in text
    assert FUNDING_COMMAND in text


def test_symbols_and_markets_without_funding_give_no_warning(tmp_path: Path, settings: dict[str, str]) -> None:
    [delivery] = {path.name for path in (tmp_path / "archive/data/futures/um/daily/klines").glob("BTCUSDT_2*")}
    code, text = backfill(tmp_path, settings, "--symbols", f"BTCUSDT,{delivery}")
    assert code == 0, text
    assert "FAILED" not in text
    assert funding(tmp_path)["funding_count"].to_list() == [3, 3]
    code, text = backfill(tmp_path, settings, "--symbols", "BTCUSDT", market="spot")
    assert code == 0
    assert "funding" not in text
