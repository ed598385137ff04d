"""The commands that build what a lake misses, as they work when they are typed.

Such a command names only days that are over and that the archive has, and starts with the variables that it needs: for
a lake that is not the one of the environment, and for a table that the settings do not enable. Runs, whose settings
fit, recommend the commands of ``TableSlice`` as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from crypto_lakehouse.catalog import (
    DEFAULT_EXCHANGE,
    FEEDS,
    Cadence,
    Feed,
    parse_partition,
    partition_key,
    partition_keys,
)
from crypto_lakehouse.catalog.bars import BAR_INTERVALS, TimeBars, offset_name
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.catalog.enabling import enabling_variables
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.gold import bars_in, find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice

Wanted: TypeAlias = tuple[TableSlice, datetime | None, datetime | None]
"""A slice and the range [start, end) that is missing of it; None where it is open."""

_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_OPEN_DAYS = 30
"""How many days a command builds of a range without a start."""


class NothingToBuild(Exception):
    """No command builds a range; the text says why, as a sentence."""


def build_command(
    store: LakeStore, table_slice: TableSlice, first: str, last: str, symbols: str = "", force: bool = False
) -> str:
    """Return the command that builds partitions which the archive has, both inclusive, with the variables it needs."""
    variables = enabled_variables(store, table_slice, first)
    built = table_slice if force else _buildable(store, table_slice, first, last, symbols)
    return built.backfill_command(first, last, symbols, force, variables)


def range_command(wanted: Wanted, store: LakeStore, today: date | None = None) -> str:
    """Return the command that builds what the archive has of a range up to yesterday (UTC).

    Raises NothingToBuild if the market does not have the table, or nothing of the range is over and in the archive.
    """
    table_slice, start, end = wanted
    feed = source_feed(table_slice)
    if feed is None:
        markets = markets_with(table_slice)
        only = f", only in {', '.join(markets)}" if markets else ""
        raise NothingToBuild(f"Table {table_slice.table} does not exist in {table_slice.market}{only}")
    today = today or datetime.now(UTC).date()
    over = (today if feed.cadence is Cadence.DAILY else today.replace(day=1)) - _DAY
    first = max(start.date() if start else feed.first_date, feed.first_date)
    asked = (end - _MICROSECOND).date() if end else over
    last = min(asked, over, feed.last_date or over)
    if feed.cadence is Cadence.MONTHLY:
        first = first.replace(day=1)
    if last < first:
        if first > over:
            raise NothingToBuild(f"{partition_key(first, feed.cadence)} is not over (UTC), so it cannot be built yet")
        ended = f" to {feed.last_date}" if feed.last_date else ""
        raise NothingToBuild(f"The archive has files of it from {feed.first_date}{ended}, so nothing can be built")
    key, last_key = (partition_key(day, feed.cadence) for day in (first, last))
    if start is not None:
        return build_command(store, table_slice, key, last_key)
    variables = enabled_variables(store, table_slice, last_key)
    place = {} if table_slice.exchange == DEFAULT_EXCHANGE else {"exchange": table_slice.exchange}
    day = partition_key(last - (_OPEN_DAYS - 1) * _DAY, feed.cadence)
    built = _buildable(store, table_slice, day, last_key)
    options = {**place, "market": built.market, "table": built.table, "days": str(_OPEN_DAYS)}
    if end is not None:
        options["to"] = last_key
    return command_line("backfill", options=options, variables=variables)


def ways_to_build(store: LakeStore, wanted: Iterable[Wanted], today: date | None = None) -> str:
    """Return sentences, each after a full stop, on how to build ranges, or why that is impossible."""
    ranges, commands, reasons = list(wanted), list[str](), list[str]()
    for each in ranges:
        try:
            commands.append(range_command(each, store, today))
        except NothingToBuild as reason:
            reasons.append(str(reason))
    sentences = list(dict.fromkeys(reasons))
    if commands:
        computed = _on_demand(store, *ranges[0])
        build = f"Compute them with {computed}, or build them with" if computed else "Build them with"
        sentences.append(f"{build}: {'; '.join(commands)}")
        if is_demo(store):
            sentences.append(
                "This is the lake of a demo: to keep real prices out of it, serve its archive first, and set"
                " LAKEHOUSE_ARCHIVE_URL and LAKEHOUSE_ARCHIVE_LISTING_URL as the demo printed them"
            )
    return "".join(f". {sentence}" for sentence in sentences)


def _buildable(store: LakeStore, table_slice: TableSlice, first: str, last: str, symbols: str = "") -> TableSlice:
    """The table to backfill: for a gold table without rows to build it from, the table of the archive.

    A backfill of the latter also builds the gold table. Gold is never built for some symbols alone.
    """
    gold = find_gold_table(table_slice.table) if table_slice.layer == "gold" else None
    if gold is None or gold.is_of_listing or len(gold.sources) != 1:
        return table_slice
    source = replace(table_slice, layer="silver", table=gold.sources[0])
    if source.cadence is Cadence.MONTHLY:
        return table_slice
    start, end = parse_partition(first, Cadence.DAILY)[0], parse_partition(last, Cadence.DAILY)[1]
    is_stored = _keys(store, source).issuperset(partition_keys(start, end, Cadence.DAILY))
    return table_slice if is_stored and not symbols else source


def lake_variables(store: LakeStore) -> dict[str, str]:
    """The variables that name the lake; empty if a command without them uses this lake. They hold no credentials."""
    endpoint, region = (os.environ.get(f"LAKEHOUSE_S3_{name}") or None for name in ("ENDPOINT_URL", "REGION"))
    with suppress(LakeError):
        usual = LakeStore.open(os.environ.get("LAKEHOUSE_LAKE_URI") or "./lake", endpoint, region)
        # A command works on the present of a lake, also if a reader recommends it that reads an earlier time.
        if (usual.uri, usual.s3_endpoint_url) == (store.uri, store.s3_endpoint_url):
            return {}
    variables = {"LAKEHOUSE_LAKE_URI": store.uri}
    with suppress(LakeError):
        own, usual = store.s3_endpoint_url or "", LakeStore.open(store.uri, endpoint, region)
        if own != (usual.s3_endpoint_url or "") and "@" not in own:
            variables["LAKEHOUSE_S3_ENDPOINT_URL"] = own
    return variables


def is_demo(store: LakeStore) -> bool:
    """Whether the lake is next to the archive of a demo, and no variable names an archive."""
    archive = Path(store.root).parent / "archive" / "data"
    return store.is_local and not os.environ.get("LAKEHOUSE_ARCHIVE_URL") and archive.is_dir()


def source_feed(table_slice: TableSlice) -> Feed | None:
    """The feed that a table is built from: of a gold table the first, by day. None if the market has none."""
    gold = find_gold_table(table_slice.table) if table_slice.layer == "gold" else None
    sources = gold.sources if gold else (table_slice.table,)
    feeds = [FEEDS.get((table_slice.exchange, table_slice.market, source)) for source in sources]
    if not feeds or None in feeds or feeds[0] is None:
        return None
    return replace(feeds[0], cadence=Cadence.DAILY) if gold else feeds[0]


def markets_with(table_slice: TableSlice) -> list[str]:
    """The markets of the exchange that have the table."""
    markets = dict.fromkeys(market for exchange, market, _ in FEEDS if exchange == table_slice.exchange)
    return [market for market in markets if source_feed(replace(table_slice, market=market)) is not None]


def enabled_variables(store: LakeStore, table_slice: TableSlice, first: str) -> dict[str, str]:
    """The variables in front of a command that builds a table of a lake from the partition ``first`` on."""
    gold = find_gold_table(table_slice.table) if table_slice.layer == "gold" else None
    sources = gold.sources if gold else (table_slice.table,)
    place = (table_slice.exchange, table_slice.market)
    enabling = enabling_variables(*place, sources, gold.bars if gold else None, first, os.environ)
    return {**lake_variables(store), **enabling}


def _keys(store: LakeStore, table_slice: TableSlice) -> set[str]:
    return {name.partition("=")[2] for name in store.folders(table_slice.folder)}


def _on_demand(store: LakeStore, table_slice: TableSlice, start: datetime | None, end: datetime | None) -> str:
    """The call that computes the rows of a table of bars; empty for other tables, and without minutes in the range."""
    kind = bars_in(table_slice.layer, table_slice.table)
    interval = table_slice.table.removeprefix("klines_")
    if kind is None and not (table_slice.layer == "silver" and interval in BAR_INTERVALS):
        return ""
    minutes = _keys(store, replace(table_slice, layer="gold", table="continuous_1m"))
    if not any((not start or key >= f"{start:%Y-%m-%d}") and (not end or key < f"{end:%Y-%m-%d}") for key in minutes):
        return ""
    name, offset = kind.name if kind else interval, ""
    if isinstance(kind, TimeBars) and kind.step is not None:
        name, offset = kind.interval.name, f", offset={offset_name(kind.step)!r}"
    return f"lake.bars(symbols, {name!r}, market={table_slice.market!r}{offset})"
