"""Continuous minutes to bars of any interval on any offset grid.

This module computes the columns of a bar. ``windows.py`` defines windows, ``kernels/bar_rows.py`` finds the blocks of
minutes of each bar, and ``kernels/blocks.py`` adds them up.
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
from crypto_lakehouse.transforms.frames import Frame, coded
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Flags, Floats, Ints, allocate
from crypto_lakehouse.transforms.gold.kernels.bar_rows import BarRows, bar_rows
from crypto_lakehouse.transforms.gold.kernels.blocks import AS_IN_MINUTES, FUNDING_FLOOR, BlockTable
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled
from crypto_lakehouse.transforms.gold.kernels.minute_blocks import Blocks
from crypto_lakehouse.transforms.gold.runs import MINUTE_MICROSECONDS
from crypto_lakehouse.transforms.gold.windows import EPOCH, MINUTE, Windows, windows

BLOCK = 5
"""Length in minutes of the blocks that are summed first, if all windows start and end on multiples of it. Grids of
different offsets share these blocks, and a day of them is small.
"""


def time_bars(
    minutes: Frame,
    interval: Interval,
    offsets: Iterable[timedelta],
    first: datetime,
    end: datetime,
) -> pl.DataFrame:
    """Bars whose windows close within (first, end], from gold.continuous_1m rows in any order.

    Windows are [w, w + interval) with w = offset modulo the interval, counted from 00:00 UTC of 1970-01-01; ``1w``
    starts on Monday and ``1mo`` on the first, like the exchange's klines, plus the offset. No bar spans a gap: a window
    with minutes of two segments gives two rows. A window without any minute gives none.

    Sums run in order of time with Kahan's compensation: minute by minute, or, if interval and offset are multiples of
    BLOCK minutes, first within each block and then over the blocks. So a sum depends only on the minutes in its
    window. VWAP = sum(quote_volume) / sum(base_volume), clipped to [low, high] because both sums are rounded.

    Parameters
    ----------
    minutes
        Every minute of these windows once, so from ``earliest_open(interval, offsets, first)`` on.
    interval, offsets
        The length of the windows, and the shifts of their grids.
    first, end
        UTC; a window that closes at ``end`` is included, one that closes at ``first`` is not.

    Returns
    -------
    polars.DataFrame
        Columns ``BARS``.
    """
    offsets = tuple(offsets)
    blocks = {length: BlockTable.of_minutes(minutes, length) for length in block_lengths(interval, offsets)}
    return pl.DataFrame(bars_of_blocks(blocks, interval, offsets, first, end).cast(BARS.arrow))


def block_lengths(interval: Interval, offsets: Iterable[timedelta]) -> set[int]:
    """The lengths in minutes of the blocks that bars on these offsets need."""
    return {_block_length(interval, offset) for offset in offsets}


def bars_of_blocks(
    blocks: Mapping[int, BlockTable], interval: Interval, offsets: Iterable[timedelta], first: datetime, end: datetime
) -> pa.Table:
    """``time_bars`` from blocks of minutes, given by length in minutes; symbols may be a dictionary.

    Lengths that ``block_lengths`` does not list are ignored.
    """
    by_length: dict[int, list[timedelta]] = {}
    for offset in sorted(offsets):
        by_length.setdefault(_block_length(interval, offset), []).append(offset)
    tables = [_bars(blocks[length], interval, same, first, end) for length, same in by_length.items()]
    if len(tables) == 1:
        return tables[0]
    joined = pa.concat_tables(table.cast(BARS.arrow) for table in (_no_bars(), *tables))
    return pl.DataFrame(joined).sort(BARS.primary_key).to_arrow()


def _block_length(interval: Interval, offset: timedelta) -> int:
    # Months start at midnight, so their length does not matter here.
    lengths = (offset, interval.length or timedelta(0))
    return 1 if any(length % (BLOCK * MINUTE) for length in lengths) else BLOCK


def _grids(
    table: BlockTable, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> list[list[Windows]]:
    """The windows of each offset within the time that has minutes."""
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
    derived = allocate(_Derived, len(rows.first))
    _derive(bars, rows, np.array([offset // MINUTE for offset in offsets]), MINUTE_MICROSECONDS, FUNDING_FLOOR, derived)
    columns = {
        **{name: pa.array(getattr(bars, name)) for name in (*AS_IN_MINUTES, "n_minutes", "n_filled")},
        "symbol": coded(rows.symbol, table.names),
        "offset": pa.array(derived.offset),
        "open_time": pa.array(derived.open_time).cast(TIME),
        "close_time": pa.array(derived.close_time).cast(TIME),
        "contracts": _unless(derived.no_contracts, bars.contracts),
        "vwap": _unless(derived.no_volume, derived.vwap),
        "first_minute": _unless(derived.untraded, derived.first_minute).cast(TIME),
        "last_minute": _unless(derived.untraded, derived.last_minute).cast(TIME),
        "complete": pa.array(derived.complete),
        "funding_rate": _unless(derived.unpaid, bars.funding_rate),
        "funding_price": _unless(derived.unpaid, bars.funding_price),
        "funding_time": _unless(derived.unpaid, derived.funding_time).cast(TIME),
        "funding_sum": _unless(derived.unknown, bars.funding_sum),
        "funding_count": _unless(derived.unknown, bars.funding_count),
    }
    return pa.table({name: columns[name] for name in BARS.column_names})


class _Derived(NamedTuple):
    """Columns of bars that are not sums of their blocks (times in microseconds), and flags for nulls in columns."""

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
def _derive(bars: Blocks, rows: BarRows, offsets: Ints, minute: int, floor: float, derived: _Derived) -> None:
    for bar in range(len(rows.first)):
        derived.offset[bar] = offsets[rows.grid[bar]]
        derived.open_time[bar], derived.close_time[bar] = rows.opens[bar] * minute, rows.closes[bar] * minute - 1
        derived.first_minute[bar], derived.last_minute[bar] = (
            bars.first_minute[bar] * minute,
            bars.last_minute[bar] * minute,
        )
        derived.funding_time[bar] = bars.funding_time[bar] * minute
        vwap = bars.quote_volume[bar] / bars.base_volume[bar]
        derived.vwap[bar] = min(max(vwap, bars.low[bar]), bars.high[bar])
        derived.complete[bar] = bars.n_archived[bar] == rows.closes[bar] - rows.opens[bar]
        derived.no_contracts[bar], derived.no_volume[bar] = bars.contracts[bar] < 0, not bars.base_volume[bar] > 0
        derived.untraded[bar] = bars.n_filled[bar] >= bars.n_minutes[bar]
        derived.unpaid[bar] = not abs(bars.funding_rate[bar]) > floor
        derived.unknown[bar] = np.isnan(bars.funding_sum[bar])


def _unless(missing: Flags, values: Array) -> pa.Array:
    """The values, with nulls where ``missing`` is true."""
    count = int(np.count_nonzero(missing))
    array = pa.array(values)
    if not count:
        return array
    # Several times as fast as passing the mask to Arrow, which packs it into bits itself.
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(array.type, len(array), [valid, array.buffers()[1]], count)


def _no_bars() -> pa.Table:
    return BARS.empty()
