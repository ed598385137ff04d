"""What the command line builds: check the requested partitions of a table, and cut them into runs.

This is Dagster's side of ``backfill``, ``compact`` and ``demo``. ``runs.py`` executes the runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg

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
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.assets.completion import is_completed
from crypto_lakehouse.orchestration.gold import is_enabled
from crypto_lakehouse.orchestration.home import FROM_ENVIRONMENT, SQLITE, furnish, is_new, refuse_ignored_postgres
from crypto_lakehouse.orchestration.home_faults import opening
from crypto_lakehouse.orchestration.jobs import compaction_job_name, own_job_name, update_job_name
from crypto_lakehouse.orchestration.processes import report_dead_runs
from crypto_lakehouse.schemas.gold import bars_in, find_gold_table, gold_tables, tables_after
from crypto_lakehouse.schemas.rest import rest_table
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The assets of one table of a market, and the partitions of them to build, in order.

    ``feed`` fills the table; for a gold table it is the first feed that the table is made from. ``options`` configure
    the runs of an asset that has a configuration of its own.
    """

    feed: Feed
    cadence: Cadence
    assets: tuple[dg.AssetKey, ...]
    keys: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

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
        table = find_gold_table(self.assets[0].path[-1]) if self.layer == "gold" else None
        if table is not None and table.job:
            return own_job_name(table.job, self.market.exchange, self.market.name)
        return update_job_name(self.market.exchange, self.market.name, self.cadence)

    @property
    def name(self) -> str:
        """``exchange/market/table`` of the first table of the plan."""
        return "/".join(self.assets[0].path[1:])


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
        folder, storage = home_folder(), FROM_ENVIRONMENT
    os.environ["DAGSTER_HOME"] = str(folder)
    with opening():
        furnish(folder, storage)
        if own_home is None:
            refuse_ignored_postgres(os.environ)
        instance = dg.DagsterInstance.get()
        report_dead_runs(instance)
    return instance


def home_folder() -> Path:
    """DAGSTER_HOME; if it is not set, the working directory if that has a dagster.yaml, else ``./.dagster``."""
    return Path(os.environ.get("DAGSTER_HOME") or _default_home()).resolve()


def open_records() -> dg.DagsterInstance:
    """Open Dagster's records like ``open_instance``, but create none: without any, empty records in memory."""
    if is_new(home_folder(), os.environ):
        return dg.DagsterInstance.ephemeral()
    return open_instance()


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
        tables = [("gold", entry.name) for entry in tables_after(table, settings.bars_kinds)]
    own = () if table in gold else feed_assets(source, settings)
    assets = (*own, *(asset_key(layer, source.market, name) for layer, name in tables))
    return Plan(source, source.cadence, assets, tuple(keys))


def feed_assets(feed: Feed, settings: Settings) -> tuple[dg.AssetKey, ...]:
    """The assets of bronze and silver of a feed, in the order in which they are built."""
    answers = [("bronze", rest_table(feed.table))] if is_completed(feed, settings) else []
    tables = [("bronze", feed.table), *answers, ("silver", feed.table)]
    return tuple(asset_key(layer, feed.market, name) for layer, name in tables)


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
