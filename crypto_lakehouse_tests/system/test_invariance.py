"""A partition has the same rows and bytes, whichever runs built it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, read, run, settings

UM = feed("binance", "um", "klines_1m")
NOW = datetime(2025, 2, 1, tzinfo=UTC)
DAYS = [f"2024-12-{day}" for day in range(27, 31)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder, symbols=3, days=4, start=date(2024, 12, 27))
    with WatchedServer(folder) as running:
        yield running


@pytest.fixture(scope="module")
def wide(server: WatchedServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of a lake that one run over all days has built."""
    lake = tmp_path_factory.mktemp("wide")
    assert run(settings(server, lake), "um", DAYS[0], DAYS[-1]).success
    return digests(lake)


def ingest(server: ArchiveServer, lake: Path, keys: list[str], symbols: str = "") -> None:
    """Do the steps of the update job, in the same order, without Dagster."""
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url)
    raw = RawStore(store, "binance", keep=True)
    bronze = BronzeIngest(UM, source, store, raw, SymbolFilter.parse(symbols), lambda: NOW)
    for part in bronze.partitions(keys):
        write_partition(
            store, TableSlice("bronze", "binance", "um", UM.table).partition(part.key), part.rows, part.provenance
        )
    for key in keys:
        minutes = silver_partition(UM, key, store, NOW)
        write_partition(
            store, TableSlice("silver", "binance", "um", UM.table).partition(key), minutes.rows, minutes.provenance
        )


@pytest.mark.requirement("D6", "T4")
@pytest.mark.parametrize("days", [DAYS, DAYS[::-1]], ids=["day by day", "in reverse order"])
def test_runs_of_single_days_write_the_same_bytes_as_one_range(
    days: list[str], server: WatchedServer, wide: dict[str, str], tmp_path: Path
) -> None:
    for day in days:
        assert run(settings(server, tmp_path), "um", day, day).success
    assert digests(tmp_path) == wide
    # klines_1m of two layers; continuous_1m, gaps, symbol_states, bars_1h, bars_1d, instruments, and newer tables
    tables = {path.partition("/exchange=")[0] for path in wide}
    assert len(tables) >= 8
    assert len(wide) == len(tables) * len(DAYS)


@pytest.mark.requirement("D6", "P2")
def test_a_second_run_writes_the_same_bytes_and_downloads_nothing(
    server: WatchedServer, wide: dict[str, str], tmp_path: Path
) -> None:
    environment = settings(server, tmp_path)
    server.requests.clear()
    assert run(environment, "um", DAYS[0], DAYS[-1]).success
    assert len(server.zips()) >= 2 * len(DAYS)
    assert len(server.zips()) == len(set(server.zips()))
    ledger = read(Lakehouse(tmp_path), "ledger.files")
    server.requests.clear()
    assert run(environment, "um", DAYS[0], DAYS[-1]).success
    assert server.requests == []
    assert digests(tmp_path) == wide
    assert read(Lakehouse(tmp_path), "ledger.files").equals(ledger)


@pytest.mark.requirement("D6")
@hypothesis_settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_any_order_of_ranges_writes_the_same_bytes(
    server: WatchedServer, wide: dict[str, str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(DAYS))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(DAYS) - 1))))
    again = data.draw(st.lists(st.sampled_from(DAYS), max_size=2, unique=True))
    with tempfile.TemporaryDirectory() as folder:
        for begin, end in zip([0, *cuts], [*cuts, len(DAYS)], strict=True):
            ingest(server, Path(folder), order[begin:end])
        if again:
            ingest(server, Path(folder), again)
        assert digests(Path(folder)) == {path: sha for path, sha in wide.items() if not path.startswith("gold")}


@pytest.mark.requirement("D6")
def test_a_run_for_fewer_symbols_removes_no_symbol(server: WatchedServer, wide: dict[str, str], tmp_path: Path) -> None:
    environment = settings(server, tmp_path)
    assert run(environment, "um", DAYS[0], DAYS[-1], symbols="BTCUSDT").success
    narrow = read(Lakehouse(tmp_path), "silver.klines_1m")
    assert narrow["symbol"].unique().to_list() == ["BTCUSDT"]
    assert run(environment, "um", DAYS[0], DAYS[-1]).success
    assert digests(tmp_path) == wide
    assert run(environment, "um", DAYS[0], DAYS[-1], symbols="BTCUSDT").success
    assert digests(tmp_path) == wide
