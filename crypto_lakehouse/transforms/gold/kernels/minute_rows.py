"""Loops over candles: find gaps, and lay out the rows of traded and filled minutes.

Candles are rows of silver in order of symbol and time; symbol ``n`` has the rows [``begins[n]``, ``stops[n]``), which
may be empty. Times are minutes since 1970-01-01 UTC. ``gold/continuous.py`` defines gaps, and
``gold/minute_columns.py`` the columns of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Flags, Floats, Ints
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled
from crypto_lakehouse.transforms.gold.runs import MINUTE_MICROSECONDS


class Candles(NamedTuple):
    """The columns of silver candles that the walk needs. A candle without volume counts as absent."""

    begins: Ints
    stops: Ints
    time: Ints
    open: Floats
    close: Floats
    base_volume: Floats


class Last(NamedTuple):
    """The last traded minute of each symbol: its time (-1 if none), its close and its segment.

    ``begin`` is the first traded minute of that segment; ``missing`` counts the days since the last trade that are
    missing from the lake.
    """

    time: Ints
    close: Floats
    segment: Ints
    begin: Ints
    missing: Ints

    def copy(self) -> Last:
        """A copy with its own arrays."""
        return Last(self.time.copy(), self.close.copy(), self.segment.copy(), self.begin.copy(), self.missing.copy())


class Breaks(NamedTuple):
    """The candles at which gaps end, in order.

    ``previous_*`` describe the traded minute before the gap and the first one of its segment; ``missing`` counts the
    days of the gap that are missing from the lake. ``segment`` continues, or starts here if the gap ``cuts``.
    """

    candle: Ints
    previous_time: Ints
    previous_close: Floats
    previous_begin: Ints
    missing: Ints
    tier: Ints
    segment: Ints
    cuts: Flags


class Places(NamedTuple):
    """Rows in order of symbol and ``time`` (microseconds): the candle of each, -1 for a filled row.

    ``price`` is the close that fills a row; it is undefined for traded rows.
    """

    candle: Ints
    time: Ints
    segment: Ints
    price: Floats
    is_filled: Flags
    in_archive: Flags


_DAY_MICROSECONDS = 86_400_000_000


@compiled
def walk(candles: Candles, last: Last, first: int, after: int, change: float, breaks: Breaks) -> tuple[int, int]:
    """Fill ``breaks``, starting from the minutes ``last``, and move ``last`` to the end.

    ``after`` is in microseconds, see ``GapRule``. Returns the number of breaks, and the number of rows from ``first``
    on: traded minutes and the minutes filled between them. A gap cuts if it is one even without the missing days of
    the lake; no gap has filled rows, also not one that does not cut.
    """
    count = number = 0
    for symbol in range(len(candles.begins)):
        time, close, segment = last.time[symbol], last.close[symbol], last.segment[symbol]
        begin, missing = last.begin[symbol], last.missing[symbol]
        for row in range(candles.begins[symbol], candles.stops[symbol]):
            if not candles.base_volume[row] > 0:
                continue
            count += 1
            if time < 0:
                begin = candles.time[row]
            else:
                tier, cuts = 0, False
                silence = (candles.time[row] - time) * MINUTE_MICROSECONDS
                if silence > after:
                    moved = candles.open[row] / close - 1
                    seen = silence - missing * _DAY_MICROSECONDS
                    if abs(moved) > change:
                        tier, cuts = 1, seen > after
                    elif silence > 2 * after and moved != 0:
                        tier, cuts = 2, seen > 2 * after
                if tier == 0:
                    count += max(candles.time[row] - max(time + 1, first), 0)
                else:
                    breaks.previous_begin[number], breaks.missing[number] = begin, missing
                    breaks.cuts[number] = cuts
                    if cuts:
                        segment += 1
                        begin = candles.time[row]
                    breaks.candle[number], breaks.tier[number], breaks.segment[number] = row, tier, segment
                    breaks.previous_time[number], breaks.previous_close[number] = time, close
                    number += 1
            time, close, missing = candles.time[row], candles.close[row], 0
        last.time[symbol], last.close[symbol], last.segment[symbol] = time, close, segment
        last.begin[symbol], last.missing[symbol] = begin, missing
    return number, count


@compiled
def lay_out(candles: Candles, breaks: Breaks, before: Last, trailing: Ints, first: int, places: Places) -> Ints:
    """Fill ``places`` with the traded minutes, the filled minutes between them, and ``trailing[n]`` filled minutes
    after the last trade of symbol ``n``.

    ``before`` is the state at the start; no row is filled before ``first``. Returns the first row of each symbol,
    followed by the number of rows.
    """
    begins = np.zeros(len(candles.begins) + 1, np.int64)
    position = number = 0
    for symbol in range(len(candles.begins)):
        end = candles.stops[symbol]
        last, close, segment = before.time[symbol], before.close[symbol], before.segment[symbol]
        # The next candle, with or without volume.
        seen = candles.begins[symbol]
        for row in range(candles.begins[symbol], end + 1):
            if row < end and not candles.base_volume[row] > 0:
                continue
            fill = max(last + 1, first)
            stop = candles.time[row] if row < end else fill + trailing[symbol]
            if number < len(breaks.candle) and breaks.candle[number] == row and row < end:
                segment = breaks.segment[number]
                number += 1
                fill = stop
            elif last < 0:
                fill = stop
            for time in range(fill, stop):
                while seen < end and candles.time[seen] < time:
                    seen += 1
                places.candle[position], places.time[position] = -1, time * MINUTE_MICROSECONDS
                places.segment[position], places.price[position] = segment, close
                places.is_filled[position] = True
                places.in_archive[position] = seen < end and candles.time[seen] == time
                position += 1
            if row < end:
                last, close = candles.time[row], candles.close[row]
                places.candle[position], places.time[position], places.segment[position] = (
                    row,
                    last * MINUTE_MICROSECONDS,
                    segment,
                )
                places.is_filled[position], places.in_archive[position] = False, True
                position += 1
        begins[symbol + 1] = position
    return begins


@compiled
def spread(values: Array, places: Places, result: Array) -> None:
    """Values per row from values per candle; a filled row gets its price."""
    for row in range(len(result)):
        candle = places.candle[row]
        result[row] = values[candle] if candle >= 0 else places.price[row]


@compiled
def spread_vwap(value: Array, volume: Array, low: Floats, high: Floats, places: Places, result: Array) -> None:
    """``value`` / ``volume`` per row, clipped to [low, high], from values per candle; a filled row gets its price."""
    for row in range(len(result)):
        candle = places.candle[row]
        if candle < 0:
            result[row] = places.price[row]
        else:
            result[row] = min(max(value[candle] / volume[candle], low[candle]), high[candle])


@compiled
def spread_or_zero(values: Array, candle: Ints, result: Array) -> None:
    """Values per row from values per candle; a filled row gets 0."""
    for row in range(len(result)):
        result[row] = values[candle[row]] if candle[row] >= 0 else 0


@compiled
def rows_at(time: Ints, begins: Ints, symbols: Ints, times: Ints) -> Ints:
    """The row of each symbol and time; -1 if it does not exist or the symbol is -1. The rows of symbol ``n`` start at
    ``begins[n]``.
    """
    result = np.full(len(symbols), -1)
    for wanted in range(len(symbols)):
        if symbols[wanted] < 0:
            continue
        begin, stop = begins[symbols[wanted]], begins[symbols[wanted] + 1]
        row = begin + np.searchsorted(time[begin:stop], times[wanted])
        if row < stop and time[row] == times[wanted]:
            result[wanted] = row
    return result
