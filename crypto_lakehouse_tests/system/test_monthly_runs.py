"""Monthly files through real runs: the command line, kill -9, what readers report, and real files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.monthly import edit
from crypto_lakehouse_tests.system.realdata import ARCHIVE, needs_real_archive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, read, run, settings, variables

FIRST, LAST = "2024-02-01", "2024-02-29"
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]
BACKFILL = ["backfill", "--market", "um", "--table", "klines_1m", "--from", "2024-02", "--to", "2024-03-02"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, 2, 31, date(2024, 2, 1), tables=["klines_1m"], markets=["um"], monthly=True)
    return folder


@pytest.mark.requirement("D16", "P2")
def test_a_backfill_with_the_setting_takes_one_file_for_a_month(archive: Path, tmp_path: Path) -> None:
    with WatchedServer(archive) as server:
        more = {"LAKEHOUSE_TABLES": "klines_1m", "LAKEHOUSE_BARS": "1d", "DAGSTER_HOME": str(tmp_path / "home")}
        environment = variables(server, tmp_path / "lake") | more | {"LAKEHOUSE_ARCHIVE_FILES": "monthly"}

        def command(*arguments: str, **changes: str) -> str:
            ended = subprocess.run(
                [*COMMAND, *arguments],
                cwd=tmp_path,
                env=environment | changes,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout + ended.stderr

        # A monthly file of each symbol, and the daily files of two days.
        assert "in all 6 files" in command(*BACKFILL, "--dry-run")
        command(*BACKFILL)
        assert len(server.zips()) == 6
        server.requests.clear()
        assert "0 of 31 partitions to build" in command(*BACKFILL, "--dry-run")
        command(*BACKFILL)
        assert server.requests == []
        rows = Lakehouse(tmp_path / "lake").read("silver.klines_1m", market="um", format="polars")
        sources = rows.group_by("source").len().sort("source").rows()
        assert sources == [("archive_daily", 2 * 2 * 1440), ("archive_monthly", 2 * 29 * 1440)]
        assert "29 of 31 partitions to build" in command(*BACKFILL, "--dry-run", LAKEHOUSE_ARCHIVE_FILES="daily")


@pytest.mark.requirement("D16", "T4")
def test_a_killed_run_is_completed_by_the_next_one(archive: Path, tmp_path: Path) -> None:
    with WatchedServer(archive) as server:
        (tmp_path / "whole").mkdir()
        assert run(settings(server, tmp_path / "whole", archive_files="monthly"), "um", FIRST, LAST).success
        undisturbed, lake = digests(tmp_path / "whole"), tmp_path / "lake"
        arguments = [sys.executable, "-m", "crypto_lakehouse_tests.system.runs", "um", FIRST, LAST]
        environment = variables(server, lake) | {"LAKEHOUSE_ARCHIVE_FILES": "monthly", "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(
            arguments, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while process.poll() is None and len(list((lake / "bronze").rglob("part-0.parquet"))) < 3:
                time.sleep(0.001)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        made = digests(lake)
        assert 3 <= len(made) < len(undisturbed)
        assert made.items() <= undisturbed.items()
        assert run(settings(server, lake, archive_files="monthly"), "um", FIRST, LAST).success
        assert digests(lake) == undisturbed


@pytest.mark.requirement("D16")
def test_a_full_disk_is_an_error_that_says_what_to_do(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with WatchedServer(archive) as server:
        more = {"LAKEHOUSE_ARCHIVE_FILES": "monthly", "TMPDIR": str(tmp_path / "temporary")}
        # A month's zip has less than 2 MB, its rows have more.
        arguments = [sys.executable, "-m", "crypto_lakehouse_tests.system.runs", "um", FIRST, "2024-02-02", "2000000"]
        ended = subprocess.run(
            arguments, env=variables(server, tmp_path / "lake") | more, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    assert "cannot write BTCUSDT-2024-02.arrow to" in ended.stdout
    assert "free space or set TMPDIR to another folder, then run again" in ended.stdout
    assert not list((tmp_path / "temporary").glob("*lakehouse*"))
    assert not list((tmp_path / "lake" / "bronze").rglob("part-0.parquet"))


@pytest.mark.requirement("D16")
def test_readers_report_each_day_of_a_monthly_file(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", 1, 29, date(2024, 2, 1), tables=["klines_1h"], markets=["um"], monthly=True)
    (month,) = (tmp_path / "archive").rglob("*-2024-02.zip")
    sixth = [f"{1707177600000 + hour * 3600_000}," for hour in range(24)]
    edit(month, lambda lines: [line for line in lines if line[:14] not in sixth])
    with ArchiveServer(tmp_path / "archive") as server:
        environment = settings(server, tmp_path / "lake", tables="klines_1h", archive_files="monthly")
        assert run(environment, "um", "2024-02-05", "2024-02-07").success
    lake = Lakehouse(tmp_path / "lake")
    (bronze,) = lake_status(LakeStore.open(str(tmp_path / "lake")), "bronze.klines_1h")
    assert [re.sub(":.*", "", text) for text in bronze.quarantined] == ["2024-02-06 BTCUSDT"]
    assert bronze.failed == []
    coverage = lake.plot_coverage("silver.klines_1h", market="um").data
    states = dict(coverage.select("date", "state").iter_rows())
    assert states[date(2024, 2, 6)] == "quarantined"
    assert states[date(2024, 2, 5)] == states[date(2024, 2, 7)] != "quarantined"


@needs_real_archive
@pytest.mark.requirement("D16", "D8")
def test_real_monthly_files_give_the_values_of_daily_ones(tmp_path: Path) -> None:
    # The daily files of September end with the 30th of FILUSDT; NEARUSDT has only August.
    with WatchedServer(ARCHIVE) as server:
        for files in ("daily", "monthly"):
            server.requests.clear()
            environment = settings(server, tmp_path / files, tables="klines_1m", bars="1d", archive_files=files)
            assert run(environment, "um", "2023-08-01", "2023-09-30", "FILUSDT").success
        assert sorted(path.rpartition("/")[2] for path in server.zips()) == [
            "FILUSDT-1m-2023-08.zip",
            "FILUSDT-1m-2023-09.zip",
        ]
    daily, monthly = (read(Lakehouse(tmp_path / files), "silver.klines_1m") for files in ("daily", "monthly"))
    assert monthly.height == 61 * 1440
    assert monthly["source"].unique().to_list() == ["archive_monthly"]
    assert monthly.drop("source").equals(daily.drop("source"))
    for table in ("gold.continuous_1m", "gold.bars_1d"):
        daily, monthly = (read(Lakehouse(tmp_path / files), table) for files in ("daily", "monthly"))
        assert monthly.equals(daily)
