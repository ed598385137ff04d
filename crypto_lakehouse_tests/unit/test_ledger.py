"""Ledger, quarantine and raw files of a local lake: they are appended, and the same facts are recorded once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger, read_state, record_files
from crypto_lakehouse.lake.storage.quarantine import read_rejected, record_rejected
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.recorder import Counts, IngestRecorder
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse_tests.unit.lake_rows import KEY, NOW, UM_1M, ledger_row, reject


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
