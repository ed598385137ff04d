"""A backfill in several processes, through the real command: the same files in less time.

Stages that sleep show how work is divided, on any machine: the archive is 100 ms away, and each partition sleeps while
it is stored (``sleeping.py``). The time of the same command without sleep, with the start of its processes and all that
needs a core, is subtracted. Days of many symbols and years of few show what two cores give. The wide days are also
built by one process on one core, and by one process whose threads use both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.archives import cli, klines_archive, served
from benchmarks.latency import LatencyProxy
from benchmarks.measure import Result, interleaved
from benchmarks.narrow import FIRST, make_archive

ROUNDS = 3
# Days of one process must be a multiple of the most processes.
SLEEPING_DAYS, SLEEP, ROUND_TRIP = 32, 0.4, 0.1
WIDE_SYMBOLS, WIDE_DAYS, NARROW_DAYS = 300, 16, 181
_ROOT = Path(__file__).parents[1]


def run() -> Iterator[Result]:
    """Yield the speed-up of stages that sleep, and ratios of the times of wide days and of few symbols."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _narrow(folder)
        yield from _wide(folder)


def backfill(
    home: Path,
    program: Sequence[str],
    settings: Mapping[str, str],
    days: tuple[str, str],
    cores: set[int] | None = None,
) -> None:
    """Run the command in a process of its own, with its lake and records in ``home``, on some cores or on all."""
    home.mkdir()
    own = {"LAKEHOUSE_LAKE_URI": str(home / "lake"), "LAKEHOUSE_TABLES": "klines_1m", "DAGSTER_HOME": str(home)}
    first, last = days
    wish = ["backfill", "--market", "um", "--table", "klines_1m", "--from", first, "--to", last]
    ended = subprocess.run(
        [*program, *wish],
        env={**os.environ, "PYTHONPATH": str(_ROOT), **settings, **own},
        cwd=home,
        capture_output=True,
        check=False,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    assert ended.returncode == 0, ended.stdout.decode() + ended.stderr.decode()


def _narrow(folder: Path) -> Iterator[Result]:
    """Few symbols: with stages that sleep, and as they are."""
    make_archive(folder / "narrow", NARROW_DAYS)
    numbers = count()

    def way(
        urls: Mapping[str, str], processes: int, days: int, program: Sequence[str], **more: str
    ) -> Callable[[], None]:
        settings = {**urls, "LAKEHOUSE_PROCESSES": f"{processes}", **more}
        span = f"{FIRST}", f"{FIRST + timedelta(days=days - 1)}"
        return lambda: backfill(folder / f"narrow-{next(numbers)}", program, settings, span)

    with served(folder / "narrow") as (urls, _):
        yield from _sleeping(urls, way)
        ways = {name: way(urls, number, NARROW_DAYS, cli()) for name, number in (("one", 1), ("two", 2))}
        seconds = interleaved(ways, ROUNDS)
    yield Result(
        "processes: few symbols, two processes over one",
        seconds["one"] / seconds["two"],
        1.0,
        detail=f"2 symbols, {NARROW_DAYS} days: one {seconds['one']:.1f} s, two {seconds['two']:.1f} s",
    )


def _sleeping(urls: Mapping[str, str], way: Callable[..., Callable[[], None]]) -> Iterator[Result]:
    with LatencyProxy(urls["LAKEHOUSE_ARCHIVE_URL"], ROUND_TRIP) as proxy:
        far = {name: url.replace(urls["LAKEHOUSE_ARCHIVE_URL"], proxy.url) for name, url in urls.items()}
        ways = {}
        for processes in (1, 2, 4):
            most = {"LAKEHOUSE_MAX_PARTITIONS_PER_RUN": f"{SLEEPING_DAYS // processes}"}
            for name, sleep in (("awake", 0.0), ("asleep", SLEEP)):
                program = [sys.executable, "-m", "benchmarks.sleeping", f"{sleep}"]
                ways[f"{processes} {name}"] = way(far, processes, SLEEPING_DAYS, program, **most)
        seconds = interleaved(ways, rounds=1, warm_up=0)
    taken = ", ".join(f"{name} {second:.1f} s" for name, second in seconds.items())
    slept = {number: seconds[f"{number} asleep"] - seconds[f"{number} awake"] for number in (1, 2, 4)}
    for processes, goal in ((2, 1.8), (4, 3.2)):
        yield Result(
            f"processes: time for stages that sleep, one process over {processes}",
            slept[1] / slept[processes],
            goal,
            detail=f"{SLEEPING_DAYS} days, {SLEEP} s a partition, archive at {ROUND_TRIP * 1000:.0f} ms: {taken}",
        )


def _wide(folder: Path) -> Iterator[Result]:
    keys = klines_archive(folder / "wide", WIDE_SYMBOLS, WIDE_DAYS)
    numbers, days = count(), (keys[0], keys[-1])
    core = min(os.sched_getaffinity(0))

    def way(settings: Mapping[str, str], cores: set[int] | None = None) -> None:
        backfill(folder / f"wide-{next(numbers)}", cli(), settings, days, cores)

    with served(folder / "wide") as (urls, _):
        one, two = ({**urls, "LAKEHOUSE_PROCESSES": number} for number in ("1", "2"))
        ways = {"two": partial(way, two), "one core": partial(way, one, {core}), "threads": partial(way, one)}
        seconds = interleaved(ways, ROUNDS)
    taken = ", ".join(f"{name} {second:.1f} s" for name, second in seconds.items())
    size = f"{WIDE_SYMBOLS} symbols, {WIDE_DAYS} days: {taken}"
    yield Result(
        "processes: wide days, two processes over one on one core",
        seconds["one core"] / seconds["two"],
        1.6,
        detail=size,
    )
    yield Result(
        "processes: wide days, two processes over the threads of one",
        seconds["threads"] / seconds["two"],
        1.0,
        detail=size,
    )
