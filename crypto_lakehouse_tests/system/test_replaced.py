"""Reads of files that are replaced all the time: all rows of one version, or those of an earlier time, and no error.

``READS=60 python -m pytest crypto_lakehouse_tests/system/test_replaced.py`` makes that many reads of each kind.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.system.replaced import DAYS, SYMBOLS, UM, is_whole, replaced, write_day

READS = int(os.environ.get("READS", "5"))
SQL = "SELECT open_time, symbol, trade_count FROM silver.klines_1m"


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeStore:
    if request.param == "local":
        store = LakeStore.open(str(tmp_path / "lake"))
    else:
        uri, endpoint, env = request.getfixturevalue("s3_lake")
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        store = LakeStore.open(f"{uri}/{tmp_path.name}", endpoint)
    for key in DAYS:
        write_day(store, key, 0)
    return store


@pytest.mark.requirement("F6.8", "T5")
def test_readers_return_whole_days_while_files_are_replaced(store: LakeStore) -> None:
    lake = Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url)
    where = {"market": "um", "start": DAYS[0], "end": "2023-03-01", "format": "polars"}
    with replaced(store) as writer:
        for _ in range(READS):
            assert is_whole(lake.read("silver.klines_1m", **where))
            assert is_whole(lake.read("silver.klines_1m", symbols=SYMBOLS[1], **where))
            assert is_whole(pl.DataFrame(lake.sql(SQL, format="polars")))
            for key in DAYS[::9]:
                assert read_partition(store, UM.partition(key))["trade_count"].n_unique() == 1
        assert writer.poll() is None


@pytest.mark.requirement("F6.19", "T5")
def test_readers_of_an_earlier_time_return_its_rows_while_files_are_replaced(store: LakeStore) -> None:
    # Times of S3 are whole seconds.
    time.sleep(1)
    lake, moment = Lakehouse(store.uri, s3_endpoint_url=store.s3_endpoint_url), datetime.now(UTC)
    where = {"market": "um", "start": DAYS[0], "end": "2023-03-01", "format": "polars", "as_of": moment}
    with replaced(store) as writer:
        for _ in range(READS):
            for rows in (
                lake.read("silver.klines_1m", **where),
                pl.DataFrame(lake.sql(SQL, format="polars", as_of=moment)),
            ):
                assert is_whole(rows)
                assert rows["trade_count"].unique().to_list() == [0]
            assert lake.at(moment).symbols("um", table="silver.klines_1m") == SYMBOLS
        assert writer.poll() is None
