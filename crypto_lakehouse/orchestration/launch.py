"""Runs of the command line: check the requested partitions of a table, cut them into runs, execute and summarize each.

This is Dagster's side of ``backfill``, ``compact`` and ``demo``. The command line decides on output and exit codes, the
assets on what a run does.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import cast

import dagster as dg

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive.model import ArchiveBanError
from crypto_lakehouse.catalog import (
    Cadence,
    Feed,
    Market,
    feed,
    feeds,
    find_market,
    no_table,
    parse_partition,
    partition_key,
    partition_keys,
    tables_of,
)
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.orchestration.assets.common import FORCE_TAG, asset_key
from crypto_lakehouse.orchestration.gold import is_enabled
from crypto_lakehouse.orchestration.home import FROM_ENVIRONMENT, SQLITE, furnish, refuse_ignored_postgres
from crypto_lakehouse.orchestration.home_faults import explain, opening, without_notes
from crypto_lakehouse.orchestration.jobs import compaction_job_name, update_job_name
from crypto_lakehouse.orchestration.own_runs import PARTITIONS_TAG, TABLE_TAG, execute_here
from crypto_lakehouse.orchestration.private_dagster import JobExecutionResult, RunFailureReason, SerializableErrorInfo
from crypto_lakehouse.orchestration.processes import report_dead_runs
from crypto_lakehouse.schemas.gold import bars_in, find_gold_table, gold_tables, tables_after
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The assets of one table of a market, and the partitions of them to build, in order.

    ``feed`` fills the table; for a gold table it is the first feed that the table is made from.
    """

    feed: Feed
    cadence: Cadence
    assets: tuple[dg.AssetKey, ...]
    keys: tuple[str, ...]

    @property
    def market(self) -> Market:
        """The market of the assets."""
        return self.feed.market

    @property
    def layer(self) -> str:
        """The first layer that a run of the plan builds."""
        return self.assets[0].path[0]

    @property
    def job(self) -> str:
        """Name of the job that builds the assets."""
        if self.layer == COMPACTED:
            return compaction_job_name(self.market.exchange, self.market.name)
        return update_job_name(self.market.exchange, self.market.name, self.cadence)

    @property
    def name(self) -> str:
        """``exchange/market/table`` of the first table of the plan."""
        return "/".join(self.assets[0].path[1:])


@dataclass(slots=True)
class Outcome:
    """The result of one run for the partitions ``first`` to ``last``, both inclusive; ``error`` is empty if it
    succeeded.

    ``run_id`` is empty if Dagster has no record of the run. ``interrupted`` is true if a signal stopped the run,
    ``banned`` if the archive refused everything.
    ``rows`` counts the rows of each ``layer.table``. ``unmatched`` are names and patterns that match no symbol of this
    feed in the archive: names of other markets in the settings, and symbols that the archive no longer lists.
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

    @property
    def span(self) -> str:
        """The range as text."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


def open_instance(own_home: Path | None = None) -> dg.DagsterInstance:
    """Open Dagster's records in DAGSTER_HOME; if it is not set, in the working directory if that has a dagster.yaml,
    else in ``./.dagster``.

    A home without a dagster.yaml gets one. Sets DAGSTER_HOME, so that all parts of a run agree. Records unfinished
    runs of killed processes as failed. Raises HomeError, one sentence, if the records cannot be opened.

    ``own_home`` is a folder that separates these records from all others.
    """
    if own_home is not None:
        folder, storage = own_home.resolve(), SQLITE
    else:
        folder, storage = Path(os.environ.get("DAGSTER_HOME") or _default_home()).resolve(), FROM_ENVIRONMENT
    os.environ["DAGSTER_HOME"] = str(folder)
    with opening():
        furnish(folder, storage)
        if own_home is None:
            refuse_ignored_postgres(os.environ)
        instance = dg.DagsterInstance.get()
        report_dead_runs(instance)
    return instance


def _default_home() -> Path:
    return Path.cwd() if Path("dagster.yaml").exists() else Path.cwd() / ".dagster"


def plan(exchange: str, market: str, table: str, first: date, last: date, settings: Settings, today: date) -> Plan:
    """Check a request and resolve it: all layers of a table, or one gold table.

    ``first`` and ``last`` are UTC days, both inclusive; a monthly table gets every month that holds one
    of them. Raises ValueError that says what to change.
    """
    gold = {entry.name: entry for entry in gold_tables(settings.bars_kinds)}
    if "." in table:
        raise ValueError(f"{table}: use {table.rpartition('.')[2]}, without its layer, because all layers are built")
    if table not in gold and (bars := bars_in("gold", table)):
        raise ValueError(f"table {table} is not enabled; add {bars.name} to LAKEHOUSE_BARS (now: {settings.bars})")
    try:
        find_market(exchange, market)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    tables_here = set(tables_of(exchange, market))
    sources = gold[table].sources if table in gold else (table,)
    if not tables_here.issuperset(sources):
        gold_here = [name for name, entry in gold.items() if tables_here.issuperset(entry.sources)]
        raise ValueError(no_table(exchange, market, table, [*tables_of(exchange, market), *gold_here]))
    source = feed(exchange, market, sources[0])
    if table in gold:
        # Gold has days, also where its files have months.
        source = replace(source, cadence=Cadence.DAILY)
    _check_exchange(source, settings)
    enabled = [other for other in feeds(settings.table_names) if other.market == source.market]
    if table in gold and gold[table].is_of_listing:
        if not is_enabled(gold[table], enabled):
            raise ValueError(f"table {table} needs {source.table}; add {source.table} to LAKEHOUSE_TABLES")
    else:
        for name in sources:
            if name not in settings.table_names:
                raise _not_enabled(name, settings)
    if last < first:
        raise ValueError(f"the range ends ({last}) before it starts ({first}): swap --from and --to")
    if not (source.covers(first) and source.covers(last)):
        raise ValueError(
            f"{source.name} has data from {source.first_date} to {source.last_date or 'now'}: choose --from and --to in"
            " this range"
        )
    source = since_start(source, settings, first.isoformat())
    keys = partition_keys(first, last + timedelta(days=1), source.cadence)
    end = parse_partition(keys[-1], source.cadence)[1]
    if end > today:
        period_start = today if source.cadence is Cadence.DAILY else today.replace(day=1)
        newest = partition_key(period_start - timedelta(days=1), source.cadence)
        raise ValueError(f"{keys[-1]} is not over (UTC): choose --to {newest} or earlier")
    if table in gold:
        group = gold[table].asset
        tables = [("gold", name) for name, entry in gold.items() if name == table or (group and entry.asset == group)]
    else:
        tables = [("bronze", table), ("silver", table)]
        tables += [("gold", entry.name) for entry in tables_after(table, settings.bars_kinds)]
    assets = tuple(asset_key(layer, source.market, name) for layer, name in tables)
    return Plan(source, source.cadence, assets, tuple(keys))


def compaction_source(table_slice: TableSlice, settings: Settings) -> Feed:
    """The feed that a table with month files is made from.

    Raises KeyError on unknown names, ValueError if the table has no month files or is not enabled.
    """
    entry = find_gold_table(table_slice.table)
    source = feed(table_slice.exchange, table_slice.market, entry.sources[0] if entry else table_slice.table)
    if not table_slice.is_compacted:
        raise ValueError(
            f"{table_slice.place} has no month files: only daily klines of any kind and continuous_1m have them"
        )
    _check_exchange(source, settings)
    if source.table not in settings.table_names:
        raise _not_enabled(source.table, settings)
    return source


def compaction_plan(table_slice: TableSlice, source: Feed, months: Sequence[str]) -> Plan:
    """The plan for month files of a table that is made from the feed ``source``."""
    key = asset_key(COMPACTED, source.market, table_slice.table)
    return Plan(source, Cadence.MONTHLY, (key,), tuple(months))


def since_start(feed: Feed, settings: Settings, first: str = "") -> Feed:
    """The feed without its days before LAKEHOUSE_START.

    Raises ValueError that names the setting if the exchange or market is not enabled, or if ``first``, the first day or
    month of a request, lies before LAKEHOUSE_START.
    """
    _check_exchange(feed, settings)
    if not settings.is_enabled(feed.market):
        markets = ",".join(settings.market_names)
        raise ValueError(f"market {feed.market.name} is not enabled; add it to LAKEHOUSE_MARKETS (now: {markets})")
    if settings.start is None:
        return feed
    start = settings.start.isoformat()
    key = first[: len("YYYY-MM")] if feed.cadence is Cadence.MONTHLY else first
    if first and key < start[: len(key)]:
        raise ValueError(
            f"{first} is before the first day of the partitions: choose --from {start[: len(first)]} or later, or set"
            f" LAKEHOUSE_START to an earlier day (now: {start})"
        )
    return feed.since(settings.start)


def _check_exchange(feed: Feed, settings: Settings) -> None:
    if feed.exchange not in settings.exchange_names:
        raise ValueError(
            f"exchange {feed.exchange} is not enabled; add it to LAKEHOUSE_EXCHANGES (now: {settings.exchanges})"
        )


def _not_enabled(table: str, settings: Settings) -> ValueError:
    return ValueError(
        f"table {table} is not enabled; add it to LAKEHOUSE_TABLES (now: {','.join(settings.table_names)})"
    )


def chunks(keys: Sequence[str], cadence: Cadence, most: int) -> list[list[str]]:
    """Cut keys, in order, into ranges without holes of at most ``most`` partitions."""
    spans: list[list[str]] = []
    for key in keys:
        joins = spans and parse_partition(spans[-1][-1], cadence)[1] == parse_partition(key, cadence)[0]
        if joins and len(spans[-1]) < most:
            spans[-1].append(key)
        else:
            spans.append([key])
    return spans


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
    job = defs.resolve_job_def(plan.job)
    # Without it Dagster prints every event, with the stack of each error; the records have them all.
    config: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    bronze = [key.to_python_identifier() for key in plan.assets if key.path[0] == "bronze"]
    if symbols and bronze:
        config["ops"] = {name: {"config": {"symbols": symbols}} for name in bronze}
    for span in spans:
        outcome = Outcome(plan.name, span[0], span[-1], len(span))
        tags = {TABLE_TAG: plan.name, PARTITIONS_TAG: outcome.span, **({FORCE_TAG: "true"} if force else {})}
        run = partial(execute_here, job, instance, plan.assets, (span[0], span[-1]), config, tags)
        try:
            interrupts.ask()
            with without_notes():
                result = interrupts.aside(run)
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
        yield outcome
        if outcome.interrupted or outcome.banned:
            return


def _read(outcome: Outcome, result: JobExecutionResult) -> None:
    outcome.run_id = result.run_id
    for event in result.all_events:
        if event.is_job_failure:
            # Dagster ends such a run by itself and raises nothing.
            reason = event.job_failure_data.failure_reason
            outcome.interrupted |= reason is RunFailureReason.UNEXPECTED_TERMINATION
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            outcome.interrupted |= _is_caused_by(interrupts.Interrupted, event.step_failure_data.error)
            outcome.banned |= _is_caused_by(ArchiveBanError, event.step_failure_data.error)
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
