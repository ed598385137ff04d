"""Gold assets and their checks, from the registry of gold tables: which market has a table, and which code builds it.

The registry is ``schemas/gold.py``. The assets are in ``assets``, the checks in ``checks.py``, ``series_checks.py`` and
``trade_checks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from crypto_lakehouse.catalog import FEEDS, Feed
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import GoldGroup
from crypto_lakehouse.orchestration.assets.days import days_asset
from crypto_lakehouse.orchestration.assets.gold import bars_asset, continuous_asset, gap_rule
from crypto_lakehouse.orchestration.assets.trade_ids import trade_ids_asset
from crypto_lakehouse.orchestration.assets.universe import instruments_asset
from crypto_lakehouse.orchestration.assets.witnesses import witnesses_asset
from crypto_lakehouse.orchestration.checks import bars_check, carry_check, table_checks, table_days_check
from crypto_lakehouse.orchestration.partitions import backfill_policy
from crypto_lakehouse.orchestration.series_checks import gap_checks
from crypto_lakehouse.orchestration.trade_checks import id_continuity_check, klines_from_trades_check
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.bars_days import bars_days
from crypto_lakehouse.pipeline.gold.continuous import FUNDING, MINUTES, ContinuousMinutes
from crypto_lakehouse.pipeline.gold.days import TableDays
from crypto_lakehouse.pipeline.gold.missing_minutes import MissingMinutes
from crypto_lakehouse.pipeline.gold.trade_ids import TradeIds
from crypto_lakehouse.pipeline.gold.witnesses import Witnesses, compared_feeds
from crypto_lakehouse.schemas.gold import GoldTable, gold_tables, tables_after
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse.transforms.gold.continuous import continuous_minutes
from crypto_lakehouse.transforms.gold.missing_minutes import missing_minutes
from crypto_lakehouse.transforms.gold.tables import functions_of
from crypto_lakehouse.transforms.gold.universe import instruments

Checks = list[dg.AssetChecksDefinition]


@dataclass(frozen=True, slots=True)
class Maker:
    """What builds an asset, its checks besides those of stored rows, and the code that computes its rows: None if each
    table has a function of its own.

    ``current`` returns the days that a run would leave unchanged; without it only a run can tell.
    """

    asset: Callable[[GoldGroup], dg.AssetsDefinition]
    checks: Callable[[GoldGroup], Checks] | None = None
    code: Callable[..., Any] | None = None
    current: Callable[[GoldGroup, LakeStore, Sequence[str]], set[str]] | None = None


def _continuous_checks(group: GoldGroup) -> Checks:
    return [carry_check(group.market, gap_rule(group.settings)), *gap_checks(group.market, FUNDING in group.feeds)]


def _bars_checks(group: GoldGroup) -> Checks:
    bars = group.tables[0].bars
    assert bars is not None
    return [bars_check(group.market, bars)]


def _trade_checks(group: GoldGroup) -> Checks:
    feed = group.feeds[group.tables[0].sources[0]]
    return [id_continuity_check(feed), klines_from_trades_check(feed, MINUTES in group.feeds)]


def _days_checks(group: GoldGroup) -> Checks:
    (table,) = group.tables
    checks = functions_of(table.name).checks
    return [table_days_check(group.market, table.name, name, check) for name, check in checks.items()]


def _current_days(
    group: GoldGroup, store: LakeStore, keys: Sequence[str], days_of: type[TableDays] = TableDays
) -> set[str]:
    days = days_of(store, group.market, group.tables[0])
    return {key for key in keys if days.day(key).unchanged is not None}


def _current_minutes(group: GoldGroup, store: LakeStore, keys: Sequence[str]) -> set[str]:
    return ContinuousMinutes(store, group.market, gap_rule(group.settings)).up_to_date(keys)


def _current_bars(group: GoldGroup, store: LakeStore, keys: Sequence[str]) -> set[str]:
    bars = group.tables[0].bars
    assert bars is not None
    return {day.key for day in bars_days(store, group.market, bars, keys) if day.unchanged is not None}


def _current_ids(group: GoldGroup, store: LakeStore, keys: Sequence[str]) -> set[str]:
    return TradeIds(store, group.feeds[group.tables[0].sources[0]]).up_to_date(keys)


MAKERS = {
    "days": Maker(days_asset, _days_checks, current=_current_days),
    "continuous": Maker(continuous_asset, _continuous_checks, continuous_minutes, _current_minutes),
    "bars": Maker(bars_asset, _bars_checks, DayBars, _current_bars),
    "trade_ids": Maker(trade_ids_asset, _trade_checks, TradeIds, _current_ids),
    "instruments": Maker(instruments_asset, code=instruments),
    "missing_minutes": Maker(
        partial(days_asset, days_of=MissingMinutes),
        code=missing_minutes,
        current=partial(_current_days, days_of=MissingMinutes),
    ),
    "witnesses": Maker(witnesses_asset, code=Witnesses),
}


def gold_groups(feeds: Sequence[Feed], settings: Settings) -> Iterator[GoldGroup]:
    """The groups of gold tables of all markets that have their inputs. ``feeds`` are those that are enabled."""
    policy = backfill_policy(settings)
    for market in {(feed.exchange, feed.market.name): feed.market for feed in feeds}.values():
        enabled = {feed.table: feed for feed in feeds if feed.market == market}
        groups: dict[str, list[GoldTable]] = {}
        for table in gold_tables(settings.bars_kinds):
            if is_enabled(table, list(enabled.values())):
                groups.setdefault(table.asset or table.name, []).append(table)
        for tables in groups.values():
            yield GoldGroup(market, tuple(tables), enabled, settings, policy)


def is_enabled(table: GoldTable, feeds: Sequence[Feed]) -> bool:
    """Whether the enabled ``feeds`` of a market give it a gold table.

    A listing needs no rows, so any interval of klines stands for the one whose listing is the input.
    """
    if table.maker == "witnesses":
        return bool(compared_feeds(feeds))
    if table.is_of_listing:
        schemas = {feed.schema for feed in FEEDS.values() if feed.table in table.sources}
        return any(feed.schema in schemas for feed in feeds)
    return {feed.table for feed in feeds}.issuperset(table.sources)


def gold_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """The asset that builds the tables of a group."""
    return MAKERS[group.tables[0].maker].asset(group)


def current_days(group: GoldGroup, store: LakeStore, keys: Sequence[str]) -> set[str]:
    """Those of the stored days ``keys``, in order, that a run of the group would leave unchanged."""
    current = MAKERS[group.tables[0].maker].current
    return set() if current is None else current(group, store, keys)


def gold_checks(group: GoldGroup) -> Checks:
    """The checks of the tables of a group."""
    slices = [TableSlice.of_market("gold", group.market, table.name) for table in group.tables]
    rows = [table_checks(table_slice, group.market.first_date) for table_slice in slices]
    more = MAKERS[group.tables[0].maker].checks
    return [*rows, *(more(group) if more else [])]


def keys_after(feed: Feed, groups: Sequence[GoldGroup]) -> list[dg.AssetKey]:
    """The gold assets that a run of a feed also builds."""
    names = {table.name for group in groups for table in tables_after(feed.table, group.settings.bars_kinds)}
    return [key for group in groups if group.market == feed.market for key in group.keys if key.path[-1] in names]
