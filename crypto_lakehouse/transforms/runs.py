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
import pyarrow as pa

from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.frames import Frame

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MINUTE_MICROSECONDS = 60_000_000

Columns = TypeVar("Columns", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Ordered:
    """Rows in order of symbol and open_time: their minutes, and the names and first rows of symbols."""

    rows: pa.Table
    minutes: Ints
    names: pl.Series
    begins: Ints

    @classmethod
    def of(cls, rows: Frame) -> Ordered:
        """The rows in order; they are not sorted where they are in order, or days one behind the other."""
        table = rows.to_arrow() if isinstance(rows, pl.DataFrame) else rows
        symbols = table["symbol"]
        if not pa.types.is_dictionary(symbols.type):
            symbols = symbols.dictionary_encode()
        coded = symbols.unify_dictionaries().combine_chunks()
        codes = coded.indices.to_numpy()
        minutes, begins, rises = _walk(codes, table["open_time"].cast(pa.int64()).to_numpy())
        names = pl.Series(coded.dictionary.take(pa.array(codes[begins])))
        if not rises:
            keys = pl.DataFrame({"symbol": pl.Series(coded.dictionary).gather(codes), "minute": minutes})
            order = keys.select(pl.arg_sort_by("symbol", "minute", maintain_order=True)).to_series()
            return cls.of(table.take(order.to_arrow()))
        if (names[1:] > names[:-1]).all():
            return cls(table, minutes, names, begins)
        runs = pl.DataFrame({"symbol": names, "minute": minutes[begins], "begin": begins})
        runs = runs.with_columns(length=np.diff(begins, append=len(minutes))).sort("symbol", "minute")
        length = runs["length"].to_numpy()
        at = np.cumsum(length) - length
        order = np.arange(len(minutes)) + np.repeat(runs["begin"].to_numpy() - at, length)
        return cls.of(table.take(pa.array(order)))

    def __getitem__(self, name: str) -> Array:
        """A column of numbers; nulls are NaN."""
        values: Array = self.rows[name].to_numpy()
        return values

    def flags(self, name: str) -> Array:
        """A column of flags as 0 and 1; nulls are 0."""
        bits = self.rows[name].fill_null(False).combine_chunks()
        if not len(bits):
            return np.zeros(0, np.uint8)
        # Many times as fast as one by one.
        return np.unpackbits(np.frombuffer(bits.buffers()[1], np.uint8), bitorder="little")[bits.offset :][: len(bits)]

    def counts(self, name: str) -> Ints | None:
        """A column of whole numbers that are not less than 0; nulls are -1. None where all are null."""
        values = self.rows[name]
        if values.null_count == len(values):
            return None
        made: Ints = values.fill_null(-1).to_numpy()
        return made


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


def minutes_of(times: pl.Series) -> Ints:
    """Times as whole minutes since 1970-01-01 00:00 UTC."""
    return times.to_physical().to_numpy() // MINUTE_MICROSECONDS


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
