"""One sensor per feed. It requests the dates that are missing in the lake, or stored in an older version.

It also requests dates that a run left incomplete (bronze is stored, silver or gold is missing or older), and days of
gold that are older than the funding rates of their month, which come later. Sensors are stateless: they compare the
archive's listing, the lake and Dagster's own records.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import dagster as dg
import polars as pl

from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Feed, parse_partition, partition_keys
from crypto_lakehouse.catalog.automation import Automation
from crypto_lakehouse.lake.storage.ledger import read_ledger, read_state, read_states
from crypto_lakehouse.lake.storage.partitions import find_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.alerts.problems import GIVEN_UP
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.io_manager import slice_of
from crypto_lakehouse.orchestration.jobs import update_job_name
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.processes import UNFINISHED, report_dead_runs
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, FUNDING, MINUTES
from crypto_lakehouse.pipeline.neighbours import neighbour_keys
from crypto_lakehouse.pipeline.reconcile import Difference, Problem, compare
from crypto_lakehouse.pipeline.silver import stale
from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings

# The partitions of each asset of a feed that Dagster has recorded as materialized.
Recorded: TypeAlias = Mapping[dg.AssetKey, set[str]]

FEED_TAG = "lakehouse/feed"
_PARTITION_TAG = "dagster/partition"
# A tick lists at most this many symbols; the daily reconciliation finds files of the others.
_PROBED_SYMBOLS = 50
# A tick looks this far back from the newest partition: archives have published files up to eight days late.
_LOOK_BACK = timedelta(days=31)
_CLOCKS_DIFFER = timedelta(hours=1)
_NEVER = datetime.fromtimestamp(0, UTC)


def sensor_status(kind: Automation, settings: Settings) -> dg.DefaultSensorStatus:
    """Whether sensors of this kind run unless someone stops them in the UI."""
    return dg.DefaultSensorStatus.RUNNING if kind in settings.automations else dg.DefaultSensorStatus.STOPPED


def feed_sensor_name(feed: Feed) -> str:
    """Name of the sensor of a feed: ``binance_um_klines_1m_sensor``."""
    return f"{feed.exchange}_{feed.market.name}_{feed.table}_sensor"


def feed_sensor(feed: Feed, keys: Sequence[dg.AssetKey], settings: Settings) -> dg.SensorDefinition:
    """The sensor of a feed; ``keys`` are the assets that its runs build, in every layer."""

    job = update_job_name(feed.exchange, feed.market.name, feed.cadence)

    @dg.sensor(
        name=feed_sensor_name(feed),
        job_name=job,
        minimum_interval_seconds=3600 if settings.env.value == "prod" else 60,
        default_status=sensor_status(Automation.FEEDS, settings),
        description=f"Requests the partitions of {feed.name} whose files are new or replaced in the archive,"
        " and those that a run left incomplete.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: LakeResource, archive: ArchiveResource
    ) -> dg.SensorResult | dg.SkipReason:
        # Dead runs would look busy: their dates would not be requested, and they would fill the queue.
        report_dead_runs(context.instance)
        recorded = {key: context.instance.get_materialized_partitions(key) for key in keys}
        built = _materialized(recorded, feed)
        first, end = _window(feed, built)
        source = archive.model_copy(update={"attempts": 2, "stall_timeout": 10.0}).source(feed.exchange)
        store = lake.store()
        try:
            if _is_finished(recorded, store, feed, built):
                return dg.SensorResult(
                    skip_reason=f"{feed.name} ended on {feed.last_date}, and all of it is stored", cursor="{}"
                )
            choice = (settings.symbols_of(feed.market), first, end, _PROBED_SYMBOLS, settings.archive_files)
            different = compare(feed, source, store, *choice)
            changed = _changed(different, feed)
            for key in _incomplete(recorded, store, feed, first, end) - changed.keys():
                changed[key] = _newest_file(store, feed, key)
            changed = _unfunded(recorded, store, feed, first, end) | changed
        except (ArchiveError, UnknownSymbolsError) as error:
            # The archive may be back at the next tick. A lake that cannot be read needs a person: then the tick fails.
            return dg.SkipReason(f"{feed.name}: {error}")
        nothing = f"{feed.name}: nothing new from {first} to {end - timedelta(days=1)}"
        if not changed:
            return dg.SensorResult(skip_reason=nothing, cursor="{}")
        runs = _runs(context.instance, feed)
        busy = _busy(context.instance, feed, keys, job)
        wanted, given_up = _wanted(changed, runs, feed, settings.sensor_attempts, store)
        if given_up:
            context.log.error(
                f"{feed.name}: given up after {settings.sensor_attempts} failed runs: {', '.join(given_up)}. Find the"
                " cause in these runs, and build the dates by hand"
            )
        checks = _checks(context, keys, job)
        requests = [_request(feed, keys, checks, span, runs) for span in month_ranges(sorted(wanted - busy), feed)]
        # Not for the next tick, which needs no memory, but for alerts.
        cursor = json.dumps({GIVEN_UP: given_up}) if given_up else "{}"
        if not requests:
            reason = nothing + (f"; given up: {', '.join(given_up)}" if given_up else "")
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return sensor


def month_ranges(keys: Sequence[str], feed: Feed) -> Iterator[list[str]]:
    """Cut sorted partition keys into ranges without holes that stay within a calendar month."""
    span: list[str] = []
    for key in keys:
        first, _ = parse_partition(key, feed.cadence)
        if span and not (parse_partition(span[-1], feed.cadence)[1] == first and span[0][:7] == key[:7]):
            yield span
            span = []
        span.append(key)
    if span:
        yield span


def _materialized(recorded: Recorded, feed: Feed) -> set[str]:
    """Keys that both bronze and silver have."""
    bronze, silver = (recorded[asset_key(layer, feed.market, feed.table)] for layer in ("bronze", "silver"))
    return bronze & silver


def _window(feed: Feed, built: set[str]) -> tuple[date, date]:
    """Days that a tick looks at, [first, end): up to now or the end of the feed; from the start of the feed if nothing
    is built yet.
    """
    feed_start, end = feed.span(datetime.now(UTC).date())
    # A partition outside of the feed's own dates is empty and does not show how far the feed was built.
    starts = [start for start in (parse_partition(key, feed.cadence)[0] for key in built) if feed_start <= start < end]
    if not starts:
        return feed_start, end
    return max(min(starts), max(starts) - _LOOK_BACK), end


def _is_finished(recorded: Recorded, store: LakeStore, feed: Feed, built: set[str]) -> bool:
    """Whether a feed has ended and its window is complete, without failed files: the archive has nothing more."""
    if feed.last_date is None or feed.last_date >= datetime.now(UTC).date():
        return False
    first, end = _window(feed, built)
    window = partition_keys(first, end, feed.cadence)
    return (
        built.issuperset(window)
        and not any(
            row["status"] == "failed" for state in read_states(store, feed, window).values() for row in state.values()
        )
        and not _incomplete(recorded, store, feed, first, end)
    )


def _runs(instance: dg.DagsterInstance, feed: Feed) -> list[dg.RunRecord]:
    return list(instance.get_run_records(dg.RunsFilter(tags={FEED_TAG: feed.name}), limit=1000))


def _keys_of(record: dg.RunRecord, feed: Feed) -> list[str]:
    """Partitions of a run, whoever started it; none if its tags do not name them."""
    tags = record.dagster_run.tags
    single = tags.get(_PARTITION_TAG, "")
    try:
        first, _ = parse_partition(tags.get(RANGE_START_TAG, single), feed.cadence)
        _, end = parse_partition(tags.get(RANGE_END_TAG, single), feed.cadence)
    except ValueError:
        return []
    return partition_keys(first, end, feed.cadence)


def _busy(instance: dg.DagsterInstance, feed: Feed, keys: Sequence[dg.AssetKey], job: str) -> set[str]:
    """Partitions of unfinished runs that build assets of the feed: runs of sensors, schedules and people."""
    busy: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        chosen = record.dagster_run.asset_selection
        if (record.dagster_run.job_name == job) if chosen is None else not chosen.isdisjoint(keys):
            busy.update(_keys_of(record, feed))
    return busy


def _incomplete(recorded: Recorded, store: LakeStore, feed: Feed, first: date, end: date) -> set[str]:
    """Partitions of [first, end) in bronze that are missing in a table after it, or built there from older rows of
    the partition's own files or of a neighbour's.

    Missing means: not in the lake, or recorded by Dagster for bronze but not for the table.
    """
    bronze, silver = (asset_key(layer, feed.market, feed.table) for layer in ("bronze", "silver"))
    keys = partition_keys(first, end, feed.cadence)
    window = {key for key in keys if parse_partition(key, feed.cadence)[1] <= end}
    stored = {asset: find_keys(store, slice_of(asset), sorted(window)) for asset in recorded}
    incomplete: set[str] = set()
    for asset in recorded.keys() - {bronze}:
        source = bronze if asset == silver else silver
        for key in window & (stored[bronze].keys() | recorded[bronze]):
            written, since = stored[asset].get(key), stored[source].get(key)
            unknown = key in recorded[bronze] and key not in recorded[asset]
            if written is None or since is None or unknown or written < since:
                incomplete.add(key)
    # Silver of some types also takes rows from files of neighbouring days.
    older = {
        key
        for key, written in stored.get(silver, {}).items()
        if any(written < stored[bronze].get(other, written) for other in neighbour_keys(feed, key))
    }
    return incomplete.union(stale(feed, sorted(older & window - incomplete), store))


def _unfunded(recorded: Recorded, store: LakeStore, feed: Feed, first: date, end: date) -> dict[str, datetime]:
    """Days since the month of ``first`` whose gold was built before their funding rates, and when those were stored."""
    minutes = asset_key("gold", feed.market, CONTINUOUS)
    if feed.table != MINUTES or minutes not in recorded:
        return {}
    days = partition_keys(max(first.replace(day=1), feed.first_date), end, feed.cadence)
    months = sorted({day[: len("YYYY-MM")] for day in days})
    rates = find_keys(store, TableSlice.of_market("silver", feed.market, FUNDING), months)
    built_at = find_keys(store, slice_of(minutes), days) if rates else {}
    funded_at = {day: rates.get(day[: len("YYYY-MM")], at) for day, at in built_at.items()}
    return {day: funded_at[day] for day, at in built_at.items() if at < funded_at[day]}


def _newest_file(store: LakeStore, feed: Feed, key: str) -> datetime:
    """When the newest file of a partition appeared. The time of bronze would change with every attempt."""
    return max((row["last_modified"] or _NEVER for row in read_state(store, feed, key).values()), default=_NEVER)


def _changed(differences: Iterable[Difference], feed: Feed) -> dict[str, datetime]:
    """Partitions with new, replaced or failed files, and when their newest file appeared."""
    today = datetime.now(UTC).date()
    changed: dict[str, datetime] = {}
    for difference in differences:
        _, end = parse_partition(difference.period, feed.cadence)
        if difference.problem is not Problem.QUARANTINED and end <= today:
            before = changed.get(difference.period, difference.last_modified)
            changed[difference.period] = max(before, difference.last_modified)
    return changed


def _wanted(
    changed: Mapping[str, datetime], runs: Sequence[dg.RunRecord], feed: Feed, attempts: int, store: LakeStore
) -> tuple[set[str], list[str]]:
    """Partitions to request, and those that were tried too often since their newest file appeared."""
    now = datetime.now(UTC)
    finished = [(record, set(_keys_of(record, feed))) for record in runs if record.dagster_run.is_finished]
    tried = Counter(
        key for record, keys in finished for key in keys & changed.keys() if record.create_timestamp > changed[key]
    )
    for key in [key for key, newest in changed.items() if newest > now]:
        tried[key] = _tries_of_a_future_file(store, feed, key, changed[key], [r for r, keys in finished if key in keys])
    given_up = sorted(key for key in changed if tried[key] >= attempts)
    return set(changed) - set(given_up), given_up


def _tries_of_a_future_file(
    store: LakeStore, feed: Feed, key: str, newest: datetime, finished: Sequence[dg.RunRecord]
) -> int:
    """How often a partition was tried whose newest file states a time in the future; no run is later than that.

    If the ledger knows the file, runs count that ended after it was recorded. Else failed runs count, unless the time
    is so near that clocks may differ; then it will soon be past.
    """
    known = read_ledger(store, feed, [key]).filter(pl.col("last_modified") == newest)["ingested_at"].to_list()
    if known:
        return sum(datetime.fromtimestamp(record.end_time or 0, UTC) >= min(known) for record in finished)
    if newest - datetime.now(UTC) <= _CLOCKS_DIFFER:
        return 0
    return sum(record.dagster_run.status is dg.DagsterRunStatus.FAILURE for record in finished)


def _checks(
    context: dg.SensorEvaluationContext, keys: Sequence[dg.AssetKey], job: str
) -> list[dg.AssetCheckKey] | None:
    """The job's checks of the assets. Without names Dagster would run all checks, those that list the archive too."""
    if context.repository_def is None:
        return None
    job_checks = context.repository_def.get_job(job).asset_layer.asset_graph.asset_check_keys
    return sorted((check for check in job_checks if check.asset_key in keys), key=str)


def _request(
    feed: Feed,
    keys: Sequence[dg.AssetKey],
    checks: Sequence[dg.AssetCheckKey] | None,
    span: Sequence[str],
    runs: Sequence[dg.RunRecord],
) -> dg.RunRequest:
    tags = {RANGE_START_TAG: span[0], RANGE_END_TAG: span[-1], FEED_TAG: feed.name}
    # With a run key Dagster drops the second of two equal requests, made before the run of the first was recorded.
    before = sum(tags.items() <= record.dagster_run.tags.items() for record in runs)
    return dg.RunRequest(
        run_key=f"{feed.name}:{span[0]}:{span[-1]}:{before}",
        asset_selection=list(keys),
        asset_check_keys=None if checks is None else list(checks),
        tags=tags,
    )
