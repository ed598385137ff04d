"""Consecutive bronze days: the files of the next day are downloaded and parsed while a day is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.archive.memory_budget import HeldFile, MemoryBudget
from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition, write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze import download_queue as arrivals
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest, BronzePartition
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import WatchedServer, read
from crypto_lakehouse_tests.system.test_bad_input import GOOD, put

UM = feed("binance", "um", "klines_1m")
PLACE = ("binance", "um", UM.table)
DAYS = ("2024-03-05", "2024-03-06", "2024-03-07")
SYMBOLS = ("AUSDT", "BUSDT")


class Watched(BinanceArchive):
    """Yields files day by day, not as they arrive, and calls ``before`` with the day of each."""

    before: Callable[[str], None]

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, hold: MemoryBudget | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        for got in sorted(super().fetch(files, directory, hold), key=lambda got: got.file.period):
            self.before(got.file.period)
            yield got


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("archive")
    for day in DAYS:
        for symbol in SYMBOLS:
            put(folder, symbol, day, GOOD)
    with WatchedServer(folder) as running:
        yield running


def partitions(server: WatchedServer, store: LakeStore, before: Callable[[str], None]) -> Iterator[BronzePartition]:
    source = Watched(server.url, server.listing_url)
    source.before = before
    now = datetime(2025, 2, 1, tzinfo=UTC)
    return BronzeIngest(
        UM, source, store, RawStore(store, "binance", keep=False), SymbolFilter(), lambda: now
    ).partitions(DAYS)


@pytest.mark.requirement("P3")
def test_the_next_day_is_downloaded_while_a_day_is_written(server: WatchedServer, tmp_path: Path) -> None:
    second = threading.Event()
    store = LakeStore.open(str(tmp_path))

    def rows(part: BronzePartition) -> Iterator[object]:
        yield from part.rows
        # Some rows of this day are not written yet.
        assert second.wait(30) or part.key != DAYS[0]

    for part in partitions(server, store, lambda day: second.set() if day == DAYS[1] else None):
        write_partition(store, TableSlice("bronze", *PLACE).partition(part.key), rows(part), part.provenance)  # type: ignore[arg-type]
    assert list(list_keys(store, TableSlice("bronze", *PLACE))) == list(DAYS)


@pytest.mark.requirement("D6")
def test_an_error_of_a_day_is_raised_after_the_days_before_it(server: WatchedServer, tmp_path: Path) -> None:
    def full(day: str) -> None:
        if day == DAYS[2]:
            raise ArchiveError("the disk is full")

    store = LakeStore.open(str(tmp_path))
    made = partitions(server, store, full)
    for _ in range(2):
        part = next(made)
        write_partition(store, TableSlice("bronze", *PLACE).partition(part.key), part.rows, part.provenance)
    with pytest.raises(ArchiveError, match="the disk is full"):
        list(next(made).rows)
    assert list(list_keys(store, TableSlice("bronze", *PLACE))) == list(DAYS[:2])
    assert set(read(Lakehouse(tmp_path), "ledger.files")["period"]) == set(DAYS[:2])


@pytest.mark.requirement("P3")
def test_parsed_files_free_their_share_of_memory(
    server: WatchedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = BinanceArchive(server.url, server.listing_url), LakeStore.open(str(tmp_path / "lake"))
    files = source.files(UM, SYMBOLS, date.fromisoformat(DAYS[0]), date(2024, 3, 8))
    # Memory for one file, and one download at a time.
    monkeypatch.setattr(arrivals, "_IN_MEMORY", max(file.size for file in files))
    monkeypatch.setattr(arrivals, "_FETCHED_AT_ONCE", 1)
    raw, folder = RawStore(store, "binance", keep=False), tmp_path / "folder"
    folder.mkdir()
    with closing(arrivals.DownloadQueue(source, raw, folder)) as coming:
        coming.want((file, None) for file in files)
        for file in files:
            got = coming.take(file)
            assert isinstance(got, FetchedFile)
            assert isinstance(got.path, HeldFile)
            coming.drop(file)
    assert len(files) == len(DAYS) * len(SYMBOLS)


@pytest.mark.requirement("D6")
def test_rows_of_a_skipped_day_are_in_no_other_day(server: WatchedServer, tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for part in partitions(server, store, lambda _: None):
        if part.key != DAYS[0]:
            write_partition(store, TableSlice("bronze", *PLACE).partition(part.key), part.rows, part.provenance)
    assert list(list_keys(store, TableSlice("bronze", *PLACE))) == list(DAYS[1:])
    for day in DAYS[1:]:
        rows = read_partition(store, TableSlice("bronze", *PLACE).partition(day))
        assert rows.height == len(SYMBOLS) * len(GOOD.splitlines())
        assert rows["source_key"].str.contains(day).all()
