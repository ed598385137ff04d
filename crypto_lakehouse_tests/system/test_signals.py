"""Ctrl-C and SIGTERM at random moments of a real backfill: the exit code matches the outcome.

``SIGNALS=30 python -m pytest crypto_lakehouse_tests/system/test_signals.py`` sends that many signals.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.test_cli import COMMAND, UM, environment

FIRST, LAST, DAYS = "2024-12-27", "2024-12-29", 3
COUNT = int(os.environ.get("SIGNALS", "4"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, symbols=2, days=DAYS, start=date.fromisoformat(FIRST))
    with ArchiveServer(folder) as running:
        yield running


def start(folder: Path, server: ArchiveServer) -> subprocess.Popen[str]:
    """A backfill that has printed its first line: from then on its exit code must be correct."""
    folder.mkdir()
    process = subprocess.Popen(
        [*COMMAND, *UM, "klines_1m", "--from", FIRST, "--to", LAST],
        cwd=folder,
        env=environment(
            PYTHONUNBUFFERED="1",
            LAKEHOUSE_LAKE_URI=str(folder / "lake"),
            LAKEHOUSE_ARCHIVE_URL=server.url,
            LAKEHOUSE_ARCHIVE_LISTING_URL=server.listing_url,
            LAKEHOUSE_MAX_PARTITIONS_PER_RUN="1",
            LAKEHOUSE_TABLES="klines_1m",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def stored(folder: Path) -> int:
    """The current number of files in the lake of a backfill."""
    return sum(1 for _ in (folder / "lake").rglob("*.parquet"))


@pytest.fixture(scope="module")
def files(server: ArchiveServer, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The number of files that an undisturbed backfill stores."""
    folder = tmp_path_factory.mktemp("undisturbed") / "home"
    process = start(folder, server)
    out, error = process.communicate()
    assert process.returncode == 0, out + error
    return stored(folder)


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize("seed", range(COUNT))
def test_after_a_signal_at_any_moment_the_exit_code_matches_the_outcome(
    seed: int, server: ArchiveServer, files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    number = chance.choice((signal.SIGINT, signal.SIGTERM))
    process = start(tmp_path / "home", server)
    # By what is stored, since no machine is as fast as another, or as itself a minute ago.
    moment = chance.randint(0, files)
    while process.poll() is None and stored(tmp_path / "home") < moment:
        time.sleep(0.001)
    for _ in range(chance.randint(1, 3)):
        time.sleep(chance.uniform(0, 1))
        process.send_signal(number)
    out, error = process.communicate()
    print(f"{number.name}: exit code {process.returncode}: {out.splitlines()[-1]}")
    assert "Traceback" not in error
    made = len(list((tmp_path / "home" / "lake" / "gold" / "bars_1h").glob("**/*.parquet")))
    if process.returncode == 0:
        assert f"{DAYS} partitions done in {DAYS} runs; 0 runs failed" in out
        assert made == DAYS
    else:
        assert process.returncode == 128 + number, out + error
        assert "interrupted in binance/um/klines_1m" in out
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / ".dagster"))
    with dg.DagsterInstance.get() as instance:
        assert all(run.is_finished for run in instance.get_runs())
