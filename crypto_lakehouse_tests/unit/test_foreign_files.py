"""Intact files in the wrong place of the lake: readers and ``verify`` name them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.damage import DamagedFile
from crypto_lakehouse.lake.storage.ledger import read_ledger, read_state, read_states, record_files
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.sample_minutes import DAYS, put_minutes

pytestmark = pytest.mark.slow

KLINES = feed("binance", "um", "klines_1m")
MINUTES = TableSlice("silver", "binance", "um", "klines_1m")


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    store = LakeStore.open(str(tmp_path / "lake"))
    for table in ("silver.klines_1m", "gold.continuous_1m"):
        put_minutes(store, table)
    for key in DAYS:
        row = {"symbol": "AUSDT", "key": f"a-{key}.zip", "period": key, "status": "ingested"}
        record_files(store, KLINES, key, [row | {"rows": 0, "rejected_rows": 0}], datetime.now(UTC))
    return store


def part(store: LakeStore, table: str, day: str) -> Path:
    return Path(store.path(f"{table.replace('.', '/')}/exchange=binance/market=um/date={day}/part-0.parquet"))


def account(store: LakeStore, day: str) -> Path:
    (file,) = Path(store.root).glob(f"ledger/files/*/*/*/date={day}/*.parquet")
    return file


def found_by_verify(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line that ``verify`` prints."""
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", store.uri)
    done = CliRunner().invoke(app, ["verify"])
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.requirement("F6.8", "F6.9")
@pytest.mark.parametrize("table", ["silver.klines_1m", "gold.continuous_1m"])
def test_a_file_of_another_day_is_named(store: LakeStore, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = part(store, table, DAYS[1])
    shutil.copyfile(part(store, table, DAYS[0]), file)
    named = rf"date={DAYS[1]}/part-0.parquet\s+holds rows of {DAYS[0]} .*which do not belong in it"
    lake = Lakehouse(store.uri)
    for wanted in ({}, {"symbols": "AUSDT"}, {"columns": ["close"]}):
        with pytest.raises(DamagedFile, match=f"{named}.*--from {DAYS[1]} --to {DAYS[1]}"):
            lake.read(table, market="um", **wanted)
    assert re.search(named, found_by_verify(store, monkeypatch))


def of_another_period(file: Path) -> None:
    pl.read_parquet(file).with_columns(period=pl.lit(DAYS[0])).write_parquet(file)


def without_a_column(file: Path) -> None:
    pl.read_parquet(file).drop("status").write_parquet(file)


@pytest.mark.requirement("F6.8", "F6.9")
@pytest.mark.parametrize(
    ("tamper", "said"),
    [(of_another_period, f"holds rows of {DAYS[0]}, which do not belong in it"), (without_a_column, "status")],
)
def test_a_ledger_file_in_the_wrong_place_is_named(
    store: LakeStore, tamper: Callable[[Path], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = account(store, DAYS[1])
    tamper(file)
    reads: list[Callable[[], object]] = [
        lambda: read_state(store, KLINES, DAYS[1]),
        lambda: read_states(store, KLINES, DAYS),
        lambda: read_ledger(store, KLINES),
        lambda: lake_status(store),
    ]
    for read in reads:
        with pytest.raises(DamagedFile, match=f"{file.name} .*{said}.*--from {DAYS[1]} --to {DAYS[1]}"):
            read()
    assert read_state(store, KLINES, DAYS[0])
    line = found_by_verify(store, monkeypatch)
    assert file.name in line
    assert said in line or "columns do not match its table" in line


@pytest.mark.requirement("F6.8", "F6.9")
def test_a_file_of_other_types_is_named(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file = part(store, "silver.klines_1m", DAYS[1])
    pl.read_parquet(file).with_columns(pl.col("close").cast(pl.String)).write_parquet(file)
    named = f"{re.escape(str(file))} is damaged: .*close.*--from {DAYS[1]} --to {DAYS[1]}"
    reads: list[Callable[[], object]] = [
        lambda: Lakehouse(store.uri).read("silver.klines_1m", market="um"),
        lambda: read_partition(store, MINUTES.partition(DAYS[1])),
    ]
    for read in reads:
        with pytest.raises(DamagedFile, match=named):
            read()
    assert "'close'" in found_by_verify(store, monkeypatch)


@pytest.mark.requirement("T4")
def test_temporary_files_of_killed_runs_are_deleted(
    store: LakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for name in ("crypto-lakehouse-old", "crypto-lakehouse-new", "of-another-program"):
        (folder / name).mkdir(parents=True)
        (folder / name / "some.zip").write_bytes(b"half")
        for path in (folder / name / "some.zip", folder / name):
            os.utime(path, None if name.endswith("new") else (long_ago, long_ago))
    assert store.sweep() == 1
    assert sorted(path.name for path in folder.iterdir()) == ["crypto-lakehouse-new", "of-another-program"]
