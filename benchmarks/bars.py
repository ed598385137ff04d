"""Continuous minutes and bars of 200 symbols and 30 days, compared with the legacy way and with a lower bound.

Our jobs read and write days of a lake with the functions that runs call. The lower bound ("floor") decodes the same
days and encodes the same rows in the lake's format on all cores, without anything between. ``python -m benchmarks.bars
LAKE JOB`` runs one of our jobs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.bars_lake import MARKET, make_legacy, make_silver
from benchmarks.legacy_bars import bars_all, continuous_all, spawned_pool
from benchmarks.measure import Result, interleaved, peak_mib
from crypto_lakehouse.catalog.bars import TimeBars, parse_bars_list
from crypto_lakehouse.concurrency.map_ordered import WRITERS, map_ordered
from crypto_lakehouse.lake.storage.parquet import conform, encode
from crypto_lakehouse.lake.storage.partitions import list_keys, open_partition, read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, GAPS, MINUTES, STATES, ContinuousMinutes
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.frames import Frame
from crypto_lakehouse.transforms.gold.continuous import GapRule

SYMBOLS, DAYS, ROUNDS = 200, 30, 10
BARS = {"1h": 2.0, "5m,1h,1d": 3.5, "1h:5m": 4.0}
"""Kinds of bars computed together from one read, and the goal: how many times as fast as the legacy way.

In Dagster each kind is its own asset and reads the minutes itself, as in the first and the last job.
"""

_MINUTES = "continuous minutes"
_PLACE = (MARKET.exchange, MARKET.name)
_CORES = os.cpu_count() or 1
_UNREAD = {MINUTES: ("close_time", "source"), CONTINUOUS: ("vwap",)}
"""Columns that no job reads."""


def run() -> Iterator[Result]:
    """Yield each job's time over the legacy way and the floor, and its peak memory."""
    with tempfile.TemporaryDirectory() as name, spawned_pool(_CORES) as pool:
        folder = Path(name)
        store = LakeStore.open(str(folder / "lake"))
        klines, funding, made = folder / "klines", folder / "funding", folder / "minutes"
        make_legacy(store, make_silver(store, SYMBOLS, DAYS), klines, funding)
        legacy: dict[str, Callable[[], object]] = {_MINUTES: partial(continuous_all, pool, klines, funding, made)}
        for job in BARS:
            kinds = [(bars.interval.length, bars.offsets) for bars in _kinds(job)]
            legacy[job] = partial(bars_all, pool, made, folder / "bars", kinds)
        for job, goal in {_MINUTES: 2.0, **BARS}.items():
            do(store, job)
            ways: dict[str, Callable[[], object]] = {
                "legacy": legacy[job],
                "ours": partial(do, store, job),
                "floor": _floor(store, job),
            }
            yield from _results(job, goal, interleaved(ways, ROUNDS, warm_up=0))
            peak = peak_mib("benchmarks.bars", store.uri, job)
            yield Result(f"bars: peak memory of {job}", peak, 1024, at_most=True, unit="MiB")


def do(store: LakeStore, job: str) -> None:
    """Compute and write all days of one job."""

    def write(day: tuple[str, dict[str, Frame]]) -> None:
        key, tables = day
        for table, rows in tables.items():
            write_partition(store, TableSlice("gold", *_PLACE, table).partition(key), rows)

    for _ in map_ordered(write, _made(store, job), WRITERS):
        pass


def _made(store: LakeStore, job: str) -> Iterator[tuple[str, dict[str, Frame]]]:
    """Yield each day with its tables."""
    if job == _MINUTES:
        for day in ContinuousMinutes(store, MARKET, GapRule(), force=True).days(_keys(store, "silver", MINUTES)):
            yield day.key, {CONTINUOUS: day.rows, GAPS: day.gaps, STATES: day.states}
        return
    keys = _keys(store, "gold", CONTINUOUS)
    with closing(DayBars(store, MARKET, _kinds(job), keys)) as maker:
        for key in keys:
            yield key, maker.make(key)


def _floor(store: LakeStore, job: str) -> Callable[[], None]:
    """Return a function that decodes the input of the job and encodes its output."""
    layer, read = ("silver", MINUTES) if job == _MINUTES else ("gold", CONTINUOUS)
    written = [CONTINUOUS] if job == _MINUTES else [bars.table for bars in _kinds(job)]
    columns = [name for name in schema_of(layer, read).column_names if name not in _UNREAD[read]]

    def decode(key: str) -> None:
        with open_partition(store, TableSlice(layer, *_PLACE, read).partition(key)) as source:
            pq.ParquetFile(source, read_dictionary=["symbol"]).read(columns=columns, use_threads=False)

    def run() -> None:
        for _ in map_ordered(decode, _keys(store, layer, read), _CORES):
            pass
        for table in written:
            schema = schema_of("gold", table)
            for _ in map_ordered(partial(encode, schema=schema), tables[table], _CORES):
                pass

    tables = {
        table: [
            conform(
                read_partition(store, TableSlice("gold", *_PLACE, table).partition(key)),
                schema_of("gold", table),
                False,
            )
            for key in _keys(store, "gold", table)
        ]
        for table in written
    }
    return run


def _results(name: str, goal: float, seconds: dict[str, float]) -> Iterator[Result]:
    ours, legacy, floor = seconds["ours"], seconds["legacy"], seconds["floor"]
    detail = f"{ours:.2f} s; legacy {legacy:.2f} s"
    yield Result(f"bars: {name} over the legacy way", legacy / ours, goal, detail=detail)
    detail = f"{ours:.2f} s; floor {floor:.2f} s"
    yield Result(f"bars: {name} against the floor", ours / floor, 1.5, at_most=True, detail=detail)


def _kinds(text: str) -> list[TimeBars]:
    return [bars for bars in parse_bars_list(text) if isinstance(bars, TimeBars)]


def _keys(store: LakeStore, layer: str, table: str) -> Sequence[str]:
    return list(list_keys(store, TableSlice(layer, *_PLACE, table)))


if __name__ == "__main__":
    do(LakeStore.open(sys.argv[1]), sys.argv[2])
