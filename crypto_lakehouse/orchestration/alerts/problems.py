"""What is wrong now, read from Dagster's records: failed runs and checks, late dates, sensors that gave up, daemons.

Everything is read again at each tick, so nothing is lost while no sensor runs. Which of it is new: ``rules.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_lakehouse.catalog import Cadence, Feed
from crypto_lakehouse.orchestration.alerts.rules import (
    WATCHED,
    Kind,
    Problem,
    Run,
    late,
    partitions_of_tags,
    unrepaired,
)
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG

GIVEN_UP = "given_up"
"""Key of the cursor of a feed's sensor: the partitions that it requests no more."""
FRESHNESS = "freshness"

_PARTITION_TAG = "dagster/partition"
_WILL_RETRY_TAG = "dagster/will_retry"
_FAILED_RUNS, _SUCCESSES = 200, 2000


@dataclass(frozen=True)
class Watched:
    """What alerts are about: the assets by the name of their step, feeds with the assets after them, and checks."""

    steps: Mapping[str, Sequence[dg.AssetKey]] = field(default_factory=dict)
    feeds: Sequence[tuple[Feed, Sequence[dg.AssetKey]]] = ()
    checks: Sequence[dg.AssetCheckKey] = ()
    feed_sensors: Sequence[str] = ()


def problems(instance: dg.DagsterInstance, watched: Watched, now: datetime, grace: timedelta) -> list[Problem]:
    """All problems of now."""
    return [
        *failed_runs(instance, watched, now),
        *failed_checks(instance, watched),
        *late_dates(instance, watched, now, grace),
        *given_up(instance, watched),
        *silent_daemons(instance),
    ]


def failed_runs(instance: dg.DagsterInstance, watched: Watched, now: datetime) -> Iterator[Problem]:
    """Partitions of failed runs that nothing has built since. A run that Dagster will repeat does not count yet."""
    since = now - WATCHED
    failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since), limit=_FAILED_RUNS
    )
    if not failed:
        return
    successes = [
        _run(record)
        for record in instance.get_run_records(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=since), limit=_SUCCESSES
        )
    ]
    for record in failed:
        if record.create_timestamp < since or record.dagster_run.tags.get(_WILL_RETRY_TAG) == "true":
            continue
        run = _run(record)
        steps = _failed_steps(instance, run.run_id) or {"": "the run ended without an error of a step"}
        for step, text in steps.items():
            keys = watched.steps.get(step, ())
            asset = keys[0].to_user_string() if keys else None
            open_ones = set(unrepaired(run, asset, successes))
            if open_ones and keys and run.partitions:
                open_ones -= _stored_since(instance, keys, open_ones, record.create_timestamp)
            for partition in open_ones:
                yield Problem(Kind.RUN_FAILED, asset or run.job, partition, text, run.run_id)


def failed_checks(instance: dg.DagsterInstance, watched: Watched) -> Iterator[Problem]:
    """Checks whose newest result is a failure, by asset."""
    # This module loads Dagster's storages, which definitions do not need.
    from crypto_lakehouse.orchestration.checks import last_evaluation

    keys = list(watched.checks)
    evaluated = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys) if keys else {}
    for key in evaluated:
        # A run that is on its way to the check has no result yet: the one before counts.
        result = last_evaluation(instance, key)
        if result is not None and not result.passed:
            text = f"{key.name}: {result.description or result.severity.value}"
            if key.name == FRESHNESS:
                yield Problem(Kind.DATE_LATE, *_market_and_table(key.asset_key), text)
            else:
                yield Problem(Kind.CHECK_FAILED, key.asset_key.to_user_string(), key.name, text)


def late_dates(instance: dg.DagsterInstance, watched: Watched, now: datetime, grace: timedelta) -> Iterator[Problem]:
    """Tables of a market whose newest partition is older than it should be, by the clock alone."""
    for feed, keys in watched.feeds:
        if feed.last_date is not None:
            continue
        for key in keys:
            stored = instance.get_materialized_partitions(key)
            newest = max(stored, default="")
            # Gold of a monthly feed may be daily.
            cadence = Cadence.MONTHLY if len(newest) == len("YYYY-MM") else Cadence.DAILY
            expected = late(newest, cadence, now, grace) if newest else ""
            if expected:
                yield Problem(Kind.DATE_LATE, *_market_and_table(key), f"{newest} is stored, {expected} is not")


def given_up(instance: dg.DagsterInstance, watched: Watched) -> Iterator[Problem]:
    """Partitions that sensors request no more, as their last tick has noted."""
    for state in instance.all_instigator_state():
        cursor = getattr(state.instigator_data, "cursor", None)
        if state.instigator_name in watched.feed_sensors and cursor:
            for partition in json.loads(cursor).get(GIVEN_UP, ()):
                yield Problem(Kind.SENSOR_GAVE_UP, state.instigator_name, partition)


def silent_daemons(instance: dg.DagsterInstance) -> Iterator[Problem]:
    """Required parts of the daemon that have once sent heartbeats and send none now."""
    for name, status in instance.get_daemon_statuses().items():
        if status.required and status.last_heartbeat is not None and not status.healthy:
            last = datetime.fromtimestamp(status.last_heartbeat.timestamp, UTC)
            errors = status.last_heartbeat.errors
            text = errors[0].message if errors else f"last heartbeat {last:%Y-%m-%d %H:%M} UTC"
            yield Problem(Kind.DAEMON_SILENT, "dagster-daemon", name.lower(), text)


def _market_and_table(key: dg.AssetKey) -> tuple[str, str]:
    layer, exchange, market, table = key.path
    return f"{exchange} {market}", f"{layer}.{table}"


def _run(record: dg.RunRecord) -> Run:
    run = record.dagster_run
    alone = run.tags.get(_PARTITION_TAG, "")
    chosen = run.asset_selection
    return Run(
        run.run_id,
        run.job_name,
        record.create_timestamp,
        partitions_of_tags(run.tags.get(RANGE_START_TAG, alone), run.tags.get(RANGE_END_TAG, alone)),
        None if chosen is None else frozenset(key.to_user_string() for key in chosen),
    )


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """The failed steps of a run, each with the first line of its innermost error."""
    steps = {}
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        event = record.event_log_entry.dagster_event
        if event is None or event.step_key is None:
            continue
        data = event.step_failure_data
        error, text = data.error, ""
        while error is not None:
            text, error = error.message, error.cause
        if data.user_failure_data is not None and data.user_failure_data.description:
            text = data.user_failure_data.description
        # Dagster's text starts with the class of the error.
        steps[event.step_key] = re.sub(r"^(\w+\.)+\w+: ", "", text.strip().partition("\n")[0])
    return steps


def _stored_since(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey], partitions: set[str], since: datetime
) -> set[str]:
    """Those of the partitions that every one of the assets has stored since then, in whatever run."""
    stored = set(partitions)
    for key in keys:
        chosen = dg.AssetRecordsFilter(key, asset_partitions=sorted(stored), after_timestamp=since.timestamp())
        records = instance.fetch_materializations(chosen, limit=10 * len(stored) or 1).records
        stored &= {record.partition_key for record in records if record.partition_key is not None}
    return stored
