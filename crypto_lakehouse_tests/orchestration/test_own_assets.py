"""Assets of a user's own in SQL, by the page own-assets.md, and the resource that they use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from dagster_duckdb import DuckDBResource

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.describe import MissingLakeError
from crypto_lakehouse.orchestration.lake_duckdb import LakeDuckDBResource
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse_tests.orchestration.conftest import Platform

pytestmark = pytest.mark.requirement("F6.3")

PAGE = Path(__file__).parents[2] / "docs" / "workflows" / "own-assets.md"


@pytest.mark.slow
def test_the_assets_of_the_page_are_materialized_as_it_says(filled: Platform, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    (desk / "demo").mkdir(parents=True)
    (desk / "demo" / "lake").symlink_to(filled.lake)
    text = PAGE.read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (desk / "my_assets.py").write_text(module, encoding="utf-8")
    command = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0]
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    environment = {**variables, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"}
    shell = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(shell, cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

    days = Lakehouse(filled.lake).read("gold.bars_1d", market="um", format="polars").sort("symbol", "open_time")
    days = days.with_columns(date=pl.col("open_time").dt.date())
    change = pl.col("close") / pl.col("close").shift(1).over("symbol") - 1
    expected = (
        days.with_columns(change=change)
        .drop_nulls("change")
        .group_by("date", maintain_order=True)
        .agg(symbols=pl.len(), advancing=(pl.col("change") > 0).sum(), declining=(pl.col("change") < 0).sum())
        .sort("date")
    )
    assert pl.read_parquet(desk / "breadth.parquet").rows() == expected.rows()
    turnover = pl.read_parquet(desk / "turnover.parquet")
    largest = days.sort("quote_volume", descending=True).group_by("date").first().sort("date")
    assert turnover.filter(place=1)["symbol"].to_list() == largest["symbol"].to_list()
    assert turnover.height == days.height


def test_an_asset_that_takes_the_resource_of_dagster_reads_the_lake_and_cannot_change_it(filled: Platform) -> None:
    @dg.asset
    def minutes(duckdb: DuckDBResource) -> int:
        with duckdb.get_connection() as connection:
            return connection.sql("SELECT count(*) FROM gold.continuous_1m WHERE market = 'um'").fetchall()[0][0]

    resource = LakeDuckDBResource(lake=LakeResource(uri=str(filled.lake)))
    result = dg.materialize([minutes], resources={"duckdb": resource})
    assert result.output_for_node("minutes") == 3 * 2 * 1440
    with resource.get_connection() as connection, pytest.raises(duckdb.Error):
        connection.execute(f"COPY (SELECT 1) TO '{filled.lake}/x.csv'")


def test_a_resource_without_a_lake_or_with_a_database_is_an_error(filled: Platform, tmp_path: Path) -> None:
    with pytest.raises(MissingLakeError), LakeDuckDBResource(lake=LakeResource(uri=str(tmp_path))).get_connection():
        pass
    with (
        pytest.raises(ValueError, match="LAKEHOUSE_SQL_MEMORY"),
        LakeDuckDBResource(database="mine.db", lake=LakeResource(uri=str(filled.lake))).get_connection(),
    ):
        pass
