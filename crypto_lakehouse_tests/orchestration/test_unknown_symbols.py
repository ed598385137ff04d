"""Symbols that neither archive nor ledger knows: runs of the UI and sensors refuse them before anything is stored."""

import shutil
from typing import Any

import dagster as dg
import pytest

from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform, failure_text
from crypto_lakehouse_tests.orchestration.test_checks import _check
from crypto_lakehouse_tests.orchestration.test_sensors import _tick

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F1.6")]

JOB = "update_binance_um_daily"


def _run(platform: Platform, named: str, job: str = JOB, **settings: Any) -> dg.ExecuteInProcessResult:
    """A run as the launchpad starts one, with symbols in its configuration."""
    made = platform.defs(**settings).resolve_job_def(job)
    op = f"bronze__binance__{job.split('_')[2]}__klines_1m"
    return made.execute_in_process(
        instance=platform.instance,
        tags={RANGE_START_TAG: DAYS[0], RANGE_END_TAG: DAYS[1]},
        run_config={"ops": {op: {"config": {"symbols": named}}}} if named else {},
        raise_on_error=False,
    )


@pytest.mark.parametrize(
    ("symbols", "settings", "message"),
    [
        ("BTCUSDX", "", "no symbol BTCUSDX (did you mean BTCUSDT?) in binance/um/klines_1m"),
        ("ETHUSDT,btcusdt", "", "no symbol btcusdt (did you mean BTCUSDT?) in binance/um/klines_1m"),
        ("BTC-USDT", "", "no symbol BTC-USDT (did you mean BTCUSDT?)"),
        ("BTCUSD_PERP", "", "no symbol BTCUSD_PERP"),
        ("XRP*", "", "XRP* selects no symbol of binance/um/klines_1m"),
        ("BTCUSDT,!BTC*", "", "BTCUSDT,!BTC* selects no symbol of binance/um/klines_1m"),
        ("", "BTCUSDT,ETHUSDTT", "LAKEHOUSE_SYMBOLS: the archive has no symbol ETHUSDTT (did you mean ETHUSDT"),
    ],
)
def test_a_run_stores_nothing_for_unknown_symbols(empty: Platform, symbols: str, settings: str, message: str) -> None:
    result = _run(empty, symbols, symbols=settings)
    assert not result.success
    assert message in failure_text(result)
    layers = ("bronze", "silver", "gold/continuous_1m", "ledger", "quarantine")
    assert [path for layer in layers for path in (empty.lake / layer).rglob("*.parquet")] == []
    assert empty.instance.get_materialized_partitions(dg.AssetKey(["bronze", "binance", "um", "klines_1m"])) == set()


def test_names_of_the_settings_may_be_of_any_market(empty: Platform) -> None:
    several = "BTCUSDT,BTCUSD_PERP"
    for market, mine in (("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")):
        assert _run(empty, "", f"update_binance_{market}_daily", symbols=several).success
        rows = read_partition(empty.store, TableSlice("bronze", "binance", market, "klines_1m").partition(DAYS[0]))
        assert rows["symbol"].unique().to_list() == [mine]


def test_a_symbol_that_only_the_ledger_knows_is_no_unknown_one(filled: Platform) -> None:
    # The archive has removed it; what was stored of it stays.
    shutil.rmtree(filled.archive / "data/futures/um/daily/klines/ETHUSDT")
    before = read_partition(filled.store, TableSlice("bronze", "binance", "um", "klines_1m").partition(DAYS[0]))
    assert _run(filled, "ETHUSDT").success
    assert read_partition(filled.store, TableSlice("bronze", "binance", "um", "klines_1m").partition(DAYS[0])).equals(
        before
    )
    assert not _run(filled, "ETHUSDX").success
    assert read_partition(filled.store, TableSlice("bronze", "binance", "um", "klines_1m").partition(DAYS[0])).equals(
        before
    )


def test_a_sensor_asks_for_nothing_and_says_which_symbol(empty: Platform) -> None:
    requests, skipped = _tick(empty, symbols="BTCUSDX,ETHUSDT")
    assert requests == []
    assert "the archive has no symbol BTCUSDX (did you mean BTCUSD" in skipped
    requests, _ = _tick(empty, symbols="BTCUSD_PERP,ETHUSDT")
    assert len(requests) == 2


def test_an_archive_that_cannot_be_listed_stores_nothing(empty: Platform) -> None:
    away = {"archive_listing_url": "http://127.0.0.1:1/listing", "retries": 1}
    result = _run(empty, "BTCUSDT", **away)
    assert "cannot list" in failure_text(result)
    assert not list((empty.lake / "bronze").rglob("*.parquet"))


def test_the_reconciliation_names_the_symbol(filled: Platform) -> None:
    found = _check(filled, symbols="BTCUSDX")["bronze/klines_1m", "reconciliation"]
    assert not found.passed
    assert "no symbol BTCUSDX (did you mean BTCUSD" in str(found.description)
