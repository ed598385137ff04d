"""All definitions of the platform: ``build_defs(settings)`` builds them, Dagster loads ``defs``.

Nothing else belongs here: the functions that build assets, checks, jobs and sensors are in ``orchestration``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import dagster as dg

from crypto_lakehouse.catalog.automation import Automation
from crypto_lakehouse.lake.reader.ends import goes_on_after_end
from crypto_lakehouse.orchestration.alerts.problems import Watched
from crypto_lakehouse.orchestration.alerts.sensors import alert_sensors
from crypto_lakehouse.orchestration.asset_pages import explained
from crypto_lakehouse.orchestration.assets.bronze import bronze_asset
from crypto_lakehouse.orchestration.assets.common import IO_MANAGER_KEY
from crypto_lakehouse.orchestration.assets.compaction import compacted_assets
from crypto_lakehouse.orchestration.assets.completion import completion_asset, is_completed
from crypto_lakehouse.orchestration.assets.silver import silver_asset
from crypto_lakehouse.orchestration.checks import (
    archive_checks,
    completeness_check,
    epoch_checks,
    table_checks,
)
from crypto_lakehouse.orchestration.gold import gold_asset, gold_checks, gold_groups, keys_after
from crypto_lakehouse.orchestration.home import refuse_ignored_postgres
from crypto_lakehouse.orchestration.io_manager import LakeParquetIOManager
from crypto_lakehouse.orchestration.jobs import (
    compaction_jobs,
    own_job,
    own_jobs,
    reconciliation_job,
    update_jobs,
    update_schedules,
)
from crypto_lakehouse.orchestration.partitions import backfill_policy
from crypto_lakehouse.orchestration.relist import relisting_job, relisting_sensor
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource, RestResource
from crypto_lakehouse.orchestration.sensors import feed_sensor, feed_sensor_name, sensor_status
from crypto_lakehouse.orchestration.series_checks import ends_check
from crypto_lakehouse.pipeline.gold.continuous import MINUTES
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings

# Dagster warns once per asset that backfill policies and the mapping of months to days are beta.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build_defs(
    settings: Settings | None = None, *, with_archive_checks: bool = True, **resources: Any
) -> dg.Definitions:
    """Build the definitions for the settings.

    ``LAKEHOUSE_AUTOMATION`` says which schedules and sensors run; you can still start and stop each in the UI.

    Parameters
    ----------
    settings
        They choose tables, markets and the lake; None loads them from environment variables.
    with_archive_checks
        False leaves out the checks that list the archive for the whole range of the lake, so that a run of some
        assets checks only what it stores.
    **resources
        Replace the resources of the same name, such as ``lake`` or ``archive``.
    """
    settings = settings or Settings.load()
    policy = backfill_policy(settings)
    active = settings.feeds
    groups = list(gold_groups(active, settings))
    assets: list[dg.AssetsDefinition] = []
    checks: list[dg.AssetChecksDefinition] = []
    sensors: list[dg.SensorDefinition | dg.AutomationConditionSensorDefinition] = []
    keys_of: dict[str, Sequence[dg.AssetKey]] = {}
    for feed in active:
        completed = is_completed(feed, settings)
        feed_assets = [bronze_asset(feed, settings, policy), silver_asset(feed, policy, completed)]
        if completed:
            feed_assets.insert(1, completion_asset(feed, settings, policy))
        checks.append(table_checks(TableSlice.of_feed("silver", feed), feed.market.first_date))
        checks += [completeness_check(feed), *epoch_checks(feed)]
        if goes_on_after_end("silver", feed.table):
            checks.append(ends_check(feed, any(f.table == MINUTES and f.market == feed.market for f in active)))
        if with_archive_checks and settings.has_archive_checks:
            checks += archive_checks(feed, settings)
        assets += feed_assets
        keys = [*(key for asset in feed_assets for key in asset.keys), *keys_after(feed, groups)]
        sensors.append(feed_sensor(feed, keys, settings))
        keys_of[feed.name] = keys
    for group in groups:
        assets.append(gold_asset(group))
        checks += gold_checks(group)
    sensors.append(
        dg.AutomationConditionSensorDefinition(
            "gold_automation_sensor",
            target=dg.AssetSelection.tag("layer", "gold"),
            default_status=sensor_status(Automation.GOLD, settings),
        )
    )
    compacted = compacted_assets(active, groups, policy)
    if compacted:
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                "compaction_automation_sensor",
                target=dg.AssetSelection.assets(*(asset.key for asset in compacted)),
                default_status=sensor_status(Automation.COMPACTION, settings),
            )
        )
    runs = Automation.SCHEDULES in settings.automations
    status = dg.DefaultScheduleStatus.RUNNING if runs else dg.DefaultScheduleStatus.STOPPED
    jobs = update_jobs(active, assets, checks)
    sensors.append(relisting_sensor(active, keys_of, jobs, settings))
    watched = Watched(
        steps={asset.op.name: list(asset.keys) for asset in assets},
        feeds=[(feed, [key for key in keys_of[feed.name] if not own_job(key)]) for feed in active],
        checks=[key for check in checks for key in check.check_keys],
        feed_sensors=[feed_sensor_name(feed) for feed in active],
    )
    sensors += alert_sensors(watched, settings)
    reconcile, list_again = reconciliation_job(), relisting_job(active, settings)
    lake = resources.pop("lake", LakeResource.from_settings(settings))
    return dg.Definitions(
        assets=explained([*assets, *compacted]),
        asset_checks=checks,
        jobs=[*jobs, *own_jobs(assets), *compaction_jobs(compacted), reconcile, list_again],
        schedules=[
            *update_schedules(jobs, active, status),
            dg.ScheduleDefinition(
                job=reconcile, cron_schedule="0 12 * * *", execution_timezone="UTC", default_status=status
            ),
            dg.ScheduleDefinition(
                job=list_again, cron_schedule="0 13 2 * *", execution_timezone="UTC", default_status=status
            ),
        ],
        sensors=sensors,
        resources={
            "lake": lake,
            "archive": ArchiveResource.from_settings(settings),
            "rest": RestResource.from_settings(settings),
            IO_MANAGER_KEY: LakeParquetIOManager(lake=lake),
            **resources,
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions that Dagster loads. Raises HomeError if ``dagster.yaml`` ignores the settings of PostgreSQL."""
    refuse_ignored_postgres(os.environ)
    return build_defs()
