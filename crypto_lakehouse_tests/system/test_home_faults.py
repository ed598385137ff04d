"""Failures of Dagster's storage: PostgreSQL that refuses or stops, settings without effect, full disks.

Each is reported in one sentence. Homes that several commands open at once are in ``test_homes.py``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.postgres_server import PostgresServer
from crypto_lakehouse_tests.system.runs import WatchedServer
from crypto_lakehouse_tests.system.test_cli import COMMAND, REPOSITORY, UM, environment, run

DAYS = ("2024-12-27", "2024-12-28", "2024-12-29")
BACKFILL = (*UM, "klines_1m", "--from", DAYS[0], "--to", DAYS[-1])
PROGRAMS = Path(sys.executable).parent
DEFINITIONS = ("-m", "crypto_lakehouse.definitions")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchedServer]:
    make_sample(tmp_path / "archive", symbols=1, days=3, start=date.fromisoformat(DAYS[0]))
    with WatchedServer(tmp_path / "archive") as running:
        yield running


@pytest.fixture
def settings(server: WatchedServer, tmp_path: Path) -> dict[str, str]:
    """A home with the project's configuration, one run a day, and an archive."""
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    return {
        "DAGSTER_HOME": str(tmp_path),
        "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
        "LAKEHOUSE_ARCHIVE_URL": server.url,
        "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
        "LAKEHOUSE_TABLES": "klines_1m",
        "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "1",
    }


def once(server: WatchedServer, day: str, action: Callable[[], object]) -> None:
    """Call a function at the first request for a file of the day, before the archive answers."""
    left = [action]

    async def act(request: web.Request) -> None:
        if day in request.path and left:
            await asyncio.to_thread(left.pop())

    server.fault = act


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The only line of a command that failed."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.requirement("T8", "F7.3")
def test_a_home_without_configuration_uses_the_postgresql_settings(
    tmp_path: Path, settings: dict[str, str], postgres: PostgresServer
) -> None:
    home = tmp_path / "home"
    done = run(tmp_path, *BACKFILL, **{**settings, **postgres.settings(), "DAGSTER_HOME": str(home)})
    assert done.returncode == 0, done.stderr
    assert list(postgres.statuses().values()) == ["SUCCESS"] * 3
    assert not list(home.rglob("*.db"))


@pytest.mark.requirement("T8")
def test_postgresql_settings_that_the_configuration_ignores_are_refused(tmp_path: Path) -> None:
    variables = {f"DAGSTER_POSTGRES_{name}": "x" for name in ("HOST", "USER", "PASSWORD", "DB")}
    home = tmp_path / "home"
    home.mkdir()
    validate = [str(PROGRAMS / "dagster"), "definitions", "validate", *DEFINITIONS]
    settings = environment(DAGSTER_HOME=str(home), **variables)
    loaded = subprocess.run(validate, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert loaded.returncode == 1
    refusal = f"DAGSTER_POSTGRES_HOST is set, but {home / 'dagster.yaml'} does not use it"
    assert refusal in loaded.stdout + loaded.stderr
    (home / "dagster.yaml").write_text("# DAGSTER_POSTGRES_HOST\ntelemetry:\n  enabled: false\n")
    assert refusal in sentence(run(tmp_path, *BACKFILL, DAGSTER_HOME=str(home), **variables))


@pytest.mark.requirement("T8")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HOSTNAME": "localhost"}, "no setting DAGSTER_POSTGRES_HOSTNAME; there are DAGSTER_POSTGRES_HOST, "),
        ({"USER": "me"}, "set DAGSTER_POSTGRES_HOST, DAGSTER_POSTGRES_PASSWORD, DAGSTER_POSTGRES_DB too, or unset"),
        ({"HOST": "h", "USER": "u", "PASSWORD": "p", "DB": "d", "PORT": "5432x"}, "DAGSTER_POSTGRES_PORT=5432x"),
    ],
)
def test_a_setting_of_postgresql_without_effect_is_refused(
    variables: dict[str, str], words: str, tmp_path: Path
) -> None:
    given = {f"DAGSTER_POSTGRES_{name}": value for name, value in variables.items()}
    assert words in sentence(run(tmp_path, *BACKFILL, **given))


@pytest.mark.requirement("T8", "F7.3")
def test_every_command_reports_a_wrong_password_in_one_sentence(
    tmp_path: Path, settings: dict[str, str], postgres: PostgresServer
) -> None:
    variables = environment(**settings, **postgres.settings(password="hunter2"))
    commands = (
        [*COMMAND, *BACKFILL],
        [str(PROGRAMS / "dagster-daemon"), "run", *DEFINITIONS],
        [str(PROGRAMS / "dagster-webserver"), *DEFINITIONS],
    )
    for command in commands:
        said = sentence(subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True))
        assert f"PostgreSQL at 127.0.0.1:{postgres.port} does not store Dagster's records" in said
        assert 'password authentication failed for user "dagster"' in said
        assert "DAGSTER_POSTGRES_USER" in said
        assert "hunter2" not in said


@pytest.mark.requirement("T8", "F7.3")
@pytest.mark.parametrize("during", [False, True])
def test_a_stopped_postgresql_is_one_sentence_and_a_later_command_continues(
    during: bool, tmp_path: Path, server: WatchedServer, settings: dict[str, str], postgres: PostgresServer
) -> None:
    variables = {**settings, **postgres.settings()}
    if during:
        once(server, DAYS[1], postgres.stop)
    else:
        postgres.stop()
    done = run(tmp_path, *BACKFILL, **variables)
    assert "Connection refused" in sentence(done)
    assert (f"{DAYS[0]}: done" in done.stdout) is during
    server.fault = None
    postgres.start()
    again = run(tmp_path, *BACKFILL, **variables)
    assert again.returncode == 0, again.stderr
    # The later command runs only the days that the first one did not finish.
    assert sorted(postgres.statuses().values()) == [*["FAILURE"] * during, *["SUCCESS"] * 3]


@pytest.mark.requirement("T8", "F7.3")
def test_a_postgresql_that_restarts_is_waited_for(
    tmp_path: Path, server: WatchedServer, settings: dict[str, str], postgres: PostgresServer
) -> None:
    once(server, DAYS[1], lambda: (postgres.stop(), postgres.start()))
    done = run(tmp_path, *BACKFILL, **settings, **postgres.settings())
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(postgres.statuses().values()) == ["SUCCESS"] * 3


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size at ``folder``; skips the test if this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk is needed, and only root may mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no free byte on the disk."""
    space = os.statvfs(disk)
    (disk / "filling").write_bytes(bytes(space.f_bavail * space.f_frsize))


@pytest.mark.requirement("T8", "F7.3")
@pytest.mark.parametrize("size", ["8k", "100k", "500k"])
def test_a_home_on_a_full_disk_is_reported_in_one_sentence(size: str, tmp_path: Path, settings: dict[str, str]) -> None:
    with small_disk(tmp_path / "home", size) as home:
        said = sentence(run(tmp_path, *BACKFILL, **{**settings, "DAGSTER_HOME": str(home)}))
    assert said.startswith(f"error: the disk of DAGSTER_HOME is full, so Dagster's records in {home}")


@pytest.mark.requirement("T8", "F7.3")
def test_a_disk_that_fills_up_is_one_sentence_and_a_later_command_continues(
    tmp_path: Path, server: WatchedServer, settings: dict[str, str]
) -> None:
    with small_disk(tmp_path / "home", "8m") as home:
        variables = {**settings, "DAGSTER_HOME": str(home)}
        once(server, DAYS[1], lambda: fill(home))
        done = run(tmp_path, *BACKFILL, **variables)
        assert f"{DAYS[0]}: done" in done.stdout
        assert "the disk of DAGSTER_HOME is full" in sentence(done)
        (home / "filling").unlink()
        again = run(tmp_path, *BACKFILL, **variables)
        assert again.returncode == 0, again.stderr


@pytest.mark.requirement("F7.3", "T5")
def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, settings: dict[str, str], s3_lake: tuple[str, str, dict[str, str]]
) -> None:
    uri, endpoint, credentials = s3_lake
    lake = {"LAKEHOUSE_LAKE_URI": f"{uri}/full-disk", "LAKEHOUSE_S3_ENDPOINT_URL": endpoint, **credentials}
    with small_disk(tmp_path / "tmp", "32k") as folder:
        done = run(tmp_path, *BACKFILL, **{**settings, **lake, "TMPDIR": str(folder)})
    assert done.returncode == 1, done.stdout
    assert f"The disk of TMPDIR ({folder}) is full: free space there" in done.stdout
    assert "LakeError" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
