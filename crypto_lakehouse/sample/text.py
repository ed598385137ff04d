"""CSV text from columns of integers, fast enough for files of tens of millions of rows.

Converts numbers to text: a line is a row of fixed-width pieces padded with NUL, and all NULs are deleted at the end.
The modules of each archive type define the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Part = npt.NDArray[Any]
Column = tuple[Part, ...]
"""Adjacent pieces of text, each an array with one element per row, or one for all rows."""

_FOUR = 10_000


def _table(texts: Sequence[str]) -> Part:
    """Texts of up to four characters as integers of the same bytes, padded with NULs on the left."""
    return np.frombuffer(b"".join(text.encode().rjust(4, b"\0") for text in texts), dtype=np.uint32)


_FULL = [f"{i:04d}" for i in range(_FOUR)]
_LEADING = [str(i) for i in range(_FOUR)]
# Four digits: the first half of the table is for no digit to their left, the second half for at least one.
_LAST = _table([*_LEADING, *_FULL])
_INNER = _table(["", *_LEADING[1:], *_FULL])
# The point and the first digits of a fraction; groups of four digits may follow.
_POINTED = [_table([f".{i:0{digits}d}" if digits else "." for i in range(10**digits)]) for digits in range(4)]


def constant(text: str) -> Column:
    """The same text in every row."""
    return (np.array(text.encode()),)


def word(index: Ints, words: Sequence[str]) -> Column:
    """``words[index]`` of each row."""
    return (np.array([text.encode() for text in words])[index],)


def integer(values: Ints) -> Column:
    """Whole numbers, with a sign where they are below zero."""
    return (*_sign(values), *_digits(np.abs(values)))


def decimal(values: Ints, decimals: int, places: int = 0) -> Column:
    """``values`` / 10**``decimals``, with zeros up to ``places`` decimals where there are fewer.

    >>> lines(decimal(np.array([-5, 12345]), 3, places=4))
    b'-0.0050\\n12.3450\\n'
    """
    if not decimals and not places:
        return integer(values)
    scale, size = 10**decimals, np.abs(values)
    whole = size // scale
    rest = size - whole * scale
    parts: list[Part] = []
    left = decimals
    while left >= 4:
        high = rest // _FOUR
        parts.append(_LAST[rest - high * _FOUR + _FOUR])
        rest, left = high, left - 4
    zeros = constant("0" * (places - decimals)) if places > decimals else ()
    return (*_sign(values), *_digits(whole), _POINTED[left][rest], *reversed(parts), *zeros)


def clock(seconds: Ints) -> Column:
    """Seconds of the day as ``HH:MM:SS``."""
    two, colon = [f"{i:02d}" for i in range(60)], constant(":")
    parts = (word(seconds // 3600, two), colon, word(seconds // 60 % 60, two), colon, word(seconds % 60, two))
    return tuple(piece for part in parts for piece in part)


def lines(*columns: Column) -> bytes:
    """The rows, with commas between columns and a newline at the end of each."""
    pieces: list[Part] = []
    for column in columns:
        pieces += [*column, np.array(b",")]
    pieces[-1] = np.array(b"\n")
    lengths = [len(piece) for piece in pieces if piece.ndim]
    rows = np.empty(lengths[0] if lengths else 1, dtype=[(f"f{i}", piece.dtype) for i, piece in enumerate(pieces)])
    for i, piece in enumerate(pieces):
        rows[f"f{i}"] = piece
    return rows.tobytes().translate(None, b"\0")


def _sign(values: Ints) -> Column:
    return word((values < 0).astype(np.int64), ("", "-")) if (values < 0).any() else ()


def _digits(values: Ints) -> Column:
    parts: list[Part] = []
    table = _LAST
    while not parts or values.any():
        high = values // _FOUR
        parts.append(table[values - high * _FOUR + _FOUR * (high > 0)])
        values, table = high, _INNER
    return tuple(reversed(parts))
