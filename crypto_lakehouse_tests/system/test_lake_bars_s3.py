"""Bars, and tables that no setting lists, read from a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.describe import MissingLakeError
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.test_align import build
from crypto_lakehouse_tests.unit.test_lake_bars import DAYS, UM, klines, minutes_by_day, store_bars

MINUTES = "gold.continuous_1m"


@pytest.mark.requirement("T5", "F6.6", "F6.4")
def test_bars_are_computed_stored_listed_and_read_on_s3(
    s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    store = LakeStore.open(f"{uri}/bars", endpoint)
    lake = Lakehouse(store.uri, s3_endpoint_url=endpoint)
    with pytest.raises(MissingLakeError, match="there is no lake at s3://"):
        lake.tables()
    minutes = minutes_by_day(klines())
    for day, rows in minutes.items():
        write_partition(store, TableSlice("gold", *UM, "continuous_1m").partition(f"{day.date()}"), rows)
    asked = {"market": "um", "offset": "35m", "start": DAYS[1], "end": DAYS[2] + timedelta(hours=5)}
    made = lake.bars("AAAUSDT", "1h", **asked, format="polars")
    assert made.height == 29
    store_bars(store, parse_bars("1h:5m"), minutes, DAYS)
    assert lake.bars("AAAUSDT", "1h", **asked, format="polars").equals(made)
    stored = lake.read("gold.bars_1h_by_5m", symbols="AAAUSDT", start=asked["start"], end=asked["end"], format="polars")
    assert stored.filter(pl.col("offset") == 35).select(made.columns).equals(made)
    assert store.folders("gold") == lake.tables()["table"].to_list() == ["bars_1h_by_5m", "continuous_1m"]
    assert [one.partitions for one in lake_status(store)] == [7, 7]
    with pytest.raises(LakeError, match="bucket"):
        LakeStore.open("s3://no-such-bucket-here", endpoint).folders("gold")


@pytest.mark.requirement("T5", "F6.11", "F6.12", "F6.13")
def test_matrices_joins_streams_and_coverage_are_the_same_on_s3(
    s3_lake: tuple[str, str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    stores = LakeStore.open(str(tmp_path / "lake")), LakeStore.open(f"{uri}/research", endpoint)
    for store in stores:
        build(store)
    local, remote = Lakehouse(stores[0].uri), Lakehouse(stores[1].uri, s3_endpoint_url=endpoint)
    klines = {"market": "um", "symbols": "AAA*", "columns": ["open_time", "close"], "last": "2d"}
    asks: dict[str, Callable[[Lakehouse], Any]] = {
        "panel": lambda lake: lake.panel("close", None, "4h", market="um", format="polars").to_dicts(),
        "align": lambda lake: lake.align("AAAUSDT", "4h", market="um", format="polars").to_dicts(),
        "days": lambda lake: [rows.to_pylist() for _, rows in lake.iter_days(MINUTES, **klines, format="arrow")],
        "batches": lambda lake: lake.record_batches(MINUTES, **klines).read_all().to_pylist(),
        "symbols": lambda lake: lake.symbols("um", table="silver.open_interest"),
        "coverage": lambda lake: lake.coverage("BBBUSDT").to_dicts(),
        "latest": lambda lake: lake.latest().drop("written").to_dicts(),
    }
    for name, ask in asks.items():
        answer = ask(remote)
        assert len(answer) > 0, name
        assert answer == ask(local), name
