"""Arrays of numbers for loops to fill, in memory that is used again: what the system gives it has to clear first.

Here belong types of arrays, and whose memory is free again. What lies in arrays is told by those who take them.
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
    """Memory that is used again once no array lies in it. Any thread may take some and let go of it.

    At most ``kept`` bytes wait to be used again, those of the least ``least`` bytes: smaller pieces are given by the
    system at little cost.
    """

    def __init__(self, kept: int = 256 * _MIB, least: int = _MIB // 8) -> None:
        self._most, self._least = kept, least
        # In the order in which they were let go of: the last one is most likely in a cache.
        self._free: dict[int, Bytes] = {}
        # Letting go may happen anywhere, also in the middle of taking.
        self._lock = RLock()

    def take(self, count: int) -> Bytes:
        """``count`` bytes of any values, which nobody else is given while an array lies in them."""
        if count < self._least:
            return np.empty(count, np.uint8)
        piece = self._fitting(count)
        if piece is None:
            # A day is about as long as the next one.
            piece = np.empty(count + count // _SPARE, np.uint8)
        # All views refer to this array, and not to the piece below it, which is no array in their eyes.
        lease = np.frombuffer(piece.data, np.uint8)
        weakref.finalize(lease, self._let_go, piece).atexit = False
        return lease[:count]

    def _fitting(self, count: int) -> Bytes | None:
        with self._lock:
            for place in reversed([*self._free]):
                piece = self._free.get(place)
                if piece is not None and count <= len(piece) <= _TOO_LARGE * count:
                    # Letting go of another piece may have dropped this one meanwhile.
                    self._free.pop(place, None)
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
    """An array that is to be filled."""
    kind = np.dtype(dtype)
    return _MEMORY.take(count * kind.itemsize).view(kind)


def room(kind: type[Columns], count: int) -> Columns:
    """A named tuple of arrays that are to be filled: of floats and flags where it says so, else of whole numbers."""
    types = _types(kind)
    # Loops fill all columns at once, and columns that begin at the same offset within 4 KiB push each other out of the
    # cache: each begins 192 bytes further into a page than the one before.
    lengths = [-(-count * dtype.itemsize // _PAGE) * _PAGE + _APART for dtype in types]
    ends = np.cumsum([0, *lengths]).tolist()
    memory = _MEMORY.take(ends[-1])
    return kind(*(memory[b:e].view(dtype)[:count] for dtype, b, e in zip(types, ends, ends[1:], strict=False)))


@cache
def _types(kind: type[Columns]) -> list[np.dtype[Any]]:
    known: dict[Any, np.dtype[Any]] = {Floats: np.dtype(np.float64), Flags: np.dtype(np.bool_)}
    return [known.get(hint, np.dtype(np.int64)) for hint in get_type_hints(kind).values()]
