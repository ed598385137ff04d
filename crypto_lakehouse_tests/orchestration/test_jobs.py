"""Jobs and schedules: their names, what they select, and that nothing starts by itself outside prod."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform

TABLES = ("continuous_1m", "gaps", "symbol_states", "bars_1h", "bars_1d", "instruments")
UPDATES = {
    "update_binance_spot_daily",
    "update_binance_um_daily",
    "update_binance_cm_daily",
    "update_binance_um_monthly",
    "update_binance_cm_monthly",
}
# It requests what the job of a schedule has found.
RELISTING = {"relisting_sensor"}
COMPACTIONS = {"compact_binance_spot", "compact_binance_um", "compact_binance_cm"}
OWN = {f"{job}_binance_{market}" for job in ("compare", "missing_minutes") for market in ("spot", "um", "cm")}


def _repository(env: str) -> dg.RepositoryDefinition:
    return build_defs(Settings.load(env=env)).get_repository_def()


@pytest.mark.requirement("F5.5")
def test_one_update_job_per_market_and_cadence_and_one_reconciliation() -> None:
    names = {name for name in _repository("test").job_names if not name.startswith("__")}
    assert names == UPDATES | COMPACTIONS | OWN | {"reconciliation", "relisting"}


@pytest.mark.requirement("F5.5")
def test_an_update_job_makes_all_layers() -> None:
    job = _repository("test").get_job("update_binance_um_daily")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    gold = {f"gold/binance/um/{table}" for table in TABLES}
    assert made == {"bronze/binance/um/klines_1m", "silver/binance/um/klines_1m"} | gold


@pytest.mark.requirement("F5.5", "F4.7")
def test_instruments_have_a_job_where_all_klines_are_monthly() -> None:
    repository = build_defs(Settings.load(env="test", tables="klines_1w")).get_repository_def()
    made = repository.get_job("update_binance_um_daily").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in made} == {"gold/binance/um/instruments"}


@pytest.mark.requirement("F5.4")
@pytest.mark.parametrize(
    ("settings", "there"), [({}, False), ({"archive_checks": True}, True), ({"env": "prod"}, True)]
)
def test_checks_that_nothing_runs_are_not_defined_in_local(settings: dict[str, Any], there: bool) -> None:
    defs = build_defs(Settings.load(**{"env": "local", **settings}))
    bronze = dg.AssetKey(["bronze", "binance", "um", "klines_1m"])
    keys = defs.resolve_asset_graph().asset_check_keys
    names = {key.name for key in keys if key.asset_key == bronze}
    assert names == {"epochs", "freshness", "reconciliation"} if there else {"epochs"}
    dg.Definitions.validate_loadable(defs)


@pytest.mark.requirement("F5.5")
def test_only_the_reconciliation_runs_the_checks_that_list_the_archive() -> None:
    repository = _repository("test")
    checks = {name: repository.get_job(name).asset_layer.asset_graph.asset_check_keys for name in UPDATES}
    for keys in checks.values():
        names = {key.name for key in keys}
        assert {"schema", "primary_key", "completeness"} <= names
        assert not names & {"freshness", "reconciliation"}
    everything = repository.get_job("reconciliation").asset_layer.asset_graph.asset_check_keys
    assert {"freshness", "reconciliation"} <= {key.name for key in everything}
    assert everything >= set.union(*map(set, checks.values()))


@pytest.mark.requirement("F5.5")
def test_a_run_evaluates_no_check_of_the_archive(empty: Platform) -> None:
    result = empty.run("update_binance_um_daily", DAYS[0], DAYS[0])
    names = {evaluation.check_name for evaluation in result.get_asset_check_evaluations()}
    assert {"schema", "completeness"} <= names
    assert not names & {"freshness", "reconciliation"}


@pytest.mark.requirement("F5.5", "F5.6")
@pytest.mark.parametrize(("env", "running"), [("local", False), ("test", False), ("prod", True)])
def test_schedules_run_in_prod_only(env: str, running: bool) -> None:
    schedules = _repository(env).schedule_defs
    assert {s.job_name for s in schedules} == UPDATES | {"reconciliation", "relisting"}
    expected = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
    assert {s.default_status for s in schedules} == {expected}
    assert {s.execution_timezone or "UTC" for s in schedules} == {"UTC"}


FEEDS = {
    *(f"binance_{market}_klines_1m_sensor" for market in ("spot", "um", "cm")),
    *(f"binance_{market}_funding_rates_sensor" for market in ("um", "cm")),
}
GOLD, COMPACTION = {"gold_automation_sensor"}, {"compaction_automation_sensor"}


@pytest.mark.requirement("F5.5")
@pytest.mark.parametrize(
    ("settings", "running"),
    [
        ({"env": "local"}, set()),
        ({"env": "test"}, set()),
        ({"env": "prod"}, RELISTING),
        ({"env": "prod", "automation": "feeds,gold"}, FEEDS | GOLD),
        ({"env": "prod", "automation": "all"}, FEEDS | GOLD | COMPACTION | RELISTING),
        ({"env": "local", "automation": "compaction"}, COMPACTION),
    ],
)
def test_sensors_run_as_the_settings_say(settings: dict[str, str], running: set[str]) -> None:
    repository = build_defs(Settings.load(**settings)).get_repository_def()
    sensors = {s.name: s.default_status for s in repository.sensor_defs}
    assert sensors.keys() == FEEDS | GOLD | COMPACTION | RELISTING
    assert {name for name, status in sensors.items() if status is dg.DefaultSensorStatus.RUNNING} == running


@pytest.mark.requirement("F5.5")
def test_without_schedules_in_the_list_none_runs_in_prod() -> None:
    repository = build_defs(Settings.load(env="prod", automation="feeds")).get_repository_def()
    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}


@pytest.mark.requirement("F5.5")
def test_a_schedule_asks_for_the_newest_day_that_is_over() -> None:
    repository = _repository("test")
    when = datetime(2025, 1, 3, 9, 0, tzinfo=UTC)
    (schedule,) = (s for s in repository.schedule_defs if s.job_name == "update_binance_um_daily")
    assert schedule.cron_schedule == "0 9 * * *"
    with dg.build_schedule_context(scheduled_execution_time=when, repository_def=repository) as context:
        requests = schedule.evaluate_tick(context).run_requests or []
    assert [r.partition_key for r in requests] == ["2025-01-02"]


@pytest.mark.requirement("F5.5", "F5.2")
def test_a_backfill_of_a_range_runs_the_update_job_in_chunks(empty: Platform) -> None:
    """The chunk is the run: bronze, silver and gold of a range of dates, one step each."""
    result = empty.run("update_binance_um_daily", DAYS[0], DAYS[1])
    assert result.success
    (record,) = empty.instance.get_run_records()
    assert record.dagster_run.tags[RANGE_START_TAG] == DAYS[0]
    assert record.dagster_run.tags[RANGE_END_TAG] == DAYS[1]
    makers = [e.step_key for e in result.all_events if e.event_type_value == "ASSET_MATERIALIZATION"]
    # Eight tables of two days; the continuous minutes, their gaps and states are one step.
    assert len(makers) == 16
    assert len(set(makers)) == 6
