"""Which blocks a bar is made of: a slice of them, those of one symbol's segment in one window.

What blocks are and how they are added up is in ``blocks.py``, where windows lie in ``windows.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crypto_lakehouse.transforms.arrays import Ints, room
from crypto_lakehouse.transforms.blocks import Blocks
from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.runs import run_begins
from crypto_lakehouse.transforms.windows import Windows


@dataclass(frozen=True, slots=True)
class BarRows:
    """Bars in order of symbol, grid, window and segment: blocks [``first``, ``stop``) each, and their window.

    ``window`` and ``length`` are in minutes, the former since 1970-01-01; ``grid`` is the place of the offset.
    """

    first: Ints
    stop: Ints
    grid: Ints
    window: Ints
    length: Ints


def bar_rows(blocks: Blocks, grids: Sequence[Sequence[Windows]]) -> BarRows:
    """The bars that have a block. Windows of a grid follow each other and do not cut a block."""
    opens = [np.arange(w.begin, w.end, w.length) for grid in grids for w in grid]
    lengths = [np.full(w.count, w.length) for grid in grids for w in grid]
    counts = [sum(w.count for w in grid) for grid in grids]
    window, length = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (opens, lengths))
    first_windows = np.cumsum([0, *counts])
    begins = run_begins(blocks.symbol)
    changes = int(np.count_nonzero(blocks.segment[1:] != blocks.segment[:-1]))
    most = min(len(begins) * len(window) + changes * len(grids), len(blocks.minute) * len(grids))
    stops = np.append(begins[1:], len(blocks.minute))
    made = room(_Cuts, most)
    count = _cut(blocks.minute, blocks.segment, begins, stops, window, window + length, first_windows, made)
    first, stop, grid, place = (column[:count] for column in made)
    return BarRows(first, stop, grid, window[place], length[place])


class _Cuts(NamedTuple):
    first: Ints
    stop: Ints
    grid: Ints
    place: Ints


@compiled
def _cut(
    minutes: Ints, segments: Ints, begins: Ints, stops: Ints, opens: Ints, closes: Ints, grids: Ints, made: _Cuts
) -> int:
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
                stop = row + 1
                while stop < end and minutes[stop] < closes[window] and segments[stop] == segments[row]:
                    stop += 1
                made.first[count], made.stop[count], made.grid[count], made.place[count] = row, stop, grid, window
                count += 1
                row = stop
    return count
