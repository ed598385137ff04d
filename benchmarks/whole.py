"""The whole chain, from zips to every gold table, compared with the legacy chain.

Our chain writes bronze, silver, continuous minutes, gaps, states and bars, day by day in a lake, and checks every
sha256. The legacy chain is the parse of ``legacy_parse.py``, then ``legacy_bars.py``, one symbol at a time in each of
two processes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import polars as pl

from benchmarks.archives import FolderArchive, klines_archive
from benchmarks.bars_lake import make_funding, write_funding
from benchmarks.chain import make_chain
from benchmarks.legacy_bars import bars_all, continuous_all, spawned_pool
from benchmarks.legacy_parse import parse_all
from benchmarks.measure import Result, interleaved
from crypto_lakehouse.catalog.bars import TimeBars, parse_bars_list
from crypto_lakehouse.lake.storage.partitions import scan_partitions
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

SYMBOLS, DAYS, ROUNDS = 100, 3, 3
BARS = "5m,1h,1d,1h:5m"


def run() -> Iterator[Result]:
    """Yield how many times as fast as the legacy chain ours is."""
    with tempfile.TemporaryDirectory() as name, spawned_pool(2) as pool:
        folder, numbers = Path(name), count()
        keys = klines_archive(folder / "archive", SYMBOLS, DAYS)
        source = FolderArchive(folder / "archive")
        zips: dict[str, list[str]] = {}
        for path in sorted((folder / "archive").rglob("*.zip")):
            zips.setdefault(path.name.split("-")[0], []).append(str(path))
        kinds = [(bars.interval.length, bars.offsets) for bars in parse_bars_list(BARS) if isinstance(bars, TimeBars)]
        funding = folder / "funding"
        funding.mkdir()
        store = LakeStore.open(str(folder / "funding-lake"))
        make_funding(store, SYMBOLS, keys)
        rates = scan_partitions(
            store, TableSlice("silver", "binance", "um", "funding_rates"), sorted({key[:7] for key in keys})
        )
        hour = pl.col("funding_hour").dt.cast_time_unit("ms")
        write_funding(rates.select("symbol", "funding_rate", candle_begin_time=hour).collect(), funding)

        def ours() -> None:
            lake = LakeStore.open(str(folder / f"lake-{next(numbers)}"))
            make_funding(lake, SYMBOLS, keys)
            make_chain(source, lake, keys, keep_raw=False, bars=BARS)

        def legacy() -> None:
            target = folder / f"legacy-{next(numbers)}"
            parse_all(pool, zips, target / "klines")
            continuous_all(pool, target / "klines", funding, target / "minutes")
            bars_all(pool, target / "minutes", target / "bars", kinds)

        seconds = interleaved({"legacy": legacy, "ours": ours}, ROUNDS)
    taken = f"{seconds['ours']:.2f} s; legacy {seconds['legacy']:.2f} s"
    yield Result(
        "whole: zips to all gold tables over the legacy chain",
        seconds["legacy"] / seconds["ours"],
        10,
        detail=f"{SYMBOLS} symbols, {DAYS} days, bars {BARS}: {taken}",
    )
