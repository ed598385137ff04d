"""``python -m benchmarks [AREA ...] [--keep]``: run benchmarks, print every figure with its goal, report regressions.

Areas are the modules named in ``AREAS``; each has ``run() -> Iterator[Result]``. ``--keep`` writes the figures to
``RESULTS.md`` and ``ratios.json``. Several areas run one after the other, each in its own process, so that the memory
and caches of one do not affect the next. The exit status is 1 if a goal is missed or a figure became worse.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module

from benchmarks.measure import Result
from benchmarks.report import keep, kept_ratios, line, machine, regressions

AREAS = (
    *("ingest", "download", "trades", "bars", "whole", "narrow", "reads"),
    *("processes", "monthly", "compaction", "orchestration", "incremental", "planning", "serve"),
)


def main() -> int:
    """Run the requested areas and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios of medians, each with its goal.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"any of {', '.join(AREAS)}; default: all")
    parser.add_argument("--keep", action="store_true", help="write RESULTS.md and ratios.json")
    asked = parser.parse_args()
    if unknown := set(asked.areas) - set(AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; the areas are {', '.join(AREAS)}")
    areas = asked.areas or AREAS
    if len(areas) > 1:
        more = ["--keep"] if asked.keep else []
        return max([subprocess.call([sys.executable, "-m", "benchmarks", area, *more]) for area in areas])
    print(machine(), flush=True)
    results: list[Result] = []
    for result in import_module(f"benchmarks.{areas[0]}").run():
        results.append(result)
        print(line(result), flush=True)
    worse = regressions(results, kept_ratios())
    if worse:
        print("worse than the kept figures:", *worse, sep="\n  ")
    if asked.keep:
        keep(results)
    return int(bool(worse) or not all(result.holds or result.is_wish for result in results))


if __name__ == "__main__":
    sys.exit(main())
