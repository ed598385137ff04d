"""Rows of one-minute tables in order of symbol and time, and where their runs begin.

What is made of such rows is in ``continuous.py`` and ``bar_rows.py``.
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


@dataclass(frozen=True, slots=True)
class Ordered:
    """``rows`` sorted by symbol and open_time; the minute of each, and the first row of each symbol."""

    rows: pl.DataFrame
    minutes: Ints
    begins: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Ordered:
        """The rows in order: as they are, or days one behind the other joined symbol by symbol, or else sorted."""
        minutes, begins = minutes_of(rows), run_begins(rows["symbol"].rle_id().to_numpy())
        symbols = rows["symbol"].gather(begins)
        if not _rises(minutes, begins):
            return cls.of(rows.sort("symbol", "open_time"))
        if (symbols[1:] > symbols[:-1]).all():
            return cls(rows, minutes, begins)
        runs = pl.DataFrame({"symbol": symbols, "minute": minutes[begins], "begin": begins})
        runs = runs.with_columns(length=np.diff(begins, append=rows.height)).sort("symbol", "minute")
        length = runs["length"].to_numpy()
        at = np.cumsum(length) - length
        order = np.arange(rows.height) + np.repeat(runs["begin"].to_numpy() - at, length)
        minutes, begins = minutes[order], at[run_begins(runs["symbol"].rle_id().to_numpy())]
        if not _rises(minutes, begins):
            return cls.of(rows.sort("symbol", "open_time"))
        return cls(rows[order], minutes, begins)


def _rises(minutes: Ints, begins: Ints) -> bool:
    """Whether minutes never fall within a run."""
    behind = minutes[1:] < minutes[:-1]
    behind[begins[1:] - 1] = False
    return not behind.any()


def minutes_of(rows: pl.DataFrame, name: str = "open_time") -> Ints:
    """A column of times as whole minutes since 1970-01-01 00:00 UTC."""
    return rows[name].to_physical().to_numpy() // MINUTE_MICROSECONDS


def run_begins(keys: Array) -> Ints:
    """The first row of each run of equal keys; none of no rows."""
    changed = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=changed[1:])
    return np.flatnonzero(changed)
