"""One sensor per feed: dates that the archive has and the lake has not, or has in an older version.

Stateless: what is there comes from the archive's listing, the ledger and Dagster's own records.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Feed, parse_partition, partition_keys
from crypto_lakehouse.environment import Environment
from crypto_lakehouse.lake.store import LakeError
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.jobs import update_job_name
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.reconcile import Difference, Problem, compare

FEED_TAG = "lakehouse/feed"
# A tick asks at most so many symbols; files of the others are found by the daily reconciliation.
_PROBED_SYMBOLS = 50
# How far behind the newest partition a tick still looks: archives had tails of eight days.
_LOOK_BACK = timedelta(days=31)


def feed_sensor(feed: Feed, keys: Sequence[dg.AssetKey], environment: Environment) -> dg.SensorDefinition:
    """The sensor of a feed; ``keys`` are the assets that a run makes, in every layer."""

    @dg.sensor(
        name=f"{feed.exchange}_{feed.market.name}_{feed.table}_sensor",
        job_name=update_job_name(feed.exchange, feed.market.name, feed.cadence),
        minimum_interval_seconds=3600 if environment.env.value == "prod" else 60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Requests the partitions of {feed.name} that the archive has new or replaced.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: LakeResource, archive: ArchiveResource
    ) -> dg.SensorResult | dg.SkipReason:
        made = _materialized(context.instance, feed)
        first, end = _window(feed, made)
        source = archive.model_copy(update={"attempts": 2, "stall_timeout": 10.0}).source()
        try:
            found = compare(
                feed, source, lake.store(), environment.symbol_filter, first, end, most_symbols=_PROBED_SYMBOLS
            )
        except (ArchiveError, LakeError) as error:
            return dg.SkipReason(f"{feed.name}: {error}")
        runs = _runs(context.instance, feed)
        busy = {key for run in runs if not run.dagster_run.is_finished for key in _keys_of(run, feed)}
        wanted, given_up = _wanted(found, runs, feed, environment.sensor_attempts)
        if given_up:
            context.log.error(f"{feed.name}: failed {environment.sensor_attempts} times: {', '.join(given_up)}")
        requests = [_request(feed, keys, span, runs) for span in month_ranges(sorted(wanted - busy), feed)]
        if not requests:
            text = f"{feed.name}: nothing new from {first} to {end - timedelta(days=1)}"
            return dg.SkipReason(text + (f"; given up: {', '.join(given_up)}" if given_up else ""))
        return dg.SensorResult(run_requests=requests)

    return sensor


def month_ranges(keys: Sequence[str], feed: Feed) -> Iterator[list[str]]:
    """Partition keys, sorted, in stretches without holes that do not leave a calendar month."""
    span: list[str] = []
    for key in keys:
        first, _ = parse_partition(key, feed.cadence)
        if span and not (parse_partition(span[-1], feed.cadence)[1] == first and span[0][:7] == key[:7]):
            yield span
            span = []
        span.append(key)
    if span:
        yield span


def _materialized(instance: dg.DagsterInstance, feed: Feed) -> set[str]:
    """Keys that both bronze and silver have."""
    bronze, silver = (
        instance.get_materialized_partitions(asset_key(layer, feed.market, feed.table))
        for layer in ("bronze", "silver")
    )
    return bronze & silver


def _window(feed: Feed, made: set[str]) -> tuple[date, date]:
    """Days that a tick looks at, [first, end): up to now; from the feed's begin where nothing is made yet."""
    today = datetime.now(UTC).date()
    end = min(today, feed.last_date + timedelta(days=1)) if feed.last_date else today
    if not made:
        return feed.first_date, end
    oldest, newest = (parse_partition(key, feed.cadence)[0] for key in (min(made), max(made)))
    return max(oldest, newest - _LOOK_BACK), end


def _runs(instance: dg.DagsterInstance, feed: Feed) -> list[dg.RunRecord]:
    return list(instance.get_run_records(dg.RunsFilter(tags={FEED_TAG: feed.name}), limit=1000))


def _keys_of(record: dg.RunRecord, feed: Feed) -> list[str]:
    tags = record.dagster_run.tags
    first, _ = parse_partition(tags[RANGE_START_TAG], feed.cadence)
    _, end = parse_partition(tags[RANGE_END_TAG], feed.cadence)
    return partition_keys(first, end, feed.cadence)


def _wanted(
    found: Iterable[Difference], runs: Sequence[dg.RunRecord], feed: Feed, attempts: int
) -> tuple[set[str], list[str]]:
    """Partitions to make, and those that were tried too often since their newest file appeared."""
    today = datetime.now(UTC).date()
    changed: dict[str, datetime] = {}
    for difference in found:
        _, end = parse_partition(difference.period, feed.cadence)
        if difference.problem is not Problem.QUARANTINED and end <= today:
            before = changed.get(difference.period, difference.last_modified)
            changed[difference.period] = max(before, difference.last_modified)
    tried = Counter(
        key
        for record in runs
        for key in _keys_of(record, feed)
        if record.dagster_run.is_finished and key in changed and record.create_timestamp > changed[key]
    )
    given_up = sorted(key for key in changed if tried[key] >= attempts)
    return set(changed) - set(given_up), given_up


def _request(
    feed: Feed, keys: Sequence[dg.AssetKey], span: Sequence[str], runs: Sequence[dg.RunRecord]
) -> dg.RunRequest:
    tags = {RANGE_START_TAG: span[0], RANGE_END_TAG: span[-1], FEED_TAG: feed.name}
    # The run key lets Dagster drop a request that two ticks made before the first one's run was recorded.
    before = sum(tags.items() <= record.dagster_run.tags.items() for record in runs)
    return dg.RunRequest(run_key=f"{feed.name}:{span[0]}:{span[-1]}:{before}", asset_selection=list(keys), tags=tags)
