"""``Lakehouse.duckdb``: a connection with the views of the lake, that reads and writes no file by itself."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.describe import MissingLakeError

pytestmark = pytest.mark.requirement("F6.3", "T7")


def test_a_connection_has_a_view_of_each_table(lake: Lakehouse) -> None:
    with lake.duckdb() as connection:
        query = "SELECT symbol, count(*) AS n, min(open_time) AS t FROM gold.bars_1h GROUP BY 1 ORDER BY 1"
        pd.testing.assert_frame_equal(connection.sql(query).df(), lake.sql(query), check_dtype=False)
        assert connection.sql("FROM resample('gold.bars_1h', INTERVAL '1 day')").fetchall()


def test_frames_and_tables_in_memory_can_be_joined_with_the_lake(lake: Lakehouse) -> None:
    with lake.duckdb() as connection:
        connection.register("weights", pd.DataFrame({"symbol": ["BTCUSDT"], "weight": [2.0]}))
        connection.execute(
            "CREATE TABLE weighted AS SELECT close * weight AS w FROM gold.bars_1h JOIN weights USING (symbol)"
        )
        assert connection.sql("SELECT count(*), max(w) FROM weighted").fetchall() == [(96, 3.0)]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{lake}/x.csv'",
        "COPY gold.bars_1h TO '{lake}/gold/x.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{lake}/x'",
        "ATTACH '{lake}/x.db' AS x",
        "FROM read_csv('/etc/passwd')",
        "FROM '{lake}/gold/bars_1h/exchange=binance/market=um/date=2024-01-01/part-0.parquet'",
        "FROM glob('/etc/*')",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_a_connection_reaches_no_file(lake: Lakehouse, root: Path, statement: str) -> None:
    stored = sorted(root.parent.rglob("*"))
    with lake.duckdb() as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(lake=str(root).replace("'", "''")))
    assert sorted(root.parent.rglob("*")) == stored


def test_what_does_not_fit_in_memory_leaves_no_file(
    lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spilled = tmp_path / "spilled"
    spilled.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spilled))
    monkeypatch.setenv("LAKEHOUSE_SQL_MEMORY", "64MB")
    with lake.duckdb() as connection:
        query = (
            "SELECT count(DISTINCT hash(i)) FROM (SELECT range AS i, hash(range) AS h FROM range(5000000) ORDER BY h)"
        )
        assert connection.sql(query).fetchall() == [(5_000_000,)]
    assert list(spilled.iterdir()) == []


def test_a_place_without_a_lake_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingLakeError):
        Lakehouse(tmp_path / "nowhere").duckdb()
