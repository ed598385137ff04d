"""Time partitions: one daily and one monthly definition per market, and one backfill policy.

Time is the only partition axis. Exchange and market are in the asset key, and symbol is a column. All assets of a
market share these objects, so that a chunk of dates goes through all layers in one run.
"""

from __future__ import annotations

from datetime import date
from functools import cache

import dagster as dg

from crypto_lakehouse.catalog import Cadence, Market
from crypto_lakehouse.settings import Settings

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

PARTITIONS_PER_RUN = 31
"""Partitions of a run in the UI, and of many symbols at the command line: a month of days. A run that fails is repeated
as a whole.
"""
# Files of all symbols and partitions in the runs of few symbols of a command, and the most partitions of a run: a run
# costs seconds, but Dagster keeps the events of a run in memory.
_SYMBOL_PARTITIONS, _MOST = 12_400, 400


def partitions_of(market: Market, cadence: Cadence) -> dg.TimeWindowPartitionsDefinition:
    """Partitions of a market, from its first date: keys ``YYYY-MM-DD`` (daily) or ``YYYY-MM`` (monthly), UTC."""
    return _partitions_of(market.exchange, market.name, market.first_date, cadence)


@cache
def _partitions_of(exchange: str, market: str, first: date, cadence: Cadence) -> dg.TimeWindowPartitionsDefinition:
    del exchange, market  # They are part of the cache key: each market has its own object.
    if cadence is Cadence.DAILY:
        return dg.DailyPartitionsDefinition(start_date=f"{first:%Y-%m-%d}", fmt="%Y-%m-%d")
    return dg.MonthlyPartitionsDefinition(start_date=f"{first:%Y-%m}", fmt="%Y-%m")


def partitions_per_run(symbols: int, processes: int = 1) -> int:
    """How many partitions of that many symbols a run of the command line has, if ``processes`` have a run each.

    >>> partitions_per_run(2), partitions_per_run(100), partitions_per_run(600)
    (400, 124, 31)
    >>> partitions_per_run(2, 4), partitions_per_run(100, 4), partitions_per_run(600, 4)
    (400, 31, 7)
    """
    least = max(1, PARTITIONS_PER_RUN // processes)
    return min(_MOST, max(least, _SYMBOL_PARTITIONS // (processes * max(1, symbols))))


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """Run many partitions as one run: a run costs seconds, a partition in it hundredths of a second."""
    return dg.BackfillPolicy.multi_run(settings.max_partitions_per_run or PARTITIONS_PER_RUN)
