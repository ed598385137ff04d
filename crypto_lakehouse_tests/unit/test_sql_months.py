"""SQL over month files: queries that name symbols read them, and the rows are those of the day files."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Cadence, partition_keys
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.damage import DamagedFile
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.test_compaction import FEBRUARY, SPOT, SYMBOLS, UM, day_rows, put

pytestmark = [pytest.mark.requirement("P5"), pytest.mark.requirement("F6.3")]

FIRST, END = date(2023, 1, 28), date(2023, 4, 3)
NAMED = "SELECT * FROM silver.klines_1m WHERE symbol = 'BTCUSDT'"
ORDER = "ORDER BY market, symbol, open_time"
# A query that mentions COPY is answered without access to files, through Arrow.
WAYS = ["", "-- copy"]


def make_days(folder: Path, *slices: TableSlice) -> LakeStore:
    store = LakeStore.open(str(folder))
    for seed, table_slice in enumerate(slices):
        for key in partition_keys(FIRST, END, Cadence.DAILY):
            put(store, key, day_rows(key, seed), table_slice)
    return store


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, Lakehouse]:
    """The same days without and with month files; spot has one of them only."""
    days, months = (make_days(tmp_path_factory.mktemp(name), UM, SPOT) for name in ("days", "months"))
    for table_slice, month in ((UM, "2023-02"), (UM, "2023-03"), (SPOT, "2023-03")):
        compact_month(months, table_slice, month)
    return Lakehouse(days.uri), Lakehouse(months.uri)


@pytest.fixture
def february(tmp_path: Path) -> LakeStore:
    """Days with the month file of February."""
    store = make_days(tmp_path / "lake", UM)
    compact_month(store, UM, "2023-02")
    return store


def overwrite(path: Path) -> None:
    """Damage the bytes of a file; its size and time stay the same."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rows_of(lake: Lakehouse, query: str, params: Any = None) -> pl.DataFrame:
    rows = lake.sql(query, params, format="polars")
    assert isinstance(rows, pl.DataFrame)
    return rows


QUERIES: dict[str, Any] = {
    f"{NAMED} {ORDER}": None,
    f"FROM silver.klines_1m AS k WHERE k.symbol IN ('BTCUSDT', 'ÖUSDT') AND market = 'um' {ORDER}": None,
    f"FROM silver.klines_1m WHERE symbol = $symbol AND date >= $day {ORDER}": {"symbol": "ÖUSDT", "day": "2023-02-11"},
    f"FROM silver.klines_1m WHERE symbol IN $all AND month(date) = 2 {ORDER}": {"all": ["AAAUSDT", "NONEUSDT"]},
    f"FROM silver.klines_1m WHERE symbol = ? AND date < ? {ORDER}": ["BTCUSDT", date(2023, 2, 20)],
    f"{NAMED} AND open_time >= '2023-02-27' AND open_time < '2023-03-02' {ORDER}": None,
    f"SELECT date, market, max(high) AS high FROM ({NAMED}) GROUP BY ALL ORDER BY ALL": None,
    "FROM resample('silver.klines_1m', INTERVAL '1 day') WHERE symbol = 'BTCUSDT' ORDER BY ALL": None,
    "DESCRIBE SELECT * FROM silver.klines_1m WHERE symbol = 'BTCUSDT'": None,
    "SELECT count(*) AS n, count(DISTINCT date) AS days FROM silver.klines_1m WHERE NOT symbol = 'BTCUSDT'": None,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("query", QUERIES)
def test_rows_columns_and_types_are_the_same_with_month_files(
    twins: tuple[Lakehouse, Lakehouse], query: str, way: str
) -> None:
    days, months = (rows_of(lake, f"{query} {way}", QUERIES[query]) for lake in twins)
    assert days.height > 0
    assert months.schema == days.schema
    assert months.equals(days, null_equal=True)


days = st.dates(date(2023, 1, 25), date(2023, 4, 5))
conditions = st.tuples(st.sampled_from(["=", ">=", ">", "<=", "<", "IN", "BETWEEN"]), days, days, st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(conditions, max_size=2), st.sampled_from([" AND ", " OR "]))
def test_any_condition_on_days_gives_the_same_rows(
    twins: tuple[Lakehouse, Lakehouse], wanted: list[tuple[str, date, date, bool]], joined: str
) -> None:
    texts, params = [], []
    for sign, first, last, is_parameter in wanted:
        values = [first, last] if sign in ("IN", "BETWEEN") else [first]
        params += values if is_parameter else []
        shown = ["?" if is_parameter else f"'{value}'" for value in values]
        texts.append(
            f"date {sign} " + {"IN": f"({', '.join(shown)})", "BETWEEN": " AND ".join(shown)}.get(sign, shown[0])
        )
    query = f"{NAMED} AND ({joined.join(texts) or 'true'}) {ORDER}"
    without, with_months = (rows_of(lake, query, params) for lake in twins)
    assert with_months.equals(without, null_equal=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_query_that_names_symbols_opens_no_day_of_a_month_file(february: LakeStore, way: str) -> None:
    lake = Lakehouse(february.uri)
    before = rows_of(lake, f"{NAMED} {ORDER} {way}")
    overwrite(Path(february.path(UM.partition(FEBRUARY[10]).path)))
    assert rows_of(lake, f"{NAMED} {ORDER} {way}").equals(before, null_equal=True)
    with pytest.raises(DamagedFile, match=f"date={FEBRUARY[10]}"):
        rows_of(lake, f"SELECT sum(open) FROM silver.klines_1m {way}")


@pytest.mark.parametrize("way", WAYS)
def test_a_query_for_a_day_opens_no_month_file(february: LakeStore, way: str) -> None:
    lake, query = Lakehouse(february.uri), f"{NAMED} AND date = '2023-03-30' {way}"
    before = rows_of(lake, query)
    [month] = february.list("compacted")
    overwrite(Path(february.path(month.path)))
    assert rows_of(lake, query).equals(before, null_equal=True)
    with pytest.raises(DamagedFile, match="crypto-lakehouse compact"):
        rows_of(lake, f"{NAMED} AND date >= '2023-02-10' {way}")


@pytest.mark.parametrize("way", WAYS)
def test_after_a_day_is_written_again_its_month_is_read_from_days(february: LakeStore, way: str) -> None:
    lake, key = Lakehouse(february.uri), FEBRUARY[10]
    query = f"SELECT symbol, date, close FROM silver.klines_1m WHERE symbol IN {tuple(SYMBOLS)} {ORDER} {way}"
    before = rows_of(lake, query)
    put(february, key, day_rows(key, seed=100))
    after = rows_of(lake, query)
    added = pl.when(pl.col("date") == date.fromisoformat(key)).then(100).otherwise(0)
    assert after.equals(before.with_columns(pl.col("close") + added))
    assert not after.equals(before)


def test_a_connection_for_longer_work_reads_day_files(february: LakeStore) -> None:
    lake = Lakehouse(february.uri)
    expected = rows_of(lake, f"SELECT count(*) AS n FROM ({NAMED})")["n"][0]
    [month] = february.list("compacted")
    overwrite(Path(february.path(month.path)))
    with lake.duckdb() as connection:
        assert connection.execute(f"SELECT count(*) FROM ({NAMED})").fetchone() == (expected,)
    overwrite(Path(february.path(UM.partition(FEBRUARY[10]).path)))
    with lake.duckdb() as connection, pytest.raises((duckdb.Error, OSError)):
        connection.execute(f"SELECT sum(close) FROM ({NAMED})").fetchall()


def test_values_of_parameters_that_are_no_days_do_not_hide_month_files(february: LakeStore) -> None:
    lake = Lakehouse(february.uri)
    query = "SELECT count(*) AS n FROM silver.klines_1m WHERE symbol = 'BTCUSDT' AND date >= ?"
    every = rows_of(lake, query, ["2023-01-01"])
    assert rows_of(lake, query, [datetime(2023, 1, 1)]).equals(every)
    assert rows_of(lake, query, ["-infinity"]).equals(every)
