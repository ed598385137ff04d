"""Metrics for Prometheus as text: what the lake, its ledger and Dagster's records say now.

No process counts anything: ``docs/architecture.md`` says why. The command is in ``cli/metrics.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time

import dagster as dg
import polars as pl

from crypto_lakehouse.catalog import Cadence, Feed, parse_partition
from crypto_lakehouse.lake.reader.status import lake_status
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.settings import Settings

_RETRY_TAG, _MOST_RETRIES = "dagster/retry_number", 20
_NEWEST_RUNS = 1000
_ENDS = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

HELP = {
    "partitions": "Stored partitions.",
    "stored_bytes": "Bytes of the stored Parquet files, without the raw layer.",
    "holes": "Missing partitions between the first and the last.",
    "newest_timestamp_seconds": "End of the newest stored partition, in seconds since 1970.",
    "lag_seconds": "Time since the end of the newest stored partition.",
    "files": "Archive files by their state in the ledger: ingested, failed, quarantined, superseded, no_file.",
    "rows": "Rows of archive files that went to bronze.",
    "rejected_rows": "Rows of archive files that went to the quarantine while they were parsed.",
    "file_bytes": "Bytes of the archive files, as listed.",
    "runs": "Runs of a job by how they ended.",
    "run_retries": "Runs that Dagster repeated after a crash.",
    "last_run_seconds": "How long the newest finished run of a job took.",
    "last_run_timestamp_seconds": "When the newest finished run of a job ended.",
    "daemon_heartbeat_timestamp_seconds": "Last heartbeat of each part of the daemon.",
    "metrics_timestamp_seconds": "When these metrics were computed.",
}
"""What each metric means, by its name without the prefix ``lakehouse_``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    name: str
    labels: Mapping[str, str]
    value: float


def exposition(samples: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format, each metric once with its help."""
    by_name: dict[str, list[Sample]] = {name: [] for name in HELP}
    for sample in samples:
        by_name[sample.name].append(sample)
    lines = []
    for name, group in by_name.items():
        if group:
            lines += [f"# HELP lakehouse_{name} {HELP[name]}", f"# TYPE lakehouse_{name} gauge"]
            lines += [f"lakehouse_{name}{_labels(sample.labels)} {sample.value:.17g}" for sample in group]
    return "\n".join(lines) + "\n"


def collect(store: LakeStore, instance: dg.DagsterInstance, settings: Settings, now: datetime) -> Iterator[Sample]:
    """All samples of now. Raises LakeError if the lake cannot be read."""
    yield from _of_tables(store, settings, now)
    for feed in settings.feeds:
        yield from _of_files(store, feed)
    yield from _of_runs(instance)
    for name, status in instance.get_daemon_statuses().items():
        if status.last_heartbeat is not None:
            yield Sample(
                "daemon_heartbeat_timestamp_seconds", {"daemon": name.lower()}, status.last_heartbeat.timestamp
            )
    yield Sample("metrics_timestamp_seconds", {}, now.timestamp())


def _of_tables(store: LakeStore, settings: Settings, now: datetime) -> Iterator[Sample]:
    for status in lake_status(store, None, settings.shown_markets, settings.start):
        labels = {
            "layer": status.layer,
            "exchange": status.exchange,
            "market": status.market,
            "table": status.table,
        }
        yield Sample("partitions", labels, status.partitions)
        yield Sample("stored_bytes", labels, status.bytes)
        yield Sample("holes", labels, len(status.holes))
        if status.last is not None:
            cadence = Cadence.MONTHLY if len(status.last) == len("YYYY-MM") else Cadence.DAILY
            end = datetime.combine(parse_partition(status.last, cadence)[1], time(), UTC)
            yield Sample("newest_timestamp_seconds", labels, end.timestamp())
            yield Sample("lag_seconds", labels, (now - end).total_seconds())


def _of_files(store: LakeStore, feed: Feed) -> Iterator[Sample]:
    files = latest(read_ledger(store, feed))
    if files.is_empty():
        return
    labels = {"exchange": feed.exchange, "market": feed.market.name, "table": feed.table}
    for status, count in files.group_by("status").len().sort("status").iter_rows():
        yield Sample("files", {**labels, "status": status}, count)
    yield Sample("rows", labels, float(files["rows"].sum()))
    yield Sample("rejected_rows", labels, float(files["rejected_rows"].sum()))
    # A monthly file has a row for each of its days.
    ingested = files.filter(pl.col("status") == "ingested").unique("key")
    yield Sample("file_bytes", labels, float(ingested["size"].sum()))


def _of_runs(instance: dg.DagsterInstance) -> Iterator[Sample]:
    newest: dict[str, dg.RunRecord] = {}
    jobs = set()
    for record in instance.get_run_records(limit=_NEWEST_RUNS):
        jobs.add(record.dagster_run.job_name)
        if record.end_time is not None and record.start_time is not None:
            newest.setdefault(record.dagster_run.job_name, record)
    retries = {_RETRY_TAG: [str(number) for number in range(1, _MOST_RETRIES)]}
    for job in sorted(jobs):
        for status in _ENDS:
            chosen = dg.RunsFilter(job_name=job, statuses=[status])
            yield Sample("runs", {"job": job, "status": status.value.lower()}, instance.get_runs_count(chosen))
        yield Sample("run_retries", {"job": job}, instance.get_runs_count(dg.RunsFilter(job_name=job, tags=retries)))
        if job in newest and newest[job].end_time is not None:
            start, end = newest[job].start_time or 0.0, newest[job].end_time or 0.0
            yield Sample("last_run_seconds", {"job": job}, end - start)
            yield Sample("last_run_timestamp_seconds", {"job": job}, end)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    shown = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(shown) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
