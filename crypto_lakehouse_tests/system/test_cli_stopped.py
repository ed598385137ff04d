"""A backfill process that is killed or interrupted: its records, its exit code, and the next command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from aiohttp import web

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.runs import WatchedServer
from crypto_lakehouse_tests.system.test_cli import COMMAND, UM, environment, run

DAYS = ("2024-12-27", "2024-12-28", "2024-12-29")
BACKFILL = (*UM, "klines_1m", "--from", DAYS[0], "--to", DAYS[-1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchedServer]:
    """An archive whose files of the second day do not come."""

    async def hold_the_second_day(request: web.Request) -> None:
        if DAYS[1] in request.path:
            await asyncio.sleep(600)

    make_sample(tmp_path / "archive", symbols=2, days=3, start=date(2024, 12, 27))
    with WatchedServer(tmp_path / "archive", hold_the_second_day) as running:
        yield running


@pytest.fixture
def settings(server: WatchedServer, tmp_path: Path) -> dict[str, str]:
    return {
        "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
        "LAKEHOUSE_ARCHIVE_URL": server.url,
        "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
        "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "1",
        "LAKEHOUSE_TABLES": "klines_1m",
    }


@contextmanager
def held(folder: Path, server: WatchedServer, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A backfill that waits for a file of the second day."""
    with subprocess.Popen(
        [*COMMAND, *BACKFILL],
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None and not any(DAYS[1] in path for path in server.requests):
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def statuses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What came of the runs that Dagster's records have, the oldest first."""
    monkeypatch.setenv("DAGSTER_HOME", str(folder / ".dagster"))
    with dg.DagsterInstance.get() as instance:
        return [run.status.value for run in reversed(instance.get_runs())]


@pytest.mark.requirement("F7.3", "T4")
def test_the_next_command_marks_the_run_of_a_killed_backfill_as_failed(
    tmp_path: Path, server: WatchedServer, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(tmp_path, server, settings) as process:
        process.kill()
        process.wait()
    assert statuses(tmp_path, monkeypatch) == ["SUCCESS", "STARTED"]
    server.fault = None
    again = run(tmp_path, *BACKFILL, **settings)
    assert again.returncode == 0, again.stdout + again.stderr
    # The first day is up to date, so two runs are left.
    assert statuses(tmp_path, monkeypatch) == ["SUCCESS", "FAILURE", "SUCCESS", "SUCCESS"]


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM,), 143),
        # An impatient person, up to the end of the process.
        ((signal.SIGINT,) * 1000, 130),
    ],
    ids=["Ctrl-C", "SIGTERM", "Ctrl-C again and again"],
)
def test_an_interrupt_stops_the_backfill_and_says_how_to_continue(
    signals: tuple[signal.Signals, ...],
    code: int,
    tmp_path: Path,
    server: WatchedServer,
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with held(tmp_path, server, settings) as process:
        for number in signals:
            process.send_signal(number)
            if len(signals) > 1:
                time.sleep(0.005)
        out, _ = process.communicate()
    assert process.returncode == code, out
    assert "1 partition done in 1 run; 0 runs failed" in out
    assert f"interrupted in binance/um/klines_1m {DAYS[1]}: repeat the command to continue" in out
    assert statuses(tmp_path, monkeypatch) == ["SUCCESS", "FAILURE"]
    assert not any(DAYS[2] in path for path in server.requests)


@pytest.mark.requirement("F7.3")
def test_ctrl_c_at_a_terminal_ends_the_programs_of_a_run_without_a_traceback(
    tmp_path: Path, server: WatchedServer, settings: dict[str, str]
) -> None:
    with held(tmp_path, server, settings) as process:
        # A terminal sends the signal to all processes of a command: Dagster starts some that keep the output of a run.
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate()
    assert process.returncode == 130, out + errors
    assert errors == ""


IN_GARBAGE_COLLECTION = """
import gc, os, signal, threading
from pathlib import Path

def stop(phase, info):
    if phase == "start" and not sent and any(Path("lake/bronze").glob("*/*/*/*/*.parquet")):
        sent.append(phase)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

sent = []
gc.callbacks.append(stop)
gc.set_threshold(100)
from crypto_lakehouse.cli import app

app()
"""


@pytest.mark.requirement("F7.3")
def test_a_signal_in_a_callback_of_the_garbage_collection_is_not_lost(
    tmp_path: Path, server: WatchedServer, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = None
    done = subprocess.run(
        [sys.executable, "-c", IN_GARBAGE_COLLECTION, *BACKFILL],
        cwd=tmp_path,
        env=environment(**settings),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 143, done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    assert f"interrupted in binance/um/klines_1m {DAYS[0]}: repeat the command to continue" in done.stdout
    assert statuses(tmp_path, monkeypatch) == ["FAILURE"]
