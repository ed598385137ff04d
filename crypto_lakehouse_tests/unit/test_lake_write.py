"""The lake's write side on a local folder."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage import paths
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.describe import list_files
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger, read_state, record_files
from crypto_lakehouse.lake.storage.partitions import (
    MissingPartition,
    list_keys,
    partition_exists,
    read_partition,
    scan_partitions,
    write_partition,
)
from crypto_lakehouse.lake.storage.quarantine import read_rejected, record_rejected
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.bronze.recorder import Counts, IngestRecorder
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.model import BAR_ROWS
from crypto_lakehouse.schemas.slices import TableSlice

SLICE = TableSlice("silver", "binance", "um", "klines_1m")
KEY = "2024-01-01"
UM_1M = feed("binance", "um", "klines_1m")
NOW = datetime(2024, 2, 1, tzinfo=UTC)


def klines(symbols: list[str], day: date, minutes: int) -> pl.DataFrame:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        {
            "symbol": symbol,
            "open_time": begin + timedelta(minutes=i),
            "close_time": begin + timedelta(minutes=i + 1, microseconds=-1),
            **dict.fromkeys(("open", "high", "low", "close"), 100.0 + i),
            **dict.fromkeys(("base_volume", "quote_volume"), 2.5),
            "trade_count": i,
            **dict.fromkeys(("taker_buy_base_volume", "taker_buy_quote_volume"), 0.5),
            "contracts": None,
            "source": "archive_daily",
        }
        for symbol in symbols
        for i in range(minutes)
    ]
    schema = pl.DataFrame(schema_of("silver", "klines_1m").arrow.empty_table()).schema
    return pl.DataFrame(rows, schema=schema)


def ledger_row(symbol: str, **changes: Any) -> dict[str, Any]:
    return {
        "key": f"data/futures/um/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-01.zip",
        "symbol": symbol,
        "period": KEY,
        "size": 10,
        "etag": "e",
        "last_modified": datetime(2024, 1, 2, tzinfo=UTC),
        "sha256": "0" * 64,
        "rows": 1440,
        "rejected_rows": 0,
        "status": "ingested",
        "reason": None,
        "detail": None,
        **changes,
    }


def reject(line: int | None) -> dict[str, Any]:
    return {
        "layer": "silver",
        "symbol": "BTCUSDT",
        "source_key": "data/x.zip",
        "source_sha256": None,
        "source_line": line,
        "reason": "negative_price",
        "detail": "open is -1",
        "raw": "-1,2",
    }


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    return LakeStore.open(str(tmp_path / "lake"))


@pytest.mark.requirement("T4")
def test_publishing_replaces_whole_objects_and_leaves_no_temporary_files(store: LakeStore) -> None:
    store.write_bytes_atomic("raw/a", b"one")
    store.write_bytes_atomic("raw/a", b"two")
    assert store.read_bytes("raw/a") == b"two"
    assert [p.name for p in Path(store.root).rglob("*") if p.is_file()] == ["a"]
    Path(store.root, "raw", ".tmp-left-by-a-crash").write_bytes(b"x")
    assert [(f.path, f.size) for f in store.list()] == [("raw/a", 3)]
    store.delete("raw/a")
    store.delete("raw/a")
    assert not store.exists("raw/a")
    assert store.list("nothing/here") == []


@pytest.mark.requirement("T4")
def test_only_old_drafts_are_swept(store: LakeStore) -> None:
    assert store.sweep() == 0
    store.write_bytes_atomic("raw/some/a", b"kept")
    old, new = (Path(store.root, "raw", "some", f".tmp-{name}") for name in ("old", "new"))
    for draft in (old, new):
        draft.write_bytes(b"half")
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for path in (old, Path(store.root, "raw", "some", "a")):
        os.utime(path, (two_days_ago, two_days_ago))
    assert store.sweep() == 1
    assert (old.exists(), new.exists(), store.read_bytes("raw/some/a")) == (False, True, b"kept")


@pytest.mark.requirement("T4")
def test_a_write_that_cannot_finish_keeps_the_old_object_and_names_the_path(store: LakeStore) -> None:
    store.write_bytes_atomic("raw/a", b"old")
    code = f"""
import resource
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.pipeline.bronze.recorder import Counts, IngestRecorder
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    LakeStore.open({store.uri!r}).write_bytes_atomic("raw/a", bytes(100_000))
except LakeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"cannot write {store.uri}/raw/a" in done.stdout
    assert store.read_bytes("raw/a") == b"old"
    assert [p.name for p in Path(store.root, "raw").iterdir()] == ["a"]


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


@pytest.mark.requirement("F3.4")
def test_the_ledger_is_append_only_and_a_second_run_writes_nothing(store: LakeStore) -> None:
    rows = [ledger_row("BTCUSDT"), ledger_row("ETHUSDT")]
    state = record_files(store, UM_1M, KEY, rows, NOW)
    assert state == read_state(store, UM_1M, KEY)
    assert sorted(row["symbol"] for row in state.values()) == ["BTCUSDT", "ETHUSDT"]
    files = store.list()
    assert files[0].path.startswith("ledger/files/exchange=binance/market=um/feed=klines_1m/date=2024-01-01/")
    later = NOW + timedelta(days=1)
    assert record_files(store, UM_1M, KEY, rows, later) == state
    assert store.list() == files
    changed = ledger_row("BTCUSDT", sha256="1" * 64)
    assert record_files(store, UM_1M, KEY, [changed, rows[1]], later) == read_state(store, UM_1M, KEY) != state
    record_files(store, UM_1M, KEY, rows, later + timedelta(days=1))
    assert set(files) < set(store.list())
    state = read_state(store, UM_1M, KEY)[rows[0]["key"]]
    assert (state["sha256"], state["first_seen"], state["table"]) == ("0" * 64, NOW, "klines_1m")
    everything = read_ledger(store, UM_1M)
    assert everything.height == 4
    assert latest(everything).height == 2
    assert read_ledger(store, UM_1M, ["2024-01-02"]).is_empty()


@pytest.mark.requirement("F3.4")
def test_the_last_ledger_row_is_the_state_whatever_the_clocks_say(store: LakeStore) -> None:
    failed = ledger_row("BTCUSDT", status="failed", sha256=None)
    record_files(store, UM_1M, KEY, [failed], NOW + timedelta(seconds=5))
    for number in range(3):
        record_files(store, UM_1M, KEY, [ledger_row("BTCUSDT")], NOW + timedelta(seconds=number))
    (row,) = read_state(store, UM_1M, KEY).values()
    assert row["status"] == "ingested"
    assert read_ledger(store, UM_1M).height == 2


@pytest.mark.requirement("F3.4")
def test_the_ledger_takes_periods_without_files_and_refuses_unknown_fields(store: LakeStore) -> None:
    none = ledger_row("", key=f"no_file/{KEY}", status="no_file", etag=None, last_modified=None, rows=0)
    assert record_files(store, UM_1M, KEY, [none], NOW).keys() == {none["key"]}
    with pytest.raises(ValueError, match="colour"):
        record_files(store, UM_1M, KEY, [ledger_row("A", colour=1)], NOW)
    with pytest.raises(ValueError, match="time zone"):
        record_files(store, UM_1M, KEY, [], NOW.replace(tzinfo=None))


@pytest.mark.requirement("F3.4")
def test_no_value_is_invented_for_a_missing_file(store: LakeStore) -> None:
    account = IngestRecorder(UM_1M, store, KEY, Counts(), NOW)
    account.close()
    account.record()
    (row,) = read_ledger(store, UM_1M).rows(named=True)
    facts = ("size", "etag", "last_modified", "sha256")
    assert [row[name] for name in facts] == [None] * 4
    assert (row["status"], row["reason"], row["period"], row["symbol"]) == ("no_file", "not_listed", KEY, "")
    columns = {column.name: column for column in schema_of("ledger", "files").columns}
    assert all(columns[name].nullable for name in facts)
    with pytest.raises(ValueError, match="period has 1 nulls"):
        record_files(store, UM_1M, KEY, [ledger_row("A", period=None)], NOW)


@pytest.mark.requirement("F3.4")
def test_values_invented_by_older_versions_are_read_unchanged(store: LakeStore) -> None:
    invented = {"size": 0, "etag": "", "last_modified": datetime(1970, 1, 1, tzinfo=UTC), "sha256": None}
    recorded = {"status": "no_file", "rows": 0, "reason": "not_listed", **invented}
    old = ledger_row("", key=f"{UM_1M.name}/{KEY}", **recorded)
    record_files(store, UM_1M, KEY, [old], NOW)
    before = store.list()
    later = NOW + timedelta(days=1)
    for _ in range(2):
        (state,) = read_state(store, UM_1M, KEY).values()
        assert recorded.items() <= state.items()
        assert latest(read_ledger(store, UM_1M)).height == 1
        account = IngestRecorder(UM_1M, store, KEY, Counts(), later)
        account.close()
        account.record()
        recorded.update(dict.fromkeys(invented))
    assert set(before) < set(store.list())
    assert len(store.list()) == 2
    assert read_state(store, UM_1M, KEY)[old["key"]]["first_seen"] == NOW


@pytest.mark.requirement("F3.4")
def test_the_quarantine_writes_the_same_rejects_once(store: LakeStore) -> None:
    rows = [reject(1), reject(None)]
    assert record_rejected(store, UM_1M, KEY, [], NOW) == 0
    assert record_rejected(store, UM_1M, KEY, rows, NOW) == 2
    assert record_rejected(store, UM_1M, KEY, rows[::-1], NOW + timedelta(days=1)) == 0
    assert record_rejected(store, UM_1M, KEY, [*rows, reject(2)], NOW + timedelta(days=2)) == 3
    found = read_rejected(store, UM_1M, [KEY])
    assert sorted(found["source_line"].to_list(), key=str) == [1, 2, None]
    assert found["seen_at"].min() == NOW
    assert found["period"].unique().to_list() == [KEY]
    assert read_rejected(store).equals(found)
    assert read_rejected(store, UM_1M, ["2024-01-02"]).is_empty()


@pytest.mark.requirement("F3.4", "T7")
def test_raw_files_are_kept_by_hash(store: LakeStore, tmp_path: Path) -> None:
    key = "data/spot/daily/klines/币安人生USDT/1m/币安人生USDT-1m-2026-01-01.zip"
    source = tmp_path / "x.zip"
    source.write_bytes(b"bytes")
    sha256 = hashlib.sha256(b"bytes").hexdigest()
    off, on = RawStore(store, "binance", keep=False), RawStore(store, "binance", keep=True)
    off.put(key, sha256, source)
    assert store.list() == []
    on.put(key, sha256, source)
    kept = on.get(key, sha256, tmp_path)
    assert kept is not None
    assert kept.read_bytes() == b"bytes"
    assert kept.name.endswith(f"-2026-01-01.{sha256[:16]}.zip")
    assert off.get(key, sha256, tmp_path) is None
    assert on.get(key, "1" * 64, tmp_path) is None
    kept.write_bytes(b"rotten")
    assert on.get(key, sha256, tmp_path) is None
    on.put(key, sha256, HeldFile("x.zip", b"bytes"))
    assert on.get(key, sha256, tmp_path) is not None


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("bad", ["../x", "..", "a/b", "", "a b", "A", "a\n", "a=b", "ü"])
def test_unsafe_names_never_become_paths(store: LakeStore, bad: str) -> None:
    for key in (bad, "2024-1-1", "2024-01", "2024-02-30", "2024-01-01/.."):
        with pytest.raises(ValueError):
            paths.log_folder("ledger", "files", UM_1M, key)
    for month in (bad, "2024-1", "2024-13", "2024-01-01"):
        with pytest.raises(ValueError):
            paths.months_folder(SLICE, month)
    for key in (f"{bad}/../a.zip", "/a.zip", "data/..zip", "data//a.zip", "data/a.csv"):
        with pytest.raises(ValueError):
            paths.raw_path("binance", key, "0" * 64)
    for path in ("../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "a\0"):
        with pytest.raises(ValueError):
            store.write_bytes_atomic(path, b"")


@pytest.mark.requirement("T7", "D7")
def test_logs_and_month_files_have_folders_of_their_own() -> None:
    assert paths.log_folder("ledger", "files", UM_1M) == "ledger/files/exchange=binance/market=um/feed=klines_1m"
    assert paths.log_folder("quarantine", "rejected", feed("binance", "um", "funding_rates"), "2024-02") == (
        "quarantine/rejected/exchange=binance/market=um/feed=funding_rates/month=2024-02"
    )
    assert paths.months_folder(SLICE) == "compacted/silver/klines_1m/exchange=binance/market=um"
    assert paths.months_folder(SLICE, "2024-02") == (
        "compacted/silver/klines_1m/exchange=binance/market=um/month=2024-02"
    )


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


@pytest.mark.requirement("T4")
def test_an_object_that_vanishes_during_its_deletion_is_no_error(store: LakeStore) -> None:
    class Overtaken(LakeStore):
        def exists(self, path: str) -> bool:
            found = LakeStore.exists(self, path)
            LakeStore.delete(store, path)
            return found

    store.write_bytes_atomic("raw/a", b"one")
    Overtaken(store.uri, store.root, store.filesystem).delete("raw/a")
    assert not store.exists("raw/a")


@pytest.mark.requirement("F1.2", "T7")
@pytest.mark.parametrize(
    ("uri", "endpoint", "advice"),
    [
        ("s3://bucket/a/../b", None, "Give s3://bucket/prefix"),
        ("s3://bucket/a b", None, "Give s3://bucket/prefix"),
        ("s3://bucket//b", None, "Give s3://bucket/prefix"),
        ("s3://B", None, "Give s3://bucket/prefix"),
        ("s3://", None, "Give s3://bucket/prefix"),
        ("~nobody-of-this-name/lake", None, "no home directory for this user; give a path"),
        ("s3://bucket", "http://[::1", r"give http\(s\)://host:port"),
        ("s3://bucket", "http://host:99999", r"give http\(s\)://host:port"),
        ("s3://bucket", "http://host:port", r"give http\(s\)://host:port"),
        ("s3://bucket", "http://host:0", r"give http\(s\)://host:port"),
        ("s3://bucket", "host:9000", r"give http\(s\)://host:port"),
    ],
)
def test_a_lake_that_cannot_be_opened_says_what_to_give(uri: str, endpoint: str | None, advice: str) -> None:
    with pytest.raises(LakeError, match=advice):
        LakeStore.open(uri, endpoint)


@pytest.mark.requirement("F1.2")
def test_a_store_shows_no_secrets_and_can_be_pickled(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "visible-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-value")
    remote = LakeStore.open("s3://bucket/lake", "http://127.0.0.1:9")
    assert repr(remote) == "LakeStore('s3://bucket/lake')"
    assert b"very-secret-value" not in pickle.dumps(remote)
    assert "very-secret-value" not in str(remote.polars_options())
    for one in (store, remote):
        assert pickle.loads(pickle.dumps(one)) == one
    for uri, endpoint in (
        ("s3://id:very-secret-value@bucket", None),
        ("s3://bucket", "http://id:very-secret-value@host"),
        ("ftp://host/x", None),
    ):
        with pytest.raises(LakeError) as caught:
            LakeStore.open(uri, endpoint)
        assert "very-secret-value" not in str(caught.value)
