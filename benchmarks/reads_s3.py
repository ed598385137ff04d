"""Requests that reads make to S3: one symbol over two years, and one day, 30 ms away.

It is an area of ``reads.py``. Month files and the requested day are uploaded to a real S3 server (SeaweedFS). The other
day files are a few bytes: they are listed and never opened.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.compaction import MINUTES, ROUND_TRIP, SLICE, TABLE
from benchmarks.latency import LatencyProxy
from benchmarks.measure import Result
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.describe import list_slice_files
from crypto_lakehouse.lake.storage.months import month_of, month_path
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.system.s3_server import s3_server

ROUNDS = 5
# What they were before reads of files on disk became faster (2026-12-01): two listings and two requests a month file.
YEARS_REQUESTS, DAY_REQUESTS = 50, 3


def requests(lake: Path, symbol: str, first: date, days: int, day: date, bucket: Path) -> Iterator[Result]:
    """Yield the requests of both reads, from a new reader each; ``bucket`` is a new folder for the server."""
    bucket.mkdir()
    with s3_server(bucket) as (uri, endpoint, environment):
        os.environ |= environment
        _upload(LakeStore.open(f"{lake}"), LakeStore.open(uri, endpoint), day)
        with LatencyProxy(endpoint, ROUND_TRIP) as far:

            def read(start: date, end: date) -> Callable[[], int]:
                asked: dict[str, Any] = {"market": "um", "symbols": symbol, "start": start, "end": end}
                return lambda: len(Lakehouse(uri, s3_endpoint_url=far.url).read(TABLE, **asked))

            yield _measured(far, "two years of one symbol", read(first, first + timedelta(days)), days, YEARS_REQUESTS)
            yield _measured(far, "one day of one symbol", read(day, day + timedelta(1)), 1, DAY_REQUESTS)


def _measured(far: LatencyProxy, words: str, read: Callable[[], int], days: int, goal: int) -> Result:
    seconds, counts, received = [], [], []
    for number in range(ROUNDS + 1):
        far.reset()
        started = time.perf_counter()
        rows = read()
        if number:
            seconds.append(time.perf_counter() - started)
            counts.append(far.requests)
            received.append(far.received)
        assert rows == days * MINUTES
    took, size = statistics.median(seconds), statistics.median(received) / 1e6
    detail = f"{ROUND_TRIP * 1000:.0f} ms round trips, {took:.2f} s, {size:.1f} MB, listings included"
    return Result(f"reads: requests to S3, {words}", max(counts), goal, True, "requests", detail)


def _upload(lake: LakeStore, target: LakeStore, day: date) -> None:
    real = SLICE.partition(f"{day}").path

    def upload(path: str, name: str) -> None:
        with target.publishing(name) as draft:
            shutil.copyfile(lake.path(path), draft)

    with ThreadPoolExecutor(8) as pool:
        silver = [file.path for file in lake.list(SLICE.folder)]
        list(pool.map(lambda path: target.write_bytes_atomic(path, b"day"), [path for path in silver if path != real]))
        upload(real, real)
        # The names of month files depend on the day files that the server lists.
        days = list_slice_files(target, SLICE)
        names = {}
        for file in lake.list(f"compacted/{SLICE.folder}"):
            month = next(part for part in file.path.split("/") if part.startswith("month=")).removeprefix("month=")
            names[file.path] = month_path(SLICE, month, [one for one in days if month_of(one.key) == month])
        list(pool.map(upload, names, names.values()))
