"""Which partitions of a plan a run would change: looking costs less than a run that changes nothing.

Each layer decides by the rules of its runs (``pipeline``). Here their answers are joined with Dagster's records.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.bronze import bronze_ingest
from crypto_lakehouse.orchestration.assets.completion import completion, is_completed
from crypto_lakehouse.orchestration.checks import last_evaluation
from crypto_lakehouse.orchestration.gold import current_days, gold_groups
from crypto_lakehouse.orchestration.launch import Plan
from crypto_lakehouse.orchestration.partitions import partitions_per_run
from crypto_lakehouse.orchestration.resources import ArchiveResource
from crypto_lakehouse.pipeline.bronze.pending import files_to_fetch
from crypto_lakehouse.pipeline.silver import up_to_date
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Work:
    """The partitions of a plan to build, in order, how many of them a run has, and the number of their symbols.

    ``unrecorded`` of the partitions are up to date in the lake, but not in Dagster's records: a run only records them.
    ``unmatched`` are names and patterns that match no symbol of this feed in the archive, if the archive was listed.
    """

    keys: tuple[str, ...]
    partitions_per_run: int
    symbols: int = 1
    unmatched: tuple[str, ...] = ()
    unrecorded: int = 0


def work_of(
    plan: Plan, settings: Settings, symbols: str, force: bool, instance: dg.DagsterInstance, store: LakeStore
) -> Work:
    """Find the partitions that a run would change, or that Dagster has no record of; with ``force`` all.

    A run of some partitions may change others, and rebuilds those itself. ``symbols`` are those of the command; if
    empty, those of the settings. Raises ArchiveError and UnknownSymbolsError like a run, LakeError if the storage
    fails.
    """
    feed = plan.feed
    current = set() if force else set(plan.keys)
    recorded = current.intersection(*map(instance.get_materialized_partitions, plan.assets)) if current else set()
    if plan.layer == "gold":
        current = _current_gold(plan, settings, store, current)
        keys, count = _others(plan, current & recorded), _stored_symbols(feed, store)
        most = settings.max_partitions_per_run or partitions_per_run(count)
        return Work(keys, most, count, unrecorded=len(current - recorded))
    source = ArchiveResource.from_settings(settings).source(feed.exchange)
    ingest = bronze_ingest(feed, settings, source, store, symbols, force)
    current = ingest.up_to_date(_ordered(plan, current))
    if current and is_completed(feed, settings):
        answers = completion(feed, settings, source, store, None, symbols, force)
        current = answers.up_to_date(_ordered(plan, current))
    current = up_to_date(feed, _ordered(plan, current), store)
    current = _current_gold(plan, settings, store, current)
    keys = _others(plan, current & recorded)
    # Nothing depends on their number if the settings say how to cut the work.
    is_cut = settings.max_partitions_per_run is not None and settings.processes == 1
    count = _count(ingest.symbols, feed, source) if keys and not is_cut else 1
    most = settings.max_partitions_per_run or partitions_per_run(count)
    return Work(keys, most, count, tuple(ingest.unknown), len(current - recorded))


def downloads_of(
    plan: Plan, keys: Sequence[str], settings: Settings, symbols: str, force: bool, store: LakeStore
) -> tuple[int, int]:
    """Bytes and number of the files that a run of the partitions ``keys`` would fetch. Gold is built from the lake.

    Raises ArchiveError if the archive cannot be listed.
    """
    if plan.layer != "bronze" or not keys:
        return 0, 0
    source = ArchiveResource.from_settings(settings).source(plan.feed.exchange)
    sizes = [
        file.size for file in files_to_fetch(bronze_ingest(plan.feed, settings, source, store, symbols, force), keys)
    ]
    return sum(sizes), len(sizes)


def failed_checks(defs: dg.Definitions, plan: Plan, instance: dg.DagsterInstance) -> list[tuple[bool, str]]:
    """The checks of the plan's assets that failed when they last ran: whether that is an error, and what they found."""
    graph = defs.resolve_job_def(plan.job).asset_layer.asset_graph
    keys = sorted((key for key in graph.asset_check_keys if key.asset_key in plan.assets), key=str)
    failed = []
    for key in keys:
        evaluation = last_evaluation(instance, key)
        if evaluation is not None and not evaluation.passed:
            text = f"{key.name} of {key.asset_key.to_user_string()}: {evaluation.description}"
            failed.append((evaluation.severity is dg.AssetCheckSeverity.ERROR, text))
    return failed


def _current_gold(plan: Plan, settings: Settings, store: LakeStore, keys: Collection[str]) -> set[str]:
    """Those of the days ``keys`` that a run would leave unchanged in all gold tables of the plan."""
    current = set(keys)
    for group in gold_groups(settings.feeds, settings):
        if current and not set(plan.assets).isdisjoint(group.keys):
            current &= current_days(group, store, _ordered(plan, current))
    return current


def _count(symbols: SymbolFilter, feed: Feed, source: ArchiveSource) -> int:
    """The number of symbols that a filter selects: names count as they are, patterns need a listing."""
    if symbols.wanted and not any("*" in name for name in symbols.wanted):
        return len(symbols.wanted)
    return len(symbols.select(source.symbols(feed)))


def _stored_symbols(feed: Feed, store: LakeStore) -> int:
    """The number of symbols in the newest stored partition of silver."""
    silver = TableSlice.of_feed("silver", feed)
    newest = max(list_keys(store, silver), default=None)
    stored = stored_partition(store, silver.partition(newest)) if newest else None
    return stored.info.symbols if stored else 1


def _ordered(plan: Plan, keys: Collection[str]) -> list[str]:
    return [key for key in plan.keys if key in keys]


def _others(plan: Plan, keys: Collection[str]) -> tuple[str, ...]:
    return tuple(key for key in plan.keys if key not in keys)
