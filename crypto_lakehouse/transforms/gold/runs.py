"""Sort rows of one-minute tables by symbol and time, and find the first row of each symbol.

``continuous.py``, ``gold/kernels/minute_blocks.py`` and ``gold/kernels/bar_rows.py`` use such rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.transforms.frames import Frame
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Ints, unfilled
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled

MINUTE_MICROSECONDS = 60_000_000


@dataclass(frozen=True, slots=True)
class Ordered:
    """Rows in order of symbol and open_time: their minutes, and the names and first rows of symbols."""

    rows: pa.Table
    minutes: Ints
    names: pl.Series
    begins: Ints

    @classmethod
    def sort(cls, rows: Frame) -> Ordered:
        """Sort rows. Rows that are already in order, or days in order one after another, are not sorted."""
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
            return cls.sort(table.take(order.to_arrow()))
        if (names[1:] > names[:-1]).all():
            return cls(table, minutes, names, begins)
        runs = pl.DataFrame({"symbol": names, "minute": minutes[begins], "begin": begins})
        runs = runs.with_columns(length=np.diff(begins, append=len(minutes))).sort("symbol", "minute")
        length = runs["length"].to_numpy()
        at = np.cumsum(length) - length
        order = np.arange(len(minutes)) + np.repeat(runs["begin"].to_numpy() - at, length)
        return cls.sort(table.take(pa.array(order)))

    def __getitem__(self, name: str) -> Array:
        """A column of numbers; nulls are NaN."""
        values: Array = self.rows[name].to_numpy()
        return values

    def flags(self, name: str) -> Array:
        """A column of flags as 0 and 1; nulls are 0."""
        bits = self.rows[name].fill_null(False).combine_chunks()
        if not len(bits):
            return np.zeros(0, np.uint8)
        # Unpacking bits is many times as fast as converting values one by one.
        return np.unpackbits(np.frombuffer(bits.buffers()[1], np.uint8), bitorder="little")[bits.offset :][: len(bits)]

    def counts(self, name: str) -> Ints | None:
        """A column of whole numbers that are not negative; nulls are -1. None if all are null."""
        values = self.rows[name]
        if values.null_count == len(values):
            return None
        counts: Ints = values.fill_null(-1).to_numpy()
        return counts


@compiled
def _walk(keys: Array, times: Ints, minutes: Ints, begins: Ints) -> tuple[int, bool]:
    """Fill ``minutes`` from times in microseconds, and ``begins`` with the first rows of runs of keys. Returns the
    number of runs, and whether minutes never decrease within a run.
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
    """The number of its run for each of ``count`` rows, from the first rows of runs."""
    numbers = unfilled(count, np.int32)
    _number(np.append(begins, count), numbers)
    return numbers


@compiled
def _number(bounds: Ints, numbers: Array) -> None:
    for number in range(len(bounds) - 1):
        numbers[bounds[number] : bounds[number + 1]] = number
