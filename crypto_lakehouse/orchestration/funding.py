"""Funding rates of continuous minutes and bars: made before a backfill of klines, and what is said where they lack.

Here belongs which months and days. How minutes take rates is in ``transforms/funding.py``; days that were made before
their rates came by a sensor are found in ``sensors.py``.
"""

from __future__ import annotations

from datetime import date, timedelta

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, parse_partition, partition_key, partition_keys
from crypto_lakehouse.environment import Environment
from crypto_lakehouse.lake.partitions import list_keys
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.launch import Plan, gold_tables, since_start
from crypto_lakehouse.pipeline.gold import CONTINUOUS, FUNDING, MINUTES


def funding_before(wish: Plan, environment: Environment, today: date) -> Plan | None:
    """The months of funding rates that a backfill of klines makes first; None where it needs none, or they are no
    table of the settings.
    """
    if wish.assets[0].path[0] != "bronze" or not _takes_funding(wish, environment):
        return None
    if FUNDING not in environment.table_names:
        return None
    months = [month for month in _months(wish, environment) if parse_partition(month, Cadence.MONTHLY)[1] <= today]
    assets = tuple(asset_key(layer, wish.market, FUNDING) for layer in ("bronze", "silver"))
    return Plan(wish.market, Cadence.MONTHLY, assets, tuple(months)) if months else None


def days_after_funding(done: Plan, environment: Environment, store: LakeStore) -> Plan | None:
    """The gold days in months of funding rates that were made before these rates were stored."""
    if done.assets[-1].path[-1] != FUNDING or MINUTES not in environment.table_names:
        return None
    market = done.market
    rates = list_keys(store, "silver", FUNDING, market.exchange, market.name)
    made = list_keys(store, "gold", CONTINUOUS, market.exchange, market.name)
    came = {key: rates[key][1] for key in done.keys if key in rates}
    since = partition_key(market.first_date, Cadence.DAILY)
    days = [
        key
        for key, (_, at) in made.items()
        if key >= since and (month := key[: len("YYYY-MM")]) in came and at < came[month]
    ]
    assets = [asset_key("gold", market, name) for name, of in gold_tables(environment).items() if of.source == MINUTES]
    return Plan(market, Cadence.DAILY, tuple(assets), tuple(days)) if days else None


def lacking_funding(wish: Plan, environment: Environment, store: LakeStore, today: date) -> list[str]:
    """In words, of which months the gold of a plan has no funding rates, and what makes them."""
    if not _takes_funding(wish, environment):
        return []
    if FUNDING not in environment.table_names:
        return [f"funding columns are null: {FUNDING} is not in LAKEHOUSE_TABLES"]
    there = list_keys(store, "silver", FUNDING, wish.market.exchange, wish.market.name)
    lacking = [month for month in _months(wish, environment) if month not in there]
    ended = [month for month in lacking if parse_partition(month, Cadence.MONTHLY)[1] <= today]
    words = []
    if ended:
        first = parse_partition(ended[0], Cadence.MONTHLY)[0]
        last = parse_partition(ended[-1], Cadence.MONTHLY)[1] - timedelta(days=1)
        words.append(
            f"warning: no {FUNDING} in the lake for {_span(ended)}: funding columns of these months are null. Make them"
            f" with: crypto-lakehouse backfill --market {wish.market.name} --table {FUNDING} --from {first} --to {last}"
        )
    if open_ones := [month for month in lacking if month not in ended]:
        words.append(
            f"funding columns of {_span(open_ones)} are null: the archive has funding rates of ended months only"
        )
    return words


def _takes_funding(wish: Plan, environment: Environment) -> bool:
    """Whether the plan makes gold tables of minutes in a market that has funding."""
    of_minutes = {name for name, of in gold_tables(environment).items() if of.source == MINUTES}
    makes_them = any(key.path[0] == "gold" and key.path[-1] in of_minutes for key in wish.assets)
    return makes_them and _feed(wish) is not None


def _feed(wish: Plan) -> Feed | None:
    return FEEDS.get((wish.market.exchange, wish.market.name, FUNDING))


def _months(wish: Plan, environment: Environment) -> list[str]:
    """The months of the plan's days that have funding, from the first day of the settings on."""
    feed = _feed(wish)
    assert feed is not None
    feed = since_start(feed, environment)
    first, end = parse_partition(wish.keys[0], wish.cadence)[0], parse_partition(wish.keys[-1], wish.cadence)[1]
    months = partition_keys(first, end, Cadence.MONTHLY)
    return [month for month in months if feed.covers(parse_partition(month, Cadence.MONTHLY)[0])]


def _span(months: list[str]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
