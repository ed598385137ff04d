"""Month files: reads of one symbol of 200 over a year of minutes, from disk and from S3 at 30 ms, and of one whole day.

``run`` writes 365 day files and twelve month files of silver.klines_1m with the lake's own functions, then uploads the
month files to a real S3 server (SeaweedFS). There the day files are only a few bytes: they are listed and never opened.
It takes about two minutes and 12 GB in the temporary folder.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.latency import LatencyProxy
from benchmarks.measure import Result, interleaved
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.compaction import MONTH_ROWS, compact_month
from crypto_lakehouse.lake.storage.describe import list_slice_files
from crypto_lakehouse.lake.storage.months import month_of, month_path
from crypto_lakehouse.lake.storage.parquet import encode
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.s3_server import s3_server

TABLE = "silver.klines_1m"
SLICE = TableSlice("silver", "binance", "um", "klines_1m")
SYMBOLS, DAYS, MINUTES = 200, 365, 1440
FIRST = date(2023, 1, 1)
ROUND_TRIP = 0.030
_PRICES = ("open", "high", "low", "close", "quote_volume", "taker_buy_quote_volume")
_VOLUMES = ("base_volume", "taker_buy_base_volume")


def run() -> Iterator[Result]:
    """Yield the figures from disk, then from S3."""
    with tempfile.TemporaryDirectory() as name:
        lake, bucket = Path(name) / "lake", Path(name) / "bucket"
        bucket.mkdir()
        make_minutes(lake, SYMBOLS, DAYS)
        yield from _from_disk(lake)
        with s3_server(bucket) as (uri, endpoint, environment):
            os.environ |= environment
            _upload(LakeStore.open(str(lake)), LakeStore.open(uri, endpoint))
            with LatencyProxy(endpoint, ROUND_TRIP) as far:
                yield from _from_s3(uri, far)


def _from_disk(folder: Path) -> Iterator[Result]:
    lake, symbol = Lakehouse(folder), _symbol(101)
    schema = replace(schema_of("silver", "klines_1m"), row_group_rows=MONTH_ROWS)
    rows = _year(lake, symbol).select(schema.column_names).collect()
    alone = folder / "alone.parquet"
    alone.write_bytes(encode(rows.to_arrow().cast(schema.arrow), schema))
    # Without ``symbols``, the reader uses day files.
    days = lake.scan(TABLE, market="um", start=FIRST, end=FIRST + timedelta(DAYS)).filter(pl.col("symbol") == symbol)
    assert days.collect().equals(_year(lake, symbol).collect())
    day = FIRST + timedelta(100)
    seconds = interleaved(
        {
            "alone": lambda: pl.read_parquet(alone),
            "months": lambda: _year(lake, symbol).collect(),
            "days": lambda: lake.scan(TABLE, market="um", start=FIRST).filter(pl.col("symbol") == symbol).collect(),
            "one day": lambda: lake.scan(TABLE, market="um", start=day, end=day + timedelta(1)).collect(),
        },
        # Reads take milliseconds, so any other load of the machine shows in a single read.
        rounds=21,
    )
    taken = {name: f"{1000 * value:.0f} ms" for name, value in seconds.items()}
    yield Result(
        "compaction: a symbol-year from disk over a file of its own",
        seconds["months"] / seconds["alone"],
        2.0,
        at_most=True,
        detail=f"month files {taken['months']}, file of its own {taken['alone']}, day files {taken['days']}",
    )
    yield Result(
        "compaction: one day of all symbols from disk",
        1000 * seconds["one day"],
        150,
        at_most=True,
        unit="ms",
        detail=f"{SYMBOLS * MINUTES:,} rows, from the day file",
        guarded=False,
    )


def _from_s3(uri: str, far: LatencyProxy) -> Iterator[Result]:
    lake = Lakehouse(uri, s3_endpoint_url=far.url)
    seconds, requests, received = [], [], []
    for number in range(8):
        far.reset()
        begun = time.perf_counter()
        rows = _year(lake, _symbol(20 * number)).collect()
        if number:
            seconds.append(time.perf_counter() - begun)
            requests.append(far.requests)
            received.append(far.received)
        assert rows.height == DAYS * MINUTES
    detail = f"{ROUND_TRIP * 1000:.0f} ms round trips, {statistics.median(received) / 1e6:.0f} MB, listings included"
    yield Result(
        "compaction: a symbol-year from S3",
        statistics.median(seconds),
        0.5,
        at_most=True,
        unit="s",
        detail=detail,
        guarded=False,
    )
    yield Result(
        "compaction: requests of a symbol-year from S3", max(requests), 60, at_most=True, unit="requests", detail=detail
    )


def _year(lake: Lakehouse, symbol: str) -> pl.LazyFrame:
    return lake.scan(TABLE, market="um", symbols=symbol, start=FIRST, end=FIRST + timedelta(DAYS))


def _symbol(number: int) -> str:
    return f"S{number:03}USDT"


def make_minutes(lake: Path, symbols: int, days: int) -> None:
    """Write silver.klines_1m of ``symbols`` symbols from ``FIRST`` on: a file for each day and each whole month."""
    numbers = list(range(days))
    keys = [FIRST + timedelta(number) for number in numbers]
    whole = [
        f"{day:%Y-%m}"
        for day in keys
        if day.day == 1 and (day + timedelta(31)).replace(day=1) - FIRST <= timedelta(days)
    ]
    _in_processes(partial(_make_days, symbols=symbols), str(lake), numbers)
    _in_processes(_make_months, str(lake), whole)


def _in_processes(work: Callable[[str, Sequence[int | str]], None], lake: str, items: Sequence[int | str]) -> None:
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, [lake] * count, [items[number::count] for number in range(count)]))


def _make_days(lake: str, numbers: Sequence[int | str], symbols: int) -> None:
    store, minutes = LakeStore.open(lake), _minutes(symbols)
    for number in map(int, numbers):
        day = FIRST + timedelta(number)
        write_partition(store, SLICE.partition(day.isoformat()), _on_day(minutes, day, 1 + 0.3 * np.sin(1.7 * number)))


def _make_months(lake: str, months: Sequence[int | str]) -> None:
    for month in map(str, months):
        compact_month(LakeStore.open(lake), SLICE, month)


def _minutes(symbols: int) -> pl.DataFrame:
    """Return a day of random walks of all symbols, with ``at``, the time since midnight."""
    random, rows = np.random.default_rng(7), symbols * MINUTES
    steps = np.exp(np.cumsum(random.normal(0, 1e-3, (symbols, MINUTES)), axis=1))
    price = (random.uniform(0.01, 500, (symbols, 1)) * steps).ravel()
    volume, bought = random.lognormal(3, 1.5, rows), random.uniform(0, 1, rows)
    return pl.DataFrame(
        {
            "symbol": np.repeat([_symbol(number) for number in range(symbols)], MINUTES),
            "at": pl.Series(np.tile(np.arange(MINUTES) * 60_000_000, symbols)).cast(pl.Duration("us")),
            "open": price,
            "high": price * 1.0007,
            "low": price * 0.9994,
            "close": price * (1 + random.normal(0, 3e-4, rows)),
            "base_volume": volume,
            "quote_volume": volume * price,
            "trade_count": random.poisson(40, rows),
            "taker_buy_base_volume": volume * bought,
            "taker_buy_quote_volume": volume * bought * price,
            "contracts": pl.Series([None] * rows, dtype=pl.Int64),
            "source": ["archive_daily"] * rows,
        }
    )


def _on_day(minutes: pl.DataFrame, day: date, factor: float) -> pl.DataFrame:
    """Return the rows of a day, scaled by ``factor``: equal days would compress away in a month file."""
    midnight = pl.lit(datetime(day.year, day.month, day.day, tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))
    return minutes.with_columns(
        *((pl.col(name) * factor).round(4) for name in _PRICES),
        *((pl.col(name) * factor).round(3) for name in _VOLUMES),
        open_time=midnight + pl.col("at"),
        close_time=midnight + pl.col("at") + pl.duration(milliseconds=59_999),
        trade_count=(pl.col("trade_count") * factor).cast(pl.Int64),
    ).select(schema_of("silver", "klines_1m").column_names)


def _upload(lake: LakeStore, target: LakeStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: target.write_bytes_atomic(file.path, b"day"), lake.list("silver")))
        days = list_slice_files(target, SLICE)

        def month_file(path: str) -> None:
            month = next(name for name in path.split("/") if name.startswith("month=")).removeprefix("month=")
            held = [day for day in days if month_of(day.key) == month]
            with target.publishing(month_path(SLICE, month, held)) as draft:
                shutil.copyfile(lake.path(path), draft)

        list(pool.map(month_file, [file.path for file in lake.list("compacted")]))
