"""Stored files with any changed bit are reported, and intact files are not."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.integrity import check_files, parquet_files
from crypto_lakehouse.lake.storage.quarantine import record_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import table_names
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.sample_minutes import DAYS, put_minutes
from crypto_lakehouse_tests.unit.small_lake import store_a_row

pytestmark = pytest.mark.slow

MINUTES = "gold/continuous_1m/exchange=binance/market=um"


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def damages(store: LakeStore, table: str | None = None) -> dict[str, str]:
    return {one.path: one.damage for one in check_files(store, parquet_files(store, table)) if one.damage}


@pytest.mark.requirement("F6.9")
def test_pages_are_written_with_checksums(tmp_path: Path) -> None:
    put_minutes(LakeStore.open(str(tmp_path)), "gold.continuous_1m")
    file = tmp_path / MINUTES / f"date={DAYS[0]}" / "part-0.parquet"
    volume = pq.read_metadata(file).row_group(0).column(7)
    flip(file, 8 * (volume.data_page_offset + volume.total_compressed_size - 9))
    pq.read_table(file)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(file, page_checksum_verification=True)


@pytest.mark.requirement("F6.9")
def test_whole_files_of_every_table_are_well(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for layer, table in table_names():
        if layer not in ("ledger", "quarantine"):
            store_a_row(store, layer, table, "um")
    put_minutes(store, "silver.klines_1m")
    compact_month(store, TableSlice("silver", "binance", "um", "klines_1m"), "2024-01")
    rejected = {"symbol": "A", "source_key": "a.zip", "reason": "bad", "detail": "bad"}
    record_rejected(store, feed("binance", "um", "klines_1m"), DAYS[0], [rejected], datetime.now(UTC))
    (tmp_path / "silver" / "notes.parquet").write_bytes(b"of somebody else")
    found = list(check_files(store, parquet_files(store)))
    assert [one for one in found if one.damage] == []
    assert {one.path.split("/")[0] for one in found} == {"bronze", "silver", "gold", "quarantine", "compacted"}


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[LakeStore, list[Path]]:
    """A lake of equal days; a test damages each day in another way."""
    store = LakeStore.open(str(tmp_path_factory.mktemp("flipped")))
    put_minutes(store, "gold.continuous_1m", [DAYS[0]], count=30)
    first = Path(store.root) / MINUTES / f"date={DAYS[0]}" / "part-0.parquet"
    files = [first]
    for number in range(1, 60):
        file = first.parent.with_name(f"date={date(2024, 1, 1) + timedelta(number)}") / first.name
        file.parent.mkdir()
        files.append(file)
    return store, files


def what_is_read(lake: Path) -> list[object]:
    """Rows of the one day in the lake, as readers ask for them."""
    asked = ({}, {"symbols": "BUSDT"}, {"start": f"{DAYS[0]}T00:05", "end": f"{DAYS[0]}T00:10"})
    return [Lakehouse(lake).read("gold.continuous_1m", market="um", format="polars", **some) for some in asked]


@pytest.mark.requirement("F6.9")
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_any_flipped_bit_is_reported_or_changes_no_row(
    flipped: tuple[LakeStore, list[Path]], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    # Many files at once, because each check starts processes.
    store, files = flipped
    whole = files[0].read_bytes()
    alone = tmp_path_factory.mktemp("alone")
    one = alone / MINUTES / f"date={DAYS[0]}" / "part-0.parquet"
    one.parent.mkdir(parents=True)
    one.write_bytes(whole)
    expected = what_is_read(alone)
    bits = random.Random(seed).sample(range(8 * len(whole)), len(files))
    try:
        for file, bit in zip(files, bits, strict=True):
            file.write_bytes(whole)
            flip(file, bit)
        damaged = damages(store)
        assert damaged
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for file, bit in zip(files, bits, strict=True):
                if str(file.relative_to(store.root)) not in damaged:
                    shutil.copy(file, one)
                    read = zip(what_is_read(alone), expected, strict=True)
                    assert all(now.equals(then) for now, then in read), f"bit {bit} of {len(whole)} bytes"
    finally:
        files[0].write_bytes(whole)


@pytest.mark.requirement("F6.9")
def test_a_file_that_crashes_its_reader_is_reported_and_others_are_checked(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    put_minutes(store, "gold.continuous_1m", [f"2024-01-{day:02}" for day in range(1, 13)])
    file = tmp_path / MINUTES / "date=2024-01-05" / "part-0.parquet"
    data = bytearray(file.read_bytes())
    # The type of a column chunk becomes one that does not exist: Arrow ends its process.
    at = data.rindex(b"\x15\x0c\x19")
    data[at + 1] = 0x1C
    file.write_bytes(data)
    found = list(check_files(store, parquet_files(store)))
    assert len(found) == 12
    assert [(one.path, one.damage) for one in found if one.damage] == [
        (str(file.relative_to(tmp_path)), "makes the process that reads it crash")
    ]


@pytest.mark.requirement("F6.9")
def test_verify_prints_damaged_files_and_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LakeStore.open(str(tmp_path))
    for table in ("silver.klines_1m", "gold.continuous_1m"):
        put_minutes(store, table)
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(tmp_path))
    command = [str(Path(sys.executable).with_name("crypto-lakehouse")), "verify"]
    file = tmp_path / MINUTES / f"date={DAYS[1]}" / "part-0.parquet"
    flip(file, 8 * 200)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "6 files checked" in done.stderr
    (line,) = done.stdout.splitlines()
    path, damage, remedy = line.split("\t")
    assert path == str(file.relative_to(tmp_path))
    assert damage
    assert f"--table continuous_1m --from {DAYS[1]} --to {DAYS[1]} --force" in remedy
    as_json = [*command, "--json", "--table", "gold.continuous_1m"]
    process = subprocess.run(as_json, capture_output=True, text=True, check=False)
    assert json.loads(process.stdout) == {"path": path, "damage": damage, "remedy": remedy}
    assert "3 files checked" in process.stderr


@pytest.mark.requirement("F6.9")
def test_verify_refuses_an_unknown_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(tmp_path))
    done = CliRunner().invoke(app, ["verify", "--table", "nothing"])
    assert done.exit_code == 2
    assert "there are klines_*, agg_trades" in done.output
