"""Measurement: runs several ways of doing one thing in turn, and compares the ratio of their medians with a goal.

The modules of the areas (``ingest.py``, ``bars.py``, ...) define what is compared; ``report.py`` prints and keeps the
figures.
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

    ``name`` is unique and must not change, because it identifies the kept figure. ``unit`` is ``x`` for ratios, else a
    unit such as ``MiB``. ``detail`` describes the medians of the ratio. ``guarded`` figures are compared with the kept
    ones. The goal of a figure with ``is_wish`` need not be met: it says how far the figure is from it.
    """

    name: str
    value: float
    goal: float
    at_most: bool = False
    unit: str = "x"
    detail: str = ""
    guarded: bool = field(default=True)
    is_wish: bool = field(default=False)

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int = 5, warm_up: int = 1) -> dict[str, float]:
    """Return the median wall seconds of each way; ``warm_up`` rounds are not counted.

    Every round runs each way once, so that a machine that becomes slower is slower for all of them. Every second round
    runs in the opposite order, so that no way always runs after one that empties the caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    in_order = list(ways.items())
    for number in range(warm_up + rounds):
        for name, way in in_order if number % 2 == 0 else reversed(in_order):
            gc.collect()
            # A way that syncs its files must not wait for the writes of an earlier way.
            os.sync()
            started = time.perf_counter()
            way()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def busy_seconds(do: Callable[[], object], server: int) -> float:
    """Return the CPU seconds of this process (all threads) and of the process ``server`` while ``do`` runs."""

    def busy() -> float:
        # Fields after the name in brackets, which may contain spaces: 14 is utime, 15 is stime (man 5 proc).
        user, system = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[11:13]
        return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    before = busy()
    do()
    return busy() - before


def peak_mib(module: str, *arguments: str) -> float:
    """Return the peak resident MiB of ``python -m module arguments`` in its own process, which must succeed."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL)
    # Not ru_maxrss of wait(): in the kernel a new process starts with the peak of its parent.
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
