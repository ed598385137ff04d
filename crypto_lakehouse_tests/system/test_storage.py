"""Where Dagster keeps its records: SQLite below DAGSTER_HOME, or a real PostgreSQL server."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2  # type: ignore[import-untyped]
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

import crypto_lakehouse
from crypto_lakehouse.orchestration.home import HomeError
from crypto_lakehouse.orchestration.launch import open_instance
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG

ROOT = Path(crypto_lakehouse.__file__).parent.parent
PASSWORD = "runs-test-secret"
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
    """Run a job, and find its record by an instance that was opened anew."""
    with dg.DagsterInstance.get() as instance:
        result = trivial.execute_in_process(instance=instance)
        assert result.success
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
    return result.run_id


@pytest.mark.requirement("T8", "F7.1")
def test_records_of_their_own_are_in_sqlite_wherever_the_others_are(
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


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a PostgreSQL server with a superuser ``dagster`` and a password."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian package 'postgresql')")
    binaries = found[-1].parent
    folder = tmp_path_factory.mktemp("postgres")
    # The server refuses to run as root.
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    init = [str(binaries / "initdb"), "-D", str(data), "-U", "dagster", "-A", "scram-sha-256", "--no-sync"]
    subprocess.run([*as_user, *init, f"--pwfile={secret}"], check=True, capture_output=True, cwd=folder)
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    options = f"-h 127.0.0.1 -p {port} -k {folder} -F"
    start = [*control, "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        yield port
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, capture_output=True, cwd=folder)


@pytest.mark.requirement("T8", "F5.8")
def test_with_postgresql_set_runs_are_there(home: Path, postgres: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"HOST": "127.0.0.1", "PORT": str(postgres), "USER": "dagster", "PASSWORD": PASSWORD}
    for name, value in {**settings, "DB": "postgres"}.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
    run_id = _run_and_read_back()
    connection = psycopg2.connect(host="127.0.0.1", port=postgres, user="dagster", password=PASSWORD, dbname="postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT status FROM runs WHERE run_id = %s", (run_id,))
            assert cursor.fetchall() == [("SUCCESS",)]
    finally:
        connection.close()
    assert not list(home.rglob("*.db"))
    assert len(_milliseconds()) == len(MANY)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]), backfill_policy=dg.BackfillPolicy.single_run())
def parts(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"key": key}, partition_key=key)


def _materialize() -> list[tuple[str, str | None, Any]]:
    """Planned and made partitions of one range run as an instance that was opened anew has them."""
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


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(MANY), backfill_policy=dg.BackfillPolicy.single_run())
def many() -> None:
    pass


def _milliseconds() -> set[int]:
    """Times of the events of a range run of ``MANY`` partitions, as the UI tells them apart."""
    tags = {RANGE_START_TAG: MANY[0], RANGE_END_TAG: MANY[-1]}
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([many], instance=instance, tags=tags).success
        records = instance.fetch_materializations(many.key, limit=len(MANY), ascending=True).records
    assert sorted(str(record.partition_key) for record in records) == MANY
    times = [record.timestamp for record in records]
    assert times == sorted(times)
    return {int(time * 1000) for time in times}


@pytest.mark.requirement("F5.8")
def test_partitions_of_a_range_run_have_times_that_the_ui_tells_apart(home: Path) -> None:
    assert len(_milliseconds()) == len(MANY)


@pytest.mark.requirement("T8", "P6")
def test_events_in_batches_are_those_that_dagster_writes_one_by_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    original = SqliteEventLogStorage.store_event_batch

    def counted(self: SqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        batches.append(len(events))
        original(self, events)

    monkeypatch.setattr(SqliteEventLogStorage, "store_event_batch", counted)
    at_once = _materialize()
    assert batches == [3, 3]
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert _materialize() == at_once == [("parts", key, key) for key in "abc"]


def test_a_batch_that_fails_leaves_nothing_and_its_events_are_written_one_by_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, left = SqliteEventLogStorage.store_event, [1]

    def failing(self: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
        original(self, event)
        if event.is_dagster_event and event.get_dagster_event().is_step_materialization and left:
            left.pop()
            raise OSError("the disk is full")

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", failing)
    assert _materialize() == [("parts", key, key) for key in "abc"]
    assert not left
