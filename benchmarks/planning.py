"""Listing and planning at the size of a whole archive: the platform's own code against a synthetic bucket.

The plan is a backfill of every date of the 1m klines of three markets, in the chunks of real runs: symbols and files
are listed over HTTP, the ledger is read, and the files of each partition are sorted; none is downloaded. The number of
symbols is fixed, so more keys mean more dates. ``python -m benchmarks.planning 20000000`` plans a bucket of that many
keys and prints time and memory. The cost of the whole archive is in ``extrapolate.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.listing_server import END, Bucket, feed_of, serve_listing
from benchmarks.measure import Result
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.listed import ListedArchive
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile, ListedSymbol, RejectedFile
from crypto_lakehouse.archive.sources import LAYOUTS
from crypto_lakehouse.catalog import Feed, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.partitions import PARTITIONS_PER_RUN
from crypto_lakehouse.pipeline.bronze.download_queue import DownloadQueue
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.reconcile import compare
from crypto_lakehouse.settings import Settings

SYMBOLS = {"spot": 3_600, "um": 830, "cm": 270}
_FEW, _MANY = 400_000, 800_000
_SENTINELS = 50


@dataclass(frozen=True, slots=True)
class Planned:
    """The cost of planning: ``keys`` listed in ``requests``, in ``seconds``, with ``peak_mib`` of memory.

    ``again`` is the seconds for the newest chunk of spot when its files are in the ledger; ``look`` is the seconds of a
    sensor's first tick for spot, which lists all dates of some symbols.
    """

    keys: int
    requests: int
    seconds: float
    peak_mib: float
    again: float
    look: float


def plan(keys: int) -> Planned:
    """Plan a backfill of a bucket of about ``keys`` keys."""
    settings = Settings.load()
    bucket = Bucket(SYMBOLS, keys)
    with serve_listing(bucket) as server, tempfile.TemporaryDirectory() as folder:
        store = LakeStore.open(folder)
        source = _OnlyListed(LAYOUTS["binance"], server.url, server.url, Limits(settings.concurrency))
        begun = time.perf_counter()
        for market in SYMBOLS:
            for chunk in _chunks(bucket, market, PARTITIONS_PER_RUN):
                _plan(feed_of(market), source, store, chunk)
        seconds = time.perf_counter() - begun
        requests = server.requests
        spot = feed_of("spot")
        newest = list(_chunks(bucket, "spot", PARTITIONS_PER_RUN))[-1]
        begun = time.perf_counter()
        compare(spot, source, store, SymbolFilter(), *_range(bucket, "spot"), most_symbols=_SENTINELS)
        look = time.perf_counter() - begun
        _enter(spot, source, store, newest)
        begun = time.perf_counter()
        _plan(spot, source, store, newest)
        return Planned(bucket.listed, requests, seconds, _peak_mib(), time.perf_counter() - begun, look)


class _OnlyListed(ListedArchive):
    """The archive without its files, which are had as soon as they are listed."""

    def list_and_fetch(
        self,
        feed: Feed,
        symbols: Sequence[str],
        first: date,
        end: date,
        is_wanted: Callable[[ArchiveFile], bool],
        directory: Path,
        hold: MemoryBudget | None = None,
    ) -> Iterator[ListedSymbol | FetchedFile | RejectedFile]:
        """Asks which files are wanted, and has none of them."""

        def none(file: ArchiveFile) -> bool:
            is_wanted(file)
            return False

        return super().list_and_fetch(feed, symbols, first, end, none, directory, hold)


def _range(bucket: Bucket, market: str) -> tuple[date, date]:
    return END - timedelta(days=bucket.longest(market)), END


def _chunks(bucket: Bucket, market: str, size: int) -> Iterator[list[str]]:
    """Partition keys of a market by runs."""
    keys = partition_keys(*_range(bucket, market), feed_of(market).cadence)
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _plan(feed: Feed, source: ListedArchive, store: LakeStore, keys: Sequence[str]) -> None:
    """What a run does of these partitions, but for having files and what comes of them."""
    raw = RawStore(store, feed.exchange, keep=True)
    ingest = BronzeIngest(feed, source, store, raw, SymbolFilter(), lambda: datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder, closing(DownloadQueue(source, raw, Path(folder))) as arrivals:
        for _ in ingest.tasks(keys, arrivals):
            pass


def _enter(feed: Feed, source: ListedArchive, store: LakeStore, keys: Sequence[str]) -> None:
    """Record all files of these partitions in the ledger as ingested."""
    first, last = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
    files = source.files(feed, source.symbols(feed), first, last + timedelta(days=1))
    for key, some in groupby(files, key=lambda file: file.period):
        record_files(store, feed, key, [_row(file) for file in some], datetime.now(UTC))


def _row(file: ArchiveFile) -> dict[str, Any]:
    facts = asdict(file)
    state = {"sha256": "0" * 64, "rows": 1440, "rejected_rows": 0, "status": "ingested", "reason": None}
    return {"key": facts.pop("object_key"), **facts, **state, "detail": None}


def _peak_mib() -> float:
    # Not ru_maxrss, which starts with the peak of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _measured(keys: int) -> Planned:
    command = [sys.executable, "-m", "benchmarks.planning", str(keys)]
    return Planned(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def run() -> Iterator[Result]:
    """Yield time and memory for twice as many keys, and the peak of a whole market's chunk."""
    few, many = _measured(_FEW), _measured(_MANY)
    figures = "; ".join(
        f"{one.keys:,} keys in {one.requests:,} requests, {one.seconds:.0f} s, {one.peak_mib:.0f} MiB"
        for one in (few, many)
    )
    ratio = (many.seconds / many.keys) / (few.seconds / few.keys)
    yield Result("planning: time per key for twice as many keys", ratio, 1.25, at_most=True, detail=figures)
    ratio = many.peak_mib / few.peak_mib
    yield Result("planning: peak memory for twice as many keys", ratio, 1.25, at_most=True, detail=figures)
    detail = f"{sum(SYMBOLS.values()):,} symbols; the newest chunk of spot again {many.again:.1f} s"
    yield Result("planning: peak memory", many.peak_mib, 1024, at_most=True, unit="MiB", detail=detail)


if __name__ == "__main__":
    print(json.dumps(asdict(plan(int(sys.argv[1])))))
