"""Rows of one-minute tables in order of symbol and time, and where their runs begin.

What is made of such rows is in ``continuous.py``, ``minute_blocks.py`` and ``bar_rows.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.transforms.arrays import Array, Ints, unfilled
from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.frames import Frame

MINUTE_MICROSECONDS = 60_000_000


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
        minutes, begins = unfilled(len(codes)), unfilled(len(codes))
        count, rises = _walk(codes, table["open_time"].cast(pa.int64()).to_numpy(), minutes, begins)
        begins = begins[:count].copy()
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
def _walk(keys: Array, times: Ints, minutes: Ints, begins: Ints) -> tuple[int, bool]:
    """Fill ``minutes`` from times in microseconds, and ``begins`` with the first rows of runs of keys. Gives how many
    runs there are, and whether minutes never fall in one.
    """
    count, rises = 0, True
    for row in range(len(times)):
        minutes[row] = times[row] // MINUTE_MICROSECONDS
        if row == 0 or keys[row] != keys[row - 1]:
            begins[count] = row
            count += 1
        elif minutes[row] < minutes[row - 1]:
            rises = False
    return count, rises


def minutes_of(times: pl.Series) -> Ints:
    """Times as whole minutes since 1970-01-01 00:00 UTC."""
    return times.to_physical().to_numpy() // MINUTE_MICROSECONDS


def numbered(begins: Ints, count: int) -> Array:
    """The number of the run for each of ``count`` rows, from the first rows of runs."""
    made = unfilled(count, np.int32)
    _number(np.append(begins, count), made)
    return made


@compiled
def _number(bounds: Ints, made: Array) -> None:
    for number in range(len(bounds) - 1):
        made[bounds[number] : bounds[number + 1]] = number
