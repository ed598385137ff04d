"""The walk over candles that finds gaps, and where traded and filled minutes come to lie, as loops over rows.

Candles are those of silver in order of symbol and time; those of symbol ``n`` are rows [``begins[n]``, ``stops[n]``),
which may be none. Times are minutes since 1970-01-01. What a gap is and what rows say is told in ``continuous.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.runs import MINUTE_MICROSECONDS, Array, Flags, Floats, Ints


class Candles(NamedTuple):
    """Candles of silver. ``traded`` tells those with volume; the others are as absent ones."""

    begins: Ints
    stops: Ints
    time: Ints
    open: Floats
    close: Floats
    traded: Flags


class Last(NamedTuple):
    """The last traded minute of each symbol: when (-1 without one), its close and its segment."""

    time: Ints
    close: Floats
    segment: Ints


class Steps(NamedTuple):
    """What lies between a traded candle and the traded minute before it, one value per candle.

    ``previous_time`` is -1 where there is none, ``tier`` 0 where no gap ends; nothing means anything where nothing was
    traded. ``filled`` is the number of minutes from ``first`` on that are filled between the candles in all.
    """

    previous_time: Ints
    previous_close: Floats
    tier: Ints
    segment: Ints
    filled: int


class Places(NamedTuple):
    """Rows in order of symbol and time: the candle of each, -1 in a filled one.

    ``price`` is the close that fills one, and means nothing elsewhere; the rows of symbol ``n`` begin at ``begins[n]``,
    and behind the last one's comes their number.
    """

    begins: Ints
    candle: Ints
    time: Ints
    segment: Ints
    price: Floats
    in_archive: Flags


@compiled
def walk(candles: Candles, last: Last, first: int, after: int, change: float) -> Steps:
    """Steps from the minutes ``last`` on, which are moved to the end. ``after`` is in microseconds; see ``GapRule``."""
    count = len(candles.time)
    previous_time, tiers, segments = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    previous_close = np.zeros(count)
    filled = 0
    for symbol in range(len(candles.begins)):
        time, close, segment = last.time[symbol], last.close[symbol], last.segment[symbol]
        for row in range(candles.begins[symbol], candles.stops[symbol]):
            if not candles.traded[row]:
                continue
            tier = 0
            if time >= 0:
                silence = (candles.time[row] - time) * MINUTE_MICROSECONDS
                if silence > after:
                    moved = candles.open[row] / close - 1
                    if abs(moved) > change:
                        tier = 1
                    elif silence > 2 * after and moved != 0:
                        tier = 2
                if tier == 0:
                    filled += max(candles.time[row] - max(time + 1, first), 0)
            segment += tier > 0
            previous_time[row], previous_close[row], tiers[row], segments[row] = time, close, tier, segment
            time, close = candles.time[row], candles.close[row]
        last.time[symbol], last.close[symbol], last.segment[symbol] = time, close, segment
    return Steps(previous_time, previous_close, tiers, segments, filled)


@compiled
def lay_out(candles: Candles, steps: Steps, last: Last, behind: Ints, first: int) -> Places:
    """Rows of the traded minutes, of those filled before them, and of ``behind[n]`` ones behind the last of symbol n.

    ``last`` is as of the end. No row is filled before ``first``.
    """
    count = np.count_nonzero(candles.traded) + steps.filled + behind.sum()
    begins = np.zeros(len(candles.begins) + 1, np.int64)
    candle, times, segments = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    price, in_archive = np.zeros(count), np.ones(count, np.bool_)
    place = 0
    for symbol in range(len(candles.begins)):
        end = candles.stops[symbol]
        # The next candle, traded or quiet.
        seen = candles.begins[symbol]
        for row in range(candles.begins[symbol], end + 1):
            if row < end and not candles.traded[row]:
                continue
            if row < end:
                before, until = steps.previous_time[row], candles.time[row]
                close, segment = steps.previous_close[row], steps.segment[row]
                if before < 0 or steps.tier[row] > 0:
                    before = until
            else:
                before, close, segment = last.time[symbol], last.close[symbol], last.segment[symbol]
                until = max(before + 1, first) + behind[symbol]
            for time in range(max(before + 1, first), until):
                while seen < end and candles.time[seen] < time:
                    seen += 1
                candle[place], times[place], segments[place], price[place] = -1, time, segment, close
                in_archive[place] = seen < end and candles.time[seen] == time
                place += 1
            if row < end:
                candle[place], times[place], segments[place] = row, candles.time[row], steps.segment[row]
                place += 1
        begins[symbol + 1] = place
    return Places(begins, candle, times, segments, price, in_archive)


@compiled
def spread(values: Array, candle: Ints, filled: Array) -> Array:
    """One value per row, from one per candle, and of the filled rows their own."""
    made = np.empty(len(candle), values.dtype)
    for row in range(len(candle)):
        made[row] = filled[row] if candle[row] < 0 else values[candle[row]]
    return made


@compiled
def spread_or_zero(values: Array, candle: Ints) -> Array:
    """One value per row, from one per candle; 0 in the filled rows."""
    made = np.zeros(len(candle), values.dtype)
    for row in range(len(candle)):
        if candle[row] >= 0:
            made[row] = values[candle[row]]
    return made


@compiled
def rows_at(places: Places, symbols: Ints, times: Ints) -> Ints:
    """The row of each symbol and time, -1 where there is none."""
    made = np.full(len(symbols), -1)
    for wanted in range(len(symbols)):
        begin, stop = places.begins[symbols[wanted]], places.begins[symbols[wanted] + 1]
        row = begin + np.searchsorted(places.time[begin:stop], times[wanted])
        if row < stop and places.time[row] == times[wanted]:
            made[wanted] = row
    return made
