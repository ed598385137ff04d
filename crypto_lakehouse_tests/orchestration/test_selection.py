"""LAKEHOUSE_MARKETS and LAKEHOUSE_START: what the definitions, sensors, checks, status and commands then show and do.

What was stored and recorded before is there still when the settings are taken back.
"""

import json
import os
import re
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from crypto_lakehouse.cli import app
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.funding import days_after_funding
from crypto_lakehouse.orchestration.jobs import RECONCILIATION_JOB
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.unit.test_compaction import day_rows, put

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F1.5")]

SILVER = dg.AssetKey(["silver", "binance", "um", "klines_1m"])
NARROW = {"markets": "um", "start": DAYS[1]}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.delenv(name)


def test_only_the_market_is_there_and_partitions_begin_at_the_start() -> None:
    defs = build_defs(Settings.load(env="test", markets="um", start="2023-06-15", tables="klines_1m,funding_rates"))
    specs = list(defs.resolve_all_asset_specs())
    assert {spec.group_name for spec in specs} == {
        f"binance_um_{layer}" for layer in ("bronze", "silver", "gold", "compacted")
    }
    firsts = {spec.partitions_def.get_first_partition_key() for spec in specs if spec.partitions_def}
    # The month of the start stays whole: days from the start on need its funding rates.
    assert firsts == {"2023-06-15", "2023-06"}
    repository = defs.get_repository_def()
    names = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    names |= {sensor.name for sensor in repository.sensor_defs} | {one.name for one in repository.schedule_defs}
    assert "update_binance_um_daily" in names
    assert not [name for name in names if re.search("spot|cm|option", name)]
    for name in ("compact_binance_um", "update_binance_um_monthly"):
        assert repository.get_job(name).partitions_def.get_first_partition_key() == "2023-06"  # type: ignore[union-attr]
    dg.Definitions.validate_loadable(defs)


def test_a_sensor_asks_for_nothing_before_the_start(empty: Platform) -> None:
    # A day before the start is recorded, and its file was replaced since.
    assert empty.run("update_binance_um_daily", DAYS[0], DAYS[0]).success
    assert _asked(empty, **NARROW) == [(DAYS[1], DAYS[1]), (DAYS[2], DAYS[2])]
    assert empty.run("update_binance_um_daily", DAYS[1], DAYS[2], **NARROW).success
    assert _asked(empty, **NARROW) == []
    partitions = next(s.partitions_def for s in empty.defs(**NARROW).resolve_all_asset_specs() if s.key == SILVER)
    assert partitions is not None
    recorded = empty.instance.get_materialized_partitions(SILVER)
    assert recorded == set(DAYS)
    assert set(partitions.get_partition_keys()) & recorded == set(DAYS[1:])
    # Without the setting everything is there as before.
    assert _asked(empty) == []


def _asked(platform: Platform, **settings: str) -> list[tuple[str, str]]:
    defs = platform.defs(**settings)
    repository = defs.get_repository_def()
    resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}
    with dg.build_sensor_context(instance=platform.instance, repository_def=repository, resources=resources) as context:
        data = repository.get_sensor_def("binance_um_klines_1m_sensor").evaluate_tick(context)
    return [(r.tags[RANGE_START_TAG], r.tags[RANGE_END_TAG]) for r in data.run_requests or []]


def test_checks_look_at_nothing_before_the_start(filled: Platform) -> None:
    job = filled.defs(**NARROW).resolve_job_def(RECONCILIATION_JOB)
    found = job.execute_in_process(instance=filled.instance).get_asset_check_evaluations()
    looked_at = {str(e.metadata["partitions"].value) for e in found if "partitions" in e.metadata}
    # Freshness looks at the newest day. The witnesses were not built.
    assert looked_at == {"0: none", f"2: {DAYS[1]} to {DAYS[2]}", f"1: {DAYS[2]} to {DAYS[2]}"}


def test_a_backfill_outside_is_refused_in_words_that_help() -> None:
    settings = Settings.load(env="test", markets="um,cm", start="2023-06-15")
    today = date(2026, 1, 1)

    def planned(market: str, table: str, first: date, last: date = date(2023, 7, 1)) -> tuple[str, ...]:
        return plan("binance", market, table, first, last, settings, today).keys

    with pytest.raises(ValueError, match=r"market spot is not enabled; add it to LAKEHOUSE_MARKETS \(now: um,cm\)"):
        planned("spot", "klines_1m", date(2023, 6, 20))
    with pytest.raises(ValueError, match=r"2023-06-14 is before .*--from 2023-06-15 or later, or set LAKEHOUSE_START"):
        planned("um", "klines_1m", date(2023, 6, 14))
    for table in ("instruments", "bars_1h", "continuous_1m"):
        with pytest.raises(ValueError, match="--from 2023-06-15 or later"):
            planned("um", table, date(2023, 6, 1))
    with pytest.raises(ValueError, match="--from 2023-06-15 or later"):
        planned("um", "funding_rates", date(2023, 5, 31))
    # Before the feed's own first day the feed is the reason.
    with pytest.raises(ValueError, match="um/klines_1m has data from 2019-09-08 to now"):
        planned("um", "klines_1m", date(2019, 1, 1))
    assert planned("um", "klines_1m", date(2023, 6, 30)) == ("2023-06-30", "2023-07-01")
    assert planned("um", "funding_rates", date(2023, 6, 1)) == ("2023-06", "2023-07")


def test_gold_days_before_the_start_do_not_follow_their_funding_rates(filled: Platform) -> None:
    tables = "klines_1m,funding_rates"
    settings = Settings.load(env="test", lake_uri=str(filled.lake), tables=tables, **NARROW)
    done = plan("binance", "um", "funding_rates", date(2024, 12, 31), date(2024, 12, 31), settings, date(2026, 1, 1))
    assert days_after_funding(done, settings, filled.store) is None
    assert filled.run("update_binance_um_monthly", "2024-12", "2024-12", tables=tables, **NARROW).success
    again = days_after_funding(done, settings, filled.store)
    assert again is not None
    assert again.keys == (DAYS[1],)


def test_status_shows_what_the_settings_show(filled: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled.run("update_binance_spot_daily", DAYS[2], DAYS[2]).success
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(filled.lake))
    assert _status() == {("um", *DAYS[::2], 3), ("spot", DAYS[2], DAYS[2], 1)}
    monkeypatch.setenv("LAKEHOUSE_START", DAYS[1])
    assert _status() == {("um", *DAYS[1:], 2), ("spot", DAYS[2], DAYS[2], 1)}
    monkeypatch.setenv("LAKEHOUSE_MARKETS", "um")
    assert _status() == {("um", *DAYS[1:], 2)}
    words = CliRunner().invoke(app, ["status"], env={"COLUMNS": "300"}).output
    assert f"hidden by the settings: partitions before LAKEHOUSE_START={DAYS[1]} and markets that are not in" in words
    assert "spot" not in words.split("(spot, cm, option)")[1]


def _status() -> set[tuple[str, str, str, int]]:
    answer = CliRunner().invoke(app, ["status", "--json"])
    assert answer.exit_code == 0, answer.output
    return {(one["market"], one["first"], one["last"], one["partitions"]) for one in json.loads(answer.stdout)}


def test_months_before_the_start_are_not_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    for day in range(1, 32):
        put(store, f"2023-01-{day:02}", day_rows(f"2023-01-{day:02}"))
    for name, value in {"LAKE_URI": store.uri, "START": "2023-02-01", "TABLES": "klines_1m"}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["compact", "--market", "um"], env={"COLUMNS": "200"})
    assert "0 months of binance/um/klines_1m to build" in done.output
    refused = CliRunner().invoke(app, ["compact", "--market", "um", "--from", "2023-01"], env={"COLUMNS": "300"})
    assert refused.exit_code == 2
    assert "choose --from 2023-02 or later" in refused.output
    monkeypatch.setenv("LAKEHOUSE_MARKETS", "spot")
    refused = CliRunner().invoke(app, ["compact", "--market", "um"], env={"COLUMNS": "200"})
    assert (refused.exit_code, "market um is not enabled" in refused.output) == (2, True)
