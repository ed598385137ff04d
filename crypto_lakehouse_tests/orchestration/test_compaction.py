"""Month files through Dagster: the job, what it records, when its sensor asks for it, and the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Cadence, partition_keys
from crypto_lakehouse.cli import app
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import failure_text
from crypto_lakehouse_tests.unit.test_compaction import FEBRUARY, UM, day_rows, put

pytestmark = [pytest.mark.slow, pytest.mark.requirement("P5", "F5.1")]

MONTHS, DAYS = (dg.AssetKey([layer, "binance", "um", "klines_1m"]) for layer in ("compacted", "silver"))


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    """Silver minutes of January and February 2023; January lacks a day."""
    store = LakeStore.open(str(tmp_path / "lake"))
    for key in partition_keys(date(2023, 1, 1), date(2023, 3, 1), Cadence.DAILY):
        if key != "2023-01-05":
            put(store, key, day_rows(key))
    return store


@pytest.fixture
def defs(store: LakeStore) -> dg.Definitions:
    return build_defs(Settings.load(env="test", tables="klines_1m", lake_uri=store.uri))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(defs: dg.Definitions, instance: dg.DagsterInstance, first: str, last: str) -> dg.ExecuteInProcessResult:
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last}
    return defs.resolve_job_def("compact_binance_um").execute_in_process(
        instance=instance, tags=tags, raise_on_error=False, asset_selection=[MONTHS]
    )


def test_the_job_makes_months_and_records_each(
    defs: dg.Definitions, instance: dg.DagsterInstance, store: LakeStore
) -> None:
    put(store, "2023-01-05", day_rows("2023-01-05"))
    result = run(defs, instance, "2023-01", "2023-02")
    assert result.success
    events = {event.partition: event for event in result.get_asset_materialization_events()}
    assert set(events) == {"2023-01", "2023-02"} == instance.get_materialized_partitions(MONTHS)
    found = {name: value.value for name, value in events["2023-02"].materialization.metadata.items()}
    assert (found["days"], found["was_up_to_date"]) == (28, False)
    assert found["dagster/partition_row_count"] == sum(day_rows(key).height for key in FEBRUARY)
    assert Path(str(found["uri"])).is_file()
    # The day files are as they were, and no asset of a layer was made.
    assert {event.asset_key for event in result.get_asset_materialization_events()} == {MONTHS}


def test_an_incomplete_month_fails_with_the_days_it_lacks_and_the_others_are_made(
    defs: dg.Definitions, instance: dg.DagsterInstance, store: LakeStore
) -> None:
    result = run(defs, instance, "2023-01", "2023-02")
    assert not result.success
    assert "2023-01 is missing 2023-01-05" in failure_text(result)
    assert [path.path.split("/")[-2] for path in store.list("compacted")] == ["month=2023-02"]


def test_the_sensor_asks_for_a_month_when_it_is_complete_and_when_a_day_was_made_again(
    defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    def wanted(cursor: dg.AutomationCondition | None = None) -> tuple[set[str], object]:
        found = dg.evaluate_automation_conditions(
            defs, instance, asset_selection=dg.AssetSelection.assets(MONTHS), cursor=cursor
        )
        return found.get_requested_partitions(MONTHS), found.cursor

    def made(key: dg.AssetKey, *partitions: str) -> None:
        for partition in partitions:
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))

    made(DAYS, *FEBRUARY[:-1])
    asked, cursor = wanted()
    assert asked == set()
    made(DAYS, FEBRUARY[-1])
    asked, cursor = wanted(cursor)
    assert asked == {"2023-02"}
    made(MONTHS, "2023-02")
    asked, cursor = wanted(cursor)
    assert asked == set()
    made(DAYS, FEBRUARY[9])
    asked, cursor = wanted(cursor)
    assert asked == {"2023-02"}


@pytest.mark.filterwarnings("ignore:.* has no partition for 2023-01-05:crypto_lakehouse.LakeWarning")
def test_the_command_makes_what_is_due_and_says_what_is_left_out(
    store: LakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", store.uri)
    monkeypatch.setenv("LAKEHOUSE_TABLES", "klines_1m,trades")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    before = Lakehouse(store.uri).scan("silver.klines_1m", symbols="BTCUSDT").collect()
    command = ["compact", "--market", "um", "--table", "klines_1m"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "skipped binance/um/klines_1m 2023-01: missing 2023-01-05" in done.output
    assert "build them with: crypto-lakehouse backfill --market um --table klines_1m --from 2023-01-05" in done.output
    assert "1 months of binance/um/klines_1m to build, 0 are up to date" in done.output
    assert Lakehouse(store.uri).scan("silver.klines_1m", symbols="BTCUSDT").collect().equals(before)
    assert "compacted" in Lakehouse(store.uri).scan("silver.klines_1m", symbols="BTCUSDT").explain()
    draft = Path(store.root, "silver", ".tmp-of-a-killed-run")
    draft.write_bytes(b"half")
    os.utime(draft, (0, 0))
    again = CliRunner().invoke(app, [*command, "--from", "2023-02", "--to", "2023-02"])
    assert again.exit_code == 0
    assert "removed 1 temporary files" in again.output
    assert not draft.exists()
    assert "0 months of binance/um/klines_1m to build, 1 are up to date" in again.output
    for wrong in (["--table", "trades"], ["--table", "nothing"], ["--from", "2023-02-01"], ["--table", "klines_1h"]):
        assert CliRunner().invoke(app, ["compact", "--market", "um", *wrong]).exit_code == 2
    backwards = CliRunner().invoke(app, [*command, "--from", "2023-02", "--to", "2023-01"])
    assert backwards.exit_code == 2
    assert "the range ends (2023-01) before it starts (2023-02)" in backwards.output


def test_a_day_that_is_backfilled_again_is_read_at_once_and_compacted_again(
    defs: dg.Definitions, instance: dg.DagsterInstance, store: LakeStore
) -> None:
    assert run(defs, instance, "2023-02", "2023-02").success
    put(store, FEBRUARY[3], day_rows(FEBRUARY[3], seed=77))
    lake = Lakehouse(store.uri)
    asked = {"market": "um", "symbols": "AAAUSDT", "start": FEBRUARY[3], "end": "2023-03-01"}
    closes = lake.scan("silver.klines_1m", **asked).collect()["close"]
    assert "compacted" not in lake.scan("silver.klines_1m", **asked).explain()
    assert run(defs, instance, "2023-02", "2023-02").success
    assert "compacted" in lake.scan("silver.klines_1m", **asked).explain()
    assert lake.scan("silver.klines_1m", **asked).collect()["close"].equals(closes)
    assert Path(store.path(UM.partition(FEBRUARY[3]).path)).is_file()
