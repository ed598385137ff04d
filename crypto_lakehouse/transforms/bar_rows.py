"""Which minutes a bar is made of, and what is added up over them, as loops over rows in order of symbol and time.

A bar is a slice of rows: those of one symbol's segment in one window. What bars say of their minutes is in
``bars.py``, where windows lie in ``windows.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.runs import Array, Flags, Floats, Ints
from crypto_lakehouse.transforms.windows import Windows


@dataclass(frozen=True, slots=True)
class BarRows:
    """Bars in order of symbol, grid, window and segment: rows [``first``, ``stop``) each, and their window.

    ``window`` and ``length`` are in minutes, the former since 1970-01-01; ``grid`` is the place of the offset.
    """

    first: Ints
    stop: Ints
    grid: Ints
    window: Ints
    length: Ints


def bar_rows(minutes: Ints, segments: Ints, begins: Ints, grids: Sequence[Sequence[Windows]]) -> BarRows:
    """The bars that have a minute. ``begins`` are the first rows of symbols; windows of a grid follow each other."""
    opens = [np.arange(w.begin, w.end, w.length) for grid in grids for w in grid]
    lengths = [np.full(w.count, w.length) for grid in grids for w in grid]
    counts = [sum(w.count for w in grid) for grid in grids]
    window, length = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (opens, lengths))
    first_windows = np.cumsum([0, *counts])
    changes = int(np.count_nonzero(segments[1:] != segments[:-1]))
    most = min(len(begins) * len(window) + changes * len(grids), len(minutes) * len(grids))
    stops = np.append(begins[1:], len(minutes))
    first, stop, grid, place = _cut(minutes, segments, begins, stops, window, window + length, first_windows, most)
    return BarRows(first, stop, grid, window[place], length[place])


@compiled
def _cut(
    minutes: Ints, segments: Ints, begins: Ints, stops: Ints, opens: Ints, closes: Ints, grids: Ints, most: int
) -> tuple[Ints, Ints, Ints, Ints]:
    made = np.empty((4, most), np.int64)
    count = 0
    for symbol in range(len(begins)):
        for grid in range(len(grids) - 1):
            window, last = grids[grid], grids[grid + 1]
            row, end = begins[symbol], stops[symbol]
            if window < last:
                row += np.searchsorted(minutes[row:end], opens[window])
            while row < end and window < last:
                if minutes[row] >= closes[window]:
                    window += 1
                    continue
                stop = min(row + closes[window] - opens[window], end)
                # Times rise by a minute or more, so this is how many rows a window has at most.
                while minutes[stop - 1] >= closes[window] or segments[stop - 1] != segments[row]:
                    stop -= 1
                made[0, count], made[1, count], made[2, count], made[3, count] = row, stop, grid, window
                count += 1
                row = stop
    return made[0, :count].copy(), made[1, :count].copy(), made[2, :count].copy(), made[3, :count].copy()


@compiled
def sums(a: Floats, b: Floats, c: Floats, d: Floats, first: Ints, stop: Ints) -> Floats:
    """Sums of four columns, one row each, added minute by minute with Kahan's compensation.

    So a sum does not depend on which symbols, windows or days are worked on together. The four are added side
    by side, because each addition waits for the one before it.
    """
    made = np.empty((4, len(first)))
    for bar in range(len(first)):
        total_a = total_b = total_c = total_d = 0.0
        lost_a = lost_b = lost_c = lost_d = 0.0
        for row in range(first[bar], stop[bar]):
            term, before = a[row] - lost_a, total_a
            total_a = before + term
            lost_a = (total_a - before) - term
            term, before = b[row] - lost_b, total_b
            total_b = before + term
            lost_b = (total_b - before) - term
            term, before = c[row] - lost_c, total_c
            total_c = before + term
            lost_c = (total_c - before) - term
            term, before = d[row] - lost_d, total_d
            total_d = before + term
            lost_d = (total_d - before) - term
        made[0, bar], made[1, bar], made[2, bar], made[3, bar] = total_a, total_b, total_c, total_d
    return made


@compiled
def sparse_sum(values: Floats, first: Ints, stop: Ints) -> Floats:
    """As ``sums``, of one column that is 0 nearly everywhere."""
    made = np.empty(len(first))
    for bar in range(len(first)):
        total = lost = 0.0
        for row in range(first[bar], stop[bar]):
            # Adding 0 changes nothing, unless something lost is still to be added.
            if values[row] != 0.0 or lost != 0.0:
                term, before = values[row] - lost, total
                total = before + term
                lost = (total - before) - term
        made[bar] = total
    return made


@compiled
def counts(values: Array, first: Ints, stop: Ints) -> Ints:
    """Sums of whole numbers, or how many flags are set."""
    made = np.empty(len(first), np.int64)
    for bar in range(len(first)):
        total = 0
        for row in range(first[bar], stop[bar]):
            total += values[row]
        made[bar] = total
    return made


@compiled
def extremes(high: Floats, low: Floats, first: Ints, stop: Ints) -> tuple[Floats, Floats]:
    """The greatest ``high`` and the least ``low``."""
    highest, lowest = np.empty(len(first)), np.empty(len(first))
    for bar in range(len(first)):
        top, bottom = high[first[bar]], low[first[bar]]
        for row in range(first[bar] + 1, stop[bar]):
            top, bottom = max(top, high[row]), min(bottom, low[row])
        highest[bar], lowest[bar] = top, bottom
    return highest, lowest


@compiled
def first_unset(flags: Flags, first: Ints, stop: Ints) -> Ints:
    """The first row whose flag is not set, -1 without one."""
    made = np.empty(len(first), np.int64)
    for bar in range(len(first)):
        row = first[bar]
        while row < stop[bar] and flags[row]:
            row += 1
        made[bar] = row if row < stop[bar] else -1
    return made


@compiled
def last_unset(flags: Flags, first: Ints, stop: Ints) -> Ints:
    """The last row whose flag is not set, -1 without one."""
    made = np.empty(len(first), np.int64)
    for bar in range(len(first)):
        row = stop[bar] - 1
        while row >= first[bar] and flags[row]:
            row -= 1
        made[bar] = row if row >= first[bar] else -1
    return made


@compiled
def first_beyond(values: Floats, floor: float, first: Ints, stop: Ints) -> Ints:
    """The first row whose value is further from 0 than ``floor``, -1 without one."""
    made = np.empty(len(first), np.int64)
    for bar in range(len(first)):
        row = first[bar]
        while row < stop[bar] and abs(values[row]) <= floor:
            row += 1
        made[bar] = row if row < stop[bar] else -1
    return made
