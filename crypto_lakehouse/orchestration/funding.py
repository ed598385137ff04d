"""Funding rates of a backfill: the months to build before it, the gold days to rebuild after it, and its messages.

``transforms/silver/funding.py`` cleans the rates. ``sensors.py`` finds days that were built before their rates.
"""

from __future__ import annotations

from datetime import date

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, parse_partition, partition_key, partition_keys
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.launch import Plan, feed_assets, since_start
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, FUNDING, MINUTES
from crypto_lakehouse.schemas.gold import tables_after
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings


def funding_before(plan: Plan, settings: Settings, today: date) -> Plan | None:
    """The months of funding rates that a backfill of klines builds first; None if it needs none, or if the settings do
    not enable the table.
    """
    if plan.layer != "bronze" or not _takes_funding(plan, settings):
        return None
    if FUNDING not in settings.table_names:
        return None
    months = [month for month in _months(plan, settings) if parse_partition(month, Cadence.MONTHLY)[1] <= today]
    rates = _rates(plan, settings)
    return Plan(rates, Cadence.MONTHLY, feed_assets(rates, settings), tuple(months)) if months else None


def days_after_funding(done: Plan, settings: Settings, store: LakeStore) -> Plan | None:
    """The gold days that were built before the funding rates of their month were stored."""
    if done.assets[-1].path[-1] != FUNDING or MINUTES not in settings.table_names:
        return None
    market = done.market
    rates = list_keys(store, TableSlice.of_market("silver", market, FUNDING))
    minutes = list_keys(store, TableSlice.of_market("gold", market, CONTINUOUS))
    stored_at = {key: rates[key][1] for key in done.keys if key in rates}
    since = partition_key(market.first_date, Cadence.DAILY)
    days = [
        key
        for key, (_, at) in minutes.items()
        if key >= since and (month := key[: len("YYYY-MM")]) in stored_at and at < stored_at[month]
    ]
    assets = [asset_key("gold", market, table.name) for table in tables_after(MINUTES, settings.bars_kinds)]
    minutes_feed = since_start(FEEDS[market.exchange, market.name, MINUTES], settings)
    return Plan(minutes_feed, Cadence.DAILY, tuple(assets), tuple(days)) if days else None


def missing_funding_messages(plan: Plan, settings: Settings, store: LakeStore, today: date) -> list[str]:
    """Messages that name the months for which gold has no funding rates, with the command that builds them."""
    if not _takes_funding(plan, settings):
        return []
    if FUNDING not in settings.table_names:
        return [
            f"funding columns are null: {FUNDING} is not in LAKEHOUSE_TABLES (now: {','.join(settings.table_names)})"
        ]
    stored = list_keys(store, TableSlice.of_market("silver", plan.market, FUNDING))
    missing = [month for month in _months(plan, settings) if month not in stored]
    ended = [month for month in missing if parse_partition(month, Cadence.MONTHLY)[1] <= today]
    messages = []
    if ended:
        command = TableSlice.of_market("silver", plan.market, FUNDING).backfill_command(ended[0], ended[-1])
        messages.append(
            f"warning: no {FUNDING} in the lake for {_span(ended)}: funding columns of these months are null. Build"
            f" it with: {command}"
        )
    if open_months := [month for month in missing if month not in ended]:
        messages.append(
            f"funding columns of {_span(open_months)} are null until the month is over, because the archive publishes"
            " funding rates by month"
        )
    return messages


def _takes_funding(plan: Plan, settings: Settings) -> bool:
    """Whether the plan builds gold tables of minutes in a market that has funding."""
    minute_tables = {table.name for table in tables_after(MINUTES, settings.bars_kinds)}
    builds_them = any(key.path[0] == "gold" and key.path[-1] in minute_tables for key in plan.assets)
    return builds_them and (plan.market.exchange, plan.market.name, FUNDING) in FEEDS


def _rates(plan: Plan, settings: Settings) -> Feed:
    """The funding rates of the plan's market, not before LAKEHOUSE_START. The market must have some."""
    return since_start(FEEDS[plan.market.exchange, plan.market.name, FUNDING], settings)


def _months(plan: Plan, settings: Settings) -> list[str]:
    """The months of the plan's days that can have funding rates."""
    feed = _rates(plan, settings)
    first, end = parse_partition(plan.keys[0], plan.cadence)[0], parse_partition(plan.keys[-1], plan.cadence)[1]
    months = partition_keys(first, end, Cadence.MONTHLY)
    return [month for month in months if feed.covers(parse_partition(month, Cadence.MONTHLY)[0])]


def _span(months: list[str]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
