"""Time partitions, one daily and one monthly definition per market, and the one backfill policy.

Time is the only partition axis; exchange and market are in the asset key, symbol is a column. All
assets of a market share these objects, so that a chunk of dates runs through all layers in one run.
"""

from __future__ import annotations

from functools import cache

import dagster as dg

from crypto_lakehouse.catalog import MARKETS, Cadence

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


@cache
def partitions_of(exchange: str, market: str, cadence: Cadence) -> dg.TimeWindowPartitionsDefinition:
    """Partitions of a market, from its first date: keys ``YYYY-MM-DD`` (daily) or ``YYYY-MM`` (monthly), UTC."""
    first = MARKETS[exchange, market].first_date
    if cadence is Cadence.DAILY:
        return dg.DailyPartitionsDefinition(start_date=f"{first:%Y-%m-%d}", fmt="%Y-%m-%d")
    return dg.MonthlyPartitionsDefinition(start_date=f"{first:%Y-%m}", fmt="%Y-%m")


def backfill_policy(max_partitions_per_run: int) -> dg.BackfillPolicy:
    """Ranges of partitions run as one run: a run costs seconds, a partition within it hundredths of one."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=max_partitions_per_run)
