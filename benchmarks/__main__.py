"""``python -m benchmarks [AREA ...] [--keep]``: run benchmarks, print every figure with its goal, tell what got worse.

Areas are the modules named in ``AREAS``, each of which has ``run() -> Iterator[Result]``. With ``--keep`` the figures
are written to ``RESULTS.md`` and ``ratios.json``. Several areas run one after the other in processes of their own, so
that none is measured in what another one has left. Exit status 1 where a goal is missed or a figure became worse.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module

from benchmarks.measure import Result
from benchmarks.report import keep, kept_ratios, line, machine, regressions

AREAS = ("ingest", "download", "trades", "bars", "whole", "compaction", "orchestration", "incremental", "planning")


def main() -> int:
    """Run what the command line asks for; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios of medians, each with its goal.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; all by default")
    parser.add_argument("--keep", action="store_true", help="write RESULTS.md and ratios.json")
    asked = parser.parse_args()
    if unknown := set(asked.areas) - set(AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}")
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
        print("worse than kept:", *worse, sep="\n  ")
    if asked.keep:
        keep(results)
    return int(bool(worse) or not all(result.holds for result in results))


if __name__ == "__main__":
    sys.exit(main())
