"""Continuous minutes to bars of any interval on any offset grid.

Here belongs what a bar tells of its minutes. Where windows lie is in ``windows.py``, which blocks of minutes are a
bar's in ``bar_rows.py``, how they are added up in ``blocks.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import Interval
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.schemas.model import TIME
from crypto_lakehouse.transforms.arrays import Array, Flags, Ints
from crypto_lakehouse.transforms.bar_rows import bar_rows
from crypto_lakehouse.transforms.blocks import AS_IN_MINUTES, FUNDING_FLOOR, BlockTable
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
    minutes: Ints, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> list[list[Windows]]:
    """The windows of each offset, as far as there are minutes."""
    earliest, latest = (EPOCH + int(minute) * MINUTE for minute in (minutes.min(), minutes.max()))
    first, end = max(first, earliest), min(end, latest + (interval.length or timedelta(days=32)))
    return [list(windows(interval, offset, first, end)) for offset in offsets]


def _bars(
    table: BlockTable, interval: Interval, offsets: Sequence[timedelta], first: datetime, end: datetime
) -> pa.Table:
    if not len(table.blocks.minute):
        return _no_bars()
    rows = bar_rows(table.blocks, _grids(table.blocks.minute, interval, offsets, first, end))
    bars = table.added_up(rows.first, rows.stop)
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = np.clip(bars.quote_volume / bars.base_volume, bars.low, bars.high)
    traded, known = bars.n_filled < bars.n_minutes, ~np.isnan(bars.funding_sum)
    paid = np.abs(bars.funding_rate) > FUNDING_FLOOR
    made = {
        **{name: pa.array(getattr(bars, name)) for name in (*AS_IN_MINUTES, "n_minutes", "n_filled")},
        "symbol": coded(bars.symbol, table.names),
        "offset": pa.array(np.array([offset // MINUTE for offset in offsets], np.int64)[rows.grid]),
        "open_time": _times(rows.window),
        "close_time": _times(rows.window + rows.length, less=1),
        "contracts": _where(bars.contracts >= 0, bars.contracts),
        "vwap": _where(bars.base_volume > 0, vwap),
        "first_minute": _times(bars.first_minute, traded),
        "last_minute": _times(bars.last_minute, traded),
        "complete": pa.array(bars.n_archived == rows.length),
        "funding_rate": _where(paid, bars.funding_rate),
        "funding_price": _where(paid, bars.funding_price),
        "funding_time": _times(bars.funding_time, paid),
        "funding_sum": _where(known, bars.funding_sum),
        "funding_count": _where(known, bars.funding_count),
    }
    return pa.table({name: made[name] for name in BARS.column_names})


def _where(known: Flags, values: Array) -> pa.Array:
    """The values, null where they are not known."""
    return pa.array(values, mask=None if known.all() else ~known)


def _times(minutes: Ints, known: Flags | None = None, less: int = 0) -> pa.Array:
    """Minutes since 1970-01-01, ``less`` microseconds, as times, null where they are not known."""
    values = minutes * MINUTE_MICROSECONDS - less
    return (pa.array(values) if known is None else _where(known, values)).cast(TIME)


def _no_bars() -> pa.Table:
    return BARS.arrow.empty_table()
