"""Zips to bronze and silver, compared with the legacy way, with the fastest single steps, and with its own stages.

With the archive far away, the whole ingest is compared with its slowest stage alone. With the archive on the same
machine every stage waits only for a core, and the archive's server needs the same cores, so there the CPU seconds of
the whole are compared with those of its stages alone.
The legacy way is in ``legacy_parse.py``, the archives in ``archives.py``.
``python -m benchmarks.ingest FOLDER DAYS`` ingests days from the folder of an archive, for a measurement of its peak
memory from outside.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.archives import KLINES, FolderArchive, klines_archive, served
from benchmarks.latency import LatencyProxy
from benchmarks.legacy_parse import parse_all
from benchmarks.measure import Result, busy_seconds, interleaved, peak_mib
from benchmarks.steps import best_steps, polars_files
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import ArchiveSource, FetchedFile
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.concurrency.map_ordered import map_ordered
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.parsing import Reading, read_together
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.schemas.slices import TableSlice

# About the number of symbols in a day of um.
SYMBOLS, DAYS = 600, 2
MANY_SYMBOLS = 2_000
_LEGACY_FILES = 30
_TOGETHER = 40
# Milliseconds: the archive on this machine, whose server then needs the same cores, and far away.
_ROUND_TRIPS = (0, 100)
_PLACE = ("binance", "um", "klines_1m")


def run() -> Iterator[Result]:
    """Yield ratios of rates, the ratio of the whole to its slowest stage, and peaks of memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = klines_archive(folder / "archive", SYMBOLS, DAYS)
        yield from _rates(folder, days)
        yield from _stages(folder, days)
        yield from _peaks(folder)


def ingest(source: ArchiveSource, lake: Path, days: Sequence[str], with_silver: bool) -> None:
    """Write the bronze partitions of the days into a new lake and, ``with_silver``, their silver partitions."""
    store, now = LakeStore.open(str(lake)), datetime.now(UTC)
    raw = RawStore(store, "binance", keep=False)
    bronze = BronzeIngest(KLINES, source, store, raw, SymbolFilter.parse("*"), lambda: now)
    for part in bronze.partitions(days):
        write_partition(store, TableSlice("bronze", *_PLACE).partition(part.key), part.rows)

    def silver(day: str) -> None:
        write_partition(
            store, TableSlice("silver", *_PLACE).partition(day), silver_partition(KLINES, day, store, now).rows
        )

    for _ in map_ordered(silver, days if with_silver else []):
        pass


def _rates(folder: Path, days: Sequence[str]) -> Iterator[Result]:
    source, numbers = FolderArchive(folder / "archive"), count()
    zips = sorted(map(str, (folder / "archive").rglob("*.zip")))
    batches = [zips[at : at + _TOGETHER] for at in range(0, len(zips), _TOGETHER)]
    legacy = {Path(path).name: [path] for path in zips[:_LEGACY_FILES]}

    def lake() -> Path:
        return folder / f"lake-{next(numbers)}"

    # Two busy cores are less than twice as fast as one, so the fastest steps keep both busy too.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        seconds = interleaved(
            {
                "legacy": lambda: parse_all(pool, legacy, lake()),
                "polars": lambda: list(pool.map(polars_files, batches, [str(lake()) for _ in batches])),
                "bronze": lambda: ingest(source, lake(), days, with_silver=False),
                "both": lambda: ingest(source, lake(), days, with_silver=True),
                "one output": lambda: list(pool.map(best_steps, batches, [1] * len(batches))),
                "two outputs": lambda: list(pool.map(best_steps, batches, [2] * len(batches))),
            },
            rounds=7,
        )
    files = {name: (_LEGACY_FILES if name == "legacy" else len(zips)) / taken for name, taken in seconds.items()}
    words = ", ".join(f"{name} {rate:,.0f}" for name, rate in files.items())
    yield Result(
        "ingest: bronze and silver over the legacy way", files["both"] / files["legacy"], 20, detail=f"files/s: {words}"
    )
    yield Result("ingest: bronze over the legacy way", files["bronze"] / files["legacy"], 25)
    yield Result(
        "ingest: bronze over Polars a file at a time, 2 processes, no checks", files["bronze"] / files["polars"], 1
    )
    yield Result("ingest: floor of bronze over bronze", files["one output"] / files["bronze"], 1.7, at_most=True)
    yield Result("ingest: floor of both over both", files["two outputs"] / files["both"], 1.7, at_most=True)


def _stages(folder: Path, days: Sequence[str]) -> Iterator[Result]:
    with served(folder / "archive") as (urls, process):
        near = [urls["LAKEHOUSE_ARCHIVE_URL"], urls["LAKEHOUSE_ARCHIVE_LISTING_URL"]]
        for milliseconds in _ROUND_TRIPS:
            with ExitStack() as distance:
                files, listing = (_delayed(distance, url, milliseconds) for url in near)
                yield _overlap(folder, days, open_source("binance", files, listing), milliseconds, process)


def _delayed(distance: ExitStack, url: str, milliseconds: int) -> str:
    """Return a URL for the same server with round trips of ``milliseconds``."""
    if not milliseconds:
        return url
    parts = urlsplit(url)
    proxy = distance.enter_context(LatencyProxy(f"{parts.scheme}://{parts.netloc}", milliseconds / 1000))
    return proxy.url + parts.path


def _overlap(folder: Path, days: Sequence[str], source: ArchiveSource, milliseconds: int, server: int) -> Result:
    numbers = count()
    first, end = date.fromisoformat(days[0]), date.fromisoformat(days[-1]).replace(day=DAYS + 1)
    files = source.files(KLINES, source.symbols(KLINES), first, end)
    fetched = [file for file in FolderArchive(folder / "archive").fetch(files, folder) if isinstance(file, FetchedFile)]
    of_days = [[file for file in fetched if file.file.period == day] for day in days]
    batches = [day[at : at + _TOGETHER] for day in of_days for at in range(0, len(day), _TOGETHER)]
    read = [made for batch in batches for made in read_together(KLINES, batch) if isinstance(made, Reading)]

    def fetch() -> None:
        with tempfile.TemporaryDirectory() as name:
            files = source.files(KLINES, source.symbols(KLINES), first, end)
            # In memory, as in the whole ingest.
            list(source.fetch(files, Path(name), MemoryBudget(sum(file.size for file in files))))

    def parse() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda batch: read_together(KLINES, batch), batches))

    def write() -> None:
        store = LakeStore.open(str(folder / f"written-{milliseconds}-{next(numbers)}"))
        for day in days:
            rows = (made.rows for made in read if made.files[0].file.period == day)
            write_partition(store, TableSlice("bronze", *_PLACE).partition(day), rows)

    def whole() -> None:
        ingest(source, folder / f"whole-{milliseconds}-{next(numbers)}", days, with_silver=False)

    stages: dict[str, Callable[[], None]] = {"download": fetch, "parse": parse, "write": write}

    def map_ordered() -> None:
        with ThreadPoolExecutor(len(stages)) as pool:
            for stage in [pool.submit(stage) for stage in stages.values()]:
                stage.result()

    seconds = interleaved({**stages, "side by side": map_ordered, "whole": whole}, rounds=5)
    taken, together = seconds.pop("whole"), seconds.pop("side by side")
    words = ", ".join(f"{name} {alone:.2f} s" for name, alone in seconds.items())
    if not milliseconds:
        busy = {name: _median_busy(stage, server) for name, stage in stages.items()}
        all_of_it = _median_busy(whole, server)
        work = ", ".join(f"{name} {spent:.2f} s" for name, spent in busy.items())
        return Result(
            "ingest: CPU seconds of the whole over the sum of its stages",
            all_of_it / sum(busy.values()),
            1.15,
            at_most=True,
            detail=f"{len(files)} files; whole {all_of_it:.2f} s of CPU in {taken:.2f} s; {work}",
        )
    return Result(
        f"ingest: the whole over its slowest stage alone, round trips of {milliseconds} ms",
        taken / max(seconds.values()),
        1.25,
        at_most=True,
        detail=f"{len(files)} files; whole {taken:.2f} s; alone: {words}; side by side {together:.2f} s",
    )


def _median_busy(do: Callable[[], None], server: int) -> float:
    return statistics.median(busy_seconds(do, server) for _ in range(3))


def _peak(archive: Path, days: int) -> float:
    """Return the median of three peaks."""
    return statistics.median(peak_mib("benchmarks.ingest", str(archive), str(days)) for _ in range(3))


def _peaks(folder: Path) -> Iterator[Result]:
    klines_archive(folder / "many", MANY_SYMBOLS, 4)
    # Two days of silver are computed in parallel, so four days are compared with two.
    one, two, four = (_peak(folder / "many", days) for days in (1, 2, 4))
    yield Result(f"ingest: peak for a day of {MANY_SYMBOLS:,} symbols", one, 1024, at_most=True, unit="MiB")
    yield Result("ingest: peak of two such days", two, 1024, at_most=True, unit="MiB")
    yield Result("ingest: peak of four such days over two", four / two, 1.1, at_most=True, detail=f"{four:,.0f} MiB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        archive = FolderArchive(Path(sys.argv[1]))
        chosen = [f"2024-12-{day:02}" for day in range(1, int(sys.argv[2]) + 1)]
        ingest(archive, Path(temporary) / "lake", chosen, with_silver=True)
