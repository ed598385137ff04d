"""Runs of the command line, one after the other in this process: execute a chunk of a plan, and read its result.

``launch.py`` decides what a plan holds, ``side_by_side.py`` runs several chunks at a time. The command line decides on
output and exit codes, the assets on what a run does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import dagster as dg

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive.model import ArchiveBanError
from crypto_lakehouse.orchestration.assets.common import FORCE_TAG
from crypto_lakehouse.orchestration.home_faults import explain, without_notes
from crypto_lakehouse.orchestration.launch import Plan
from crypto_lakehouse.orchestration.own_runs import PARTITIONS_TAG, TABLE_TAG, execute_here
from crypto_lakehouse.orchestration.private_dagster import JobExecutionResult, RunFailureReason, SerializableErrorInfo
from crypto_lakehouse.rest.model import RestBanError, RestRefusedError

_BANS = (ArchiveBanError, RestBanError, RestRefusedError)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one run builds: partitions of a plan, in order and without holes; or, with ``checks``, what it checks."""

    plan: Plan
    keys: tuple[str, ...]
    symbols: str = ""
    force: bool = False
    checks: tuple[dg.AssetCheckKey, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Which of ``count`` steps of a plan a run does: step ``number``, from 1, builds ``tables``."""

    number: int
    count: int
    tables: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """The result of one run for the partitions ``first`` to ``last``, both inclusive; ``error`` is empty if it
    succeeded.

    ``run_id`` is empty if Dagster has no record of the run. ``interrupted`` is true if a signal stopped the run,
    ``banned`` if the archive or the REST API refused everything.
    ``rows`` counts the rows of each ``layer.table``. ``unmatched`` are names and patterns that match no symbol of this
    feed in the archive: names of other markets in the settings, and symbols that the archive no longer lists.
    ``step`` is None if the run built all tables of its plan.
    """

    name: str
    first: str
    last: str
    partitions: int
    run_id: str = ""
    error: str = ""
    interrupted: bool = False
    banned: bool = False
    quarantined_files: int = 0
    quarantined_rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    unmatched: set[str] = field(default_factory=set)
    failed_files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed_checks: set[dg.AssetCheckKey] = field(default_factory=set)
    step: Step | None = None

    @property
    def span(self) -> str:
        """The range as text."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def is_last_step(self) -> bool:
        """Whether the partitions are complete after the run."""
        return self.step is None or self.step.number == self.step.count


def run_chunks(
    plan: Plan,
    spans: Sequence[Sequence[str]],
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    symbols: str,
    force: bool = False,
) -> Iterator[Outcome]:
    """Run the spans one after the other, in this process. A failed run does not stop the next ones, unless it was
    interrupted or the archive has banned this address.

    ``symbols`` narrows bronze (names, patterns, exclusions); empty means those of the settings. With ``force``
    partitions are rebuilt even where their inputs have not changed.
    """
    for span in spans:
        outcome = interrupts.aside(partial(run_chunk, Chunk(plan, tuple(span), symbols, force), defs, instance))
        yield outcome
        if outcome.interrupted or outcome.banned:
            return


def run_chunk(chunk: Chunk, defs: dg.Definitions, instance: dg.DagsterInstance) -> Outcome:
    """Run one chunk in this thread, which must not be the main one: there Dagster raises signals as errors.

    Raises HomeError if Dagster's records fail.
    """
    plan, (first, last) = chunk.plan, (chunk.keys[0], chunk.keys[-1])
    # Without it Dagster prints every event, with the stack of each error; the records have them all.
    config: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    options = {**plan.options, **({"symbols": chunk.symbols} if chunk.symbols else {})}
    assets = [key.to_python_identifier() for key in plan.assets if key.path[0] == "bronze" or plan.options]
    if options and assets and chunk.checks is None:
        config["ops"] = {name: {"config": options} for name in assets}
    outcome = Outcome(plan.name, first, last, len(chunk.keys))
    tags = {TABLE_TAG: plan.name, PARTITIONS_TAG: outcome.span, **({FORCE_TAG: "true"} if chunk.force else {})}
    try:
        interrupts.ask()
        job = defs.resolve_job_def(plan.job)
        with without_notes():
            result = execute_here(job, instance, plan.assets, (first, last), config, tags, chunk.checks)
    except dg.DagsterError as error:
        outcome.error = str(error)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        raise sentence from error
    else:
        _read(outcome, result)
    return outcome


def _read(outcome: Outcome, result: JobExecutionResult) -> None:
    outcome.run_id = result.run_id
    for event in result.all_events:
        if event.is_job_failure:
            # Dagster ends such a run by itself and raises nothing.
            reason = event.job_failure_data.failure_reason
            outcome.interrupted |= reason is RunFailureReason.UNEXPECTED_TERMINATION
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            outcome.interrupted |= _is_caused_by(interrupts.Interrupted, event.step_failure_data.error)
            outcome.banned |= any(_is_caused_by(kind, event.step_failure_data.error) for kind in _BANS)
            outcome.error = outcome.error or f"{event.step_key}: {_cause(event)}"
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            metadata, path = materialization.metadata, materialization.asset_key.path
            outcome.rows[f"{path[0]}.{path[-1]}"] += cast("int", metadata["dagster/partition_row_count"].value)
            for name in cast("list[str]", metadata["unknown_symbols"].value) if "unknown_symbols" in metadata else ():
                outcome.unmatched.add(name)
            for name in ("quarantined_files", "quarantined_rows"):
                if name in metadata:
                    count = getattr(outcome, name) + int(str(metadata[name].value))
                    setattr(outcome, name, count)
            if "quarantine_reasons" in metadata:
                outcome.reasons.update(cast("dict[str, int]", metadata["quarantine_reasons"].value))
            if "failed_files" in metadata:
                names = cast("list[str]", metadata["failed_files"].value)
                outcome.failed_files += [f"{materialization.partition} {name}" for name in names]
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                outcome.failed_checks.add(check.asset_check_key)
                text = f"{check.check_name} of {check.asset_key.to_user_string()}: {check.description}"
                texts = outcome.errors if check.severity is dg.AssetCheckSeverity.ERROR else outcome.warnings
                texts.append(text)
    if not result.success and not outcome.error:
        outcome.error = "failed before its first step"


def _is_caused_by(kind: type[BaseException], error: SerializableErrorInfo | None) -> bool:
    """Whether an exception of this class caused the error, also indirectly."""
    if error is None:
        return False
    return error.cls_name == kind.__name__ or any(_is_caused_by(kind, cause) for cause in (error.cause, error.context))


def _cause(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "failed without a message"
    # Our own errors are sentences; other errors need their type.
    kind, _, text = error.message.strip().partition(": ")
    return text if kind.startswith(f"{__package__.partition('.')[0]}.") else error.message.strip()
