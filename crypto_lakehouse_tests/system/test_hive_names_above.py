"""A lake inside folders that look like Hive columns: readers and runs use only names below its root as columns."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.integrity import check_files, parquet_files
from crypto_lakehouse.lake.storage.ledger import read_ledger
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.runs import digests, failures, run, settings

DAYS = ("2024-12-27", "2024-12-30")
CLOSES = ("symbol", "open_time", "close", "exchange", "market")
# Each column that a path gives, a column of the files, a name in capitals, and a name that no table has.
ROOTS = [
    "exchange=kraken/lake",
    "market=spot/lake",
    "date=2020-01-01/lake",
    "month=2020-01/lake",
    "feed=trades/lake",
    "symbol=XRPUSDT/lake",
    "close=7/lake",
    "Date=2020-01-01/lake",
    "owner=me/lake=[1]",
    "exchange=binance/market=um/date=2024-12-27",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """A sample archive of two coins and four days."""
    archive = tmp_path_factory.mktemp("archive")
    make_sample(archive, symbols=2, days=4, start=date(2024, 12, 27))
    with ArchiveServer(archive) as server:
        yield server


@pytest.fixture(scope="module")
def plain(served: ArchiveServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of a real run in a folder without such names, with a month file and a month of funding rates."""
    root = tmp_path_factory.mktemp("plain") / "lake"
    fill(served, str(root))
    compact_month(LakeStore.open(str(root)), TableSlice("silver", "binance", "um", "klines_1m"), "2024-12")
    return root


def fill(server: ArchiveServer, uri: str, **more: Any) -> None:
    for first, last, cadence in ((*DAYS, "daily"), ("2024-12", "2024-12", "monthly")):
        done = run(settings(server, uri, **more), "um", first, last, cadence=cadence)
        assert done.success, failures(done)


def what_readers_see(lake: Lakehouse) -> dict[str, Any]:
    """Answers of every reader, by name."""
    asked: dict[str, Any] = {"market": "um", "format": "polars"}
    months = {"symbols": ["BTCUSDT", "ETHUSDT"], "start": DAYS[0], "end": "2024-12-31"}
    scanned = lake.scan("silver.klines_1m", market="um", columns=[*CLOSES, "date"], **months)
    assert "compacted" in scanned.explain()
    # What mentions COPY is answered without access to files.
    queries = {
        f"sql {name} {end}": lake.sql(f"SELECT * FROM {name} ORDER BY ALL {end}", format="polars")
        for name in ("silver.klines_1m", "gold.bars_1h", "silver.funding_rates", "bronze.klines_1m", "ledger.files")
        for end in ("", "--copy")
    }
    return queries | {
        "months": scanned.collect(),
        "day": lake.scan("silver.klines_1m", columns=[*CLOSES, "date"], end="2024-12-28").collect(),
        "of a date": lake.scan("gold.bars_1h", columns=["symbol", "date"]).collect()["date"].value_counts(sort=True),
        "bronze": lake.read("bronze.klines_1m", **asked),
        "bars": lake.read("gold.bars_1h", **asked),
        "funding": lake.read("silver.funding_rates", columns=["symbol", "funding_time", "market", "month"], **asked),
        "ledger": lake.read("ledger.files", **asked),
        "other bars": lake.bars(None, "4h", offset="5m", **asked),
        "of some": lake.sql(
            "SELECT symbol, close FROM gold.bars_1d WHERE date = '2024-12-28' ORDER BY 1", format="polars"
        ),
        # Sizes of ledgers depend on the times that are in them.
        "tables": lake.tables().filter(pl.col("layer") != "ledger"),
    }


def different(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    return [name for name, rows in here.items() if not rows.equals(there[name])]


@pytest.mark.requirement("F6.1", "F6.3", "F6.9")
@pytest.mark.parametrize("above", ROOTS)
def test_readers_take_no_column_from_above_the_root(plain: Path, tmp_path: Path, above: str) -> None:
    expected = what_readers_see(Lakehouse(plain))
    assert not [name for name, rows in expected.items() if rows.is_empty()]
    root = tmp_path / above
    shutil.copytree(plain, root)
    assert different(expected, what_readers_see(Lakehouse(root))) == []
    here, there = LakeStore.open(str(plain)), LakeStore.open(str(root))
    assert lake_status(there) == lake_status(here)
    found = list(check_files(there, parquet_files(there, "gold.bars_1h")))
    assert [file.damage for file in found] == [None] * len(found) != []


@pytest.mark.requirement("F6.1", "T3")
@pytest.mark.parametrize("above", ["exchange=kraken/market=spot/date=2020-01-01/month=2020-01/symbol=XRPUSDT/lake"])
def test_runs_take_no_column_from_above_the_root(
    served: ArchiveServer, plain: Path, tmp_path: Path, above: str
) -> None:
    root = tmp_path / above
    fill(served, str(root))
    assert digests(root) == digests(plain)
    columns = ["key", "sha256", "status"]
    here, there = (
        read_ledger(LakeStore.open(str(lake)), feed("binance", "um", "klines_1m")).select(columns).sort("key")
        for lake in (plain, root)
    )
    assert there.equals(here)


@pytest.mark.requirement("T5", "F6.1", "F6.3")
def test_readers_and_runs_on_s3_take_no_column_from_above_the_root(
    served: ArchiveServer, plain: Path, s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    uri = f"{base}/exchange=kraken/date=2020-01-01/symbol=XRPUSDT/lake"
    fill(served, uri, s3_endpoint_url=endpoint)
    store = LakeStore.open(uri, endpoint)
    for path in digests(plain):
        assert store.read_bytes(path) == (plain / path).read_bytes(), path
    compact_month(store, TableSlice("silver", "binance", "um", "klines_1m"), "2024-12")
    expected, found = what_readers_see(Lakehouse(plain)), what_readers_see(Lakehouse(uri, s3_endpoint_url=endpoint))
    # The ledgers are of two runs, which saw the files at other times.
    assert [name for name in different(expected, found) if "ledger" not in name] == []
    checked = list(check_files(store, parquet_files(store, "gold.bars_1h")))
    assert [file.damage for file in checked] == [None] * len(checked) != []
