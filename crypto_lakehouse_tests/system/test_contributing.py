"""The lists of docs/contributing.md for a gold table and an archive type, followed to the letter and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.system.contributing_page import (
    commands,
    copy_of_project,
    failed_checks,
    files,
    output,
    run,
    served,
)

pytestmark = [pytest.mark.requirement("T11")]

DAYS = ("2024-12-28", "2024-12-29")
SAMPLE, SERVE = commands("Try a change")
MINUTES, TABLE, READ_GOLD = commands("Add a gold table")
EXPORT, SAMPLE_OF_TYPE, TYPE, READ_SILVER = commands("Add an archive type")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which both lists were followed."""
    return copy_of_project(tmp_path_factory.mktemp("copy"), "Add a gold table", "Add an archive type")


@pytest.fixture(scope="module")
def environment(copy: Path) -> Iterator[dict[str, str]]:
    """Settings of a lake and of an archive that the changed package has made and serves."""
    run(copy, {}, SAMPLE)
    run(copy, {}, SAMPLE_OF_TYPE)
    (tables,) = EXPORT.removeprefix("export ").split()
    with served(copy, SERVE) as variables:
        yield {
            "LAKEHOUSE_ENV": "test",
            "LAKEHOUSE_LAKE_URI": str(copy / "lake"),
            "LAKEHOUSE_RETRIES": "1",
            **variables,
            **dict([tables.split("=", 1)]),
        }


def read_in_copy(copy: Path, environment: dict[str, str], table: str) -> pl.DataFrame:
    """Rows of a table, read by the copied package."""
    code = f"""
from crypto_lakehouse import Lakehouse
rows = Lakehouse().read("{table}", market="um", start="{DAYS[0]}", end="2024-12-30", format="polars")
rows.write_parquet("rows.parquet")
print(Lakehouse().tables().filter(__import__("polars").col("table") == "{table.partition(".")[2]}"))
"""
    output(copy, environment, [sys.executable, "-c", code])
    return pl.read_parquet(copy / "rows.parquet")


def test_a_new_gold_table_is_built_checked_read_and_then_unchanged(copy: Path, environment: dict[str, str]) -> None:
    first = run(copy, environment, MINUTES)
    assert "gold.realized_volatility" in first
    stored = files(copy / "lake")
    again = run(copy, environment, TABLE)
    assert "binance/um/realized_volatility: 2 partitions are up to date" in again
    for text in (first, again):
        assert "realized_volatility" not in "".join(re.findall(r"(?:warning|error).*", text)), text
    assert files(copy / "lake") == stored
    names = {"schema", "primary_key", "moves"}
    assert failed_checks(copy, environment, "gold/binance/um/realized_volatility", names) == ""
    rows = read_in_copy(copy, environment, "gold.realized_volatility")
    expected = (
        Lakehouse(copy / "lake")
        .read("gold.continuous_1m", market="um", start=DAYS[0], end="2024-12-30", format="polars")
        .sort("symbol", "open_time")
        .group_by("symbol", pl.col("open_time").dt.truncate("1d"))
        .agg(pl.col("close").log().diff().pow(2).sum().sqrt().alias("realized_volatility"), minutes=pl.len())
        .sort("symbol", "open_time")
    )
    rows = rows.sort("symbol", "open_time")
    assert rows["realized_volatility"].to_list() == pytest.approx(expected["realized_volatility"].to_list())
    assert rows["symbol"].n_unique() == 2
    assert rows.height == 4
    assert (rows["realized_volatility"] > 0).all()
    assert run(copy, environment, READ_GOLD).count("BTCUSDT") == 2


@pytest.mark.requirement("D6")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_gold_table_built_again_with_other_threads_has_the_same_rows(
    copy: Path, environment: dict[str, str], threads: str
) -> None:
    run(copy, environment, MINUTES)
    before, stored = read_in_copy(copy, environment, "gold.realized_volatility"), files(copy / "lake/gold")
    run(copy, {**environment, "POLARS_MAX_THREADS": threads}, f"{TABLE} --force")
    assert files(copy / "lake/gold") != stored
    assert read_in_copy(copy, environment, "gold.realized_volatility").equals(before)


def test_a_new_archive_type_is_built_checked_read_and_then_unchanged(copy: Path, environment: dict[str, str]) -> None:
    first = run(copy, environment, TYPE)
    assert "bronze.insurance_fund" in first
    assert "silver.insurance_fund" in first
    assert not re.findall(r"(?:warning|error|refused).*insurance_fund.*", first), first
    stored = files(copy / "lake")
    run(copy, environment, TYPE)
    assert files(copy / "lake") == stored
    assert failed_checks(copy, environment, "bronze/binance/um/insurance_fund", {"epochs"}) == ""
    names = {"schema", "primary_key", "completeness"}
    assert failed_checks(copy, environment, "silver/binance/um/insurance_fund", names) == ""
    rows = read_in_copy(copy, environment, "silver.insurance_fund")
    assert rows.height == 2 * 2 * 24
    assert rows["balance"].is_between(9_000, 11_000).all()
    assert "USDT" in run(copy, environment, READ_SILVER)


def test_the_new_names_are_in_status_suggestions_and_the_documentation(copy: Path, environment: dict[str, str]) -> None:
    output(copy, environment, [sys.executable, "-m", "crypto_lakehouse.cli.document"])
    text = (copy / "docs/api/data-formats.md").read_text(encoding="utf-8")
    assert "### Gold realized_volatility" in text
    assert "### Silver insurance_fund" in text
    status = run(copy, environment, "crypto-lakehouse status --table realized_volatility")
    assert "gold.realized_volatility" in status
    misspelled = [
        sys.executable,
        "-m",
        "crypto_lakehouse",
        "backfill",
        "--market",
        "um",
        "--table",
        "realised_volatility",
    ]
    done = subprocess.run(
        [*misspelled, "--from", DAYS[0], "--to", DAYS[0]], cwd=copy, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean realized_volatility" in done.stderr
