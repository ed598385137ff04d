"""A day of silver whose rows lie in a neighbouring day's file: sensor and checks see when that is out of date."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.orchestration.jobs import RECONCILIATION_JOB
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import DAYS, START, Platform, failure_text
from crypto_lakehouse_tests.system.test_midnight import labels, metrics, midnight, put

pytestmark = [pytest.mark.slow, pytest.mark.requirement("D15")]

UM = feed("binance", "um", "open_interest")
JOB, SENSOR = "update_binance_um_daily", "binance_um_open_interest_sensor"
BRONZE, SILVER = (dg.AssetKey([layer, "binance", "um", UM.table]) for layer in ("bronze", "silver"))
REPLACED = f"data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-{DAYS[0]}.zip"


@pytest.fixture
def lake(empty: Platform, tmp_path: Path) -> Platform:
    """Three days, of which the first file is replaced then: bronze has it, and silver was not made again."""
    tables = ("open_interest",)
    make_sample(empty.archive, symbols=2, days=3, start=START, tables=tables)
    assert empty.run(JOB, DAYS[0], DAYS[-1], tables="open_interest").success
    make_sample(tmp_path / "other", symbols=2, days=3, start=START, tables=tables, seed=8)
    for name in (REPLACED, f"{REPLACED}.CHECKSUM"):
        (empty.archive / name).write_bytes((tmp_path / "other" / name).read_bytes())
    result = _run(empty, DAYS[0], DAYS[0], [BRONZE])
    assert result.success, failure_text(result)
    return empty


def _run(platform: Platform, first: str, last: str, assets: list[dg.AssetKey]) -> dg.ExecuteInProcessResult:
    job = platform.defs(tables="open_interest").resolve_job_def(JOB)
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
    return job.execute_in_process(instance=platform.instance, tags=tags, asset_selection=assets, raise_on_error=False)


def _asked_for(platform: Platform) -> list[tuple[str, str]]:
    defs = platform.defs(tables="open_interest")
    repository = defs.get_repository_def()
    resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}
    with dg.build_sensor_context(instance=platform.instance, repository_def=repository, resources=resources) as context:
        data = repository.get_sensor_def(SENSOR).evaluate_tick(context)
    return [(one.tags[RANGE_START_TAG], one.tags[RANGE_END_TAG]) for one in data.run_requests or []]


def _checks(platform: Platform, name: str, of: Feed = UM) -> dict[str, dg.AssetCheckEvaluation]:
    job = platform.defs(tables=of.table).resolve_job_def(RECONCILIATION_JOB)
    found = job.execute_in_process(instance=platform.instance).get_asset_check_evaluations()
    place = [of.exchange, of.market.name, of.table]
    return {one.asset_key.path[0]: one for one in found if one.check_name == name and one.asset_key.path[1:] == place}


def _midnight(platform: Platform, day: str) -> float:
    rows = read_partition(platform.store, TableSlice("silver", "binance", "um", UM.table).partition(day))
    return float(rows.filter(symbol="BTCUSDT")["open_interest"][0])


@pytest.mark.requirement("F5.3")
def test_the_sensor_asks_for_a_day_whose_row_a_newer_neighbour_holds(lake: Platform) -> None:
    # The first day for its own file, the second for its row of 00:00; the third has nothing to do with it.
    assert _asked_for(lake) == [(DAYS[0], DAYS[1])]
    before = _midnight(lake, DAYS[1])
    assert _run(lake, DAYS[0], DAYS[1], [BRONZE, SILVER]).success
    assert _midnight(lake, DAYS[1]) != before
    assert _asked_for(lake) == []


@pytest.mark.requirement("F5.4")
def test_completeness_names_the_day_until_a_run_of_its_neighbour_rebuilds_it(lake: Platform) -> None:
    found = _checks(lake, "completeness")["silver"]
    assert not found.passed
    assert found.metadata["failing_partitions"].value == f"{DAYS[0]}, {DAYS[1]}"
    assert f"| {DAYS[1]} |  | outdated: bronze now holds other files" in str(found.metadata["table"].value)
    # A run for the first day alone: the second one is rebuilt and recorded.
    result = _run(lake, DAYS[0], DAYS[0], [BRONZE, SILVER])
    made = [e.partition for e in result.all_events if e.is_step_materialization and e.asset_key == SILVER]
    assert made == [DAYS[0], DAYS[1]]
    assert _checks(lake, "completeness")["silver"].passed


@pytest.mark.requirement("D12")
def test_files_that_contradict_the_registry_are_a_warning_that_names_both(lake: Platform) -> None:
    assert _run(lake, DAYS[0], DAYS[1], [BRONZE, SILVER]).success
    found = _checks(lake, "epochs")
    assert found["bronze"].severity is dg.AssetCheckSeverity.WARN
    table = str(found["bronze"].metadata["table"].value)
    assert f"| {DAYS[0]} | ETHUSDT | data/futures/um/daily/metrics/ETHUSDT/ETHUSDT-metrics-{DAYS[0]}.zip" in table
    assert "labels of 00:00 to 23:55 of their own date; the registry says period_end" in table
    # All rows of both kinds of files are there, but for the midnight that lies in a file from before the first day.
    findings = str(found["silver"].metadata["table"].value)
    assert f"| {DAYS[0]} | BTCUSDT | 287 rows; a whole day has 288; the row of 00:00 may be in the file of" in findings
    assert found["silver"].metadata["findings"].value == 1


@pytest.mark.requirement("F5.4")
def test_a_file_whose_only_row_is_the_next_days_midnight_misses_nothing(empty: Platform) -> None:
    put(empty.archive, UM, "AUSDT", DAYS[0], metrics("AUSDT", [midnight(DAYS[1])]))
    put(empty.archive, UM, "BUSDT", DAYS[1], metrics("BUSDT", labels(midnight(DAYS[1]))))
    assert empty.run(JOB, DAYS[0], DAYS[1], tables="open_interest").success
    heights = [
        dict(rows.group_by("symbol").len().rows())
        for rows in (
            read_partition(empty.store, TableSlice("silver", "binance", "um", UM.table).partition(day))
            for day in DAYS[:2]
        )
    ]
    assert heights == [{}, {"AUSDT": 1, "BUSDT": 288}]
    assert _checks(empty, "completeness")["silver"].passed


@pytest.mark.requirement("F5.4")
def test_rows_of_a_day_after_the_last_one_of_a_feed_are_named_until_that_day_is_built(empty: Platform) -> None:
    of = feed("binance", "cm", "liquidations")
    last, after = "2024-10-14", "2024-10-15"
    stamp = int(midnight(after).timestamp() * 1000)
    rows = [f"{stamp + ms},BUY,LIMIT,IOC,12,30500.5,30480.1,FILLED,5,12" for ms in (-1000, 250)]
    put(empty.archive, of, "BTCUSD_PERP", last, rows)
    job = "update_binance_cm_daily"
    assert empty.run(job, last, last, tables="liquidations").success
    found = _checks(empty, "completeness", of)["silver"]
    assert f"| {last} |  | 1 rows belong to {after}, a day without files in the archive" in str(
        found.metadata["table"].value
    )
    assert empty.run(job, after, after, tables="liquidations").success
    heights = [
        read_partition(empty.store, TableSlice("silver", "binance", "cm", of.table).partition(day)).height
        for day in (last, after)
    ]
    assert heights == [1, 1]
    assert _checks(empty, "completeness", of)["silver"].passed
