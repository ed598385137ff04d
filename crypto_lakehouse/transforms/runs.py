"""Rows of one-minute tables in order of symbol and time, where their runs begin, and room for what loops make of them.

What is made of such rows is in ``continuous.py`` and ``blocks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt
import polars as pl

from crypto_lakehouse.transforms.compiled import compiled

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MINUTE_MICROSECONDS = 60_000_000

Columns = TypeVar("Columns", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Ordered:
    """Rows in order of symbol and open_time: their minutes, and the names and first rows of symbols."""

    rows: pl.DataFrame
    minutes: Ints
    names: pl.Series
    begins: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Ordered:
        """The rows in order; they are not sorted where they are in order, or days one behind the other.

        Symbols are text or categorical.
        """
        symbols = rows["symbol"]
        keys = symbols.rle_id() if symbols.dtype == pl.String else symbols.to_physical()
        minutes, begins, rises = _walk(keys.to_numpy(), rows["open_time"].to_physical().to_numpy())
        names = symbols.gather(begins).cast(pl.String)
        if not rises:
            return cls.of(rows.sort(symbols.cast(pl.String), "open_time"))
        if (names[1:] > names[:-1]).all():
            return cls(rows, minutes, names, begins)
        runs = pl.DataFrame({"symbol": names, "minute": minutes[begins], "begin": begins})
        runs = runs.with_columns(length=np.diff(begins, append=rows.height)).sort("symbol", "minute")
        length = runs["length"].to_numpy()
        at = np.cumsum(length) - length
        order = np.arange(rows.height) + np.repeat(runs["begin"].to_numpy() - at, length)
        return cls.of(rows[order])


@compiled
def _walk(keys: Array, times: Ints) -> tuple[Ints, Ints, bool]:
    """The minutes of times in microseconds, the first rows of runs of keys, and whether minutes never fall in one."""
    minutes, begins = np.empty(len(times), np.int64), np.empty(len(times), np.int64)
    count, rises = 0, True
    for row in range(len(times)):
        minutes[row] = times[row] // MINUTE_MICROSECONDS
        if row == 0 or keys[row] != keys[row - 1]:
            begins[count] = row
            count += 1
        elif minutes[row] < minutes[row - 1]:
            rises = False
    return minutes, begins[:count].copy(), rises


def minutes_of(rows: pl.DataFrame, name: str = "open_time") -> Ints:
    """A column of times as whole minutes since 1970-01-01 00:00 UTC."""
    return rows[name].to_physical().to_numpy() // MINUTE_MICROSECONDS


def run_begins(keys: Array) -> Ints:
    """The first row of each run of equal keys; none of no rows."""
    changed = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=changed[1:])
    return np.flatnonzero(changed)


def room(kind: type[Columns], count: int) -> Columns:
    """A named tuple of arrays that are to be filled: of floats and flags where it says so, else of whole numbers."""
    types = _types(kind)
    # One piece of memory, because the system gives many large ones at more cost than it takes to fill them.
    lengths = [-(-count * dtype.itemsize // _ALIGNED) * _ALIGNED for dtype in types]
    ends = np.cumsum([0, *lengths]).tolist()
    memory = np.empty(ends[-1], np.uint8)
    return kind(*(memory[b:e].view(dtype)[:count] for dtype, b, e in zip(types, ends, ends[1:], strict=False)))


_ALIGNED = 64


@cache
def _types(kind: type[Columns]) -> list[np.dtype[Any]]:
    known: dict[Any, np.dtype[Any]] = {Floats: np.dtype(np.float64), Flags: np.dtype(np.bool_)}
    return [known.get(hint, np.dtype(np.int64)) for hint in get_type_hints(kind).values()]
