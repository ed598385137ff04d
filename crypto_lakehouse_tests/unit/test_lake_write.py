"""Partitions in a local lake: what is written, in which layout, and which frames and files are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.describe import list_files
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.partitions import (
    MissingPartition,
    list_keys,
    partition_exists,
    read_partition,
    scan_partitions,
    write_partition,
)
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.model import BAR_ROWS
from crypto_lakehouse_tests.unit.lake_rows import KEY, NOW, SLICE, UM_1M, klines, ledger_row


@pytest.mark.requirement("T4", "D7")
def test_the_same_rows_in_any_order_give_the_same_bytes(store: LakeStore) -> None:
    frame = klines(["BTCUSDT", "ETHUSDT"], date(2024, 1, 1), 50)
    info = write_partition(store, SLICE.partition(KEY), frame)
    before = Path(info.uri).read_bytes()
    assert write_partition(store, SLICE.partition(KEY), frame.reverse().to_arrow()) == info
    assert Path(info.uri).read_bytes() == before
    assert (info.rows, info.symbols, info.bytes) == (100, 2, len(before))
    assert (info.min_time, info.max_time) == (frame["open_time"].min(), frame["open_time"].max())
    assert read_partition(store, SLICE.partition(KEY)).equals(frame)


@pytest.mark.requirement("D7")
def test_parquet_layout(store: LakeStore) -> None:
    symbols = [f"S{i:02}USDT" for i in range(13)]
    info = write_partition(store, SLICE.partition(KEY), klines(symbols, date(2024, 1, 1), 1440))
    meta = pq.ParquetFile(info.uri).metadata
    assert b"ARROW:schema" not in (meta.metadata or {})
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [14_400, 4_320]
    for i in range(meta.row_group(0).num_columns):
        column = meta.row_group(0).column(i)
        assert column.compression == "LZ4"
        repeats = column.physical_type == "BYTE_ARRAY" or column.path_in_schema in ("open", "high", "low", "close")
        amount = column.physical_type == "DOUBLE" and not repeats
        assert any("DICTIONARY" in e for e in column.encodings) == repeats
        assert ("DELTA_BINARY_PACKED" in column.encodings) == (column.physical_type == "INT64")
        assert ("BYTE_STREAM_SPLIT" in column.encodings) == amount
        looked_for = column.path_in_schema in ("symbol", "open_time", "close_time", "source")
        assert (column.statistics is not None) == looked_for
    assert pq.read_schema(info.uri).equals(schema_of("silver", "klines_1m").arrow)


@pytest.mark.requirement("D7")
@pytest.mark.parametrize("minutes", [7_000, 8_000, 20_000])
def test_row_groups_do_not_split_a_symbol_that_fits_in_one(store: LakeStore, minutes: int) -> None:
    info = write_partition(store, SLICE.partition(KEY), klines(["A", "B", "C"], date(2024, 1, 1), minutes))
    file = pq.ParquetFile(info.uri)
    groups = [file.read_row_group(i, ["symbol"])["symbol"].to_pylist() for i in range(file.num_row_groups)]
    assert all(len(group) <= BAR_ROWS for group in groups)
    if minutes > BAR_ROWS:
        assert all(len(set(group)) == 1 for group in groups)
    else:
        assert all(sum(symbol in group for group in groups) == 1 for symbol in "ABC")


@pytest.mark.requirement("D7")
def test_an_empty_partition_is_a_fact(store: LakeStore) -> None:
    empty = klines([], date(2024, 1, 1), 0)
    info = write_partition(store, SLICE.partition(KEY), empty)
    assert (info.rows, info.symbols, info.min_time, info.max_time) == (0, 0, None, None)
    assert read_partition(store, SLICE.partition(KEY)).equals(empty)
    write_partition(store, SLICE.partition("2024-01-02"), klines(["BTCUSDT"], date(2024, 1, 2), 3))
    assert list(list_keys(store, SLICE)) == [KEY, "2024-01-02"]
    assert scan_partitions(store, SLICE, [KEY, "2024-01-02"]).collect().height == 3
    assert scan_partitions(store, SLICE, []).drop("date").collect().equals(empty)


@pytest.mark.requirement("D7")
def test_a_missing_partition_is_named(store: LakeStore) -> None:
    assert not partition_exists(store, SLICE.partition(KEY))
    with pytest.raises(MissingPartition, match="date=2024-01-01"):
        read_partition(store, SLICE.partition(KEY))
    with pytest.raises(MissingPartition, match="date=2024-01-01"):
        scan_partitions(store, SLICE, [KEY])


@pytest.mark.requirement("D7")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("open"), "missing .*open"),
        (lambda f: f.with_columns(x=1), "unknown .*x"),
        (lambda f: f.with_columns(pl.lit("abc").alias("open")), "column open"),
        (lambda f: f.with_columns(pl.lit(None, pl.Float64).alias("open")), "column open has 2 nulls"),
        (lambda f: f.with_columns(pl.col("open_time").dt.replace_time_zone(None)), "time zone"),
    ],
)
def test_frames_that_do_not_fit_are_refused(store: LakeStore, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_partition(store, SLICE.partition(KEY), change(klines(["A"], date(2024, 1, 1), 2)))
    assert store.list() == []


@pytest.mark.requirement("D7")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.tuples(st.text(min_size=1, max_size=8), st.integers(0, 86_399)),
        st.tuples(
            st.floats(allow_nan=False),
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.integers(0, 9),
        ),
        max_size=30,
    )
)
def test_what_is_written_is_read_back(store: LakeStore, rows: dict[Any, Any]) -> None:
    base = klines(["A"], date(2024, 1, 1), len(rows))
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    frame = base.with_columns(
        pl.Series("symbol", [s for s, _ in rows], pl.String),
        pl.Series("open_time", [begin + timedelta(seconds=t) for _, t in rows], base.schema["open_time"]),
        pl.Series("open", [v[0] for v in rows.values()], pl.Float64),
        pl.Series("trade_count", [v[1] for v in rows.values()], pl.Int64),
        pl.Series("contracts", [v[2] for v in rows.values()], pl.Int64),
    )
    write_partition(store, SLICE.partition(KEY), frame)
    assert read_partition(store, SLICE.partition(KEY)).equals(frame.sort("symbol", "open_time"))


FOREIGN = [
    "date=2024-13-01/part-0.parquet",
    "date=2024-02-30/part-0.parquet",
    "date=2024-1-1/part-0.parquet",
    "date=9999-12-31/part-0.parquet",
    "date=/part-0.parquet",
    "month=2024-01/part-0.parquet",
    "date=2024-01-05/copy.parquet",
    "date=2024-01-05/part-0.parquet.bak",
    "date=2024-01-05/old/part-0.parquet",
    "old/date=2024-01-05/part-0.parquet",
    "feed=klines_1m/date=2024-01-05/part-0.parquet",
    "part-0.parquet",
]


@pytest.mark.requirement("D7", "F7.4")
@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.filterwarnings("ignore:.* the range is longer:crypto_lakehouse.LakeWarning")
def test_foreign_files_are_no_partitions(store: LakeStore, foreign: str) -> None:
    rows = klines(["BTCUSDT"], date(2024, 1, 1), 3)
    write_partition(store, SLICE.partition(KEY), rows)
    record_files(store, UM_1M, KEY, [ledger_row("BTCUSDT")], NOW)
    store.write_bytes_atomic(f"{SLICE.folder}/{foreign}", b"not ours")
    for folder in ("date=2024-13-01", "month=2024-00"):
        store.write_bytes_atomic(
            f"ledger/files/exchange=binance/market=um/feed=klines_1m/{folder}/a.parquet", b"not ours"
        )
    assert list(list_keys(store, SLICE)) == [file.key for file in list_files(store, SLICE.layer, SLICE.table)] == [KEY]
    lake = Lakehouse(store.uri)
    assert lake.read("silver.klines_1m", format="polars").height == rows.height
    assert lake.read("silver.klines_1m", start="2023-01-01", end="2025-01-01", format="polars").height == rows.height
    assert lake.sql("SELECT * FROM silver.klines_1m", format="polars").height == rows.height
    assert lake.read("ledger.files", start="2023-01-01", format="polars").height == 1
    assert lake.tables()["partitions"].to_list() == [1, 1]
    assert [(one.table, one.partitions) for one in lake_status(store)] == [("klines_1m", 0), ("klines_1m", 1)]
    assert compact_month(store, SLICE, "2024-01").days == 1
