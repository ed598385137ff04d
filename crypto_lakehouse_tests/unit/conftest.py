"""Fixtures that several unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.unit.archive_http import Server
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of an in-memory archive, whose answers a test defines."""
    running = Server()
    yield running
    running.stop()


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
