"""Where Dagster keeps its records: SQLite below DAGSTER_HOME, or a real PostgreSQL server."""

import os
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster_postgres.event_log import PostgresEventLogStorage

import crypto_lakehouse
from crypto_lakehouse.orchestration.home import HomeError
from crypto_lakehouse.orchestration.launch import open_instance
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse_tests.system.postgres_server import PostgresServer

ROOT = Path(crypto_lakehouse.__file__).parent.parent
MANY = [f"{number:03}" for number in range(100)]


@dg.op
def one() -> int:
    return 1


@dg.job
def trivial() -> None:
    one()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the project's own dagster.yaml; it is the working folder too, as in the project."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "USER", "PASSWORD", "DB"):
        monkeypatch.delenv(f"DAGSTER_POSTGRES_{name}", raising=False)
    return tmp_path


def _run_and_read_back() -> str:
    """Run a job, and find its record with a newly opened instance."""
    with dg.DagsterInstance.get() as instance:
        result = trivial.execute_in_process(instance=instance)
        assert result.success
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
    return result.run_id


@pytest.mark.requirement("T8", "F7.1")
def test_private_records_are_in_sqlite_wherever_the_others_are(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "127.0.0.1")
    with open_instance(tmp_path / "own") as instance:
        assert instance.get_runs() == []
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "own")
    _run_and_read_back()
    assert not (home / ".dagster").exists()


@pytest.mark.requirement("T8")
def test_with_nothing_set_runs_are_in_sqlite_below_the_home(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.telemetry_enabled is False
    _run_and_read_back()
    assert list((home / ".dagster").rglob("runs.db"))
    assert not [p for p in home.rglob("*.db") if home / ".dagster" not in p.parents]


@pytest.mark.requirement("T8")
def test_half_a_postgresql_configuration_names_what_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", "dagster")
    with pytest.raises(HomeError, match="set DAGSTER_POSTGRES_PASSWORD, DAGSTER_POSTGRES_DB too"):
        dg.DagsterInstance.get()


@pytest.mark.requirement("T8", "F5.8")
def test_with_postgresql_set_runs_are_there(
    home: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in postgres.settings().items():
        monkeypatch.setenv(name, value)
    run_id = _run_and_read_back()
    assert postgres.statuses() == {run_id: "SUCCESS"}
    assert not list(home.rglob("*.db"))
    assert len(_milliseconds()) == len(MANY)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]), backfill_policy=dg.BackfillPolicy.single_run())
def parts(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"key": key}, partition_key=key)


def _materialize() -> list[tuple[str, str | None, Any]]:
    """Planned and materialized partitions of one range run, read by a newly opened instance."""
    tags = {RANGE_START_TAG: "a", RANGE_END_TAG: "c"}
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([parts], instance=instance, tags=tags, raise_on_error=False).success
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(parts.key) == {"a", "b", "c"}
        records = instance.fetch_materializations(parts.key, limit=10, ascending=True).records
        planned = instance.get_event_records(
            dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=parts.key)
        )
        run = instance.all_logs(records[0].run_id)
    made = [(record.asset_materialization, record.partition_key) for record in records]
    assert len(planned) == len(made) == 3
    assert [e.dagster_event_type for e in run].count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 3
    return sorted((one.asset_key.to_user_string(), key, one.metadata["key"].value) for one, key in made if one)


@dg.asset(partitions_def=parts.partitions_def, backfill_policy=dg.BackfillPolicy.single_run())
def twin() -> None:
    pass


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(MANY), backfill_policy=dg.BackfillPolicy.single_run())
def many() -> None:
    pass


def _milliseconds() -> set[int]:
    """Times of the events of a range run of ``MANY`` partitions, in the resolution of the UI."""
    tags = {RANGE_START_TAG: MANY[0], RANGE_END_TAG: MANY[-1]}
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([many], instance=instance, tags=tags).success
        records = instance.fetch_materializations(many.key, limit=len(MANY), ascending=True).records
    assert sorted(str(record.partition_key) for record in records) == MANY
    times = [record.timestamp for record in records]
    assert times == sorted(times)
    return {int(time * 1000) for time in times}


@pytest.mark.requirement("F5.8")
def test_partitions_of_a_range_run_have_distinct_times_in_the_ui(home: Path) -> None:
    assert len(_milliseconds()) == len(MANY)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of events of each group that is stored together, as they come."""
    sizes: list[int] = []
    original = SqlEventLogStorage._store_asset_event_tags

    def counted(self: SqlEventLogStorage, connection: Any, events: Any, ids: Any) -> None:
        sizes.append(len(events))
        original(self, connection, events, ids)

    monkeypatch.setattr(SqlEventLogStorage, "_store_asset_event_tags", counted)
    return sizes


@pytest.mark.requirement("T8", "P6")
def test_events_in_batches_equal_those_that_dagster_writes_one_by_one(home: Path, batches: list[int]) -> None:
    at_once = _materialize()
    assert batches == [3, 3]
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert _materialize() == at_once == [("parts", key, key) for key in "abc"]


def test_a_batch_that_fails_leaves_nothing_and_its_events_are_written_one_by_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, left = SqliteEventLogStorage._store_asset_event, [1]

    def failing(self: SqliteEventLogStorage, connection: Any, event: dg.EventLogEntry, event_id: int) -> None:
        original(self, connection, event, event_id)
        if event.get_dagster_event().is_step_materialization and left:
            left.pop()
            raise OSError("the disk is full")

    monkeypatch.setattr(SqliteEventLogStorage, "_store_asset_event", failing)
    assert _materialize() == [("parts", key, key) for key in "abc"]
    assert not left


@dg.asset_check(asset=parts)
def every_part() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


TABLES = {
    "event_logs": "id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition",
    "asset_keys": "asset_key, last_materialization, last_run_id, asset_details, wipe_timestamp,"
    " last_materialization_timestamp, tags",
    "asset_event_tags": "event_id, asset_key, key, value, event_timestamp",
    "asset_check_executions": "asset_key, check_name, partition, run_id, execution_status",
}


@pytest.mark.requirement("T8", "P6")
def test_batches_in_postgresql_are_the_rows_that_dagster_writes_one_by_one(
    home: Path, postgres: PostgresServer, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in postgres.settings().items():
        monkeypatch.setenv(name, value)
    tags = {RANGE_START_TAG: "a", RANGE_END_TAG: "c"}
    with dg.DagsterInstance.get() as instance:
        # Another asset of the same run is planned in the same batch.
        result = dg.materialize([parts, twin, every_part], instance=instance, tags=tags)
        assert result.success
        assert batches == [6, 3, 3]
        events = instance.all_logs(result.run_id)
    own = PostgresEventLogStorage(postgres.create("own"))
    for event in events:
        own.store_event(event)
    for table, columns in TABLES.items():
        ours, theirs = (
            postgres.rows(f"SELECT {columns} FROM {table} ORDER BY {columns}", database)
            for database in ("postgres", "own")
        )
        assert len(ours) > 0, table
        assert ours == theirs, table


def test_a_batch_that_fails_in_postgresql_is_stored_once(
    home: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in postgres.settings().items():
        monkeypatch.setenv(name, value)
    original, left = PostgresEventLogStorage._store_asset_event, [1]

    def failing(self: PostgresEventLogStorage, connection: Any, event: dg.EventLogEntry, event_id: int) -> None:
        original(self, connection, event, event_id)
        if event.get_dagster_event().is_step_materialization and left:
            left.pop()
            raise OSError("the disk is full")

    monkeypatch.setattr(PostgresEventLogStorage, "_store_asset_event", failing)
    assert _materialize() == [("parts", key, key) for key in "abc"]
    assert not left
