"""Find the blocks of each bar: a slice of the blocks of one symbol's segment in one window.

``blocks.py`` defines and adds up blocks; ``gold/windows.py`` defines windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crypto_lakehouse.transforms.gold.kernels.arrays import Ints, allocate
from crypto_lakehouse.transforms.gold.kernels.blocks import BlockTable
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled
from crypto_lakehouse.transforms.gold.windows import Windows


class BarRows(NamedTuple):
    """Bars in order of symbol, grid, window and segment: the blocks [``first``, ``stop``) and the window of each.

    The window is [``opens``, ``closes``), in minutes since 1970-01-01 UTC. ``grid`` is the index of its offset,
    ``symbol`` the index of the symbol's name.
    """

    symbol: Ints
    first: Ints
    stop: Ints
    grid: Ints
    opens: Ints
    closes: Ints


def bar_rows(table: BlockTable, grids: Sequence[Sequence[Windows]]) -> BarRows:
    """The bars that have a block. The windows of a grid are consecutive and do not cut a block."""
    opens = [np.arange(w.begin, w.end, w.length) for grid in grids for w in grid]
    lengths = [np.full(w.count, w.length) for grid in grids for w in grid]
    counts = [sum(w.count for w in grid) for grid in grids]
    window, length = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (opens, lengths))
    first_windows = np.cumsum([0, *counts])
    minutes, segments, begins, ends = table.blocks.minute, table.blocks.segment, table.begins, table.ends
    most = len(begins) * len(window) + _changes(segments, begins, ends) * len(grids)
    result = allocate(BarRows, min(most, int((ends - begins).sum()) * len(grids)))
    count = _cut(minutes, segments, begins, ends, window, window + length, first_windows, result)
    columns: list[Ints] = [column[:count] for column in result]
    return BarRows(*columns)


@compiled
def _changes(segments: Ints, begins: Ints, ends: Ints) -> int:
    """How often a new segment starts within a symbol."""
    count = 0
    for symbol in range(len(begins)):
        for row in range(begins[symbol] + 1, ends[symbol]):
            count += segments[row] != segments[row - 1]
    return count


@compiled
def _cut(
    minutes: Ints, segments: Ints, begins: Ints, ends: Ints, opens: Ints, closes: Ints, grids: Ints, result: BarRows
) -> int:
    count, usual = 0, 1
    for symbol in range(len(begins)):
        for grid in range(len(grids) - 1):
            window, last = grids[grid], grids[grid + 1]
            row, end = begins[symbol], ends[symbol]
            if window < last:
                row += np.searchsorted(minutes[row:end], opens[window])
            while row < end and window < last:
                if minutes[row] >= closes[window]:
                    window += 1
                    continue
                # Guess the number of blocks of the window before; minutes and segments of a symbol never decrease.
                stop = min(row + usual, end)
                if minutes[stop - 1] >= closes[window] or segments[stop - 1] != segments[row]:
                    stop = row + 1
                while stop < end and minutes[stop] < closes[window] and segments[stop] == segments[row]:
                    stop += 1
                result.symbol[count], result.grid[count] = symbol, grid
                result.first[count], result.stop[count] = row, stop
                result.opens[count], result.closes[count] = opens[window], closes[window]
                count += 1
                usual = stop - row
                row = stop
    return count
