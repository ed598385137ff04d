"""Arrays of numbers for loops to fill, in reused memory: the system must clear fresh memory first, which takes time.

This module defines array types and manages the memory. Its callers define the content of arrays.
"""

from __future__ import annotations

import weakref
from functools import cache
from threading import RLock
from typing import Any, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

Columns = TypeVar("Columns", bound=tuple[Any, ...])

_MIB = 1024**2


class Memory:
    """Memory that is reused after the last array in it is gone. Thread-safe.

    At most ``kept`` bytes wait for reuse. Requests below ``least`` bytes go to the system, which serves them cheaply.
    """

    def __init__(self, kept: int = 256 * _MIB, least: int = _MIB // 8) -> None:
        self._most, self._least = kept, least
        # In order of release: the last piece is most likely in a CPU cache.
        self._free: dict[int, Bytes] = {}
        # Re-entrant, because the garbage collector may release a piece at any point, also inside ``take``.
        self._lock = RLock()

    def take(self, count: int) -> Bytes:
        """``count`` bytes with arbitrary values, reserved while an array uses them."""
        if count < self._least:
            return np.empty(count, np.uint8)
        piece = self._fitting(count)
        if piece is None:
            # Allocate some spare room: the next day needs about as much, perhaps a little more.
            piece = np.empty(count + count // _SPARE, np.uint8)
        # All views refer to this array, not to the piece below it: to NumPy the piece is a buffer, not a base array.
        lease = np.frombuffer(piece.data, np.uint8)
        weakref.finalize(lease, self._let_go, piece).atexit = False
        return lease[:count]

    def _fitting(self, count: int) -> Bytes | None:
        with self._lock:
            for address in reversed([*self._free]):
                piece = self._free.get(address)
                if piece is not None and count <= len(piece) <= _TOO_LARGE * count:
                    # The release of another piece may have dropped this one meanwhile.
                    self._free.pop(address, None)
                    return piece
        return None

    def _let_go(self, piece: Bytes) -> None:
        with self._lock:
            self._free[id(piece)] = piece
            while sum(map(len, self._free.values())) > self._most:
                del self._free[next(iter(self._free))]


_SPARE, _TOO_LARGE = 8, 2
_MEMORY = Memory()
_PAGE, _APART = 4096, 192


def unfilled(count: int, dtype: npt.DTypeLike = np.int64) -> Array:
    """An array with arbitrary values, for the caller to fill."""
    kind = np.dtype(dtype)
    return _MEMORY.take(count * kind.itemsize).view(kind)


def allocate(kind: type[Columns], count: int) -> Columns:
    """A named tuple of arrays for the caller to fill: Floats and Flags as annotated, all others int64."""
    types = _types(kind)
    # Loops fill all columns at once. Columns that start at the same offset within 4 KiB evict each other from the
    # cache, so each starts 192 bytes further into a page than the one before.
    lengths = [-(-count * dtype.itemsize // _PAGE) * _PAGE + _APART for dtype in types]
    ends = np.cumsum([0, *lengths]).tolist()
    memory = _MEMORY.take(ends[-1])
    return kind(*(memory[b:e].view(dtype)[:count] for dtype, b, e in zip(types, ends, ends[1:], strict=False)))


@cache
def _types(kind: type[Columns]) -> list[np.dtype[Any]]:
    known: dict[Any, np.dtype[Any]] = {Floats: np.dtype(np.float64), Flags: np.dtype(np.bool_)}
    return [known.get(hint, np.dtype(np.int64)) for hint in get_type_hints(kind).values()]
