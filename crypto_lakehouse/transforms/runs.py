"""Rows of one-minute tables in order of symbol and time, and where their runs begin.

What is made of such rows is in ``continuous.py`` and ``minute_grid.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MINUTE_MICROSECONDS = 60_000_000
# More minutes than there are from 1970 on, but few enough for millions of runs in 64 bits.
_APART = 1 << 40


@dataclass(frozen=True, slots=True)
class Ordered:
    """``rows`` sorted by symbol and open_time; the minute of each, and the first row of each symbol."""

    rows: pl.DataFrame
    minutes: Ints
    begins: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Ordered:
        """The rows in order. Sorts only where they are not."""
        minutes, begins = minutes_of(rows), run_begins(rows["symbol"].rle_id().to_numpy())
        symbols = rows["symbol"].gather(begins)
        behind = minutes[1:] < minutes[:-1]
        behind[begins[1:] - 1] = False
        if behind.any() or not (symbols[1:] > symbols[:-1]).all():
            return cls.of(rows.sort("symbol", "open_time"))
        return cls(rows, minutes, begins)


def minutes_of(rows: pl.DataFrame, name: str = "open_time") -> Ints:
    """A column of times as whole minutes since 1970-01-01 00:00 UTC."""
    return rows[name].to_physical().to_numpy() // MINUTE_MICROSECONDS


def run_begins(keys: Array) -> Ints:
    """The first row of each run of equal keys; none of no rows."""
    changed = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=changed[1:])
    return np.flatnonzero(changed)


def keys_apart(minutes: Ints, begins: Ints) -> Ints:
    """Minutes such that those of a run are beyond all of the runs before it: sorted within runs, sorted as a whole."""
    return minutes + np.repeat(run_keys(np.arange(len(begins)), 0), np.diff(begins, append=len(minutes)))


def run_keys(run: Ints, minute: Ints | int) -> Ints:
    """What ``keys_apart`` gives for a minute of a run."""
    return run * _APART + minute
