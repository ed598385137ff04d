"""How benchmarks measure: ways of doing one thing, run in turn, and the ratio of their medians against a goal.

What is compared with what belongs to the modules that name it (``ingest.py``, ``bars.py``, ...); what is printed and
kept is in ``report.py``.
"""

from __future__ import annotations

import gc
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: ``value`` should be at least (``at_most``: at most) ``goal``.

    ``name`` is unique and stays, since kept figures are found by it. ``unit`` is ``x`` for ratios, else as in ``MiB``.
    ``detail`` tells the medians behind it, in words. ``guarded`` figures are compared with the kept ones.
    """

    name: str
    value: float
    goal: float
    at_most: bool = False
    unit: str = "x"
    detail: str = ""
    guarded: bool = field(default=True)

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Median wall seconds of each way. Every round runs all of them once, in turn, so that a machine that becomes
    slower meanwhile is slower for all, and every other round in the opposite order, so that none always comes behind
    one that empties the caches. ``warm_up`` rounds are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    in_order = list(ways.items())
    for number in range(warm_up + rounds):
        for name, way in in_order if number % 2 == 0 else reversed(in_order):
            gc.collect()
            # So that nobody who syncs what he writes waits for what others have written before.
            os.sync()
            begun = time.perf_counter()
            way()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in seconds.items()}


def busy_seconds(do: Callable[[], object], server: int) -> float:
    """CPU seconds of this process, with its threads, and of the process ``server`` while ``do`` runs."""

    def busy() -> float:
        # Behind the name in brackets, which may hold spaces: field 14 is utime, 15 stime (man 5 proc).
        user, system = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[11:13]
        return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    before = busy()
    do()
    return busy() - before


def peak_mib(module: str, *arguments: str) -> float:
    """Peak resident MiB of ``python -m module arguments`` in a process of its own, which must succeed."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL)
    # Not what wait() tells: to the kernel a new process begins with the peak of the one that started it.
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            peak = int(found[1]) if found else peak
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(f"python -m {module} {' '.join(arguments)} ended with {process.returncode}")
    return peak / 1024
