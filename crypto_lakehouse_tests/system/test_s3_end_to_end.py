"""Archive to gold on a real S3 server, read by every reader: the same rows as in a local lake."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import digests, read, run, settings

DAYS = ("2024-12-27", "2024-12-28")


@pytest.mark.requirement("T5", "D6", "P2")
def test_a_lake_on_s3_has_the_rows_of_a_local_lake(
    tmp_path: Path, s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    uri, local = f"{base}/end_to_end", tmp_path / "lake"
    make_sample(tmp_path / "archive", symbols=2, days=2, start=date(2024, 12, 27))
    with ArchiveServer(tmp_path / "archive") as server:
        remote = settings(server, uri, s3_endpoint_url=endpoint)
        assert run(settings(server, local), "um", *DAYS).success
        assert run(remote, "um", DAYS[1], DAYS[1]).success
        assert run(remote, "um", *DAYS).success

    store = LakeStore.open(uri, endpoint)
    for path in digests(local):
        assert store.read_bytes(path) == (local / path).read_bytes(), path

    here, there = Lakehouse(local), Lakehouse(uri, s3_endpoint_url=endpoint)
    for table in ("silver.klines_1m", "gold.bars_1h", "gold.bars_1d"):
        rows = read(here, table, market="um")
        assert rows.height > 0
        assert read(there, table, market="um").equals(rows)
        frame = there.read(table, market="um")
        assert isinstance(frame, pd.DataFrame)
        pd.testing.assert_frame_equal(frame, rows.to_pandas())
        counted = there.sql(f"select count(*) as n, sum(base_volume) as v from {table}", format="polars")
        assert counted["n"].item() == rows.height
        assert counted["v"].item() == pytest.approx(rows["base_volume"].sum(), rel=1e-12)

    path = "silver/klines_1m/exchange=binance/market=um/date=2024-12-27/part-0.parquet"
    expected = pl.read_parquet(local / path, hive_partitioning=False)
    plain = pq.read_table(store.path(path), filesystem=store.filesystem, partitioning=None)
    assert pl.DataFrame(plain).equals(expected)
    scanned = pl.scan_parquet(store.polars_uri(path), storage_options=store.polars_options(), hive_partitioning=False)
    assert scanned.collect().equals(expected)
    frame = pd.read_parquet(store.path(path), filesystem=store.filesystem)
    assert frame["close"].tolist() == expected["close"].to_list()
    # The extension by which DuckDB opens S3 itself is no Python package: it reads through pyarrow.
    part = pads.dataset(store.path(path), filesystem=store.filesystem, format="parquet")
    with duckdb.connect() as connection:
        connection.register("part", part)
        answer = connection.execute("SELECT count(*), sum(trade_count) FROM part").fetchone()
    assert answer == (expected.height, expected["trade_count"].sum())
