"""``Lakehouse.sql``: the tables of a query; it only reads, and only from the lake."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.damage import DamagedFile
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of, table_names
from crypto_lakehouse_tests.binance_archive import BINANCE_FEEDS
from crypto_lakehouse_tests.unit.small_lake import (
    DAYS,
    day_of_bars,
    has_one_row_per_market,
    part_path,
    put,
    store_a_row,
)


@pytest.mark.requirement("F6.3")
def test_sql_sees_tables_with_path_columns(lake: Lakehouse) -> None:
    query = """
        SELECT market, date, count(*) AS n
        FROM gold.bars_1h LEFT JOIN "gold"."bars_1h" AS other USING (symbol, market, date, open_time)
        GROUP BY ALL ORDER BY ALL
    """
    frame = lake.sql(query, format="polars")
    assert frame.rows() == [("spot", DAYS[0], 24), *(("um", day, 48) for day in DAYS)]
    times = lake.sql("SELECT min(open_time) AS t, date_trunc('day', max(open_time)) AS d FROM gold.bars_1h")
    assert str(times["t"].dt.tz) == "UTC"
    assert times["d"][0] == datetime(2024, 1, 3, tzinfo=UTC)


@pytest.mark.requirement("F6.3")
def test_sql_sees_every_table_with_the_columns_of_all_its_markets(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for layer, table in table_names():
        if layer in ("ledger", "quarantine"):
            continue
        markets = [feed.market.name for feed in BINANCE_FEEDS if feed.table == table] or ["spot", "um"]
        for market in markets:
            store_a_row(store, layer, table, market)
        assert has_one_row_per_market(Lakehouse(tmp_path), layer, table, markets), f"{layer}.{table}"


@pytest.mark.requirement("F6.3")
@pytest.mark.parametrize("table", ["trades", "agg_trades"])
def test_columns_of_a_table_do_not_depend_on_the_markets_that_are_there(tmp_path: Path, table: str) -> None:
    store_a_row(LakeStore.open(str(tmp_path)), "bronze", table, "um")
    assert has_one_row_per_market(Lakehouse(tmp_path), "bronze", table, ["um"])


READS = {
    "WITH a AS (SELECT close FROM gold.bars_1h) SELECT close FROM a": 3 * 48 + 24,
    "SELECT 1; -- and no more": 1,
    "DESCRIBE gold.bars_1h": len(schema_of("gold", "bars_1h").column_names) + 3,
    "SUMMARIZE SELECT open, close FROM gold.bars_1h": 2,
    "EXPLAIN SELECT * FROM gold.bars_1h": 1,
    "EXPLAIN ANALYZE SELECT * FROM gold.bars_1h": 1,
    "PIVOT gold.bars_1h ON symbol USING first(close) GROUP BY open_time": 72,
    "PIVOT gold.bars_1h ON symbol IN ('BTCUSDT') USING first(close) GROUP BY open_time": 72,
    "SELECT * FROM query('SELECT close FROM gold.bars_1h')": 3 * 48 + 24,
}


@pytest.mark.requirement("F6.3")
@pytest.mark.parametrize("query", READS)
def test_sql_reads_in_every_form(lake: Lakehouse, query: str) -> None:
    assert lake.sql(query, format="polars").height == READS[query]


WRITES = [
    "COPY (SELECT 1) TO '{file}'",
    "WITH a AS (COPY (SELECT 1) TO '{file}') SELECT 1",
    "WITH a AS (/**/cOpY gold.bars_1h TO '{file}' (FORMAT parquet)) FROM a",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
    "WITH a AS (COPY (SELECT 1) TO '{file}'), b AS (SELECT 1 AS x, 2 AS y) PIVOT b ON x USING sum(y)",
    "FROM json_execute_serialized_sql(json_serialize_sql('WITH a AS (COPY (SELECT 1) TO ''{file}'') SELECT 1'))",
    "FROM query('FROM json_execute_serialized' || '_sql(json_serialize_sql(''WITH a AS (CO' || "
    "'PY (SELECT 1) TO {file}) SELECT 1''))')",
    "ATTACH '{file}' AS a",
    "EXPORT DATABASE '{file}'",
]


@pytest.mark.requirement("F6.3", "T7")
@pytest.mark.parametrize("write", WRITES)
def test_sql_writes_nowhere(tmp_path: Path, write: str) -> None:
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(tmp_path / "lake", "um", f"{DAYS[0]}"))
    stored = sorted(tmp_path.rglob("*"))
    for file in (tmp_path / "lake" / "x.csv", tmp_path / "x.csv"):
        with pytest.raises((ValueError, duckdb.Error)):
            Lakehouse(tmp_path / "lake").sql(write.format(file=file))
    assert sorted(tmp_path.rglob("*")) == stored


@pytest.mark.requirement("F6.3", "T7")
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "tables named layer.table .*; it cannot read other files"),
        ("SELECT * FROM '{root}/../outside.parquet'", "it cannot read other files"),
        ("SELECT * FROM glob('/etc/*')", "it cannot read other files"),
        ("SELECT count(*) FROM gold.bars_1h, read_text('/etc/passwd') -- copy", "it cannot read other files"),
        ("SELECT 1; SELECT 2", "this text has 2 statements"),
        ("-- nothing", "this text has 0 statements"),
        ("COPY (SELECT 1) TO '/tmp/x'", "SELECT, .* statement of type COPY"),
        ("SET enable_external_access = true", "statement of type SET"),
        ("CREATE TABLE a AS SELECT 1", "statement of type CREATE"),
        ("INSTALL httpfs", "statement of type LOAD"),
    ],
)
def test_sql_says_what_is_allowed(lake: Lakehouse, root: Path, query: str, says: str) -> None:
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), root.parent / "outside.parquet")
    with pytest.raises(ValueError, match=says):
        lake.sql(query.format(root=str(root).replace("'", "''")))


@pytest.mark.requirement("F6.3")
@pytest.mark.parametrize(
    "query",
    [
        "SHOW TABLES",
        " show  tables ; ",
        "SELECT schema || '.' || name AS name FROM (SHOW ALL TABLES) WHERE schema <> 'main'",
        "SELECT schema || '.' || name AS name FROM (DESCRIBE ) WHERE schema <> 'main' -- copy",
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables WHERE table_schema <> 'main'",
        "SELECT schema_name || '.' || view_name AS name FROM duckdb_views() WHERE schema_name = 'gold'",
    ],
)
def test_sql_lists_the_stored_tables(lake: Lakehouse, root: Path, query: str) -> None:
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "um", f"{DAYS[0]}", "gold/bars_1h_by_5m"))
    assert sorted(lake.sql(query)["name"]) == ["gold.bars_1h", "gold.bars_1h_by_5m"]
    columns = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'bars_1h' ORDER BY ordinal_position"
    )
    assert lake.sql(columns)["column_name"].to_list() == lake.describe("gold.bars_1h")["column"].to_list()


@pytest.mark.requirement("F6.3")
def test_sql_lists_only_the_tables_that_a_query_names(lake: Lakehouse, root: Path) -> None:
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(root, "um", f"{DAYS[0]}", "gold/bars_1d")).write_bytes(b"?")
    assert lake.sql("SELECT open FROM gold.bars_1h ORDER BY open DESC").shape == (3 * 48 + 24, 1)
    assert lake.sql("DESCRIBE gold.bars_1h").shape[0] == len(schema_of("gold", "bars_1h").column_names) + 3


@pytest.mark.requirement("F6.3")
@pytest.mark.parametrize(("failures", "attempts"), [(1, 2), (9, 2)])
def test_sql_over_a_file_that_is_replaced_meanwhile_is_tried_again(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, failures: int, attempts: int
) -> None:
    seen: list[int] = []

    def lock(connection: duckdb.DuckDBPyConnection, root: str | None) -> None:
        seen.append(1)
        if len(seen) <= failures:
            # The error of DuckDB, which reopens a file with the footer of the earlier version.
            raise duckdb.Error("TProtocolException: Invalid data")

    monkeypatch.setattr("crypto_lakehouse.lake.reader.sql._lock", lock)
    query = "SELECT count(*) AS n FROM gold.bars_1h"
    if failures < attempts:
        assert lake.sql(query)["n"][0] == 3 * 48 + 24
    else:
        with pytest.raises(duckdb.Error, match="TProtocol"):
            lake.sql(query)
    assert len(seen) == attempts
    seen.clear()
    failures = 0
    with pytest.raises(duckdb.BinderException):
        lake.sql("SELECT no_such_column FROM gold.bars_1h")
    # The second time through Arrow: files of an older version may be without the column.
    assert len(seen) == 2


@pytest.mark.requirement("F6.3")
def test_sql_over_files_that_are_replaced_again_and_again_is_tried_again(
    lake: Lakehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def lock(connection: duckdb.DuckDBPyConnection, root_: str | None) -> None:
        seen.append(1)
        if len(seen) < 5:
            put(day_of_bars(DAYS[0], ["BTCUSDT", "ETHUSDT"][: len(seen) % 2 + 1]), part_path(root, "um", f"{DAYS[0]}"))
            raise duckdb.Error("TProtocolException: Invalid data")

    monkeypatch.setattr("crypto_lakehouse.lake.reader.sql._lock", lock)
    assert lake.sql("SELECT count(*) AS n FROM gold.bars_1h")["n"][0] == 2 * 48 + 2 * 24
    assert len(seen) == 5


@pytest.mark.requirement("F6.3", "F6.8")
def test_sql_names_a_damaged_file(lake: Lakehouse, root: Path) -> None:
    file = part_path(root, "um", f"{DAYS[1]}")
    file.write_bytes(file.read_bytes()[:1000])
    for end in ("", "-- copy"):
        with pytest.raises(DamagedFile, match=f"{re.escape(str(file))} is damaged: .* --force"):
            lake.sql(f"SELECT sum(open) FROM gold.bars_1h {end}")


@pytest.mark.requirement("F6.3")
def test_sql_renames_repeated_columns(lake: Lakehouse) -> None:
    query = """
        SELECT a.*, b.*, a.open + 1 AS open_1, b.open + 2 AS open
        FROM gold.bars_1h a JOIN gold.bars_1h b USING (symbol, market, open_time) LIMIT 1
    """
    for columns in (
        list(lake.sql(query).columns),
        lake.sql(query, format="polars").columns,
        lake.sql(query, format="arrow").column_names,
    ):
        assert len(set(columns)) == len(columns)
        assert [name for name in columns if name.startswith("open_") and name[5:].isdigit()] == [
            "open_2",
            "open_1",
            "open_3",
        ]
        assert {"high", "high_1"} <= set(columns)
    assert lake.sql(query, format="polars").select("open", "open_1", "open_2", "open_3").row(0) == (1.0, 2.0, 1.0, 3.0)


@pytest.mark.requirement("F6.3")
def test_sql_errors_list_the_stored_tables(lake: Lakehouse) -> None:
    with pytest.raises(KeyError, match="no table 'bars_7h' in layer gold; did you mean bars_"):
        lake.sql("SELECT * FROM gold.bars_7h")


@pytest.mark.requirement("F6.1", "F6.3")
@pytest.mark.parametrize("older", [0, 1])
def test_files_of_an_older_layout_are_read_with_nulls_and_a_warning_names_the_command(
    tmp_path: Path, older: int
) -> None:
    store = LakeStore.open(str(tmp_path))
    kept = [name for name in schema_of("gold", "symbol_states").column_names if name not in ("first_time", "has_ended")]
    store_a_row(store, "gold", "symbol_states", "um")
    path = part_path(tmp_path, "um", f"{DAYS[0]}", "gold/symbol_states")
    whole = pl.read_parquet(path, hive_partitioning=False)
    for number, day in enumerate(DAYS[:2]):
        rows = whole.select(kept) if number == older else whole
        put(rows, part_path(tmp_path, "um", f"{day}", "gold/symbol_states"))
    lake = Lakehouse(tmp_path)
    for comment in ("", " -- copy"):
        query = f"SELECT has_ended FROM gold.symbol_states ORDER BY date{comment}"
        assert lake.sql(query, format="polars")["has_ended"].to_list() == [True, None][:: 1 if older else -1]
    command = "crypto-lakehouse backfill --market um --table klines_1m --from 2024-01-01 --to 2024-01-02"
    with pytest.warns(UserWarning, match=f"without first_time, has_ended, because an older version .*{command}"):
        lake.read("gold.symbol_states", market="um")
