"""Days of bars: which have the present inputs, and which are older than the continuous minutes in them.

This module compares stored partitions. Bars are computed in ``bars.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from crypto_lakehouse.catalog import Cadence, Market, partition_keys
from crypto_lakehouse.catalog.bars import Bars, closing_lag
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.provenance import StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import input_fingerprint, is_current, sources_fingerprint
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS
from crypto_lakehouse.pipeline.gold.day_keys import day_span, days_near, days_of_patience
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule


@dataclass(frozen=True, slots=True)
class BarsDay:
    """A day of bars: the fingerprint of its present inputs, and the stored partition if it has these inputs."""

    key: str
    input_fingerprint: str
    unchanged: StoredPartition | None


def bars_days(store: LakeStore, market: Market, bars: Bars, keys: Iterable[str]) -> Iterator[BarsDay]:
    """Compare the days ``keys`` of bars with all stored continuous minutes that their bars may include."""
    back, schema = closing_lag(bars), schema_of("gold", bars.table)
    gold_minutes, gold_bars = (TableSlice.of_market("gold", market, table) for table in (CONTINUOUS, bars.table))
    stored_days = list_keys(store, gold_minutes)
    minutes: dict[str, StoredPartition | None] = {}
    for key in keys:
        days = [k for k in _minutes_of(key, back) if k in stored_days]
        for day in days:
            if day not in minutes:
                minutes[day] = stored_partition(store, gold_minutes.partition(day))
        inputs = [minutes[day] for day in days]
        expected = sources_fingerprint("gold", schema, [bars.name, *map(input_fingerprint, inputs)])
        stored = stored_partition(store, gold_bars.partition(key))
        yield BarsDay(key, expected, stored if is_current(stored, expected, inputs) else None)


def stale_bars(store: LakeStore, market: Market, bars: Bars, keys: Sequence[str], rule: GapRule) -> list[str]:
    """Stored partitions other than ``keys`` that are older than a day of continuous minutes in their bars.

    They start as many days before the first of ``keys`` as a run of these may have rebuilt minutes.
    """
    gold_minutes, gold_bars = (TableSlice.of_market("gold", market, table) for table in (CONTINUOUS, bars.table))
    minutes = {k: at for k, (_, at) in list_keys(store, gold_minutes).items()}
    back, start = closing_lag(bars), min([*keys, *days_near(min(keys), -days_of_patience(rule))])
    outdated = []
    for key, (_, stored_at) in list_keys(store, gold_bars).items():
        if key < start or key in keys or key not in minutes:
            continue
        if any(minutes[k] > stored_at for k in _minutes_of(key, back) if k in minutes):
            outdated.append(key)
    return sorted(outdated)


def _minutes_of(key: str, back: timedelta) -> list[str]:
    """The days of minutes that the bars of a day may include; they start up to ``back`` before it."""
    first, end = day_span(key)
    # ``date - timedelta(hours=5)`` drops the hours, so subtract from the datetime.
    return partition_keys((first - back).date(), end.date(), Cadence.DAILY)
