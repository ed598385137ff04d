"""The plans of one command for several tables and markets, in the order in which they run.

``launch.py`` checks and resolves one table of one market. Funding rates come before the klines whose gold tables use
them, and tables of the archive before gold tables.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, find_market, parse_partition, tables_of
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.gold import is_enabled
from crypto_lakehouse.orchestration.launch import Plan, plan
from crypto_lakehouse.pipeline.gold.continuous import FUNDING
from crypto_lakehouse.schemas.gold import GoldTable, gold_tables, tables_after
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Request:
    """Tables of markets of an exchange, and the UTC days to build, both inclusive.

    With ``is_clipped`` the range of each table ends with its last day or month that is over, and lies within the days
    that the archive has; otherwise a range that does not fit is an error.
    """

    exchange: str
    markets: tuple[str, ...]
    tables: tuple[str, ...]
    first: date
    last: date
    is_clipped: bool


def requested_plans(request: Request, settings: Settings, today: date) -> list[Plan]:
    """The plans of a request. A table that only some of several markets have is skipped in the others.

    Raises ValueError that says what to change, also if nothing is left to build.
    """
    plans = []
    for table in request.tables:
        markets = [name for name in request.markets if _has(request.exchange, name, table, settings)]
        # Without a market that has the table, the error of the first one says which tables there are.
        for market in markets or request.markets[:1]:
            first, last = request.first, request.last
            feed = _feed(request.exchange, market, table, settings)
            if request.is_clipped and feed is not None:
                first, last = clipped(feed, first, last, settings, today)
                if last < first:
                    continue
            plans.append(plan(request.exchange, market, table, first, last, settings, today))
    if not plans:
        raise ValueError(
            f"no day or month of {', '.join(request.tables)} between {request.first} and {request.last} is over and in"
            " the archive: choose an earlier range"
        )
    return in_order(plans)


@dataclass(frozen=True, slots=True)
class Update:
    """The plans from the newest stored partitions on, and the tables of which nothing is stored: those of the archive,
    and gold tables that the user named.
    """

    plans: list[Plan]
    never_built: list[TableSlice]


def update_plans(
    tables: Collection[str], markets: Collection[str], settings: Settings, store: LakeStore, today: date
) -> Update:
    """The plans from the newest stored partition of each enabled table and market to yesterday (UTC).

    ``tables`` and ``markets`` narrow them; empty means all. The newest partition is built again if the archive has
    new files for it. Raises ValueError for a table or market that is not enabled.
    """
    own = [table for table in gold_tables(settings.bars_kinds) if not table.job and _is_alone(table, settings)]
    _check_names("table", tables, [*settings.table_names, *(table.name for table in own)])
    _check_names("market", markets, list(dict.fromkeys(feed.market.name for feed in settings.feeds)))
    feeds = [feed for feed in settings.feeds if not markets or feed.market.name in markets]
    plans, never_built = [], []
    for feed in feeds:
        if tables and feed.table not in tables:
            continue
        newest = max(list_keys(store, TableSlice.of_feed("silver", feed)), default=None)
        if newest is None:
            never_built.append(TableSlice.of_feed("silver", feed))
        elif (found := _since(feed, feed.table, newest, settings, today)) is not None:
            plans.append(found)
    for market in settings.enabled_markets:
        here = [feed for feed in feeds if feed.market.name == market.name and feed.exchange == market.exchange]
        for table in own:
            if (tables and table.name not in tables) or not is_enabled(table, here):
                continue
            table_slice = TableSlice.of_market("gold", market, table.name)
            newest = max(list_keys(store, table_slice), default=None)
            source = _feed(market.exchange, market.name, table.name, settings)
            if newest is None:
                # People who want such a table have built it once, or name it.
                never_built += [table_slice] if table.name in tables else []
            elif source is not None:
                # A partition of the listing holds everything that earlier ones hold.
                start = (today - _DAY).isoformat() if table.is_of_listing else newest
                if (found := _since(source, table.name, max(start, newest), settings, today)) is not None:
                    plans.append(found)
    return Update(in_order(plans), never_built)


def in_order(plans: Sequence[Plan]) -> list[Plan]:
    """Funding rates first, then other tables of the archive, then gold tables."""
    return sorted(plans, key=lambda each: (not is_funding(each), each.layer == "gold"))


def is_funding(plan: Plan) -> bool:
    """Whether the plan builds funding rates."""
    return plan.assets[0].path[-1] == FUNDING


def clipped(feed: Feed, first: date, last: date, settings: Settings, today: date) -> tuple[date, date]:
    """The part of a range, both ends inclusive, that is over, in the archive, and not before LAKEHOUSE_START.

    Its end is before its start if there is none.
    """
    over = (today if feed.cadence is Cadence.DAILY else today.replace(day=1)) - _DAY
    return max(first, feed.first_date, settings.start or first), min(last, over, feed.last_date or last)


def _since(feed: Feed, table: str, newest: str, settings: Settings, today: date) -> Plan | None:
    first, last = clipped(feed, parse_partition(newest, feed.cadence)[0], today, settings, today)
    return None if last < first else plan(feed.exchange, feed.market.name, table, first, last, settings, today)


def _has(exchange: str, market: str, table: str, settings: Settings) -> bool:
    find_market(exchange, market)
    return _feed(exchange, market, table, settings) is not None


def _feed(exchange: str, market: str, table: str, settings: Settings) -> Feed | None:
    """The feed of a table; of a gold table the first that it is made from, by day. None if the market has none."""
    gold = {entry.name: entry for entry in gold_tables(settings.bars_kinds)}
    sources = gold[table].sources if table in gold else (table,)
    if not set(tables_of(exchange, market)).issuperset(sources):
        return None
    feed = FEEDS[exchange, market, sources[0]]
    return replace(feed, cadence=Cadence.DAILY) if table in gold else feed


def _is_alone(table: GoldTable, settings: Settings) -> bool:
    """Whether no run of an archive type builds the table."""
    return not any(table in tables_after(source, settings.bars_kinds) for source in table.sources)


def _check_names(kind: str, names: Collection[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(unknown_name(kind, name, known, scope="what the settings enable"))
