"""kill -9 at each step of the replacement of a partition: both versions stay readable, and the next run completes it.

``python -m crypto_lakehouse_tests.system.test_versions_killed URI ENDPOINT STEP WHEN`` replaces a partition and kills
itself before or after one of the storage's own calls.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage import store as storage
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.revisions import record_revisions
from crypto_lakehouse_tests.unit.lake_rows import KEY, SLICE
from crypto_lakehouse_tests.unit.test_as_of import closes, rows

PARTITION = SLICE.partition(KEY)
# On disk an object is kept by a link and published by a rename, on S3 by a copy and an upload.
STEPS = {"local": (("os", "link"), ("Path", "replace")), "s3": (("storage", "copy_object"), ("storage", "put_file"))}
FAULTS = [(place, *step, when) for place, steps in STEPS.items() for step in steps for when in ("before", "after")]


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeStore:
    if request.param == "local":
        return LakeStore.open(str(tmp_path / "lake"))
    uri, endpoint, env = request.getfixturevalue("s3_lake")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return LakeStore.open(f"{uri}/{tmp_path.name}", endpoint)


def write(store: LakeStore, version: int) -> None:
    write_partition(store, PARTITION, rows(version), Provenance(f"of {version}"))
    record_revisions(store, PARTITION)


@pytest.mark.requirement("F6.19", "T4", "T5")
@pytest.mark.parametrize(("store", "holder", "step", "when"), FAULTS, indirect=["store"])
def test_a_killed_replacement_leaves_both_versions_readable(
    store: LakeStore, holder: str, step: str, when: str
) -> None:
    write(store, 1)
    # Times of S3 are whole seconds.
    time.sleep(1)
    first = datetime.now(UTC)
    command = [sys.executable, "-m", __name__, store.uri, store.s3_endpoint_url or "", holder, step, when]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    killed = datetime.now(UTC)
    is_published = (step in ("replace", "put_file")) and when == "after"
    left = 102.0 if is_published else 101.0
    lake = Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url)
    assert closes(lake, as_of=first) == [101.0]
    assert closes(lake, as_of=killed) == [left]
    assert closes(lake) == [left]
    snapshot = lake.snapshot()
    write(store, 2)
    assert closes(lake) == closes(lake, as_of=datetime.now(UTC)) == [102.0]
    assert closes(lake, as_of=first) == [101.0]
    assert closes(lake, as_of=killed) == [left]
    assert closes(lake, as_of=snapshot) == [left]
    # What the killed run did not record is recorded with the next replacement.
    write(store, 3)
    log = lake.read("ledger.revisions", market="um", format="polars").sort("known_to", "symbol")
    assert (
        log.select("symbol", "added", "removed", "changed").rows() == [("BTCUSDT", 0, 0, 5), ("ETHUSDT", 0, 0, 5)] * 2
    )
    assert log["known_from"][2] == log["known_to"][0]


def main(uri: str, endpoint: str, holder: str, step: str, when: str) -> None:
    owner: Any = {"os": os, "Path": Path, "storage": storage}[holder]
    call: Callable[..., Any] = getattr(owner, step)

    def killing(*arguments: Any) -> Any:
        of_partition = any(str(each).endswith("part-0.parquet") for each in arguments)
        if of_partition and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*arguments)
        if of_partition:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, step, killing)
    write(LakeStore.open(uri, endpoint or None), 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
