"""kill -9 in the middle of a range run: no partial file is visible, and a new run completes the lake."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, run, settings, variables

FIRST, LAST = "2024-12-27", "2025-01-02"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, symbols=3, days=7, start=date(2024, 12, 27))
    with WatchedServer(folder) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: WatchedServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    lake = tmp_path_factory.mktemp("undisturbed")
    assert run(settings(server, lake), "um", FIRST, LAST).success
    return digests(lake)


@pytest.mark.requirement("T4", "D6")
@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_a_killed_run_leaves_whole_partitions_and_a_new_run_completes_them(
    layer: str, server: WatchedServer, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    async def hold_later_days(request: web.Request) -> None:
        if layer == "bronze" and "2025-01" in request.path:
            await asyncio.sleep(60)

    server.fault = hold_later_days
    command = [sys.executable, "-m", "crypto_lakehouse_tests.system.runs", "um", FIRST, LAST]
    process = subprocess.Popen(
        command, env=variables(server, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and len(list((tmp_path / layer).rglob("part-0.parquet"))) < 2:
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
        server.fault = None
    assert process.returncode == -signal.SIGKILL
    made = digests(tmp_path)
    assert 2 <= len(made) < len(undisturbed)
    for path in made:
        assert pq.read_table(tmp_path / path).num_rows > 0
    # What was published is final already; only partitions are missing.
    assert made.items() <= undisturbed.items()
    assert run(settings(server, tmp_path), "um", FIRST, LAST).success
    assert digests(tmp_path) == undisturbed
