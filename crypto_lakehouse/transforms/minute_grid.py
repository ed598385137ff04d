"""Minutes of many series as matrices, minute by series, so that windows on any grid are slices of them.

Here belongs how rows become matrices and how these are summed up over windows. A series is a symbol's segment. What
bars say of their minutes is in ``bars.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from crypto_lakehouse.transforms.runs import (
    Array,
    Flags,
    Floats,
    Ints,
    Ordered,
    keys_apart,
    run_begins,
    run_keys,
)
from crypto_lakehouse.transforms.windows import Windows

# Minutes of a matrix: so many that those in use stay in a core's cache; more where windows are long, because too few
# would be added up at once otherwise.
_CELLS, _MOST_CELLS, _AT_ONCE = 1 << 17, 1 << 22, 1 << 10
# Numbers that are added at once, for the same reason.
_ADDED = 1 << 13


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of continuous minutes in order, and where each symbol's segments begin among them.

    ``symbols`` and ``segments`` have one value per series, ``minutes`` one per row: minutes since 1970-01-01.
    """

    rows: pl.DataFrame
    symbols: pl.Series
    segments: Ints
    minutes: Ints
    _keys: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Series:
        """The series of rows in any order, each minute of a symbol once."""
        ordered = Ordered.of(rows)
        symbols, segments = ordered.rows["symbol"], ordered.rows["segment"].to_numpy()
        begins = np.union1d(ordered.begins, run_begins(segments))
        keys = keys_apart(ordered.minutes, begins)
        return cls(ordered.rows, symbols.gather(begins), segments[begins], ordered.minutes, keys)

    @property
    def one_per_symbol(self) -> bool:
        """Whether no symbol has two segments."""
        return self.symbols.n_unique() == len(self.symbols)

    def spans(self, begin: int, end: int) -> tuple[Ints, Ints]:
        """First row and the row behind the last of each series within [begin, end) minutes."""
        run = np.arange(len(self.symbols))
        return np.searchsorted(self._keys, run_keys(run, begin)), np.searchsorted(self._keys, run_keys(run, end))


@dataclass(frozen=True, slots=True)
class Matrices:
    """Matrices over ``length`` minutes from ``begin`` on of some series (their numbers), made when asked for and kept.

    In one a row is a minute and a column a series.
    """

    begin: int
    length: int
    series: Ints
    _first: Ints
    _stop: Ints
    _minutes: Ints
    _made: dict[str, Array] = field(default_factory=dict)

    def of(self, name: str, values: Array, absent: float | bool) -> Array:
        """The values of column ``name``, one per row, as a matrix; ``absent`` where a series has no such minute."""
        if name not in self._made:
            self._made[name] = self._whole(values) if self._is_whole else self._filled(values, absent)
        return self._made[name]

    @property
    def _is_whole(self) -> bool:
        """Whether every series has every minute, and their rows lie one behind the other."""
        begins = self._first[0] + np.arange(len(self.series)) * self.length
        return bool((self._first == begins).all() and (self._stop == begins + self.length).all())

    def _whole(self, values: Array) -> Array:
        return np.ascontiguousarray(values[self._first[0] : self._stop[-1]].reshape(-1, self.length).T)

    def _filled(self, values: Array, absent: float | bool) -> Array:
        matrix = np.full((self.length, len(self.series)), absent, values.dtype)
        for place, (first, stop) in enumerate(zip(self._first.tolist(), self._stop.tolist(), strict=True)):
            begin, last = int(self._minutes[first]) - self.begin, int(self._minutes[stop - 1]) - self.begin
            if last - begin == stop - first - 1:
                matrix[begin : last + 1, place] = values[first:stop]
            else:
                matrix[self._minutes[first:stop] - self.begin, place] = values[first:stop]
        return matrix


def matrices(series: Series, begin: int, end: int, at_once: int) -> Iterator[Matrices]:
    """Matrices over [begin, end) of the series that have rows in it, in order, ``at_once`` series at a time."""
    first, stop = series.spans(begin, end)
    (there,) = np.nonzero(first < stop)
    for place in range(0, len(there), at_once):
        some = there[place : place + at_once]
        yield Matrices(begin, end - begin, some, first[some], stop[some], series.minutes)


class Reducer:
    """Sums, greatest and least values of matrices over windows on several grids: one row per window, grid by grid.

    The windows are all of ``length`` minutes. Matrices go from ``begin`` to ``end``, in minutes, and are best of
    ``at_once`` series.
    """

    def __init__(self, grids: Sequence[Windows]) -> None:
        self.begin, end = min(grid.begin for grid in grids), max(grid.end for grid in grids)
        self.length = grids[0].length
        self._end = end - self.begin
        # Whole windows from ``begin`` on.
        self.end = self.begin + -(-self._end // self.length) * self.length
        self.grids = tuple(grids)
        self._grids = [(grid.begin - self.begin, grid) for grid in grids]
        rows = self.end - self.begin
        self.at_once = max(1, _CELLS // rows, min(_MOST_CELLS // rows, _AT_ONCE * self.length // rows))
        # Where the order does not matter, minutes are first put together to the greatest pieces that all windows share.
        self._piece = math.gcd(*(at for at, _ in self._grids), *(grid.length for grid in grids))

    def exact(self, how: np.ufunc, matrix: Array, dtype: npt.DTypeLike | None = None) -> Array:
        """``how`` (such as np.maximum, or np.add of whole numbers), whose result does not depend on the order."""
        piece, series = self._piece, matrix.shape[1]
        whole = len(matrix) // piece * piece
        pieces = how.reduce(matrix[:whole].reshape(-1, piece, series), axis=1, dtype=dtype)
        made = []
        for at, grid in self._grids:
            part = pieces[at // piece : (at + grid.length * grid.count) // piece]
            made.append(how.reduce(part.reshape(grid.count, -1, series), axis=1, dtype=dtype))
        return np.concatenate(made)

    def sums(self, columns: Sequence[Floats], there: Flags) -> list[Floats]:
        """Sums of each matrix over the minutes that are ``there``, added minute by minute with Kahan's compensation.

        So a sum does not depend on which symbols, windows or days are worked on together.
        """
        values = self._by_minute(columns, np.float64)
        complete = there[: self._end].all()
        gaps = None if complete else self._by_minute([~there] * len(columns), np.bool_)
        used: Flags = np.ones(self.length, bool) if gaps is None else ~np.asarray(gaps.all(axis=(1, 2)))
        made = [_kahan(values, gaps, used, at, grid.count) for at, grid in self._grids]
        return list(np.concatenate(made).reshape(-1, len(columns), there.shape[1]).swapaxes(0, 1))

    def _by_minute(self, columns: Sequence[Array], dtype: npt.DTypeLike) -> Array:
        """Matrices as (minute of a window, window, column and series): one minute of all windows lies together."""
        rows, series = columns[0].shape
        made = np.empty((self.length, rows // self.length, len(columns), series), dtype)
        for place, matrix in enumerate(columns):
            made[:, :, place] = matrix.reshape(-1, self.length, series).swapaxes(0, 1)
        return made.reshape(self.length, rows // self.length, -1)


def _kahan(values: Floats, gaps: Flags | None, used: Flags, at: int, count: int) -> Floats:
    """Sums over ``count`` windows that begin ``at`` minutes behind the first, of values by minute of a window.

    Where there are ``gaps`` nothing is added; ``used`` minutes of a window are those that are not gaps in all.
    """
    length, _, width = values.shape
    minutes = [divmod(minute, length) for minute in range(at, at + length) if used[minute % length]]
    made = np.empty((count, width))
    some = max(1, _ADDED // width)
    for begin in range(0, count, some):
        end = min(begin + some, count)
        total, lost = np.zeros((2, end - begin, width))
        term, raised = np.empty((2, end - begin, width))
        for window, minute in minutes:
            np.subtract(values[minute, begin + window : end + window], lost, out=term)
            np.add(total, term, out=raised)
            if gaps is not None:
                absent, held = gaps[minute, begin + window : end + window], lost.copy()
                np.copyto(raised, total, where=absent)
            np.subtract(raised, total, out=lost)
            np.subtract(lost, term, out=lost)
            if gaps is not None:
                np.copyto(lost, held, where=absent)
            total, raised = raised, total
        made[begin:end] = total
    return made
