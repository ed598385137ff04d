"""Jobs and schedules: one update job per market and cadence, through all layers; one reconciliation job.

Sensors, schedules and the command line launch these jobs. A run has a range of partitions.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import timedelta
from itertools import product

import dagster as dg

from crypto_lakehouse.catalog import Cadence, Feed, partition_key
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.partitions import partitions_of
from crypto_lakehouse.schemas.gold import find_gold_table

RECONCILIATION_JOB = "reconciliation"
# Daily files appear from 06:10 to 08:40 UTC of the next day, monthly files on day 1 of the next month about 08:00.
_DAILY_HOUR, _MONTHLY_HOUR = 9, 10
# These list the archive over the whole range of the lake: the reconciliation runs them, updates do not.
_ARCHIVE_CHECKS = ("freshness", "reconciliation")


def update_job_name(exchange: str, market: str, cadence: Cadence) -> str:
    """Name of the job that builds all tables of a market and cadence: ``update_binance_um_daily``."""
    return f"update_{exchange}_{market}_{cadence}"


def compaction_job_name(exchange: str, market: str) -> str:
    """Name of the job that writes the month files of a market: ``compact_binance_um``."""
    return f"compact_{exchange}_{market}"


def own_job_name(job: str, exchange: str, market: str) -> str:
    """Name of the job of a gold table that has one of its own: ``compare_binance_um``."""
    return f"{job}_{exchange}_{market}"


def own_jobs(assets: Sequence[dg.AssetsDefinition]) -> list[dg.UnresolvedAssetJobDefinition]:
    """One job for each gold table of ``assets`` that the update jobs do not build."""
    return [
        dg.define_asset_job(
            own_job_name(job, *asset.key.path[1:3]),
            selection=dg.AssetSelection.assets(asset.key),
            partitions_def=asset.partitions_def,
            description=f"Builds {asset.key.path[-1]} of {' '.join(asset.key.path[1:3])}.",
            executor_def=dg.in_process_executor,
        )
        for asset in assets
        for job in {own_job(key) for key in asset.keys}
        if job
    ]


def own_job(key: dg.AssetKey) -> str:
    """The kind of job that builds a gold table which the update jobs do not build; else an empty text."""
    table = find_gold_table(key.path[-1]) if key.path[0] == "gold" else None
    return table.job if table else ""


def compaction_jobs(assets: Sequence[dg.AssetsDefinition]) -> list[dg.UnresolvedAssetJobDefinition]:
    """One job per market of ``assets``, the assets of month files."""
    markets: dict[tuple[str, str], list[dg.AssetsDefinition]] = {}
    for asset in assets:
        _, exchange, market, _ = asset.key.path
        markets.setdefault((exchange, market), []).append(asset)
    return [
        dg.define_asset_job(
            compaction_job_name(*place),
            selection=dg.AssetSelection.assets(*(asset.key for asset in group)),
            partitions_def=group[0].partitions_def,
            description=f"Copies complete months of tables of {' '.join(place)}, sorted by symbol.",
            executor_def=dg.in_process_executor,
        )
        for place, group in markets.items()
    ]


def update_jobs(
    feeds: Sequence[Feed], assets: Sequence[dg.AssetsDefinition], checks: Sequence[dg.AssetChecksDefinition]
) -> list[dg.UnresolvedAssetJobDefinition]:
    """One job for each market and cadence that has assets: bronze, silver and gold in one run.

    It has the checks of stored rows, but not those that list the archive.
    """
    jobs = []
    markets = {(f.exchange, f.market.name): f.market for f in feeds}
    for market, cadence in product(markets.values(), Cadence):
        partitions = partitions_of(market, cadence)
        keys = [
            key
            for asset in assets
            for key in asset.keys
            if key.path[1:3] == [market.exchange, market.name]
            and asset.partitions_def is partitions
            and not own_job(key)
        ]
        if not keys:
            continue
        jobs.append(
            dg.define_asset_job(
                update_job_name(market.exchange, market.name, cadence),
                selection=dg.AssetSelection.assets(*keys) - dg.AssetSelection.checks(*_archive_checks(checks, keys)),
                partitions_def=partitions,
                description=f"{cadence} tables of {market.exchange} {market.name}, bronze to gold, for a range of"
                " partitions.",
                executor_def=dg.in_process_executor,
            )
        )
    return jobs


def _archive_checks(checks: Sequence[dg.AssetChecksDefinition], keys: Sequence[dg.AssetKey]) -> list[dg.AssetCheckKey]:
    named = (key for check in checks for key in check.check_keys if key.asset_key in keys)
    return [key for key in named if key.name in _ARCHIVE_CHECKS]


def update_schedules(
    jobs: Sequence[dg.UnresolvedAssetJobDefinition], feeds: Sequence[Feed], status: dg.DefaultScheduleStatus
) -> list[dg.ScheduleDefinition | dg.UnresolvedPartitionedAssetScheduleDefinition]:
    """One schedule for each update job: the newest partition, at an hour when the archive usually has it.

    ``feeds`` are those of the jobs. Tables of feeds that have ended are skipped, because they get no new partition.
    """
    ended = {
        asset_key(layer, f.market, f.table) for f in feeds if f.last_date is not None for layer in ("bronze", "silver")
    }
    schedules: list[dg.ScheduleDefinition | dg.UnresolvedPartitionedAssetScheduleDefinition] = []
    for job in jobs:
        monthly = job.name.endswith(Cadence.MONTHLY)
        if any(f.last_date is not None and _job_of(f) == job.name for f in feeds):
            schedules.append(_schedule_without(ended, job, monthly, status))
            continue
        schedules.append(
            dg.build_schedule_from_partitioned_job(
                job,
                hour_of_day=_MONTHLY_HOUR if monthly else _DAILY_HOUR,
                minute_of_hour=0,
                default_status=status,
            )
        )
    return schedules


def _job_of(feed: Feed) -> str:
    return update_job_name(feed.exchange, feed.market.name, feed.cadence)


def _schedule_without(
    ended: Set[dg.AssetKey],
    job: dg.UnresolvedAssetJobDefinition,
    monthly: bool,
    status: dg.DefaultScheduleStatus,
) -> dg.ScheduleDefinition:
    """Dagster's own schedule of a partitioned job, but without the assets in ``ended``."""

    def newest(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        assert context.repository_def is not None
        layer = context.repository_def.get_job(job.name).asset_layer
        keys = sorted(set(layer.executable_asset_keys) - ended)
        if not keys:
            return dg.SkipReason("all tables of this job have ended")
        today = context.scheduled_execution_time.date()
        last_day = (today.replace(day=1) if monthly else today) - timedelta(days=1)
        key = partition_key(last_day, Cadence.MONTHLY if monthly else Cadence.DAILY)
        checks = [check for check in layer.asset_graph.asset_check_keys if check.asset_key in keys]
        return dg.RunRequest(
            partition_key=key, run_key=key, asset_selection=keys, asset_check_keys=sorted(checks, key=str)
        )

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=f"0 {_MONTHLY_HOUR} 1 * *" if monthly else f"0 {_DAILY_HOUR} * * *",
        execution_timezone="UTC",
        execution_fn=newest,
        default_status=status,
    )


def reconciliation_job() -> dg.UnresolvedAssetJobDefinition:
    """The job that runs the reconciliation and freshness checks of all feeds."""
    checks = dg.AssetSelection.all_asset_checks()
    return dg.define_asset_job(
        RECONCILIATION_JOB,
        selection=checks,
        description="Runs all asset checks and builds nothing. Those that list the archive, if they are defined,"
        " name holes, failed and replaced files, and a newest date that is missing.",
        executor_def=dg.in_process_executor,
    )
