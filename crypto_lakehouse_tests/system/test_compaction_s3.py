"""Month files on a real S3 server, whose times are whole seconds: written, read, and outdated after a day changes."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.unit.lake_rows import klines
from crypto_lakehouse_tests.unit.test_compaction import FEBRUARY, UM, from_days

pytestmark = pytest.mark.requirement("P5", "T5")


def test_month_files_on_s3(s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    uri, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    store = LakeStore.open(f"{uri}/compaction", endpoint)
    for key in FEBRUARY:
        write_partition(store, UM.partition(key), klines(["BTCUSDT", "ETHUSDT"], date.fromisoformat(key), 5))
    first = compact_month(store, UM, "2023-02")
    assert (first.days, first.rows, first.was_up_to_date) == (28, 280, False)
    assert compact_month(store, UM, "2023-02").was_up_to_date
    lake = Lakehouse(store.uri, s3_endpoint_url=endpoint)

    def read() -> pl.DataFrame:
        return lake.scan("silver.klines_1m", market="um", symbols=["ETHUSDT"]).collect().drop("exchange", "market")

    assert "compacted" in lake.scan("silver.klines_1m", market="um", symbols="ETHUSDT").explain()
    assert read().equals(from_days(store, ["ETHUSDT"]))
    # At once, and of the same size.
    other = klines(["BTCUSDT", "ETHUSDT"], date.fromisoformat(FEBRUARY[0]), 5).with_columns(pl.col("trade_count") + 1)
    write_partition(store, UM.partition(FEBRUARY[0]), other)
    assert "compacted" not in lake.scan("silver.klines_1m", market="um", symbols="ETHUSDT").explain()
    assert read()["trade_count"][0] == 1
    second = compact_month(store, UM, "2023-02")
    assert [store.polars_uri(file.path) for file in store.list("compacted")] == [second.uri]
    assert read().equals(from_days(store, ["ETHUSDT"]))
    assert lake.tables()["layer"].unique().to_list() == ["silver"]
