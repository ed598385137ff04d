"""How a plan is cut for several processes: how many processes, which steps, and which partitions a run of a step has.

``side_by_side.py`` runs the chunks. Plans of one process are not cut into steps (``runs.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import dagster as dg

from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.launch import Plan, chunks
from crypto_lakehouse.orchestration.partitions import partitions_per_run
from crypto_lakehouse.orchestration.up_to_date import Work
from crypto_lakehouse.pipeline.chosen_files import uses_months
from crypto_lakehouse.pipeline.gold.continuous import STATES
from crypto_lakehouse.pipeline.neighbours import has_edges
from crypto_lakehouse.schemas.gold import find_gold_table, split_name
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings

# Files of all symbols and partitions of a process: for fewer its start, two seconds, costs more than it saves.
_LEAST_FILES = 150
_MONTH = 31
# Memory of a process: its libraries and Dagster's events of a run, and for each symbol the rows of the days in work.
_BASE_BYTES, _SYMBOL_BYTES = 500 * 1024**2, 2 * 1024**2


def processes_of(work: Work, settings: Settings) -> int:
    """How many processes to use: as many as the settings give, as have enough to do, and as fit into memory."""
    most = settings.processes or max(1, _cores() - 1)
    if settings.max_partitions_per_run is None:
        most = min(most, work.symbols * len(work.keys) // _LEAST_FILES)
    else:
        most = min(most, -(-len(work.keys) // settings.max_partitions_per_run))
    free = free_bytes()
    if free is not None:
        most = min(most, free // (_BASE_BYTES + work.symbols * _SYMBOL_BYTES))
    return max(1, most)


def unused_processes(work: Work, settings: Settings) -> str:
    """Why a backfill uses fewer processes than LAKEHOUSE_PROCESSES says, if that is set; else empty."""
    used = processes_of(work, settings)
    if settings.processes is None or used >= settings.processes:
        return ""
    wanted = f"LAKEHOUSE_PROCESSES={settings.processes} is not used in full"
    if settings.max_partitions_per_run is not None:
        runs = -(-len(work.keys) // settings.max_partitions_per_run)
        if runs <= used:
            return f"{wanted}: LAKEHOUSE_MAX_PARTITIONS_PER_RUN makes no more than {runs} runs of these partitions"
    elif max(1, (files := work.symbols * len(work.keys)) // _LEAST_FILES) <= used:
        return f"{wanted}: a process pays from {_LEAST_FILES} files on, and these partitions have about {files:,}"
    return f"{wanted}: there is no memory for more"


def cut(plan: Plan, keys: Sequence[str], work: Work, processes: int, settings: Settings) -> list[list[str]]:
    """Cut partitions into chunks of about equal size, a multiple of the processes.

    The chunks that run at the same time have as many files together as one run of one process. Days that may come from
    monthly files are cut between months, because each run that has days of such a file fetches it.
    """
    most = settings.max_partitions_per_run
    if most is not None:
        return chunks(keys, plan.cadence, most)
    at_once = processes * partitions_per_run(work.symbols, processes)
    rounds = -(-len(keys) // at_once)
    most = -(-len(keys) // (rounds * processes))
    if plan.layer == "bronze" and uses_months(plan.feed, {}, settings.archive_files):
        months = [list(month) for _, month in groupby(keys, key=lambda key: key[: len("YYYY-MM")])]
        spans: list[list[str]] = []
        for month in months:
            if spans and len(spans[-1]) + len(month) <= max(most, _MONTH):
                spans[-1] += month
            else:
                spans.append(month)
        return [span for joined in spans for span in chunks(joined, plan.cadence, len(joined))]
    return chunks(keys, plan.cadence, most)


def steps(plan: Plan) -> list[Plan]:
    """The plan with some of its assets each, in the order in which they must be built.

    Within a step, chunks may run in any order and at the same time, because nothing that their partitions use is built
    in the same step by another chunk: silver of most types uses bronze of its own day, but gold uses other days too.
    """
    numbers: dict[dg.AssetKey, int] = {}
    for key in plan.assets:
        numbers[key] = _number(key, plan, numbers)
    return [
        replace(plan, assets=tuple(key for key in plan.assets if numbers[key] == number))
        for number in sorted(set(numbers.values()))
    ]


def _number(key: dg.AssetKey, plan: Plan, earlier: Mapping[dg.AssetKey, int]) -> int:
    layer, exchange, market, name = key.path
    if layer == "silver":
        return int(has_edges(plan.feed))
    table = find_gold_table(name) if layer == "gold" else None
    if table is None:
        return 0
    inputs = (dg.AssetKey([at, exchange, market, source]) for at, source in map(split_name, table.inputs))
    return 1 + max((earlier[source] for source in inputs if source in earlier), default=-1)


def is_in_order(step: Plan, keys: Sequence[str], store: LakeStore) -> bool:
    """Whether the chunks of a step must run one after the other.

    Continuous minutes start from the stored state of the day before. A state that this step will replace, because other
    code or another rule made it, must not be used, so where states are stored each chunk waits for the one before it.
    """
    if all(key.path[-1] != STATES for key in step.assets):
        return False
    stored = list_keys(store, TableSlice.of_market("gold", step.market, STATES))
    return not stored.keys().isdisjoint(keys)


def free_bytes() -> int | None:
    """The memory that this machine, or this container, has left; None if the system does not say it."""
    left = []
    with suppress(OSError, ValueError, KeyError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        left.append(int(fields["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError, KeyError):
        most, used, facts = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current", "stat"))
        # Pages of files that can be dropped count as used.
        cached = dict(line.split() for line in facts.splitlines())["inactive_file"]
        left.append(int(most) - int(used) + int(cached))
    return max(0, min(left)) if left else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
