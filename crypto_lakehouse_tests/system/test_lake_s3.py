"""The lake's write side against a real S3 server."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.ledger import read_ledger, record_files
from crypto_lakehouse.lake.storage.partitions import (
    list_keys,
    partition_exists,
    read_partition,
    scan_partitions,
    write_partition,
)
from crypto_lakehouse.lake.storage.quarantine import read_rejected, record_rejected
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.lake_rows import klines, ledger_row, reject
from crypto_lakehouse_tests.unit.small_lake import has_one_row_per_market, store_a_row

SLICE = TableSlice("silver", "binance", "um", "klines_1m")
NOW = datetime(2024, 2, 1, tzinfo=UTC)
UM_1M = feed("binance", "um", "klines_1m")


@pytest.fixture
def store(s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, request) -> LakeStore:
    uri, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return LakeStore.open(f"{uri}/{request.node.originalname}", endpoint)


@pytest.mark.requirement("T5", "D7")
def test_partitions_are_written_listed_read_and_scanned_on_s3(store: LakeStore) -> None:
    first = klines(["BTCUSDT", "ETHUSDT"], date(2024, 1, 1), 5)
    info = write_partition(store, SLICE.partition("2024-01-01"), first)
    write_partition(store, SLICE.partition("2024-01-02"), klines([], date(2024, 1, 2), 0))
    assert info.rows == 10
    assert info.uri.startswith("s3://lake/test/")
    assert read_partition(store, SLICE.partition("2024-01-01")).equals(first)
    assert partition_exists(store, SLICE.partition("2024-01-02"))
    assert not partition_exists(store, SLICE.partition("2024-01-03"))
    keys = list_keys(store, SLICE)
    assert list(keys) == ["2024-01-01", "2024-01-02"]
    assert keys["2024-01-01"][0] == info.bytes
    scanned = scan_partitions(store, SLICE, list(keys)).filter(pl.col("symbol") == "ETHUSDT").collect()
    assert scanned.drop("date").equals(first.filter(pl.col("symbol") == "ETHUSDT"))
    assert scan_partitions(pickle.loads(pickle.dumps(store)), SLICE, list(keys)).collect().height == 10


@pytest.mark.requirement("T5", "F3.4")
def test_ledger_quarantine_and_raw_files_work_on_s3(store: LakeStore, tmp_path: Path) -> None:
    row = ledger_row("BTCUSDT")
    state = record_files(store, UM_1M, "2024-01-01", [row], NOW)
    assert record_files(store, UM_1M, "2024-01-01", [row], NOW) == state
    assert read_ledger(store, UM_1M)["key"].to_list() == [row["key"]]
    assert record_rejected(store, UM_1M, "2024-01-01", [reject(1)], NOW) == 1
    assert record_rejected(store, UM_1M, "2024-01-01", [reject(1)], NOW) == 0
    assert read_rejected(store).height == 1
    source = tmp_path / "a.zip"
    source.write_bytes(b"zip bytes")
    sha256 = hashlib.sha256(b"zip bytes").hexdigest()
    raw = RawStore(store, "binance", keep=True)
    assert raw.get(row["key"], sha256, tmp_path) is None
    raw.put(row["key"], sha256, source)
    copy = raw.get(row["key"], sha256, tmp_path)
    assert copy is not None
    assert copy.read_bytes() == b"zip bytes"


@pytest.mark.requirement("T5", "T4")
def test_a_large_object_arrives_whole_and_can_be_replaced_and_deleted(store: LakeStore) -> None:
    data = bytes(range(256)) * 100_000
    store.write_bytes_atomic("raw/large.bin", data)
    assert store.read_bytes("raw/large.bin") == data
    store.write_bytes_atomic("raw/large.bin", b"small")
    assert store.read_bytes("raw/large.bin") == b"small"
    store.delete("raw/large.bin")
    store.delete("raw/large.bin")
    assert store.list("raw") == []


# Publishes a large draft in place of a small object, and says when it begins to.
_PUBLISH = """
import os, sys
from crypto_lakehouse.lake.storage.store import LakeStore
store = LakeStore.open(sys.argv[1], sys.argv[2])
with store.publishing("raw/x") as draft:
    os.truncate(draft, 512 * 1024**2)
    print("begins", flush=True)
print("ended", flush=True)
"""


@pytest.mark.requirement("T5", "T4")
def test_an_interrupted_upload_leaves_the_old_object_or_the_whole_new_one(store: LakeStore) -> None:
    store.write_bytes_atomic("raw/x", b"old")
    command = [sys.executable, "-c", _PUBLISH, store.uri, str(store.s3_endpoint_url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    found = store.find("raw/x")
    assert found is not None
    assert found.size in (len(b"old"), 512 * 1024**2)


# Says where the draft is, and waits to be killed.
_DRAFT = """
import sys, time
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.lake.storage.store import LakeStore
store = LakeStore.open(sys.argv[1], sys.argv[2])
with store.publishing("raw/x") as draft:
    draft.write_bytes(b"half")
    print(draft, flush=True)
    time.sleep(3600)
"""


@pytest.mark.requirement("T5", "T4")
def test_the_draft_of_a_killed_process_is_swept(
    store: LakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", _DRAFT, store.uri, str(store.s3_endpoint_url)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        draft = Path(process.stdout.readline().strip())
        process.kill()
    assert draft.parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert store.sweep() == 0
    os.utime(draft, (1_700_000_000, 1_700_000_000))
    assert store.sweep() == 1
    assert not draft.exists()


@pytest.mark.requirement("T5", "F1.2")
def test_wrong_credentials_say_what_to_check_and_show_no_secret(
    store: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-a-test")
    wrong = LakeStore.open(store.uri, store.s3_endpoint_url)
    actions = (
        lambda: wrong.write_bytes_atomic("raw/x", b"x"),
        lambda: wrong.list("raw"),
        lambda: wrong.exists("raw/x"),
        lambda: wrong.read_bytes("raw/x"),
    )
    for action in actions:
        with pytest.raises(LakeError, match="AWS_SECRET_ACCESS_KEY") as caught:
            action()
        assert "wrong-secret-of-a-test" not in str(caught.value)
    assert b"wrong-secret-of-a-test" not in pickle.dumps(wrong)


@pytest.mark.requirement("T5", "F1.2")
def test_a_pickled_scan_holds_no_secret_and_uses_the_credentials_of_its_reader(
    store: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = klines(["BTCUSDT"], date(2024, 1, 1), 5)
    write_partition(store, SLICE.partition("2024-01-01"), rows)
    pickled = pickle.dumps(Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url).scan("silver.klines_1m"))
    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in pickled
    assert pickle.loads(pickled).collect().height == rows.height
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-a-test")
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).collect().height)"
    wrong = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert wrong.returncode != 0
    assert b"403" in wrong.stderr or b"Signature" in wrong.stderr


@pytest.mark.requirement("T5")
def test_a_missing_bucket_is_named_and_is_never_an_empty_lake(store: LakeStore) -> None:
    other = LakeStore.open("s3://no-such-bucket/lake", store.s3_endpoint_url)
    # Writing is left out: this server makes a bucket that is written to, others refuse.
    for action in (other.list, lambda: other.exists("raw/x"), lambda: other.read_bytes("raw/x")):
        with pytest.raises(LakeError, match=r"no-such-bucket.*Create the bucket"):
            action()


@pytest.mark.requirement("T5", "F6.3")
def test_sql_sees_markets_that_differ_in_columns_on_s3(store: LakeStore) -> None:
    lake = Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url)
    for markets in (["um"], ["um", "spot"]):
        for table in ("agg_trades", "trades"):
            store_a_row(store, "bronze", table, markets[-1])
            assert has_one_row_per_market(lake, "bronze", table, markets)


@pytest.mark.requirement("T5", "F6.3")
@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{out}'",
        "WITH a AS (COPY bronze.trades TO '{out}') SELECT 1",
        "SELECT * FROM bronze.trades, read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{lake}/bronze/trades/*/*/*/*.parquet')",
    ],
)
def test_sql_reads_no_files_and_writes_nowhere_on_s3(store: LakeStore, tmp_path: Path, query: str) -> None:
    store_a_row(store, "bronze", "trades", "um")
    before = store.list()
    lake = Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url)
    with pytest.raises(ValueError, match=r"tables named layer\.table"):
        lake.sql(query.format(out=tmp_path / "x", lake=store.uri))
    assert store.list() == before
    assert not (tmp_path / "x").exists()


@pytest.mark.requirement("F6.3", "T7")
def test_a_connection_reads_the_lake_on_s3_and_no_file(store: LakeStore, tmp_path: Path) -> None:
    store_a_row(store, "bronze", "trades", "um")
    before = store.list()
    with Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url).duckdb() as connection:
        assert connection.sql("SELECT market, count(*) FROM bronze.trades GROUP BY 1").fetchall() == [("um", 1)]
        for target in (f"{store.uri}/bronze/x.parquet", f"{tmp_path}/x.parquet"):
            with pytest.raises(duckdb.Error):
                connection.execute(f"COPY bronze.trades TO '{target}'")
    assert store.list() == before
    assert not (tmp_path / "x.parquet").exists()
