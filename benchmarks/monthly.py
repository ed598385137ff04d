"""Years of few symbols from monthly files of the archive, and from daily ones, over a distant archive.

The command is ``crypto-lakehouse backfill`` with all layers and checks. Besides, the files alone are listed, downloaded
and verified, with the default number of parallel requests and with few: that is the part that monthly files make
shorter.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.archives import cli, served
from benchmarks.latency import LatencyProxy
from benchmarks.measure import Result, interleaved
from benchmarks.narrow import FIRST, SYMBOLS, backfill
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import FetchedFile
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog import FEEDS, Cadence

DAYS, ROUND_TRIP = 731, 0.100
# Numbers of parallel requests, the default and few, and how often each is measured.
_ROUNDS = {128: 3, 8: 1}
_UM = FEEDS["binance", "um", "klines_1m"]
_FILES = {"daily": DAYS, "monthly": 24}


def run() -> Iterator[Result]:
    """Yield the ratios of both ways."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, numbers = Path(name), count()
        _make_archive(folder / "archive")
        urls, _ = stack.enter_context(served(folder / "archive"))
        far: dict[str, str] = {}
        for variable, url in urls.items():
            host, path = _split(url)
            far[variable] = stack.enter_context(LatencyProxy(host, ROUND_TRIP)).url + path
        last = FIRST + timedelta(days=DAYS - 1)

        def command(files: str) -> None:
            backfill(folder / f"lake-{next(numbers)}", far | {"LAKEHOUSE_ARCHIVE_FILES": files}, FIRST, last)

        fetched = {
            parallel: interleaved(
                {cadence.value: partial(_fetch, far, cadence, last, parallel) for cadence in Cadence}, rounds, warm_up=0
            )
            for parallel, rounds in _ROUNDS.items()
        }
        whole = interleaved({"daily": lambda: command("daily"), "monthly": lambda: command("monthly")}, 1, warm_up=0)
    size = f"{SYMBOLS} symbols, {DAYS} days, {ROUND_TRIP * 1000:.0f} ms round trips"
    for parallel, seconds in fetched.items():
        yield Result(
            f"monthly: downloads of monthly files against daily ones, {parallel} parallel requests",
            seconds["daily"] / seconds["monthly"],
            5,
            detail=f"{size}: {_taken(seconds)}",
        )
    yield Result(
        "monthly: a backfill from monthly files against daily ones",
        whole["daily"] / whole["monthly"],
        5,
        detail=f"{size}: {_taken(whole)}",
    )


def _make_archive(folder: Path) -> None:
    wish = ["--tables", "klines_1m", "--markets", "um", "--symbols", f"{SYMBOLS}", "--days", f"{DAYS}", "--monthly"]
    subprocess.run(cli("archive", "sample", str(folder), *wish, "--start", f"{FIRST}"), check=True, stdout=sys.stderr)


def _fetch(urls: dict[str, str], cadence: Cadence, last: date, parallel: int) -> None:
    addresses = urls["LAKEHOUSE_ARCHIVE_URL"], urls["LAKEHOUSE_ARCHIVE_LISTING_URL"]
    source = open_source("binance", *addresses, Limits(concurrency=parallel))
    feed = replace(_UM, cadence=cadence)
    files = source.files(feed, source.symbols(feed), FIRST, last + timedelta(days=1))
    with tempfile.TemporaryDirectory() as folder:
        results = list(source.fetch(files, Path(folder), MemoryBudget(64 * 1024**2)))
    assert len(results) == SYMBOLS * _FILES[cadence], len(results)
    assert all(isinstance(result, FetchedFile) for result in results)


def _split(url: str) -> tuple[str, str]:
    host, slash, path = url.removeprefix("http://").partition("/")
    return f"http://{host}", slash + path


def _taken(seconds: dict[str, float]) -> str:
    return ", ".join(f"{way} {second:.2f} s" for way, second in seconds.items())
