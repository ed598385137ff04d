"""The output of ``make bench``: every figure with its goal, the kept figures, and regressions against them.

Measurement is in ``measure.py``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Result

RATIOS = Path(__file__).with_name("ratios.json")
RESULTS = Path(__file__).with_name("RESULTS.md")

_HEAD = "| what | measured | goal | | medians |"

TOLERANCE = 0.25
"""Share by which a figure may be worse than the kept one: on a shared machine, medians of ratios vary by this much."""


def kept_ratios() -> dict[str, float]:
    """Return the figures of the last ``--keep``, by name; empty without a file."""
    return dict(json.loads(RATIOS.read_text())) if RATIOS.is_file() else {}


def regressions(results: Sequence[Result], kept: Mapping[str, float]) -> list[str]:
    """Return a line for every guarded figure that is worse than the kept one by more than ``TOLERANCE``.

    >>> regressions([Result("a", 1.0, 2.0)], {"a": 2.0})
    ['a: 1.00 x, was 2.00 x']
    """
    worse = []
    for result in results:
        before = kept.get(result.name)
        if before is None or not result.guarded:
            continue
        limit = before * (1 + TOLERANCE) if result.at_most else before / (1 + TOLERANCE)
        if result.value > limit if result.at_most else result.value < limit:
            worse.append(f"{result.name}: {result.value:.2f} {result.unit}, was {before:.2f} {result.unit}")
    return worse


def line(result: Result) -> str:
    """Return a row of the table of results."""
    wish = "wish: " if result.is_wish else ""
    goal = f"{wish}{'at most' if result.at_most else 'at least'} {result.goal:g} {result.unit}"
    verdict = "holds" if result.holds else "not reached" if result.is_wish else "**missed**"
    return f"| {result.name} | {result.value:.2f} {result.unit} | {goal} | {verdict} | {result.detail} |"


def machine() -> str:
    """Describe the machine: processors, memory, Python, and the libraries that do the work."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("pyarrow", "polars", "numpy", "numba", "isal", "aiohttp")
    )
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}, {libraries}"
    )


def keep(results: Sequence[Result]) -> None:
    """Write ``RESULTS.md`` and ``ratios.json``.

    Figures of areas that did not run stay in both files; figures that an area no longer measures are removed.
    """
    measured = {_subject(result.name) for result in results}
    kept = {name: value for name, value in kept_ratios().items() if _subject(name) not in measured}
    kept |= {result.name: round(result.value, 3) for result in results if result.guarded}
    RATIOS.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    before = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    stay = [text for text in before if text.startswith("| ") and text != _HEAD and _subject(text[2:]) not in measured]
    RESULTS.write_text(
        f"# Results of the benchmarks\n\n`make bench KEEP=--keep` (or areas one by one: `python -m benchmarks ingest"
        f" --keep`) on {machine()}. Ratios of medians over interleaved runs; the modules in `benchmarks/` define"
        f" each figure.\n\n" + "\n".join([_HEAD, "|---|---|---|---|---|", *stay, *map(line, results)]) + "\n"
    )


def _subject(name: str) -> str:
    return name.split(":", 1)[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")), platform.machine())
