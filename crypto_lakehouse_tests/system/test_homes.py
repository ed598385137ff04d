"""A fresh home of Dagster that several commands open at the same time, and a broken home.

LAKEHOUSE_TEST_ROUNDS is the number of rounds, each with three processes on a fresh home. 20 rounds show the original
fault; the default is small because a round of real commands takes long.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.test_cli import COMMAND, REPOSITORY, UM, environment, run

ROUNDS = int(os.environ.get("LAKEHOUSE_TEST_ROUNDS", "2"))
DAYS = ("2024-12-27", "2024-12-28", "2024-12-29")
PROGRAMS = Path(sys.executable).parent
DEFINITIONS = ("-m", "crypto_lakehouse.definitions")


def _open_and_read(barrier: Barrier, homes: list[Path]) -> None:
    for home in homes:
        os.environ["DAGSTER_HOME"] = str(home)
        barrier.wait()
        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs() == []
            assert not instance.fetch_materializations(dg.AssetKey("none"), limit=1).records


@pytest.mark.requirement("T8")
def test_processes_can_open_a_fresh_home_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [tmp_path / str(number) for number in range(20)]
    for home in homes:
        home.mkdir()
        shutil.copy(REPOSITORY / "dagster.yaml", home)
    context = get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_open_and_read, args=(barrier, homes)) for _ in range(3)]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            if any(process.exitcode for process in processes):
                barrier.abort()
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    for home in homes:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs() == []


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings for a served archive of one coin."""
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, symbols=1, days=len(DAYS), start=date.fromisoformat(DAYS[0]))
    with ArchiveServer(folder) as server:
        urls = {"LAKEHOUSE_ARCHIVE_URL": server.url, "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url}
        yield {**urls, "LAKEHOUSE_TABLES": "klines_1m"}


@contextmanager
def started(folder: Path, name: str, command: list[str], settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that writes to ``name``.log; its whole group is ended with the context."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def backfill(day: str, table: str = "klines_1m") -> list[str]:
    return [*COMMAND, *UM, table, "--from", day, "--to", day]


def words(folder: Path) -> str:
    """What all commands have printed."""
    return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')}" for log in sorted(folder.glob("*.log")))


def _wait_for_server(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the web server answers a query of its records."""
    query = json.dumps({"query": "{runsOrError {__typename}}"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", query, headers={"Content-Type": "application/json"}
    )
    while True:
        assert server.poll() is None, words(folder)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer) == {"data": {"runsOrError": {"__typename": "Runs"}}}
                return
        except OSError:
            time.sleep(0.2)


def _wait_for_daemon(daemon: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the daemon has written to its records."""
    with dg.DagsterInstance.get() as instance:
        while not instance.get_daemon_heartbeats():
            assert daemon.poll() is None, words(folder)
            time.sleep(0.2)


def _statuses(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        return [run.status.value for run in instance.get_runs()]


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_web_server_daemon_and_backfill_can_start_together_on_a_fresh_home(
    number: int, tmp_path: Path, archive: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    lake, port = {"LAKEHOUSE_LAKE_URI": str(tmp_path / "lake")}, _free_port()
    settings = environment(DAGSTER_HOME=str(tmp_path), **archive, **lake)
    server = [str(PROGRAMS / "dagster-webserver"), *DEFINITIONS, "-h", "127.0.0.1", "-p", str(port)]
    daemon = [str(PROGRAMS / "dagster-daemon"), "run", *DEFINITIONS]
    with (
        started(tmp_path, "server", server, settings) as serving,
        started(tmp_path, "daemon", daemon, settings) as watching,
        started(tmp_path, "backfill", backfill(DAYS[0]), settings) as filling,
    ):
        assert filling.wait() == 0, words(tmp_path)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        _wait_for_daemon(watching, tmp_path)
        _wait_for_server(port, serving, tmp_path)
    assert _statuses(tmp_path, monkeypatch) == ["SUCCESS"]
    assert "Traceback" not in words(tmp_path)


@pytest.mark.requirement("T8", "F7.3")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_three_backfills_can_start_together_on_a_fresh_home(
    number: int, tmp_path: Path, archive: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, table = tmp_path / "home", "klines_1h"
    # Not klines_1m: days of gold follow each other, so a run can find that another one has yet to rebuild its day.
    here = {"DAGSTER_HOME": str(home), "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"), "LAKEHOUSE_TABLES": table}
    settings = environment(**{**archive, **here})
    with ExitStack() as stack:
        filling = [stack.enter_context(started(tmp_path, day, backfill(day, table), settings)) for day in DAYS]
        assert [process.wait() for process in filling] == [0, 0, 0], words(tmp_path)
    assert _statuses(home, monkeypatch) == ["SUCCESS"] * 3


def _two_versions(home: Path) -> None:
    """The damage that two simultaneous first commands left in a home."""
    with sqlite3.connect(home / ".dagster" / "history" / "runs.db") as connection:
        connection.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")


def _no_database(home: Path) -> None:
    (home / ".dagster" / "history" / "runs.db").write_bytes(b"these bytes are no database" * 100)


@pytest.mark.requirement("T8", "F7.3")
@pytest.mark.parametrize("damage", [_two_versions, _no_database])
def test_a_broken_home_is_reported_with_a_command_that_repairs_it(
    damage: Callable[[Path], None], tmp_path: Path, archive: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
    damage(tmp_path)
    settings = {"DAGSTER_HOME": str(tmp_path), "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"), **archive}
    commands = [
        backfill(DAYS[0]),
        [str(PROGRAMS / "dagster-daemon"), "run", *DEFINITIONS],
        [str(PROGRAMS / "dagster-webserver"), *DEFINITIONS, "-p", str(_free_port())],
    ]
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, env=environment(**settings), capture_output=True, text=True)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        said = " ".join(done.stderr.split())
        assert f"Dagster's records in {tmp_path / '.dagster'} are broken" in said
        assert said.count(". ") == 0
    advice = re.search(r"with (mv \S+ \S+) and repeat", said)
    assert advice
    subprocess.run(advice[1], shell=True, check=True)
    again = run(tmp_path, *backfill(DAYS[0])[len(COMMAND) :], **settings)
    assert again.returncode == 0, again.stderr


@pytest.mark.requirement("T8")
def test_a_home_opens_after_its_first_command_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    settings = environment(DAGSTER_HOME=str(tmp_path), LAKEHOUSE_LAKE_URI=str(tmp_path / "lake"))
    opening = "import dagster; dagster.DagsterInstance.get()"
    with subprocess.Popen([sys.executable, "-c", opening], cwd=tmp_path, env=settings) as process:
        while not list(tmp_path.rglob("runs.db*")):
            assert process.poll() is None
        process.kill()
    assert _statuses(tmp_path, monkeypatch) == []
    for database in (tmp_path / ".dagster").rglob("*.db"):
        with sqlite3.connect(database) as connection:
            assert len(connection.execute("SELECT * FROM alembic_version").fetchall()) == 1
    with sqlite3.connect(tmp_path / ".dagster" / "history" / "runs.db") as connection:
        assert connection.execute("SELECT count(*) FROM secondary_indexes").fetchone()[0] > 0


@pytest.mark.requirement("T8", "F7.3")
def test_a_configuration_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("storage: [")
    done = run(tmp_path, *backfill(DAYS[0])[len(COMMAND) :], DAGSTER_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the dagster.yaml of DAGSTER_HOME is not valid YAML")
    assert done.stderr.count("\n") == 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
