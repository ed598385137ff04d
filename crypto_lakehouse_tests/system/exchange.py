"""An exchange for tests of completion: an API that knows everything, and an archive from which a test removes rows.

Nothing here asserts.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.rest import RestPool
from crypto_lakehouse.lake.storage.answers import read_answers
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.orchestration.assets.bronze import bronze_ingest
from crypto_lakehouse.orchestration.assets.completion import completion
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.bronze.partitions import BronzePartition
from crypto_lakehouse.pipeline.completion.partitions import AnsweredPartition, Completion
from crypto_lakehouse.pipeline.completion.sending import Client, Counts
from crypto_lakehouse.pipeline.silver import SilverPartition, silver_partition, up_to_date
from crypto_lakehouse.rest.client import RestClient
from crypto_lakehouse.sample.api_server import ApiServer
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.system.runs import WatchedServer, read, settings

START = date(2024, 12, 30)
FOLDERS = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
MINUTES = "klines_1m"


def day(number: int) -> str:
    """The day of that number, from 0."""
    return f"{START + timedelta(days=number)}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """``truth`` has all files, ``archive`` those that are published; both are served."""

    truth: Path
    archive: Path
    api: ApiServer
    files: WatchedServer

    def settings(self, lake: Path | str, **more: Any) -> Settings:
        """Settings of a lake that is completed from the API."""
        hosts = ",".join(f"{role}={self.api.url}" for role in FOLDERS)
        own = {"completion": True, "rest_urls": hosts, "rest_share": 1.0, "retries": 2, "tables": MINUTES}
        return settings(self.files, lake, **{**own, **more})

    def remove(self, market: str, symbol: str, number: int | str, kind: str = "klines/{}/1m") -> None:
        """Take a daily file out of the archive, with its CHECKSUM."""
        path = self.path(market, symbol, number, kind)
        path.unlink()
        _checksum(path).unlink()

    def restore(self, market: str, symbol: str, number: int | str, kind: str = "klines/{}/1m") -> None:
        """Publish the true file of a day."""
        path = self.path(market, symbol, number, kind)
        for each in (path, _checksum(path)):
            shutil.copyfile(self.truth / each.relative_to(self.archive), each)

    def edit(
        self,
        market: str,
        symbol: str,
        number: int | str,
        change: Callable[[list[bytes]], Sequence[bytes]],
        kind: str = "klines/{}/1m",
    ) -> None:
        """Publish a daily file whose lines are changed; a header is no line."""
        path = self.path(market, symbol, number, kind)
        with zipfile.ZipFile(path) as archive:
            (name,) = archive.namelist()
            lines = archive.read(name).splitlines(keepends=True)
        header = [] if lines[0][:1].isdigit() else [lines.pop(0)]
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name), b"".join([*header, *change(lines)]))
        path.write_bytes(content.getvalue())
        _checksum(path).write_text(f"{hashlib.sha256(content.getvalue()).hexdigest()}  {path.name}\n")

    def path(self, market: str, symbol: str, number: int | str, kind: str) -> Path:
        """The file of a day (by its number) or month (by its key) in the archive, also if it was removed."""
        cadence, key = ("monthly", number) if isinstance(number, str) else ("daily", day(number))
        folder = Path("data", FOLDERS[market], cadence, kind.format(symbol))
        (path,) = (self.truth / folder).glob(f"{symbol}-*-{key}.zip")
        return self.archive / path.relative_to(self.truth)


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.CHECKSUM")


@contextmanager
def exchange(
    folder: Path,
    markets: Sequence[str] = ("um",),
    symbols: int = 2,
    days: int = 4,
    tables: Sequence[str] = (MINUTES,),
    trades_per_day: int | None = None,
    **api_options: Any,
) -> Iterator[Exchange]:
    """Serve a sample of that many days from ``START`` on."""
    truth, archive = folder / "truth", folder / "archive"
    make_sample(
        truth, symbols=symbols, days=days, start=START, tables=tables, markets=markets, trades_per_day=trades_per_day
    )
    shutil.copytree(truth, archive)
    with ApiServer(truth, **api_options) as api, WatchedServer(archive) as files:
        yield Exchange(truth, archive, api, files)


def silver_of(lake: Path, market: str, table: str = MINUTES) -> pl.DataFrame:
    """All silver rows of a market."""
    return read(Lakehouse(lake), f"silver.{table}", market=market).sort("symbol", "open_time")


def without_source(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without the column that says where they come from."""
    return rows.drop("source")


class Platform:
    """Builds one table of a market in a lake without Dagster, at a time that a test sets."""

    def __init__(
        self,
        market: Exchange,
        lake: Path | str,
        name: str = "um",
        table: str = MINUTES,
        pools: Sequence[RestPool] = (),
        **more: Any,
    ) -> None:
        self.feed, self.now = feed("binance", name, table), datetime.now(UTC)
        self.settings = market.settings(lake, tables=table, **more)
        self.store = LakeResource.from_settings(self.settings).store()
        self._source = ArchiveResource.from_settings(self.settings).source("binance")
        self.client: Client = RestClient(
            "binance", self.settings.rest_urls_of("binance"), Limits(8, 2), 1.0, pools=pools
        )

    def completion(self, symbols: str = "") -> Completion:
        """The completion of a run."""
        made = completion(self.feed, self.settings, self._source, self.store, self.client, symbols, force=False)
        made.now = lambda: self.now
        return made

    def build(self, keys: Sequence[str], symbols: str = "") -> dict[str, Counts]:
        """Build bronze, answers and silver of partitions; what was requested for each."""
        ingest = bronze_ingest(self.feed, self.settings, self._source, self.store, symbols, force=False)
        for bronze in ingest.partitions(keys):
            self._write(TableSlice.of_feed("bronze", self.feed), bronze)
        counts = {}
        for answers in self.completion(symbols).partitions(keys):
            self._write(TableSlice.of_answers(self.feed), answers)
            counts[answers.key] = answers.counts
        for key in keys:
            silver = silver_partition(self.feed, key, self.store, self.now)
            self._write(TableSlice.of_feed("silver", self.feed), silver)
        return counts

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """The partitions for which nothing is to be requested, and whose silver is built from what is stored."""
        return up_to_date(self.feed, sorted(self.completion().up_to_date(keys)), self.store)

    def answers(self, *keys: str) -> pl.DataFrame:
        """The ledger of answers."""
        return read_answers(self.store, self.feed, keys or None)

    def silver(self, *keys: str) -> pl.DataFrame:
        """Rows of silver."""
        silver = TableSlice.of_feed("silver", self.feed)
        return pl.concat([read_partition(self.store, silver.partition(key)) for key in keys])

    def _write(self, table: TableSlice, made: BronzePartition | AnsweredPartition | SilverPartition) -> None:
        if made.unchanged is None:
            write_partition(self.store, table.partition(made.key), made.rows, made.provenance)
