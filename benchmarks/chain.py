"""The whole chain of minutes, from archive files to bars, with the functions that runs call but without Dagster.

``whole.py``, ``orchestration.py`` and ``incremental.py`` measure with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.catalog.bars import Bars, parse_bars_list
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.concurrency.map_ordered import THREADS, WRITERS, map_ordered
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.bars_days import BarsDay, bars_days
from crypto_lakehouse.pipeline.gold.continuous import (
    CONTINUOUS,
    GAPS,
    STATES,
    ContinuousMinutes,
    MinutesPartition,
)
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule

T = TypeVar("T")

KLINES = FEEDS["binance", "um", "klines_1m"]
BARS = "1h,1d"
_PLACE = ("binance", "um")


def make_chain(
    source: ArchiveSource, store: LakeStore, keys: Sequence[str], keep_raw: bool = True, bars: str = BARS
) -> None:
    """Bronze, silver, continuous minutes and bars of the days ``keys`` of um klines, as one range run makes them."""
    now = datetime.now(UTC)
    raw = RawStore(store, "binance", keep=keep_raw)
    for bronze in BronzeIngest(KLINES, source, store, raw, SymbolFilter(), lambda: now).partitions(keys):
        if bronze.unchanged is None:
            write_partition(
                store, TableSlice("bronze", *_PLACE, KLINES.table).partition(bronze.key), bronze.rows, bronze.provenance
            )

    def silver(key: str) -> None:
        made = silver_partition(KLINES, key, store, now)
        if made.unchanged is None:
            write_partition(
                store, TableSlice("silver", *_PLACE, KLINES.table).partition(key), made.rows, made.provenance
            )

    def minutes(day: MinutesPartition) -> None:
        for table, rows in ((CONTINUOUS, day.rows), (GAPS, day.gaps), (STATES, day.states)):
            if table not in day.unchanged:
                write_partition(
                    store, TableSlice("gold", *_PLACE, table).partition(day.key), rows, day.provenances[table]
                )

    _each(silver, keys)
    _each(minutes, ContinuousMinutes(store, KLINES.market, GapRule()).days(keys), WRITERS)
    for kind in parse_bars_list(bars):
        _each(partial(_write_bars, store, kind), _bars(store, kind, keys), WRITERS)


def _each(write: Callable[[T], None], items: Iterable[T], threads: int = THREADS) -> None:
    for _ in map_ordered(write, items, threads):
        pass


def _bars(store: LakeStore, kind: Bars, keys: Sequence[str]) -> Iterator[tuple[BarsDay, pa.Table]]:
    days = [day for day in bars_days(store, KLINES.market, kind, keys) if day.unchanged is None]
    with closing(DayBars(store, KLINES.market, [kind], [day.key for day in days])) as maker:
        for day in days:
            yield day, maker.make(day.key)[kind.table]


def _write_bars(store: LakeStore, kind: Bars, made: tuple[BarsDay, pa.Table]) -> None:
    day, rows = made
    provenance = Provenance(
        day.input_fingerprint, {"incomplete_bars": pc.sum(pc.invert(rows["complete"])).as_py() or 0}
    )
    write_partition(store, TableSlice("gold", *_PLACE, kind.table).partition(day.key), rows, provenance)
