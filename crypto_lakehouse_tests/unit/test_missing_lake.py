"""A path without a lake is an error for every reader, with a message and exit code 1; never an empty lake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli import app
from crypto_lakehouse.lake.storage.describe import MissingLakeError

pytestmark = pytest.mark.requirement("F6.10")

READS: dict[str, Callable[[Lakehouse], Any]] = {
    "read": lambda lake: lake.read("gold.bars_1h", market="um", symbols="BTCUSDT"),
    "scan": lambda lake: lake.scan("silver.klines_1m"),
    "bars": lambda lake: lake.bars("BTCUSDT", "1h", market="um"),
    "tables": lambda lake: lake.tables(),
    "sql": lambda lake: lake.sql("SELECT count(*) FROM silver.klines_1m"),
    "funding": lambda lake: lake.funding("BTCUSDT", market="um"),
    "symbols": lambda lake: lake.symbols("um"),
    "symbols of a table": lambda lake: lake.symbols("um", table="silver.trades"),
    "coverage": lambda lake: lake.coverage("BTCUSDT"),
    "latest": lambda lake: lake.latest(),
    "universe": lambda lake: lake.universe("um", on="2024-01-01"),
}
COMMANDS = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "status --table": ("status", "--table", "klines_1m"),
    "verify": ("verify",),
    "compact": ("compact", "--market", "um"),
    "export": ("export", "legacy", "--out", "out", "--from", "2024-01-01", "--to", "2024-01-02"),
}


@pytest.fixture(params=["nowhere", "elsewhere"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that does not exist, or one that holds other things."""
    folder: Path = tmp_path / request.param
    (tmp_path / "elsewhere" / "photos").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", READS)
def test_every_read_says_that_there_is_no_lake(place: Path, name: str) -> None:
    with pytest.raises(MissingLakeError, match=rf"there is no lake at {place}: .*crypto-lakehouse backfill fills"):
        READS[name](Lakehouse(place))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_with_1(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(place))
    done = CliRunner().invoke(app, COMMANDS[name])
    assert done.exit_code == 1
    assert f"there is no lake at {place}" in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_lake_without_a_table_is_still_a_lake(lake: Lakehouse) -> None:
    with pytest.warns(UserWarning, match="has no partition"):
        assert lake.read("silver.klines_1m", market="um").empty
    with pytest.warns(UserWarning, match="has no partitions"):
        assert lake.sql("SELECT count(*) AS n FROM silver.klines_1m")["n"].item() == 0
