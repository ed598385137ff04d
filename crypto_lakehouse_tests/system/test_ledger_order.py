"""The ledger never lists files that the stored partition does not hold: after a failed write, and with two runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.ledger import read_state
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition, write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest, BronzePartition
from crypto_lakehouse.pipeline.reconcile import Problem, compare
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests
from crypto_lakehouse_tests.system.test_bad_input import GOOD, put

UM = feed("binance", "um", "klines_1m")
PLACE = TableSlice("bronze", "binance", "um", UM.table)
DAYS = ("2024-03-05", "2024-03-06")
WINDOW = (date(2024, 3, 5), date(2024, 3, 7))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("archive")
    for day in DAYS:
        for symbol in ("AUSDT", "BUSDT"):
            put(folder, symbol, day, GOOD)
    with WatchedServer(folder) as running:
        yield running


@pytest.fixture
def source(server: WatchedServer) -> BinanceArchive:
    return BinanceArchive(server.url, server.listing_url)


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    return LakeStore.open(str(tmp_path / "lake"))


def partitions(source: BinanceArchive, store: LakeStore, symbols: str = "*") -> Iterator[BronzePartition]:
    raw, now = RawStore(store, "binance", keep=False), datetime(2025, 2, 1, tzinfo=UTC)
    return BronzeIngest(UM, source, store, raw, SymbolFilter.parse(symbols), lambda: now).partitions(DAYS)


def write(store: LakeStore, part: BronzePartition) -> None:
    write_partition(store, PLACE.partition(part.key), part.rows, part.provenance)


def ingest(source: BinanceArchive, store: LakeStore) -> None:
    for part in partitions(source, store):
        write(store, part)


@pytest.mark.requirement("F3.4", "D6")
def test_a_failed_write_is_not_in_the_ledger_and_the_next_run_repeats_it(
    source: BinanceArchive, store: LakeStore, tmp_path: Path
) -> None:
    blocked = tmp_path / "lake" / "bronze" / UM.table / "exchange=binance" / "market=um" / f"date={DAYS[1]}"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    with pytest.raises(LakeError, match="cannot write"):
        ingest(source, store)
    assert [row["status"] for row in read_state(store, UM, DAYS[0]).values()] == ["ingested"] * 2
    assert read_state(store, UM, DAYS[1]) == {}
    found = compare(UM, source, store, SymbolFilter(), *WINDOW)
    assert [(one.period, one.problem) for one in found] == [(DAYS[1], Problem.NEW)] * 2
    blocked.unlink()
    ingest(source, store)
    assert compare(UM, source, store, SymbolFilter(), *WINDOW) == []
    assert list(list_keys(store, PLACE)) == list(DAYS)


@pytest.mark.requirement("F3.4", "D6")
@pytest.mark.parametrize("records_last", ["AUSDT", "BUSDT"])
def test_two_runs_at_the_same_time_never_lose_rows_silently(
    records_last: str, source: BinanceArchive, store: LakeStore, tmp_path: Path
) -> None:
    runs = {symbol: partitions(source, store, symbol) for symbol in ("AUSDT", "BUSDT")}
    # Both have begun before either has stored: the one for BUSDT stores last.
    for part in [next(run) for run in runs.values()]:
        write(store, part)
    assert read_partition(store, PLACE.partition(DAYS[0]))["symbol"].unique().to_list() == ["BUSDT"]
    refused = []
    for symbol in sorted(runs, key=lambda symbol: symbol == records_last):
        try:
            for part in runs[symbol]:
                write(store, part)
        except LakeError as error:
            refused.append(str(error))
    assert refused
    assert all("two runs stored this partition at the same time" in text for text in refused)
    found = compare(UM, source, store, SymbolFilter(), *WINDOW)
    assert (DAYS[0], "AUSDT") in [(one.period, one.symbol) for one in found]
    ingest(source, store)
    alone = LakeStore.open(str(tmp_path / "alone"))
    ingest(source, alone)
    assert digests(tmp_path / "lake") == digests(tmp_path / "alone")
    assert compare(UM, source, store, SymbolFilter(), *WINDOW) == []
