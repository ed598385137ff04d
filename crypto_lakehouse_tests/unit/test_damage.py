"""Damaged files of the lake: every reader names the file and the command that repairs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.damage import DamagedFile, remedy
from crypto_lakehouse.lake.storage.ledger import read_ledger, record_files
from crypto_lakehouse.lake.storage.partitions import open_partition, read_partition
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.sample_minutes import DAYS, put_minutes

Damage = Callable[[Path], None]
KLINES = feed("binance", "um", "klines_1m")


def cut(file: Path) -> None:
    """Truncate the file, as a full disk does."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garble(file: Path) -> None:
    """Overwrite the file, as another program might."""
    file.write_bytes(b"garbage" * 100)


def spoil_pages(file: Path) -> None:
    """Damage the rows but not the footer."""
    metadata = pq.read_metadata(file)
    close = metadata.row_group(0).column(metadata.schema.names.index("close"))
    data = bytearray(file.read_bytes())
    begin = close.dictionary_page_offset or close.data_page_offset
    data[begin : begin + close.total_compressed_size] = bytes(close.total_compressed_size)
    file.write_bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    store = LakeStore.open(str(tmp_path / "lake"))
    for table in ("silver.klines_1m", "gold.continuous_1m"):
        put_minutes(store, table)
    return store


def part(store: LakeStore, layer: str, table: str, day: str) -> Path:
    return Path(store.path(f"{layer}/{table}/exchange=binance/market=um/date={day}/part-0.parquet"))


READS: dict[str, Callable[[LakeStore], object]] = {
    "silver.klines_1m": lambda store: Lakehouse(store.uri).read("silver.klines_1m", market="um", start=DAYS[0]),
    "gold.continuous_1m": lambda store: Lakehouse(store.uri).bars("AUSDT", "1h", market="um", offset="5m"),
}


@pytest.mark.requirement("F6.8")
@pytest.mark.parametrize("damage", [cut, garble, spoil_pages])
@pytest.mark.parametrize("table", READS)
def test_a_read_of_many_files_names_the_damaged_one(store: LakeStore, table: str, damage: Damage) -> None:
    layer, name = table.split(".")
    file = part(store, layer, name, DAYS[1])
    damage(file)
    run = f"backfill --market um --table {name} --from {DAYS[1]} --to {DAYS[1]} --force"
    with pytest.raises(DamagedFile, match=f"{re.escape(str(file))} is damaged: .*{run}"):
        READS[table](store)


def open_and_decode(store: LakeStore) -> None:
    with open_partition(store, TableSlice("silver", "binance", "um", "klines_1m").partition(DAYS[1])) as source:
        pq.ParquetFile(source).read()


@pytest.mark.requirement("F6.8")
@pytest.mark.parametrize("damage", [cut, garble, spoil_pages])
@pytest.mark.parametrize(
    "read",
    [
        open_and_decode,
        lambda store: read_partition(store, TableSlice("silver", "binance", "um", "klines_1m").partition(DAYS[1])),
        lambda store: list(read_pieces(store, TableSlice("silver", "binance", "um", "klines_1m").partition(DAYS[1]))),
    ],
)
def test_a_read_of_one_partition_names_it(
    store: LakeStore, read: Callable[[LakeStore], object], damage: Damage
) -> None:
    file = part(store, "silver", "klines_1m", DAYS[1])
    damage(file)
    with pytest.raises(DamagedFile, match=f"{re.escape(str(file))} is damaged: .* --force"):
        read(store)


@pytest.mark.requirement("F6.8", "F7.4")
def test_status_names_a_damaged_object_of_the_ledger(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in DAYS:
        row = {"symbol": "AUSDT", "key": f"a-{key}.zip", "period": key, "status": "ingested"} | dict.fromkeys(
            ("rows", "rejected_rows"), 0
        )
        record_files(store, KLINES, key, [row], datetime.now(UTC))
    assert read_ledger(store, KLINES).height == len(DAYS)
    (file,) = Path(store.root).glob(f"ledger/files/*/*/*/date={DAYS[1]}/*.parquet")
    cut(file)
    delete = rf"{file.name} is damaged: .* Delete it and rebuild the period: .* --from {DAYS[1]} --to {DAYS[1]}"
    with pytest.raises(DamagedFile, match=delete):
        lake_status(store)
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", store.uri)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert re.search(delete, done.output)


@pytest.mark.requirement("F6.8")
def test_a_remedy_is_a_command_for_the_partition() -> None:
    slice_, store = "exchange=binance/market=um", LakeStore.open("./lake")
    monthly = remedy(store, f"silver/funding_rates/{slice_}/month=2024-02/part-0.parquet")
    assert "--table funding_rates --from 2024-02 --to 2024-02 --force" in monthly
    log = remedy(store, f"quarantine/rejected/{slice_}/feed=trades/date=2024-02-01/abc.parquet")
    assert "Delete it" in log
    assert "--table trades --from 2024-02-01 --to 2024-02-01 --force" in log
    month = remedy(store, f"compacted/silver/klines_1m/{slice_}/month=2024-02/days-abc.parquet")
    assert "compact --market um --table klines_1m --from 2024-02 --to 2024-02" in month


@pytest.mark.requirement("F6.8")
def test_a_file_is_not_a_lake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    for place in (tmp_path / "file", tmp_path / "file" / "lake"):
        with pytest.raises(LakeError, match="file is a file; give a folder"):
            Lakehouse(place)
