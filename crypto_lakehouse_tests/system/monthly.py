"""Helpers of the tests of monthly files: months from daily files, and the steps of a run without Dagster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import polars as pl

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS, Feed
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import read
from crypto_lakehouse_tests.system.test_bad_input import zipped

UM = FEEDS["binance", "um", "klines_1h"]
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def daily_file(archive: Path, symbol: str, day: str) -> Path:
    return archive / f"data/futures/um/daily/klines/{symbol}/1h/{symbol}-1h-{day}.zip"


def monthly_file(archive: Path, symbol: str, month: str) -> Path:
    return archive / f"data/futures/um/monthly/klines/{symbol}/1h/{symbol}-1h-{month}.zip"


def text_of(path: Path) -> str:
    with ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode()


def put(path: Path, text: str | bytes, checksum: str = "") -> None:
    """Place a file with its checksum; text becomes the CSV of a zip."""
    content = zipped((path.with_suffix(".csv").name, text.encode())) if isinstance(text, str) else text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = checksum or hashlib.sha256(content).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n")


def edit(path: Path, change: Callable[[list[str]], Iterable[str]]) -> None:
    """Replace the lines of a CSV."""
    put(path, "".join(change(text_of(path).splitlines(keepends=True))))


def ingest(
    server: ArchiveServer,
    lake: Path,
    keys: Sequence[str],
    files: str = "monthly",
    symbols: str = "",
    feed: Feed = UM,
    **options: Any,
) -> list[str]:
    """Do the bronze and silver steps of a run; return the bronze partitions that were written."""
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url, attempts=1)
    raw = RawStore(store, "binance", keep=options.pop("keep", True))
    wanted = SymbolFilter.parse(symbols)
    bronze = BronzeIngest(feed, source, store, raw, wanted, lambda: NOW, files=ArchiveFiles(files), **options)
    written = []
    for partition in bronze.partitions(keys):
        if partition.unchanged is None:
            written.append(partition.key)
            target = TableSlice.of_feed("bronze", feed).partition(partition.key)
            write_partition(store, target, partition.rows, partition.provenance)
    for key in keys:
        silver = silver_partition(feed, key, store, NOW)
        if silver.unchanged is None:
            target = TableSlice.of_feed("silver", feed).partition(key)
            write_partition(store, target, silver.rows, silver.provenance)
    return written


def up_to_date(server: ArchiveServer, lake: Path, keys: Sequence[str], files: str = "monthly") -> set[str]:
    """The bronze partitions that a run would leave unchanged."""
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url, attempts=1)
    raw = RawStore(store, "binance", keep=True)
    ingest = BronzeIngest(UM, source, store, raw, SymbolFilter(), lambda: NOW, files=ArchiveFiles(files))
    return ingest.up_to_date(keys)


def silver(lake: Path) -> pl.DataFrame:
    return read(Lakehouse(lake), "silver.klines_1h")


def values(lake: Path) -> pl.DataFrame:
    """The rows of silver without their provenance."""
    return silver(lake).drop("source")


def ledger(lake: Path, day: str) -> list[tuple[str, str, str, str | None]]:
    """Symbol, file, status and reason of each file of a day, as they are now."""
    rows = read(Lakehouse(lake), "ledger.files").filter(period=day).sort("ingested_at", maintain_order=True)
    newest = rows.unique("key", keep="last").sort("symbol", "key")
    kind = pl.when(pl.col("key").str.contains("/monthly/")).then(pl.lit("monthly")).otherwise(pl.lit("daily"))
    return newest.select("symbol", kind.alias("file"), "status", "reason").rows()


def quarantined(lake: Path, day: str) -> list[tuple[str, str, str, int | None]]:
    """Layer, symbol, reason and line of the rejects of a day."""
    rows = read(Lakehouse(lake), "quarantine.rejected").filter(period=day)
    return sorted(rows.select("layer", "symbol", "reason", "source_line").rows(), key=str)
