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
    """The order of rows by symbol and open_time: the row at each place, None where they are in order as they are.

    ``minutes`` are those of the rows in order, ``begins`` the first place of each symbol.
    """

    rows: pl.DataFrame
    order: Ints | None
    minutes: Ints
    begins: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Ordered:
        """The order of rows, which are not sorted where they are in order, or days one behind the other."""
        minutes, begins = minutes_of(rows), run_begins(rows["symbol"].rle_id().to_numpy())
        symbols = rows["symbol"].gather(begins)
        if not _rises(minutes, begins):
            return cls.of(rows.sort("symbol", "open_time"))
        if (symbols[1:] > symbols[:-1]).all():
            return cls(rows, None, minutes, begins)
        runs = pl.DataFrame({"symbol": symbols, "minute": minutes[begins], "begin": begins})
        runs = runs.with_columns(length=np.diff(begins, append=rows.height)).sort("symbol", "minute")
        length = runs["length"].to_numpy()
        at = np.cumsum(length) - length
        order = np.arange(rows.height) + np.repeat(runs["begin"].to_numpy() - at, length)
        minutes, begins = minutes[order], at[run_begins(runs["symbol"].rle_id().to_numpy())]
        if not _rises(minutes, begins):
            return cls.of(rows.sort("symbol", "open_time"))
        return cls(rows, order, minutes, begins)

    def frame(self) -> pl.DataFrame:
        """The rows in order."""
        return self.rows if self.order is None else self.rows[self.order]

    def values(self, column: pl.Series) -> Array:
        """A column of the rows, or one like it, in order."""
        values = column.to_numpy()
        return values if self.order is None else values[self.order]

    def symbols(self, places: Ints) -> pl.Series:
        """The symbols of the rows at these places."""
        return self.rows["symbol"].gather(places if self.order is None else self.order[places])


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
