"""Fixtures that several unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.unit.archive_http import Server
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of an in-memory archive, whose answers a test defines."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    """The store of an empty lake."""
    return LakeStore.open(str(tmp_path / "lake"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a small lake: bars of an hour."""
    # A parent folder that looks like a Hive column, a quote and a bracket must not disturb anything.
    root = tmp_path / "owner=it's [me]" / "lake"
    for day in DAYS:
        put(day_of_bars(day, ["BTCUSDT", "ETHUSDT"]), part_path(root, "um", f"{day}"))
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "spot", f"{DAYS[0]}"))
    part_path(root, "um", f"{DAYS[0]}").with_name(".tmp-0.parquet").write_bytes(b"being written")
    return root


@pytest.fixture
def lake(root: Path) -> Lakehouse:
    """A reader of it."""
    return Lakehouse(root)


@pytest.fixture(scope="session")
def sample_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake ``lake`` of market ``um``, built from a sample archive of two symbols and three days by real runs."""
    # Importing Dagster takes long, and most unit tests do without.
    from crypto_lakehouse_tests.system.runs import run, settings

    folder, tables = (
        tmp_path_factory.mktemp("sample"),
        ("klines_1m", "funding_rates", "mark_klines_1m", "open_interest"),
    )
    make_sample(folder / "archive", symbols=2, days=3, start=date(2024, 12, 30), tables=tables, markets=("um",))
    with ArchiveServer(folder / "archive") as server:
        environment = settings(server, folder / "lake", tables=",".join(tables))
        assert run(environment, "um", "2024-12", "2025-01", cadence="monthly").success
        assert run(environment, "um", "2024-12-30", "2025-01-01").success
    return folder / "lake"
