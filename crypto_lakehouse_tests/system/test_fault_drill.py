"""The fault drill as a user runs it: each fault of the archive ends in the right table with the right reason."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.fault_outcomes import differences
from crypto_lakehouse.sample.faults import FAULTS, FaultyArchive
from crypto_lakehouse_tests.system.test_cli import run

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.17")]

PAGE = Path(__file__).parents[2] / "docs/workflows/faults.md"
TABLE = re.compile(r"^\| fault .*?(?=^$)", re.MULTILINE | re.DOTALL)
VALUES = ["open", "high", "low", "close", "base_volume", "quote_volume", "trade_count"]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a drill, and what it printed."""
    folder = tmp_path_factory.mktemp("drill")
    done = run(folder, "drill", "--folder", "drill")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LakeWarning" not in done.stdout + done.stderr
    return folder / "drill", done.stdout


def minutes(lake: Lakehouse, name: str) -> pl.DataFrame:
    """The silver rows of a fault's symbol and minutes."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    midnight = datetime(fault.day.year, fault.day.month, fault.day.day, tzinfo=UTC)
    start, end = (midnight + timedelta(minutes=minute) for minute in fault.minutes)
    rows = lake.scan("silver.klines_1m", market="um", start=fault.day, end=fault.day + timedelta(days=1))
    return rows.filter(
        pl.col("open_time").is_between(start, end, closed="left"), pl.col("symbol") == fault.symbol
    ).collect()


def test_the_page_has_the_table_that_the_drill_prints(drill: tuple[Path, str]) -> None:
    (printed,) = TABLE.findall(drill[1])
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_FAULTS"):
        PAGE.write_text(TABLE.sub(lambda _: printed, page), encoding="utf-8")
    (written,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    assert written == printed, "run this test with UPDATE_FAULTS=1, and read what has changed"
    assert all(f"| `{fault.name}` |" in printed for fault in FAULTS)


def test_silver_has_all_that_any_witness_had(drill: tuple[Path, str]) -> None:
    folder, printed = drill
    faulty = FaultyArchive(folder / "faulty")
    lake = Lakehouse(folder / "lake")
    assert "minutes of silver.klines_1m that are not what the exchange has: 0\n" in printed
    assert differences(lake, faulty.exchange).is_empty()
    # Only the minutes that neither the archive nor the exchange has differ from what was traded.
    lost = differences(lake, faulty.truth)
    assert set(lost["symbol"]) == {"BTCUSDT"}
    assert lost["open_time"].sort().to_list() == [datetime(2024, 1, 12, 8, m, tzinfo=UTC) for m in range(10)]
    assert lost["close"].null_count() == 10


def test_the_lake_is_read_as_it_was_before_the_files_were_published(drill: tuple[Path, str]) -> None:
    folder, printed = drill
    (snapshot,) = re.findall(r"as_of='([^']+)'", printed)
    now, then = Lakehouse(folder / "lake"), Lakehouse(folder / "lake", as_of=snapshot)
    for name in ("late_day", "stale_checksum"):
        assert set(minutes(now, name)["source"]) == {"archive_daily"}
        assert set(minutes(then, name)["source"]) == {"rest"}
        assert minutes(now, name).select(VALUES).equals(minutes(then, name).select(VALUES))
    (before,), (after,) = (minutes(lake, "replaced_file")["close"] for lake in (then, now))
    assert before == minutes(now, "replaced_file")["low"].item()
    assert before != after


def test_a_folder_with_files_is_refused(drill: tuple[Path, str]) -> None:
    again = run(drill[0].parent, "drill", "--folder", "drill")
    assert again.returncode == 2
    assert "is not empty: choose a new folder with --folder" in again.stderr
