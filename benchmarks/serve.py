"""The REST service under load on this machine, next to a plain read of the same files in a process of its own.

The server is a real process; its clients are threads here, each with its connection. What is asked for: one symbol's
day and year of minutes as an Arrow stream, and a year of daily closes as a matrix. The goals hold for one client; the
details have the requests a second and the times of 1, 16 and 64.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.matrices import daily_closes
from benchmarks.measure import Result
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

SYMBOLS, DAYS = 20, 365
FIRST = date(2023, 1, 1)
CLIENTS = (1, 16, 64)
SECONDS = 3.0
_MINUTES = TableSlice("silver", "binance", "um", "klines_1m")
_ROWS = "/v1/tables/silver.klines_1m/rows?market=um&symbols=S007USDT&format=arrow"
_RUNNING = re.compile(r"Uvicorn running on http://([^ ]+)")


@dataclass(frozen=True, slots=True)
class _Load:
    """What many clients measured: requests a second, and the times of one request in seconds."""

    rate: float
    times: list[float]

    def __str__(self) -> str:
        p95 = statistics.quantiles(self.times, n=20)[-1] if len(self.times) > 1 else self.times[0]
        return f"{self.rate:.0f}/s, p50 {1000 * statistics.median(self.times):.0f} ms, p95 {1000 * p95:.0f} ms"


def run() -> Iterator[Result]:
    """Measure each kind of request, then the memory of the server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lake"
        files = _minutes(folder)
        daily_closes(folder)
        closes = sorted(folder.glob("gold/bars_1d/**/*.parquet"))
        end = FIRST + timedelta(DAYS)
        kinds: dict[str, tuple[str, Callable[[], object], float]] = {
            "a symbol's day": (f"{_ROWS}&start={FIRST}&end={FIRST + timedelta(1)}", lambda: _plain(files[:1]), 25.0),
            "a symbol's year": (f"{_ROWS}&start={FIRST}&end={end}", lambda: _plain(files), 3.0),
            "a year of daily closes": (
                f"/v1/panel?market=um&field=close&interval=1d&format=arrow&start={FIRST}&end={end}",
                lambda: _matrix(closes),
                4.0,
            ),
        }
        with _server(folder) as (address, process):
            for kind, (path, plain, goal) in kinds.items():
                _one(address, path)
                loads = {clients: _load(address, path, clients) for clients in CLIENTS}
                seconds = statistics.median(_timed(plain) for _ in range(11))
                detail = "; ".join(f"{clients} clients {load}" for clients, load in loads.items())
                yield Result(
                    f"serve: {kind} over a plain read of its files",
                    statistics.median(loads[1].times) / seconds,
                    goal,
                    at_most=True,
                    # A plain read of a day takes a millisecond, so what else runs on the machine decides.
                    guarded=False,
                    # The reader's stream opens one day after the other, a scan opens many at once.
                    is_wish=kind == "a symbol's year",
                    detail=f"plain {1000 * seconds:.1f} ms; {detail}",
                )
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
        yield Result("serve: peak memory of the server with 64 clients", peak, 1024, at_most=True, unit="MiB")


def _minutes(folder: Path) -> list[Path]:
    store, schema, random = LakeStore.open(f"{folder}"), _MINUTES.schema.arrow, np.random.default_rng(7)
    names = pl.DataFrame({"symbol": [f"S{number:03}USDT" for number in range(SYMBOLS)]})
    paths = []
    for day in (FIRST + timedelta(number) for number in range(DAYS)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        last = start + timedelta(hours=23, minutes=59)
        times = pl.datetime_range(start, last, "1m", time_unit="us", eager=True).alias("open_time").to_frame()
        frame = names.join(times, how="cross")
        values: dict[str, pl.Series | pl.Expr] = {
            "double": pl.Series(random.uniform(0.01, 500, frame.height).round(4)),
            "int64": pl.Series(random.integers(0, 900, frame.height)),
            "string": pl.lit("archive"),
            "timestamp[us, tz=UTC]": pl.col("open_time"),
        }
        frame = frame.with_columns(
            values[str(field.type)].alias(field.name) for field in schema if field.name not in frame.columns
        )
        partition = _MINUTES.partition(f"{day}")
        rows = frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
        write_partition(store, partition, rows.cast(schema))
        paths.append(folder / partition.path)
    return paths


def _plain(files: list[Path]) -> pl.DataFrame:
    return pl.scan_parquet(files).filter(pl.col("symbol") == "S007USDT").collect()


def _matrix(files: list[Path]) -> pl.DataFrame:
    rows = pl.scan_parquet(files).select("symbol", "open_time", "close").collect()
    return rows.pivot("symbol", index="open_time", values="close", sort_columns=True).sort("open_time")


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")},
        "LAKEHOUSE_LAKE_URI": f"{folder}",
        "LAKEHOUSE_SERVE_TOKENS": f"{folder.parent / 'tokens.json'}",
        "LAKEHOUSE_SERVE_RATE": "100000",
    }
    log = folder.parent / "serve.log"
    command = [sys.executable, "-m", "crypto_lakehouse", "serve", "--port", "0"]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output, env=environment) as process:
        try:
            while (match := _RUNNING.search(log.read_text(encoding="utf-8"))) is None:
                if process.poll() is not None:
                    raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8')}")
                time.sleep(0.05)
            yield match[1], process
        finally:
            process.terminate()


def _load(address: str, path: str, clients: int) -> _Load:
    """Let ``clients`` ask one request after the other for some seconds, each at least once."""
    started = time.perf_counter()

    def ask() -> list[float]:
        connection, times = http.client.HTTPConnection(address), list[float]()
        while not times or time.perf_counter() - started < SECONDS:
            times.append(_timed(lambda: _answer(connection, path)))
        connection.close()
        return times

    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask) for _ in range(clients)]
        times = [seconds for each in asked for seconds in each.result()]
    return _Load(len(times) / (time.perf_counter() - started), times)


def _one(address: str, path: str) -> None:
    connection = http.client.HTTPConnection(address)
    _answer(connection, path)
    connection.close()


def _answer(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {body[:300]!r}")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
