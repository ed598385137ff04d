"""Compare stored rows with their inputs, with the exchange's own klines, and with the end of a symbol.

This module reads the stored rows to compare; ``transforms/checks/compare.py`` and ``transforms/gold/ended.py`` compare
them. No Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, Market, parse_partition, partition_keys
from crypto_lakehouse.catalog.bars import Bars, TimeBars
from crypto_lakehouse.lake.reader.ends import find_untraded
from crypto_lakehouse.lake.storage.partitions import collect_partitions, list_keys, scan_partitions
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, FUNDING, GAPS, MINUTES
from crypto_lakehouse.pipeline.gold.missing import symbols_missing
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.checks.compare import (
    bars_against_funding,
    bars_against_klines,
    bars_against_minutes,
    counting_events,
    events_not_counted,
)
from crypto_lakehouse.transforms.gold.continuous import MISSING_DAYS
from crypto_lakehouse.transforms.gold.ended import rows_after_end

_NAMED = 5


def check_sources(store: LakeStore, market: Market, bars: Bars, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Findings (symbol, description) of stored days of bars; none if they are empty."""
    rows = _rows(store, TableSlice.of_market("gold", market, bars.table), keys)
    if rows.is_empty():
        return []
    first, last = rows["open_time"].min(), rows["close_time"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    span = (first.date(), last.date() + timedelta(days=1))
    minutes = _stored(store, TableSlice.of_market("gold", market, CONTINUOUS), span)
    assert minutes is not None
    findings = bars_against_minutes(rows, minutes)
    if not isinstance(bars, TimeBars):
        return findings
    events = _stored(store, TableSlice.of_market("silver", market, FUNDING), span)
    if events is not None:
        findings += bars_against_funding(rows, counting_events(events, minutes))
    feed = FEEDS.get((market.exchange, market.name, f"klines_{bars.interval.name}"))
    klines = _stored(store, TableSlice.of_feed("silver", feed), span) if feed else None
    if klines is not None:
        windows = rows.filter(pl.col("offset") == 0).select("open_time").unique()
        findings += bars_against_klines(rows, klines.join(windows, on="open_time", how="semi"))
    return sorted(findings)


def check_funding(store: LakeStore, market: Market, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Funding events that stored days of continuous minutes do not count, by symbol."""
    span = parse_partition(keys[0], Cadence.DAILY)[0], parse_partition(keys[-1], Cadence.DAILY)[1]
    events = _stored(store, TableSlice.of_market("silver", market, FUNDING), span)
    minutes = _stored(store, TableSlice.of_market("gold", market, CONTINUOUS), span)
    return [] if events is None or minutes is None else events_not_counted(events, minutes)


def check_ends(store: LakeStore, feed: Feed, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Rows of stored silver partitions from a time in which their symbol was not traded, by symbol.

    The newest stored day of the market's minutes defines that time.
    """
    untraded = find_untraded(store, feed.exchange, feed.market.name, feed.table).drop("market")
    rows = scan_partitions(store, TableSlice.of_feed("silver", feed), keys)
    return rows_after_end(rows, silver_schema(feed).time_column, untraded)


def check_missing_days(store: LakeStore, market: Market, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Gaps of stored days that exist only because days are missing: the symbols, the days and the command that
    builds these days.
    """
    gaps = _rows(store, TableSlice.of_market("gold", market, GAPS), keys).filter(pl.col("reason") == MISSING_DAYS)
    if gaps.is_empty():
        return []
    minutes = TableSlice.of_market("silver", market, MINUTES)
    stored = list_keys(store, minutes)
    symbols = set(gaps["symbol"])
    missing_on = cache(lambda day: symbols_missing(store, minutes, day, symbols) if day in stored else symbols)
    symbols_by_days: dict[tuple[str, ...], list[str]] = {}
    for gap in gaps.iter_rows(named=True):
        days = partition_keys(gap["gap_begin"].date(), gap["gap_end"].date(), Cadence.DAILY)
        missing = tuple(day for day in days if gap["symbol"] in missing_on(day))
        symbols_by_days.setdefault(missing, []).append(gap["symbol"])
    return [
        (_in_words(symbols), _missing(market, days, [] if stored.keys().isdisjoint(days) else symbols))
        for days, symbols in symbols_by_days.items()
        if days
    ]


def _missing(market: Market, days: Sequence[str], symbols: Sequence[str]) -> str:
    """Say which days are missing, with the command that builds them: for ``symbols``, or for all if there are none."""
    chosen = ",".join(symbols) if len(symbols) <= _NAMED else "*"
    command = TableSlice.of_market("silver", market, MINUTES).backfill_command(days[0], days[-1], symbols=chosen)
    return (
        f"{len(days)} days from {days[0]} to {days[-1]} are not in the lake, so this may not be a real gap; it"
        f" starts no segment. Build them with: {command}"
    )


def _in_words(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:_NAMED]) + (f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else "")


def _rows(store: LakeStore, table_slice: TableSlice, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of stored partitions; columns that an earlier version did not write are null."""
    column = table_slice.cadence.partition_column
    return collect_partitions(store, table_slice, keys, lambda rows: rows.drop(column))


def _stored(store: LakeStore, table_slice: TableSlice, days: tuple[date, date]) -> pl.DataFrame | None:
    """Rows of the stored partitions of the days [start, end); None if no partition is stored."""
    stored, cadence = list_keys(store, table_slice), table_slice.cadence
    keys = [key for key in partition_keys(*days, cadence) if key in stored]
    if not keys:
        return None
    return _rows(store, table_slice, keys)
