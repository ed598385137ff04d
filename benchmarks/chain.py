"""The whole chain of minutes, archive files to bars, by the functions that runs call, without Dagster.

What is measured with it is in ``orchestration.py`` and ``incremental.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.catalog.bars import parse_bars_list
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.origin import Origin
from crypto_lakehouse.lake.partitions import write_partition
from crypto_lakehouse.lake.raw import RawStore
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.pipeline.bronze import BronzeIngest
from crypto_lakehouse.pipeline.day_bars import DayBars
from crypto_lakehouse.pipeline.gold import CONTINUOUS, GAPS, STATES, ContinuousMinutes, bars_days
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.transforms.continuous import GapRule

KLINES = FEEDS["binance", "um", "klines_1m"]
BARS = "1h,1d"
_PLACE = ("binance", "um")


def make_chain(source: ArchiveSource, store: LakeStore, keys: Sequence[str], keep_raw: bool = True) -> None:
    """Bronze, silver, continuous minutes and bars of the days ``keys`` of um klines, as one range run makes them."""
    now = datetime.now(UTC)
    raw = RawStore(store, "binance", keep=keep_raw)
    for bronze in BronzeIngest(KLINES, source, store, raw, SymbolFilter(), lambda: now).partitions(keys):
        if bronze.unchanged is None:
            write_partition(store, "bronze", KLINES.table, *_PLACE, bronze.key, bronze.rows, bronze.origin)
    for key in keys:
        silver = silver_partition(KLINES, key, store, now)
        if silver.unchanged is None:
            write_partition(store, "silver", KLINES.table, *_PLACE, key, silver.rows, silver.origin)
    for day in ContinuousMinutes(store, KLINES.market, GapRule()).days(keys):
        for table, rows in ((CONTINUOUS, day.rows), (GAPS, day.gaps), (STATES, day.states)):
            if table not in day.unchanged:
                write_partition(store, "gold", table, *_PLACE, day.key, rows, day.origins[table])
    for bars in parse_bars_list(BARS):
        days = [day for day in bars_days(store, KLINES.market, bars, keys) if day.unchanged is None]
        with closing(DayBars(store, KLINES.market, [bars], [day.key for day in days])) as maker:
            days_made = maker.days()
            for one in days:
                made = next(days_made)[bars.table]
                facts = {"incomplete_bars": int(made["complete"].not_().sum())}
                write_partition(store, "gold", bars.table, *_PLACE, one.key, made, Origin(one.made_from, facts))
