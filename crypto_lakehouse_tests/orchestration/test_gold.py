"""Continuous minutes, gaps and bars through real runs: days in any order, funding, checks that find faults."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform

pytestmark = pytest.mark.slow

JOB = "update_binance_um_daily"
CHOSEN = "1h,1d,1h:5m,1w,dollar:100000000"


def gold(lake: Path) -> dict[str, str]:
    """Path and sha256 of every gold partition."""
    parts = sorted((lake / "gold").rglob("*.parquet"))
    return {str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest() for p in parts}


def findings(result: dg.ExecuteInProcessResult, name: str) -> dict[str, bool]:
    """Whether the check passed, by asset."""
    checks = result.get_asset_check_evaluations()
    return {c.asset_key.to_user_string(): c.passed for c in checks if c.check_name == name}


@pytest.mark.requirement("D9", "F4.1", "F4.2", "F4.4")
def test_days_in_reverse_and_a_day_made_again_give_the_gold_of_one_range(empty: Platform, tmp_path: Path) -> None:
    assert empty.run(JOB, DAYS[0], DAYS[-1], bars=CHOSEN).success
    at_once = gold(empty.lake)
    assert len(at_once) == 9 * len(DAYS)
    other = Platform(tmp_path / "other", empty.archive, empty.url, empty.listing_url)
    for day in reversed(DAYS):
        assert other.run(JOB, day, day, bars=CHOSEN).success
    assert gold(other.lake) == at_once
    for path in (other.lake / "gold").rglob(f"date={DAYS[1]}/*.parquet"):
        path.unlink()
    assert gold(other.lake) != at_once
    assert other.run(JOB, DAYS[1], DAYS[1], bars=CHOSEN).success
    assert gold(other.lake) == at_once


@pytest.mark.requirement("F4.1", "F4.2")
def test_bars_have_funding_once_the_month_is_there_and_checks_are_green(empty: Platform) -> None:
    tables = {"tables": "klines_1m,funding_rates,klines_1h", "bars": "1h,1h:5m,8h"}
    assert empty.run(JOB, "2024-12-30", "2024-12-31", **tables).success
    lake = Lakehouse(empty.lake)
    before = lake.read("gold.bars_8h", market="um", format="polars")
    assert before["funding_sum"].null_count() == before.height > 0
    assert empty.run("update_binance_um_monthly", "2024-12", "2024-12", **tables).success
    result = empty.run(JOB, "2024-12-30", "2024-12-31", **tables)
    assert result.success
    after = lake.read("gold.bars_8h", market="um", format="polars")
    assert after["funding_sum"].null_count() == 0
    assert after["funding_count"].sum() > 0
    for name in ("sources", "carry"):
        assert findings(result, name)
        assert all(findings(result, name).values()), name


@pytest.mark.requirement("F4.6", "F5.4")
def test_a_bar_that_differs_from_its_minutes_and_a_day_out_of_line_are_found(filled: Platform) -> None:
    place = TableSlice("gold", "binance", "um", "bars_1h").partition(DAYS[1])
    bars = read_partition(filled.store, place)
    raised = pl.when(pl.col("symbol") == "BTCUSDT").then(pl.col("base_volume") * 2).otherwise("base_volume")
    write_partition(filled.store, place, bars.with_columns(base_volume=raised))
    place = TableSlice("gold", "binance", "um", "symbol_states").partition(DAYS[2])
    states = read_partition(filled.store, place)
    write_partition(filled.store, place, states.with_columns(prior=pl.lit("0" * 64)))
    defs = filled.defs()
    result = defs.resolve_job_def("reconciliation").execute_in_process(instance=filled.instance, raise_on_error=False)
    wrong = {
        (c.asset_key.path[3], c.check_name): str(c.metadata["table"].value)
        for c in result.get_asset_check_evaluations()
        if not c.passed and c.check_name in ("sources", "carry")
    }
    assert set(wrong) == {("bars_1h", "sources"), ("symbol_states", "carry")}
    assert DAYS[1] in wrong["bars_1h", "sources"]
    assert "BTCUSDT" in wrong["bars_1h", "sources"]
    assert "base_volume differs" in wrong["bars_1h", "sources"]
    assert DAYS[2] in wrong["symbol_states", "carry"]


@pytest.mark.requirement("D9")
def test_a_run_mends_days_that_a_broken_off_run_left_out_of_line(filled: Platform) -> None:
    sound = gold(filled.lake)
    place = TableSlice("gold", "binance", "um", "symbol_states").partition(DAYS[2])
    states = read_partition(filled.store, place)
    write_partition(filled.store, place, states.with_columns(prior=pl.lit("0" * 64)))
    assert gold(filled.lake) != sound
    assert filled.run(JOB, DAYS[0], DAYS[0]).success
    assert gold(filled.lake) == sound
