"""The job that lists the whole archive again, and the sensor that requests runs for what it finds.

The job records an observation for each partition with replaced or new files; the sensor reads those of the newest run,
so that each is requested once. ``pipeline/relist.py`` does the comparison.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import dagster as dg

from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.automation import Automation
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.jobs import update_job_name
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.orchestration.sensors import FEED_TAG, month_ranges, sensor_status
from crypto_lakehouse.pipeline.reconcile import Difference
from crypto_lakehouse.pipeline.relist import relisted
from crypto_lakehouse.settings import Settings

RELISTING_JOB = "relisting"
_CHANGED = "lakehouse/changed_symbols"
_NAMED = 20


@dataclass(slots=True)
class Changed:
    """The partitions of a feed with files that the lake does not hold: the symbols of each, and files by problem."""

    feed: Feed
    symbols: dict[str, set[str]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, feed: Feed, differences: Iterable[Difference]) -> Self:
        """Collect the differences of a feed."""
        changed = cls(feed)
        for each in differences:
            changed.symbols.setdefault(each.period, set()).add(each.symbol)
            changed.files[each.problem.value] = changed.files.get(each.problem.value, 0) + 1
        return changed

    def spans(self) -> Iterator[tuple[list[str], str]]:
        """Ranges of partitions within a calendar month, each with its symbols as the runs take them."""
        for keys in month_ranges(sorted(self.symbols), self.feed):
            yield keys, ",".join(sorted(set().union(*(self.symbols[key] for key in keys))))


def relist(feed: Feed, archive: ArchiveResource, store: LakeStore, settings: Settings) -> Changed:
    """List a feed again. Raises ArchiveError and LakeError like ``relisted``."""
    return Changed.of(feed, relisted(feed, archive.source(feed.exchange), store, settings.archive_files))


def relisting_job(feeds: Sequence[Feed], settings: Settings) -> dg.JobDefinition:
    """The job: one step, which lists the enabled feeds one after the other.

    A feed that cannot be listed fails it, after all others are done.
    """

    @dg.op(name="list_again")
    def list_again(context: dg.OpExecutionContext, lake: LakeResource, archive: ArchiveResource) -> None:
        store, failed = lake.store(), []
        for feed in feeds:
            try:
                changed = relist(feed, archive, store, settings)
            except ArchiveError as error:
                failed.append(f"{feed.name}: {error}")
                continue
            files = ", ".join(f"{count} {problem}" for problem, count in sorted(changed.files.items()))
            context.log.info(f"{feed.name}: {f'{files} files' if files else 'nothing has changed'}")
            for key, symbols in sorted(changed.symbols.items()):
                context.log_event(
                    dg.AssetObservation(
                        asset_key("bronze", feed.market, feed.table),
                        partition=key,
                        description="the archive has replaced or new files",
                        metadata={_CHANGED: dg.MetadataValue.json(sorted(symbols))},
                    )
                )
        if failed:
            raise dg.Failure(f"{len(failed)} tables could not be listed: {'; '.join(failed[:_NAMED])}")

    @dg.job(
        name=RELISTING_JOB,
        executor_def=dg.in_process_executor,
        description="Lists the archive of all stored partitions again, and observes those whose files were replaced or"
        " are new. The sensor relisting_sensor requests runs for them.",
    )
    def relisting() -> None:
        list_again()

    return relisting


def relisting_sensor(
    feeds: Sequence[Feed],
    keys: Mapping[str, Sequence[dg.AssetKey]],
    jobs: "Sequence[dg.UnresolvedAssetJobDefinition]",
    settings: Settings,
) -> dg.SensorDefinition:
    """The sensor that requests what the newest run of the job has observed, once.

    ``keys`` are the assets that a run of a feed builds, by the feed's name; ``jobs`` are the update jobs.
    """
    by_bronze = {asset_key("bronze", feed.market, feed.table): feed for feed in feeds}

    @dg.sensor(
        name="relisting_sensor",
        jobs=jobs,
        minimum_interval_seconds=60,
        default_status=sensor_status(Automation.SCHEDULES, settings),
        description=f"Requests runs for the partitions that the newest run of {RELISTING_JOB} has observed.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        records = context.instance.get_run_records(dg.RunsFilter(job_name=RELISTING_JOB), limit=1)
        if not records or not records[0].dagster_run.is_finished:
            return dg.SkipReason(f"no finished run of {RELISTING_JOB}")
        run_id = records[0].dagster_run.run_id
        if run_id == context.cursor:
            return dg.SkipReason(f"the run {run_id} of {RELISTING_JOB} was handled before")
        found: dict[str, Changed] = {}
        for record in context.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION
        ).records:
            observation = record.asset_observation
            feed = by_bronze.get(observation.asset_key) if observation else None
            if observation is not None and feed is not None and observation.partition is not None:
                symbols = observation.metadata[_CHANGED].value
                changed = found.setdefault(feed.name, Changed(feed))
                changed.symbols[observation.partition] = set(symbols if isinstance(symbols, list) else ())
        requests = [
            _request(changed.feed, keys[name], span, symbols, run_id)
            for name, changed in found.items()
            for span, symbols in changed.spans()
        ]
        return dg.SensorResult(run_requests=requests, cursor=run_id)

    return sensor


def _request(feed: Feed, keys: Sequence[dg.AssetKey], span: Sequence[str], symbols: str, run_id: str) -> dg.RunRequest:
    steps = [key.to_python_identifier() for key in keys if key.path[0] == "bronze"]
    return dg.RunRequest(
        run_key=f"{run_id}:{feed.name}:{span[0]}",
        job_name=update_job_name(feed.exchange, feed.market.name, feed.cadence),
        asset_selection=list(keys),
        run_config={"ops": {step: {"config": {"symbols": symbols}} for step in steps}},
        tags={RANGE_START_TAG: span[0], RANGE_END_TAG: span[-1], FEED_TAG: feed.name},
    )
