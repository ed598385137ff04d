"""Asset checks of all layers.

They have no partitions, because Dagster records partitioned checks wrongly in range runs. They name the failing dates
and symbols instead.

A check looks at the partitions of its run. If the run has no range, it looks at the newest ones. The rules come from
the schemas, ``pipeline/reconcile.py``, ``pipeline/silver_checks.py``, ``pipeline/gold/checks.py`` and
``transforms/checks``. If the epoch registry lists a fault of a day, findings on that day quote it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial

import dagster as dg
import polars as pl

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Feed, Market, parse_partition, partition_key, partition_keys
from crypto_lakehouse.catalog.bars import Bars
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition, scan_partitions
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.day_checks import Finding, check_days, frames
from crypto_lakehouse.pipeline.gold.checks import check_sources
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, STATES, ContinuousMinutes
from crypto_lakehouse.pipeline.reconcile import compare
from crypto_lakehouse.pipeline.silver_checks import missing_from_silver
from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError
from crypto_lakehouse.schemas import Schema, schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse.transforms.checks.epochs import check_epochs, checks_of, with_known
from crypto_lakehouse.transforms.gold.continuous import GapRule
from crypto_lakehouse.transforms.gold.tables import RowsCheck

_NEWEST = 31
# Findings in the table of a check, and in its description, which the command line prints.
_SHOWN, _IN_DESCRIPTION = 20, 3
# All failing partitions, for the next run of the check: the text for people names some.
_FAILING = "all_failing_partitions"
# Base volumes have eight decimals: below this, rounding alone moves the price that they imply.
_MEASURABLE = 1e-5

RowCheck = Callable[[pl.DataFrame, Schema], list[tuple[str, str]]]


def check_schema(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """Columns have the right order and types, and no null where none is allowed."""
    if rows.columns != schema.column_names:
        return [("", f"columns are {rows.columns}")]
    findings = []
    expected = pl.from_arrow(schema.empty())
    assert isinstance(expected, pl.DataFrame)
    for column in schema.columns:
        values = rows[column.name]
        if values.dtype != expected.schema[column.name]:
            findings.append(("", f"{column.name} is {values.dtype}"))
        if values.null_count() and not column.nullable:
            symbols = rows.filter(values.is_null())["symbol"].unique().sort()
            findings += [(symbol, f"{column.name} is null") for symbol in symbols]
    return findings


def check_primary_key(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """No two rows have the same primary key."""
    doubled = rows.group_by(schema.primary_key).len().filter(pl.col("len") > 1)
    per_symbol = doubled.group_by("symbol").len().sort("symbol")
    return [(symbol, f"{n} keys more than once") for symbol, n in per_symbol.iter_rows()]


def check_prices(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """low <= open, close <= high; takers never bought more than was traded; VWAP within [low, high].

    Volumes are rounded, so the price that they imply may leave [low, high] by one per cent; a wrong unit or
    contract size is far beyond that. Tables without traded volumes are checked for prices alone.
    """
    bad = (pl.col("low") > pl.min_horizontal("open", "close")) | (pl.col("high") < pl.max_horizontal("open", "close"))
    if "base_volume" in schema.column_names:
        implied = pl.col("quote_volume") / pl.col("base_volume")
        bad = (
            bad
            | (pl.col("taker_buy_base_volume") > pl.col("base_volume") * (1 + 1e-12))
            | (
                (pl.col("base_volume") > _MEASURABLE)
                & ((implied < 0.99 * pl.col("low")) | (implied > 1.01 * pl.col("high")))
            )
        )
    if "vwap" in rows.columns:
        bad = bad | (pl.col("vwap") < pl.col("low")) | (pl.col("vwap") > pl.col("high"))
    per_symbol = rows.filter(bad.fill_null(False)).group_by("symbol").len().sort("symbol")
    return [(symbol, f"{n} rows break the price or volume rules") for symbol, n in per_symbol.iter_rows()]


def table_checks(table_slice: TableSlice, start: date) -> dg.AssetChecksDefinition:
    """Checks of stored rows: schema, primary key and, for tables with prices, price rules. They share one read."""
    schema, asset = schema_of(table_slice.layer, table_slice.table), dg.AssetKey(table_slice.asset_key)
    checks: dict[str, RowCheck] = {"schema": check_schema, "primary_key": check_primary_key}
    if "high" in schema.column_names:
        checks["ohlc"] = check_prices

    @dg.multi_asset_check(
        name=f"{asset.to_python_identifier()}_rows",
        specs=[
            dg.AssetCheckSpec(name, asset=asset, description=(check.__doc__ or "").split("\n")[0])
            for name, check in checks.items()
        ],
        can_subset=True,
    )
    def rows_stored(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        store = lake.store()
        keys = keys_to_check(context, store, table_slice, start)
        selected = {key.name: checks[key.name] for key in context.selected_asset_check_keys}
        by_check: dict[str, list[Finding]] = {name: [] for name in selected}

        def all_checks(batch: Sequence[str]) -> list[tuple[str, str]]:
            findings = []
            for rows in frames(store, [table_slice.partition(key) for key in batch]):
                for name, check in selected.items():
                    of_check = check(rows, schema)
                    findings += of_check
                    if len(batch) == 1:
                        by_check[name] += [(batch[0], symbol, text) for symbol, text in of_check]
            return findings

        check_days(store, table_slice, keys, all_checks)
        for name, findings in by_check.items():
            yield result(findings, keys, dg.AssetCheckSeverity.ERROR, dg.AssetCheckKey(asset, name))

    return rows_stored


def table_days_check(market: Market, table: str, name: str, check: RowsCheck) -> dg.AssetChecksDefinition:
    """A check of a gold table's own module, of each stored day."""
    gold = TableSlice.of_market("gold", market, table)

    @dg.asset_check(name=name, asset=asset_key("gold", market, table), description=(check.__doc__ or "").split("\n")[0])
    def days(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_market("gold", market, table), market.first_date)
        findings = [
            (key, symbol, text) for key in keys for symbol, text in check(read_partition(store, gold.partition(key)))
        ]
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return days


def bars_check(market: Market, bars: Bars) -> dg.AssetChecksDefinition:
    """The check ``sources``: bars against their minutes, the exchange's own klines, and funding events."""
    table = bars.table

    @dg.asset_check(
        name="sources",
        asset=asset_key("gold", market, table),
        description="Each bar agrees with its minutes. Time bars also agree with the exchange's klines of that"
        " interval and with funding events, if the lake has them.",
    )
    def sources(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_market("gold", market, table), market.first_date)
        minutes = TableSlice.of_market("gold", market, CONTINUOUS)
        findings = check_days(store, minutes, keys, partial(check_sources, store, market, bars))
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return sources


def carry_check(market: Market, rule: GapRule) -> dg.AssetChecksDefinition:
    """The check ``carry``: days of continuous minutes against the state that the days before them leave."""
    minutes = TableSlice.of_market("gold", market, CONTINUOUS)

    @dg.asset_check(
        name="carry",
        asset=asset_key("gold", market, STATES),
        description="Each day was built from the present state of the day before, and counts funding by the trades"
        " after it.",
    )
    def carry(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_market("gold", market, STATES), market.first_date)
        stale = ContinuousMinutes(store, market, rule).out_of_line(keys)
        findings = [
            (
                key,
                "",
                "built from an older state of the day before, or before later trades made its funding count. Rebuild it"
                f" with: {minutes.partition(key).backfill_command()}",
            )
            for key in stale
        ]
        return result(findings, keys, dg.AssetCheckSeverity.ERROR)

    return carry


def completeness_check(feed: Feed) -> dg.AssetChecksDefinition:
    """The check ``completeness``: silver has the rows of every ingested file, and no file is failed or quarantined."""

    @dg.asset_check(
        name="completeness",
        asset=asset_key("silver", feed.market, feed.table),
        description="Every file in the ledger is in silver. Names failed and quarantined files, and days that are"
        " older than their rows in files of neighbouring days.",
    )
    def completeness(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_feed("silver", feed), feed.market.first_date)
        findings = missing_from_silver(feed, keys, store)
        return result(_with_known(findings, feed), keys, dg.AssetCheckSeverity.WARN)

    return completeness


def epoch_checks(feed: Feed) -> list[dg.AssetChecksDefinition]:
    """The check ``epochs``: bronze and silver rows against the epoch registry, for feeds that it describes."""
    return [_epoch_check(layer, feed) for layer in ("bronze", "silver") if checks_of(layer, feed)]


def _epoch_check(layer: str, feed: Feed) -> dg.AssetChecksDefinition:
    rule = checks_of(layer, feed)
    assert rule is not None

    @dg.asset_check(
        name="epochs",
        asset=asset_key(layer, feed.market, feed.table),
        description=f"Compares rows with the epoch registry. {(rule.__doc__ or '').splitlines()[0]}",
    )
    def epochs(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_feed(layer, feed), feed.market.first_date)
        findings: list[Finding] = []
        for key in keys:
            rows = scan_partitions(store, TableSlice.of_feed(layer, feed), [key])
            findings += [(key, symbol, text) for symbol, text in check_epochs(layer, rows, feed, key)]
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return epochs


def _with_known(findings: list[Finding], feed: Feed) -> list[Finding]:
    return [
        (key, symbol, known_text)
        for key, symbol, text in findings
        for _, known_text in with_known([(symbol, text)], feed, *parse_partition(key, feed.cadence))
    ]


def archive_checks(feed: Feed, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Bronze against the archive: ``freshness`` of the newest date, and ``reconciliation`` of all dates."""
    asset, bronze = asset_key("bronze", feed.market, feed.table), TableSlice.of_feed("bronze", feed)

    @dg.asset_check(name="freshness", asset=asset, description="The newest date of the archive is in the lake.")
    def freshness(lake: LakeResource, archive: ArchiveResource) -> dg.AssetCheckResult:
        stored = _stored_keys(lake.store(), feed)
        if not stored:
            return dg.AssetCheckResult(passed=True, metadata={"note": "no partition is stored yet"})
        newest = parse_partition(stored[-1], feed.cadence)[0]
        if feed.last_date is not None and stored[-1] == partition_key(feed.last_date, feed.cadence):
            return dg.AssetCheckResult(passed=True, metadata={"note": f"the feed ended on {feed.last_date}"})
        try:
            source = archive.source(feed.exchange)
            symbols = settings.symbols_of(feed.market).select(source.symbols(feed))
            probes = [symbols[i * len(symbols) // 20] for i in range(20)] if len(symbols) > 20 else symbols
            files = source.files(feed, probes, newest, feed.span(_today())[1])
        except ArchiveError as error:
            return _unanswered(error)
        missing = sorted({file.period for file in files} - set(stored))
        findings = [
            (
                key,
                "",
                "the archive has files of this date, and the lake has no partition. Build it with:"
                f" {bronze.partition(key).backfill_command()}",
            )
            for key in missing
        ]
        return result(findings, stored[-1:], dg.AssetCheckSeverity.WARN)

    @dg.asset_check(
        name="reconciliation",
        asset=asset,
        description="Every file that the archive lists between the first and the last date of the lake is"
        " ingested in its present version. Names holes, and replaced, failed and quarantined files.",
    )
    def reconciliation(lake: LakeResource, archive: ArchiveResource) -> dg.AssetCheckResult:
        store = lake.store()
        stored = _stored_keys(store, feed)
        if not stored:
            return dg.AssetCheckResult(passed=True, metadata={"note": "no partition is stored yet"})
        first, end = parse_partition(stored[0], feed.cadence)[0], parse_partition(stored[-1], feed.cadence)[1]
        try:
            source, symbols = archive.source(feed.exchange), settings.symbols_of(feed.market)
            different = compare(feed, source, store, symbols, first, end, files=settings.archive_files)
        except (ArchiveError, LakeError, UnknownSymbolsError) as error:
            return _unanswered(error)
        findings = [(d.period, d.symbol, f"{d.problem}: {d.detail or d.key}") for d in different]
        holes = sorted(set(partition_keys(first, end, feed.cadence)) - set(stored))
        findings += [
            (key, "", f"the partition was never built. Build it with: {bronze.partition(key).backfill_command()}")
            for key in holes
        ]
        return result(_with_known(sorted(findings), feed), stored, dg.AssetCheckSeverity.WARN)

    return [freshness, reconciliation]


def keys_to_check(
    context: dg.AssetCheckExecutionContext, store: LakeStore, table_slice: TableSlice, start: date
) -> list[str]:
    """Stored partitions of the run's range or partition, or, for a run without either, the newest ones; and those that
    failed when they were last checked, so that a failure stays until it is repaired.

    ``start`` is the first day of the market by the settings: earlier partitions are hidden.
    """
    interrupts.ask()
    since = partition_key(start, table_slice.cadence)
    stored = sorted(key for key in list_keys(store, table_slice) if key >= since)
    tags = context.run.tags
    alone = tags.get("dagster/partition")
    first, last = tags.get(RANGE_START_TAG, alone), tags.get(RANGE_END_TAG, alone)
    if first is None or last is None:
        chosen = set(stored[-_NEWEST:])
    else:
        days = table_slice.partition(first).start, table_slice.partition(last).end
        chosen = set(partition_keys(*days, table_slice.cadence))
    for key in context.selected_asset_check_keys:
        evaluation = last_evaluation(context.instance, key)
        if evaluation is not None and _FAILING in evaluation.metadata:
            chosen.update(json.loads(str(evaluation.metadata[_FAILING].value)))
    return sorted(chosen.intersection(stored))


def last_evaluation(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The newest result of a check. A run that has not evaluated it yet does not count."""
    # This module loads Dagster's storages, which definitions do not need.
    from crypto_lakehouse.orchestration.private_dagster import AssetCheckExecutionRecordStatus

    records = instance.event_log_storage.get_asset_check_execution_history(
        check, 1, status={AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    )
    event = records[0].event.dagster_event if records and records[0].event else None
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    return event.asset_check_evaluation_data


def result(
    findings: list[Finding], keys: list[str], severity: dg.AssetCheckSeverity, check: dg.AssetCheckKey | None = None
) -> dg.AssetCheckResult:
    """The result of a check: the number of findings and a table of the first ones. ``check`` names it if a step has
    several.
    """
    lines = ["| partition | symbol | finding |", "|---|---|---|"]
    lines += [f"| {key} | {symbol} | {text.replace('|', '/')} |" for key, symbol, text in findings[:_SHOWN]]
    more = f"\n\nand {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    span = f"{keys[0]} to {keys[-1]}" if keys else "none"
    metadata: dict[str, dg.MetadataValue] = {
        "findings": dg.MetadataValue.int(len(findings)),
        "partitions": dg.MetadataValue.text(f"{len(keys)}: {span}"),
    }
    if findings:
        metadata["table"] = dg.MetadataValue.md("\n".join(lines) + more)
        failing = sorted({key for key, _, _ in findings})
        metadata["failing_partitions"] = dg.MetadataValue.text(", ".join(failing[:_SHOWN]))
        metadata[_FAILING] = dg.MetadataValue.text(json.dumps(failing))
    first = "; ".join(" ".join(part for part in finding if part) for finding in findings[:_IN_DESCRIPTION])
    rest = f"; {len(findings) - _IN_DESCRIPTION} more in Dagster's UI" if len(findings) > _IN_DESCRIPTION else ""
    text = f"{len(findings)} findings: {first}{rest}" if findings else "no findings"
    return dg.AssetCheckResult(
        passed=not findings,
        asset_key=check and check.asset_key,
        check_name=check and check.name,
        severity=severity,
        metadata=metadata,
        description=text,
    )


def _stored_keys(store: LakeStore, feed: Feed) -> list[str]:
    """Keys of bronze that the feed covers. A partition outside of them is empty and says nothing about the feed."""
    keys = sorted(list_keys(store, TableSlice.of_feed("bronze", feed)))
    return [key for key in keys if feed.covers(parse_partition(key, feed.cadence)[0])]


def _unanswered(error: Exception) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description=f"could not be checked: {error}"
    )


def _today() -> date:
    return datetime.now(UTC).date()
