"""A process that replaces the days of a month all the time: ``python -m ... URI [ENDPOINT]``.

Each version of a day has other rows, other bytes and its own number in ``trade_count``, so that a mix of two versions
shows.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from itertools import cycle

import polars as pl

from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.lake_rows import klines

UM = TableSlice("silver", "binance", "um", "klines_1m")
DAYS = [f"2023-02-{day:02}" for day in range(1, 29)]
SYMBOLS = ["AUSDT", "BTCUSDT", "ETHUSDT"]


def write_day(store: LakeStore, key: str, version: int) -> None:
    write_partition(store, UM.partition(key), day_rows(key, version))


@cache
def day_rows(key: str, version: int) -> pl.DataFrame:
    rows = klines(SYMBOLS, date.fromisoformat(key), minutes(version))
    return rows.with_columns(trade_count=pl.lit(version, pl.Int64))


def minutes(version: int) -> int:
    """The number of minutes of a symbol in a version of a day."""
    return (1440, 100)[version % 2]


def is_whole(rows: pl.DataFrame) -> bool:
    """Whether each day is present and all of its rows are of one version, which determines their number."""
    by_day = rows.group_by(pl.col("open_time").dt.date()).agg(
        pl.col("trade_count").unique().alias("versions"), pl.col("symbol").n_unique().alias("symbols"), rows=pl.len()
    )
    return by_day.height == len(DAYS) and all(
        len(versions) == 1 and count == symbols * minutes(versions[0])
        for versions, symbols, count in by_day.select("versions", "symbols", "rows").iter_rows()
    )


@contextmanager
def replaced(store: LakeStore) -> Iterator[subprocess.Popen[bytes]]:
    """The days of a lake while a process replaces them."""
    command = [sys.executable, "-m", "crypto_lakehouse_tests.system.replaced", store.uri, store.s3_endpoint_url or ""]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def main(uri: str, endpoint: str) -> None:
    store = LakeStore.open(uri, endpoint or None)
    for version in cycle((1, 2)):
        for key in DAYS:
            write_day(store, key, version)


if __name__ == "__main__":
    main(*sys.argv[1:])
