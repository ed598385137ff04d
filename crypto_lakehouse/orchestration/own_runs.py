"""Execute a run in this process, and record it as a run of the code location that ``workspace.yaml`` names.

``launch.py`` decides which partitions a run has, and reads its result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.private_dagster import (
    SINGLETON_REPOSITORY_NAME,
    InMemoryJob,
    JobExecutionResult,
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    execute_run,
)
from crypto_lakehouse.orchestration.processes import PROCESS_TAG, own_process

CODE_LOCATION = "crypto_lakehouse.definitions"
"""Module of the definitions; Dagster gives the code location the same name."""

TABLE_TAG = "lakehouse/table"
"""``exchange/market/table`` of the first table that a run of the command line builds."""

PARTITIONS_TAG = "lakehouse/partitions"
"""The partitions of a run of the command line, in words: ``2024-01-01 to 2024-01-31``."""

# Without it, a daemon with run retries would start a killed command's run again.
_RETRIES_TAG = "dagster/max_retries"


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetKey],
    partitions: tuple[str, str],
    run_config: Mapping[str, object],
    tags: Mapping[str, str],
    checks: Collection[dg.AssetCheckKey] | None = None,
) -> JobExecutionResult:
    """Run some assets of a job with their checks, or only ``checks``, in this process, for the partitions (first,
    last), both inclusive. A failed run does not raise.

    ``JobDefinition.execute_in_process`` records no origin: the UI would not show the run with its job, and would warn
    when it executes the run again.
    """
    first, last = partitions
    if checks is not None:
        job = job.get_subset(asset_selection=set(), asset_check_selection=set(checks))
    run = instance.create_run_for_job(
        job_def=job,
        run_config=dict(run_config),
        tags={
            PROCESS_TAG: own_process(),
            _RETRIES_TAG: "0",
            **{RANGE_START_TAG: first, RANGE_END_TAG: last},
            **job.run_tags,
            **tags,
        },
        asset_selection=frozenset(assets) if checks is None else None,
        remote_job_origin=_origin(job.name),
    )
    return execute_run(InMemoryJob(job), run, instance)


def _origin(job: str) -> RemoteJobOrigin:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=CODE_LOCATION))
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)
