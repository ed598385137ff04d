"""Everything switched on by the setting alone: assets, checks, sensors, jobs and schedules of every feed."""

import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.catalog import FEEDS, Cadence
from crypto_lakehouse.cli.document import PAGE
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS

pytestmark = pytest.mark.requirement("F1.3")

ROOT = Path(__file__).parents[2]
JOBS = {
    "update_binance_spot_daily",
    "update_binance_spot_monthly",
    "update_binance_um_daily",
    "update_binance_um_monthly",
    "update_binance_cm_daily",
    "update_binance_cm_monthly",
    "update_binance_option_daily",
}


@pytest.fixture(scope="module")
def everything() -> tuple[dg.Definitions, float]:
    """Definitions of all tables, and the seconds of processor time that they took to be made and loaded."""
    began = time.process_time()
    defs = build_defs(Settings.load(env="test", tables="*"))
    dg.Definitions.validate_loadable(defs)
    return defs, time.process_time() - began


def test_every_feed_has_its_assets_and_loads_in_seconds(everything: tuple[dg.Definitions, float]) -> None:
    defs, seconds = everything
    keys = {spec.key for spec in defs.resolve_all_asset_specs()}
    wanted = {asset_key(layer, f.market, f.table) for f in BINANCE_FEEDS for layer in ("bronze", "silver")}
    wanted |= {asset_key("compacted", f.market, f.table) for f in BINANCE_FEEDS if f.compacted}
    wanted |= {asset_key("compacted", f.market, "continuous_1m") for f in BINANCE_FEEDS if f.table == "klines_1m"}
    assert {key for key in keys if key.path[0] != "gold"} == wanted
    # It takes about three; a graph that grows with the square of its tables would be far beyond.
    assert seconds < 20


def test_every_feed_has_its_checks_and_sensor(everything: tuple[dg.Definitions, float]) -> None:
    repository = everything[0].get_repository_def()
    sensors = {sensor.name for sensor in repository.sensor_defs}
    checks = repository.asset_graph.asset_check_keys
    for entry in BINANCE_FEEDS:
        assert f"binance_{entry.market.name}_{entry.table}_sensor" in sensors
        bronze, silver = (asset_key(layer, entry.market, entry.table) for layer in ("bronze", "silver"))
        names = {check.name for check in checks if check.asset_key == silver}
        assert {"schema", "primary_key", "completeness"} <= names
        assert ("epochs" in names) is (entry.table in ("book_depth", "open_interest", "funding_rates"))
        assert {"freshness", "reconciliation"} <= {check.name for check in checks if check.asset_key == bronze}


def test_every_market_and_cadence_has_its_job_and_schedule(everything: tuple[dg.Definitions, float]) -> None:
    repository = everything[0].get_repository_def()
    assert {name for name in repository.job_names if name.startswith("update_")} == JOBS
    assert {schedule.job_name for schedule in repository.schedule_defs} == JOBS | {"reconciliation", "relisting"}
    option = repository.get_job("update_binance_option_daily").asset_layer.executable_asset_keys
    assert {key.path[3] for key in option} == {"volatility_index", "option_summaries"}


@pytest.mark.requirement("F5.7")
def test_schedules_leave_out_what_has_ended(everything: tuple[dg.Definitions, float]) -> None:
    repository = everything[0].get_repository_def()
    when = datetime(2026, 3, 1, 9, tzinfo=UTC)
    asked = {}
    for schedule in repository.schedule_defs:
        if schedule.job_name in ("reconciliation", "relisting"):
            continue
        monthly = schedule.job_name.endswith("monthly")
        assert schedule.cron_schedule == ("0 10 1 * *" if monthly else "0 9 * * *")
        with dg.build_schedule_context(scheduled_execution_time=when, repository_def=repository) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.partition_key == ("2026-02" if monthly else "2026-02-28")
        selection = request.asset_selection
        keys = repository.get_job(schedule.job_name).asset_layer.executable_asset_keys
        asked[schedule.job_name] = set(keys if selection is None else selection)
        if selection is not None:
            checks = request.asset_check_keys or []
            names = {check.name for check in checks}
            assert {"schema", "completeness", "epochs"} <= names or "option" in schedule.job_name
            # Those that list the archive belong to the reconciliation.
            assert not names & {"freshness", "reconciliation"}
            assert {check.asset_key for check in checks} <= set(selection)
    for entry in BINANCE_FEEDS:
        job = f"update_binance_{entry.market.name}_{entry.cadence}"
        for layer in ("bronze", "silver"):
            assert (asset_key(layer, entry.market, entry.table) in asked[job]) is (entry.last_date is None), entry.name


def test_a_schedule_of_ended_types_alone_skips() -> None:
    repository = build_defs(Settings.load(env="test", tables="book_ticker")).get_repository_def()
    schedule = next(s for s in repository.schedule_defs if s.job_name == "update_binance_um_daily")
    when = datetime(2026, 3, 1, 9, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=when, repository_def=repository) as context:
        tick = schedule.evaluate_tick(context)
    assert not tick.run_requests
    assert tick.skip_message == "all tables of this job have ended"


def test_every_table_is_in_the_documentation() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert {entry.table for entry in FEEDS.values() if f"`{entry.table}`" not in page} == set()
    assert {entry.cadence for entry in FEEDS.values()} == set(Cadence)
