"""Continuous minutes to bars of any interval on any offset grid.

Here belongs what a bar tells of its minutes. Where windows lie is in ``windows.py``, which blocks of minutes are a
bar's in ``bar_rows.py``, how they are added up in ``blocks.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.schemas.model import TIME
from crypto_lakehouse.transforms.arrays import Array, Flags, Floats, Ints, room
from crypto_lakehouse.transforms.bar_rows import BarRows, bar_rows
from crypto_lakehouse.transforms.blocks import AS_IN_MINUTES, FUNDING_FLOOR, Blocks, BlockTable
from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.frames import Frame, coded
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS
from crypto_lakehouse.transforms.windows import EPOCH, MINUTE, Windows, windows

BLOCK = 5
"""Minutes that are added up first where a window begins and ends on whole ones: offsets share them, and days of them
are small.
"""


def time_bars(
    minutes: Frame,
    interval: Interval,
    offsets: Iterable[timedelta],
    first: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Bars (BARS) whose windows close within (first, end], from gold.continuous_1m rows in any order.

    ``minutes`` must hold every minute of these windows, so begin at ``earliest_open(...)``, each once. Windows
    are [w, w + interval) with w = offset modulo the interval, counted from 00:00 UTC of 1970-01-01; ``1w``
    begins on Monday and ``1mo`` on the first, as the exchange's do, plus the offset. No bar spans a
    gap: a window with minutes of two segments gives two rows. A window without any minute gives none.

    Sums are added in order of time, with Kahan's compensation: minute by minute, or where interval and offset are
    whole multiples of BLOCK minutes, those of each BLOCK and then these. So a sum depends on the minutes in its window
    alone. VWAP = sum(quote_volume) / sum(base_volume), held within [low, high] because both sums are rounded.
    """
    offsets = tuple(offsets)
    blocks = {length: BlockTable.of(minutes, length) for length in block_lengths(interval, offsets)}
    return pl.DataFrame(bars_of_blocks(blocks, interval, offsets, first, end).cast(BARS.arrow))


def block_lengths(interval: Interval, offsets: Iterable[timedelta]) -> set[int]:
    """The lengths of the blocks that bars on these offsets are made of, in minutes."""
    return {_block_length(interval, offset) for offset in offsets}


def bars_of_blocks(
    blocks: Mapping[int, BlockTable], interval: Interval, offsets: Iterable[timedelta], first: datetime, end: datetime
) -> pa.Table:
    """``time_bars`` from the blocks of minutes, by their length in minutes; symbols may be a dictionary.

    Other lengths than those of ``block_lengths`` change nothing.
    """
    by_length: dict[int, list[timedelta]] = {}
    for offset in sorted(offsets):
        by_length.setdefault(_block_length(interval, offset), []).append(offset)
    made = [_bars(blocks[length], interval, same, first, end) for length, same in by_length.items()]
    if len(made) == 1:
        return made[0]
    joined = pa.concat_tables(table.cast(BARS.arrow) for table in (_no_bars(), *made))
    return pl.DataFrame(joined).sort(BARS.primary_key).to_arrow()


def _block_length(interval: Interval, offset: timedelta) -> int:
    # Months begin at midnight.
    lengths = (offset, interval.length or timedelta(0))
    return 1 if any(length % (BLOCK * MINUTE) for length in lengths) else BLOCK


def _grids(
    table: BlockTable, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> list[list[Windows]]:
    """The windows of each offset, as far as there are minutes."""
    begins, lasts = (table.blocks.minute[at[table.begins < table.ends]] for at in (table.begins, table.ends - 1))
    earliest, latest = (EPOCH + int(minute) * MINUTE for minute in (begins.min(), lasts.max()))
    first, end = max(first, earliest), min(end, latest + (interval.length or timedelta(days=32)))
    return [list(windows(interval, offset, first, end)) for offset in offsets]


def _bars(
    table: BlockTable, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> pa.Table:
    if not (table.begins < table.ends).any():
        return _no_bars()
    rows = bar_rows(table, _grids(table, interval, offsets, first, end))
    bars = table.added_up(rows.first, rows.stop)
    told = room(_Told, len(rows.first))
    _tell(bars, rows, np.array([offset // MINUTE for offset in offsets]), MINUTE_MICROSECONDS, FUNDING_FLOOR, told)
    made = {
        **{name: pa.array(getattr(bars, name)) for name in (*AS_IN_MINUTES, "n_minutes", "n_filled")},
        "symbol": coded(rows.symbol, table.names),
        "offset": pa.array(told.offset),
        "open_time": pa.array(told.open_time).cast(TIME),
        "close_time": pa.array(told.close_time).cast(TIME),
        "contracts": _unless(told.no_contracts, bars.contracts),
        "vwap": _unless(told.no_volume, told.vwap),
        "first_minute": _unless(told.untraded, told.first_minute).cast(TIME),
        "last_minute": _unless(told.untraded, told.last_minute).cast(TIME),
        "complete": pa.array(told.complete),
        "funding_rate": _unless(told.unpaid, bars.funding_rate),
        "funding_price": _unless(told.unpaid, bars.funding_price),
        "funding_time": _unless(told.unpaid, told.funding_time).cast(TIME),
        "funding_sum": _unless(told.unknown, bars.funding_sum),
        "funding_count": _unless(told.unknown, bars.funding_count),
    }
    return pa.table({name: made[name] for name in BARS.column_names})


class _Told(NamedTuple):
    """What bars tell beside the sums of their blocks, times in microseconds, and where they cannot tell something."""

    offset: Ints
    open_time: Ints
    close_time: Ints
    first_minute: Ints
    last_minute: Ints
    funding_time: Ints
    vwap: Floats
    complete: Flags
    no_contracts: Flags
    no_volume: Flags
    untraded: Flags
    unpaid: Flags
    unknown: Flags


@compiled
def _tell(bars: Blocks, rows: BarRows, offsets: Ints, minute: int, floor: float, made: _Told) -> None:
    for bar in range(len(rows.first)):
        made.offset[bar] = offsets[rows.grid[bar]]
        made.open_time[bar], made.close_time[bar] = rows.opens[bar] * minute, rows.closes[bar] * minute - 1
        made.first_minute[bar], made.last_minute[bar] = bars.first_minute[bar] * minute, bars.last_minute[bar] * minute
        made.funding_time[bar] = bars.funding_time[bar] * minute
        vwap = bars.quote_volume[bar] / bars.base_volume[bar]
        made.vwap[bar] = min(max(vwap, bars.low[bar]), bars.high[bar])
        made.complete[bar] = bars.n_archived[bar] == rows.closes[bar] - rows.opens[bar]
        made.no_contracts[bar], made.no_volume[bar] = bars.contracts[bar] < 0, not bars.base_volume[bar] > 0
        made.untraded[bar] = bars.n_filled[bar] >= bars.n_minutes[bar]
        made.unpaid[bar] = not abs(bars.funding_rate[bar]) > floor
        made.unknown[bar] = np.isnan(bars.funding_sum[bar])


def _unless(missing: Flags, values: Array) -> pa.Array:
    """The values, null where they are missing."""
    count = int(np.count_nonzero(missing))
    made = pa.array(values)
    if not count:
        return made
    # Several times as fast as a mask that Arrow makes into bits.
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(made.type, len(made), [valid, made.buffers()[1]], count)


def _no_bars() -> pa.Table:
    return BARS.arrow.empty_table()
