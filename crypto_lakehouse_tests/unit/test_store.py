"""The store of a local lake: atomic objects, safe names, errors that say what to do, no secrets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage import paths
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse_tests.unit.lake_rows import SLICE, UM_1M


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
