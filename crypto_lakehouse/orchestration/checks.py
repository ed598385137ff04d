"""Asset checks of all layers. They are unpartitioned and name the failing dates and symbols,
because Dagster records partitioned checks wrongly in range runs.

What a check looks at: the partitions of the run that it is part of, else the newest ones. The rules
themselves come from the schemas, ``pipeline.reconcile``, ``pipeline.silver_checks``, ``pipeline.gold_checks`` and
``transforms.epoch_checks``. What the epoch registry knows of a bad day stands beside a finding.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import dagster as dg
import polars as pl

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive.model import ArchiveError
from crypto_lakehouse.catalog import Cadence, Feed, Market, parse_partition, partition_key, partition_keys
from crypto_lakehouse.catalog.bars import Bars
from crypto_lakehouse.environment import Environment
from crypto_lakehouse.lake.partitions import list_keys, read_partition, scan_partitions
from crypto_lakehouse.lake.pieces import read_pieces
from crypto_lakehouse.lake.store import LakeError, LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.resources import ArchiveResource, LakeResource
from crypto_lakehouse.pipeline.gold import CONTINUOUS, STATES, ContinuousMinutes
from crypto_lakehouse.pipeline.gold_checks import check_sources
from crypto_lakehouse.pipeline.reconcile import compare
from crypto_lakehouse.pipeline.silver_checks import missing_from_silver
from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError
from crypto_lakehouse.schemas import Schema, schema_of
from crypto_lakehouse.transforms.continuous import GapRule
from crypto_lakehouse.transforms.epoch_checks import check_epochs, checks_of, with_known

_NEWEST = 31
# Findings in the table of a check, and in its description, which the command line tells.
_SHOWN, _TOLD = 20, 3
# Base volumes have eight decimals: below this, rounding alone moves the price that they imply.
_MEASURABLE = 1e-5

# A finding: partition, symbol, what is wrong.
Finding = tuple[str, str, str]
RowCheck = Callable[[pl.DataFrame, Schema], list[tuple[str, str]]]


def check_schema(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """Columns in order, types, and no null where none is allowed."""
    if rows.columns != schema.column_names:
        return [("", f"columns are {rows.columns}")]
    found = []
    expected = pl.from_arrow(schema.arrow.empty_table())
    assert isinstance(expected, pl.DataFrame)
    for column in schema.columns:
        values = rows[column.name]
        if values.dtype != expected.schema[column.name]:
            found.append(("", f"{column.name} is {values.dtype}"))
        if values.null_count() and not column.nullable:
            symbols = rows.filter(values.is_null())["symbol"].unique().sort()
            found += [(symbol, f"{column.name} is null") for symbol in symbols]
    return found


def check_primary_key(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """No two rows of the same primary key."""
    doubled = rows.group_by(schema.primary_key).len().filter(pl.col("len") > 1)
    per_symbol = doubled.group_by("symbol").len().sort("symbol")
    return [(symbol, f"{n} keys more than once") for symbol, n in per_symbol.iter_rows()]


def check_prices(rows: pl.DataFrame, schema: Schema) -> list[tuple[str, str]]:
    """low <= open, close <= high; takers never bought more than was traded; VWAP within [low, high].

    Volumes are rounded, so the price that they imply may leave [low, high] by one per cent; a wrong unit or
    contract size is far beyond that. Of tables without traded volumes the prices alone are looked at.
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


def table_checks(layer: str, market: Market, table: str, cadence: Cadence) -> dg.AssetChecksDefinition:
    """Checks of what is stored: schema, primary key and, for tables with prices, the price rules; in one reading."""
    schema, asset = schema_of(layer, table), asset_key(layer, market, table)
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
        keys = keys_to_check(context, store, layer, market, table, cadence)
        found: dict[str, list[Finding]] = {key.name: [] for key in context.selected_asset_check_keys}
        for key in keys:
            for rows in _in_pieces(store, (layer, table, market.exchange, market.name, key), schema):
                for name, findings in found.items():
                    findings += [(key, symbol, what) for symbol, what in checks[name](rows, schema)]
        for name, findings in found.items():
            yield result(findings, keys, dg.AssetCheckSeverity.ERROR, dg.AssetCheckKey(asset, name))

    return rows_stored


def _in_pieces(store: LakeStore, where: tuple[str, str, str, str, str], schema: Schema) -> Iterator[pl.DataFrame]:
    """A partition in pieces, none of which parts a key, so that what is right in each is right in the whole."""
    pieces = read_pieces(store, *where, order=schema.id_column)
    first = next(pieces, None)
    # An empty partition has no piece, and columns all the same.
    yield read_partition(store, *where) if first is None else first
    for piece in pieces:
        interrupts.ask()
        yield piece


def bars_check(market: Market, bars: Bars) -> dg.AssetChecksDefinition:
    """Bars against what they stand for: their minutes, the exchange's own klines, and funding events."""
    table = bars.table

    @dg.asset_check(
        name="sources",
        asset=asset_key("gold", market, table),
        description="Each bar agrees with its minutes; time bars also with the exchange's klines of that"
        " interval and with the funding events, where the lake has them.",
    )
    def sources(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, "gold", market, table, Cadence.DAILY)
        found = [(key, symbol, what) for key in keys for symbol, what in check_sources(store, market, bars, key)]
        return result(found, keys, dg.AssetCheckSeverity.WARN)

    return sources


def carry_check(market: Market, rule: GapRule) -> dg.AssetChecksDefinition:
    """Days of continuous minutes against what the days before them leave."""

    @dg.asset_check(
        name="carry",
        asset=asset_key("gold", market, STATES),
        description="Each day begins with the state that the silver days before it leave.",
    )
    def carry(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, "gold", market, STATES, Cadence.DAILY)
        stale = ContinuousMinutes(store, market, rule).out_of_line(keys)
        found = [(key, "", f"made from another state: make {CONTINUOUS} of this day again") for key in stale]
        return result(found, keys, dg.AssetCheckSeverity.ERROR)

    return carry


def completeness_check(feed: Feed) -> dg.AssetChecksDefinition:
    """Silver against the ledger: every ingested file has rows in silver, no file is failed or quarantined."""

    @dg.asset_check(
        name="completeness",
        asset=asset_key("silver", feed.market, feed.table),
        description="Every file in the ledger is in silver; failed and quarantined ones are named, and days that are"
        " older than the rows which neighbouring days' files hold of them.",
    )
    def completeness(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, "silver", feed.market, feed.table, feed.cadence)
        found = missing_from_silver(feed, keys, store)
        return result(_with_known(found, feed), keys, dg.AssetCheckSeverity.WARN)

    return completeness


def epoch_checks(feed: Feed) -> list[dg.AssetChecksDefinition]:
    """``epochs``: bronze and silver rows against what the registry says of their day, where it says something."""
    return [_epoch_check(layer, feed) for layer in ("bronze", "silver") if checks_of(layer, feed)]


def _epoch_check(layer: str, feed: Feed) -> dg.AssetChecksDefinition:
    rule = checks_of(layer, feed)
    assert rule is not None

    @dg.asset_check(
        name="epochs",
        asset=asset_key(layer, feed.market, feed.table),
        description=f"Against the epoch registry. {(rule.__doc__ or '').splitlines()[0]}",
    )
    def epochs(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, layer, feed.market, feed.table, feed.cadence)
        found: list[Finding] = []
        for key in keys:
            rows = scan_partitions(store, layer, feed.table, feed.exchange, feed.market.name, [key])
            found += [(key, symbol, what) for symbol, what in check_epochs(layer, rows, feed, key)]
        return result(found, keys, dg.AssetCheckSeverity.WARN)

    return epochs


def _with_known(found: list[Finding], feed: Feed) -> list[Finding]:
    return [
        (key, symbol, text)
        for key, symbol, what in found
        for _, text in with_known([(symbol, what)], feed, *parse_partition(key, feed.cadence))
    ]


def archive_checks(feed: Feed, environment: Environment) -> list[dg.AssetChecksDefinition]:
    """Bronze against the archive: ``freshness`` of the newest date, and ``reconciliation`` of all of them."""
    asset = asset_key("bronze", feed.market, feed.table)

    @dg.asset_check(name="freshness", asset=asset, description="The newest date of the archive is in the lake.")
    def freshness(lake: LakeResource, archive: ArchiveResource) -> dg.AssetCheckResult:
        made = _made_keys(lake.store(), feed)
        if not made:
            return dg.AssetCheckResult(passed=True, metadata={"note": "nothing was made yet"})
        newest = parse_partition(made[-1], feed.cadence)[0]
        if feed.last_date is not None and made[-1] == partition_key(feed.last_date, feed.cadence):
            return dg.AssetCheckResult(passed=True, metadata={"note": f"the feed has ended on {feed.last_date}"})
        try:
            source = archive.source()
            symbols = environment.symbol_filter.select(source.symbols(feed))
            probes = [symbols[i * len(symbols) // 20] for i in range(20)] if len(symbols) > 20 else symbols
            files = source.files(feed, probes, newest, feed.span(_today())[1])
        except ArchiveError as error:
            return _unanswered(error)
        missing = sorted({file.period for file in files} - set(made))
        found = [(key, "", "the archive has it, the lake does not") for key in missing]
        return result(found, made[-1:], dg.AssetCheckSeverity.WARN)

    @dg.asset_check(
        name="reconciliation",
        asset=asset,
        description="Every file that the archive lists between the first and the last date of the lake is"
        " ingested as it is listed now: names holes, replaced, failed and quarantined files.",
    )
    def reconciliation(lake: LakeResource, archive: ArchiveResource) -> dg.AssetCheckResult:
        store = lake.store()
        made = _made_keys(store, feed)
        if not made:
            return dg.AssetCheckResult(passed=True, metadata={"note": "nothing was made yet"})
        first, end = parse_partition(made[0], feed.cadence)[0], parse_partition(made[-1], feed.cadence)[1]
        try:
            different = compare(feed, archive.source(), store, environment.symbol_filter, first, end)
        except (ArchiveError, LakeError, UnknownSymbolsError) as error:
            return _unanswered(error)
        found = [(d.period, d.symbol, f"{d.problem}: {d.detail or d.key}") for d in different]
        holes = sorted(set(partition_keys(first, end, feed.cadence)) - set(made))
        found += [(key, "", "the partition was never made") for key in holes]
        return result(_with_known(sorted(found), feed), made, dg.AssetCheckSeverity.WARN)

    return [freshness, reconciliation]


def keys_to_check(
    context: dg.AssetCheckExecutionContext,
    store: LakeStore,
    layer: str,
    market: Market,
    table: str,
    cadence: Cadence,
) -> list[str]:
    """Stored partitions of the run's range or partition; outside such a run the newest ones."""
    interrupts.ask()
    since = partition_key(market.first_date, cadence)
    stored = sorted(key for key in list_keys(store, layer, table, market.exchange, market.name) if key >= since)
    tags = context.run.tags
    start, end = tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    one = tags.get("dagster/partition")
    start, end = (start or one), (end or one)
    if start is None or end is None:
        return stored[-_NEWEST:]
    keys = partition_keys(parse_partition(start, cadence)[0], parse_partition(end, cadence)[1], cadence)
    return sorted(set(keys) & set(stored))


def result(
    found: list[Finding], keys: list[str], severity: dg.AssetCheckSeverity, check: dg.AssetCheckKey | None = None
) -> dg.AssetCheckResult:
    """Result with a table of the findings, the first ones shown, all counted; of ``check``, if a step has several."""
    lines = ["| partition | symbol | finding |", "|---|---|---|"]
    lines += [f"| {key} | {symbol} | {str(what).replace('|', '/')} |" for key, symbol, what in found[:_SHOWN]]
    more = f"\n\nand {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    span = f"{keys[0]} to {keys[-1]}" if keys else "none"
    metadata: dict[str, dg.MetadataValue] = {
        "findings": dg.MetadataValue.int(len(found)),
        "partitions": dg.MetadataValue.text(f"{len(keys)}: {span}"),
    }
    if found:
        metadata["table"] = dg.MetadataValue.md("\n".join(lines) + more)
        failing = sorted({key for key, _, _ in found})
        metadata["failing_partitions"] = dg.MetadataValue.text(", ".join(failing[:_SHOWN]))
    first = "; ".join(" ".join(part for part in finding if part) for finding in found[:_TOLD])
    rest = f"; {len(found) - _TOLD} more in Dagster's UI" if len(found) > _TOLD else ""
    text = f"{len(found)} findings: {first}{rest}" if found else "no findings"
    return dg.AssetCheckResult(
        passed=not found,
        asset_key=check and check.asset_key,
        check_name=check and check.name,
        severity=severity,
        metadata=metadata,
        description=text,
    )


def _made_keys(store: LakeStore, feed: Feed) -> list[str]:
    """Keys that bronze has, of those that the feed covers: an empty partition beyond them tells nothing."""
    keys = sorted(list_keys(store, "bronze", feed.table, feed.exchange, feed.market.name))
    return [key for key in keys if feed.covers(parse_partition(key, feed.cadence)[0])]


def _unanswered(error: Exception) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description=f"could not be checked: {error}"
    )


def _today() -> date:
    return datetime.now(UTC).date()
