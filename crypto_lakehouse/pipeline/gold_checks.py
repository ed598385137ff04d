"""Stored bars compared with what they were made from and with what the exchange made itself.

Here belongs which stored rows a partition of bars is compared with; the comparisons are in
``transforms.compare``. Dagster is not here.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence, Market, partition_keys
from crypto_lakehouse.catalog.bars import Bars, TimeBars
from crypto_lakehouse.lake.partitions import collect_partitions, list_keys, read_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.gold import CONTINUOUS, FUNDING
from crypto_lakehouse.transforms.compare import bars_against_funding, bars_against_klines, bars_against_minutes


def check_sources(store: LakeStore, market: Market, bars: Bars, key: str) -> list[tuple[str, str]]:
    """Findings (symbol, what) of one stored partition of bars; none where it is empty."""
    rows = read_partition(store, "gold", bars.table, market.exchange, market.name, key)
    if rows.is_empty():
        return []
    first, last = rows["open_time"].min(), rows["close_time"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    span = (first.date(), last.date() + timedelta(days=1))
    minutes = _stored(store, market, "gold", CONTINUOUS, Cadence.DAILY, span)
    assert minutes is not None
    found = bars_against_minutes(rows, minutes)
    if not isinstance(bars, TimeBars):
        return found
    events = _stored(store, market, "silver", FUNDING, Cadence.MONTHLY, span)
    if events is not None:
        found += bars_against_funding(rows, events)
    feed = FEEDS.get((market.exchange, market.name, f"klines_{bars.interval.name}"))
    klines = _stored(store, market, "silver", feed.table, feed.cadence, span) if feed else None
    if klines is not None:
        windows = rows.filter(pl.col("offset") == 0).select("open_time").unique()
        found += bars_against_klines(rows, klines.join(windows, on="open_time", how="semi"))
    return sorted(found)


def _stored(
    store: LakeStore, market: Market, layer: str, table: str, cadence: Cadence, span: tuple[date, date]
) -> pl.DataFrame | None:
    """Rows of the stored partitions of [first, end); None where there is none."""
    there = list_keys(store, layer, table, market.exchange, market.name)
    keys = [key for key in partition_keys(*span, cadence) if key in there]
    if not keys:
        return None
    place = (layer, table, market.exchange, market.name)
    return collect_partitions(store, *place, keys, lambda rows: rows.drop(cadence.partition_column))
