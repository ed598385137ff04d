"""The legacy export of real archive files, compared with the output of the legacy tool (BHDS) for the same files.

The lake is filled by the real chain: an HTTP archive server, bronze, silver. The export runs in its own process.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_lakehouse.catalog import feed, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.realdata import instant

LEGACY = Path(__file__).parents[3] / "shared" / "realdata" / "legacy"
EXPECTED = LEGACY / "expected"
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()", "export", "legacy"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLICES = (
    ("spot", "klines_1m", date(2020, 1, 1), date(2020, 1, 4)),
    ("um", "klines_1m", date(2023, 8, 1), date(2023, 8, 10)),
    ("um", "funding_rates", date(2023, 8, 1), date(2023, 8, 10)),
    ("cm", "klines_1m", date(2022, 10, 24), date(2022, 10, 26)),
)
FUNDING = ["funding_rate", "funding_price", "funding_time"]

pytestmark = pytest.mark.skipif(not EXPECTED.is_dir(), reason="no legacy files in ../shared/realdata/legacy")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with silver of everything in the archive of the legacy cases."""
    folder = tmp_path_factory.mktemp("legacy") / "lake"
    store = LakeStore.open(str(folder))
    with ArchiveServer(LEGACY / "archive") as server:
        source = BinanceArchive(server.url, server.listing_url)
        for market, table, first, end in SLICES:
            of = feed("binance", market, table)
            raw = RawStore(store, of.exchange, keep=False)
            ingest = BronzeIngest(of, source, store, raw, SymbolFilter(), lambda: NOW)
            for bronze in ingest.partitions(partition_keys(first, end, of.cadence)):
                write_partition(
                    store, TableSlice("bronze", of.exchange, market, table).partition(bronze.key), bronze.rows
                )
                silver = silver_partition(of, bronze.key, store, NOW)
                write_partition(
                    store, TableSlice("silver", of.exchange, market, table).partition(bronze.key), silver.rows
                )
                assert not bronze.counts.reasons
                assert not silver.reasons
    return folder


def run(lake: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "AWS_"))}
    return subprocess.run(
        [*COMMAND, "--out", str(out), "--from", "2020-01-01", "--to", "2023-08-09", *arguments],
        env={**kept, "LAKEHOUSE_LAKE_URI": str(lake), "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def exported(lake: Path) -> dict[str, Path]:
    """The folder of an export, by profile."""
    folders = {}
    for profile in ("legacy", "default"):
        folders[profile] = lake.parent / profile
        done = run(lake, folders[profile], "--profile", profile)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "98 files of 6 symbols written" in done.stdout
    return folders


def paths(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_equal(ours: pl.DataFrame, theirs: pl.DataFrame, what: str) -> None:
    """Names, types, rows in order; times and integers exactly, floats to 1e-12 relative."""
    assert ours.schema == theirs.schema, what
    try:
        assert_frame_equal(ours, theirs, check_exact=False, rel_tol=1e-12, abs_tol=0.0)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


@pytest.mark.requirement("F4.5")
def test_the_legacy_profile_writes_the_files_of_the_legacy_tool(exported: dict[str, Path]) -> None:
    ours = exported["legacy"]
    assert paths(ours) == paths(EXPECTED)
    files = [path for path in paths(EXPECTED) if path.endswith(".parquet")]
    assert len(files) == 98
    for path in files:
        assert_equal(without_cm_funding(ours, path), pl.read_parquet(EXPECTED / path), path)


def without_cm_funding(folder: Path, path: str) -> pl.DataFrame:
    """A file as the legacy tool writes it without funding of COIN-M, as it was set up here: the other columns are those
    of a symbol without any funding file (rule 18).
    """
    rows = pl.read_parquet(folder / path)
    if "/futures_cm/" not in path:
        return rows
    legacy = folder.name == "legacy"
    funding = rows.select(name for name in rows.columns if "funding" in name)
    assert funding["funding_rate"].dtype == (pl.Int32 if legacy else pl.Float64)
    if path.startswith("holo"):
        assert funding.columns == ["funding_rate"]
        assert set(funding["funding_rate"]) == {0 if legacy else None}
    else:
        assert funding.columns == [*FUNDING, *([] if legacy else ["funding_sum", "funding_count"])]
        assert funding.null_count().row(0) == (rows.height,) * funding.width
    return rows.drop(funding.columns)


@pytest.mark.requirement("F4.5")
def test_the_default_profile_writes_the_same_files(exported: dict[str, Path]) -> None:
    assert paths(exported["default"]) == paths(EXPECTED)


@pytest.mark.requirement("F4.5")
def test_spot_is_the_same_in_both_profiles(exported: dict[str, Path]) -> None:
    for path in _files("*/spot/**/*.parquet"):
        assert_equal(pl.read_parquet(exported["default"] / path), pl.read_parquet(EXPECTED / path), path)


@pytest.mark.requirement("F4.5")
def test_the_default_profile_corrects_the_vwap_of_coin_margined_contracts_and_nothing_else(
    exported: dict[str, Path],
) -> None:
    """Rule 17: 100 USD a contract over the coin traded, held within the candle."""
    path = "holo_1m_klines/futures_cm/BTCUSD_PERP.parquet"
    legacy, ours = pl.read_parquet(EXPECTED / path), without_cm_funding(exported["default"], path)
    right = (100 * pl.col("volume") / pl.col("quote_volume")).clip(pl.col("low"), pl.col("high"))
    corrected = legacy.with_columns(vwap_1m=pl.when(pl.col("volume") > 0).then(right).otherwise("open"))
    assert_equal(ours, corrected, path)
    assert (legacy["vwap_1m"] == legacy["low"]).all()
    assert (ours["vwap_1m"] > ours["low"]).sum() > 2_700  # of 2,880 minutes; in the others all trades may be at the low
    first_vwap = corrected.select("candle_begin_time", vwap_1m_open="vwap_1m")
    bars = _files("resampled_klines/futures_cm/**/*.parquet")
    assert len(bars) == 13
    for path in bars:
        theirs = pl.read_parquet(EXPECTED / path)
        right_bars = theirs.drop("vwap_1m_open").join(
            first_vwap, on="candle_begin_time", how="left", maintain_order="left"
        )
        assert_equal(without_cm_funding(exported["default"], path), right_bars.select(theirs.columns), path)


@pytest.mark.requirement("F4.5")
def test_the_default_profile_keeps_funding_of_quiet_minutes_and_nothing_else(exported: dict[str, Path]) -> None:
    """Rule 18: minutes that differ have no volume, and an event in the funding file."""
    kept = {}
    for path in _files("holo_1m_klines/futures_um/*.parquet"):
        legacy, ours = pl.read_parquet(EXPECTED / path), pl.read_parquet(exported["default"] / path)
        assert_equal(ours.drop("funding_rate"), legacy.drop("funding_rate"), path)
        differ = legacy["funding_rate"] != ours["funding_rate"]
        assert set(legacy.filter(differ)["funding_rate"]) <= {0.0}
        assert set(legacy.filter(differ)["volume"]) <= {0.0}
        rates = _funding(_symbol(path))
        there = dict(ours.filter(pl.col("funding_rate") != 0).select("candle_begin_time", "funding_rate").iter_rows())
        first, last = ours["candle_begin_time"][0], ours["candle_begin_time"][-1]
        assert there == {time: rate for time, rate in rates.items() if first <= time <= last}
        kept[Path(path).stem] = int(differ.sum())
    # HOLEUSDT lost 2023-08-01 16:00, 08-03 00:00 and 08:00, 08-04 00:00; QUIETUSDT the events of 30 hours.
    assert kept == {"FILUSDT": 0, "HOLEUSDT": 4, "QUIETUSDT": 4, "RELISTUSDT": 0, "SP0_RELISTUSDT": 0}


@pytest.mark.requirement("F4.5")
def test_the_default_profile_adds_all_funding_of_a_bar_and_nothing_else(exported: dict[str, Path]) -> None:
    """Rules 18 and 25: the columns of funding follow from the events; the others are the legacy tool's."""
    files = _files("resampled_klines/futures_um/**/*.parquet")
    assert len(files) == 65
    for path in files:
        legacy, ours = pl.read_parquet(EXPECTED / path), pl.read_parquet(exported["default"] / path)
        assert ours.columns == [*legacy.columns, "funding_sum", "funding_count"]
        assert_equal(ours.drop(*FUNDING, "funding_sum", "funding_count"), legacy.drop(FUNDING), path)
        minutes = pl.read_parquet(EXPECTED / f"holo_1m_klines/futures_um/{Path(path).name}")
        opens = dict(minutes.select("candle_begin_time", "open").iter_rows())
        rates = _funding(_symbol(path))
        expected = [_funding_of_bar(rates, opens, *row[:2]) for row in ours.iter_rows()]
        columns = [*FUNDING, "funding_sum", "funding_count"]
        assert_equal(ours.select(columns), pl.DataFrame(expected, schema=ours.select(columns).schema), path)


@pytest.mark.requirement("F4.5")
def test_a_second_export_writes_the_same_bytes_and_keeps_other_files(lake: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(lake, tmp_path, "--market", "um", "--symbols", "RELISTUSDT", "--bars", "5m")
        assert done.returncode == 0, done.stdout + done.stderr
        (tmp_path / "holo_1m_klines" / "notes.txt").write_text("mine")
    folders = ("holo_1m_klines/futures_um", "resampled_klines/futures_um/5m/0m")
    for folder in folders:
        names = [path.name for path in sorted((tmp_path / folder).iterdir())]
        assert names == ["RELISTUSDT.parquet", "SP0_RELISTUSDT.parquet"]
    assert (tmp_path / "holo_1m_klines" / "notes.txt").read_text() == "mine"
    # With a rule that finds no gap the series is one, and the part of the earlier export goes.
    done = run(lake, tmp_path, "--market", "um", "--symbols", "RELISTUSDT", "--bars", "5m", "--gap-days", "30")
    assert done.returncode == 0
    for folder in folders:
        assert f"removed {folder}/SP0_RELISTUSDT.parquet" in done.stdout
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["RELISTUSDT.parquet"]


@pytest.mark.requirement("F4.5")
def test_unknown_symbols_end_with_1(lake: Path, tmp_path: Path) -> None:
    done = run(lake, tmp_path, "--symbols", "BTCUSDT,NOSUCHUSDT", "--bars", "")
    assert done.returncode == 1
    assert "ERROR no symbol of silver.klines_1m matches NOSUCHUSDT in these days" in done.stdout
    assert "spot BTCUSDT: 1 file\n" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def _files(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(EXPECTED)) for path in EXPECTED.glob(pattern))


def _symbol(path: str) -> str:
    return Path(path).stem.removeprefix("SP0_")


def _funding(symbol: str) -> dict[datetime, float]:
    """Rates by the hour they belong to, read by the standard library alone."""
    name = f"{symbol}-fundingRate-2023-08"
    with zipfile.ZipFile(LEGACY / "archive/data/futures/um/monthly/fundingRate" / symbol / f"{name}.zip") as archive:
        rows: Sequence[list[str]] = list(csv.reader(io.StringIO(archive.read(f"{name}.csv").decode())))[1:]
    return {instant(time).replace(minute=0, second=0, microsecond=0): float(rate) for time, _, rate in rows}


def _funding_of_bar(
    rates: dict[datetime, float], opens: dict[datetime, float], begin: datetime, end: datetime
) -> dict[str, Any]:
    inside = {time: rate for time, rate in rates.items() if begin <= time < end}
    paid = [time for time in sorted(inside) if abs(inside[time]) > 1e-6]
    first = paid[0] if paid else None
    return {
        "funding_rate": inside[first] if first else None,
        "funding_price": opens[first] if first else None,
        "funding_time": first,
        "funding_sum": sum(inside.values()),
        "funding_count": len(inside),
    }
