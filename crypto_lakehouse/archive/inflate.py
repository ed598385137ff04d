"""Bounds on inflating what an archive sends, whatever container it comes in.

The containers are in ``unzip.py`` and ``gunzip.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

MAX_BYTES = 256 * 1024**2
"""Default limit of an inflated file, in bytes; a day of 1s klines has about 13 MB."""

LARGE_MAX_BYTES = 64 * 1024**3
"""Limit in bytes of a file that is never held as a whole; one symbol's day of trades can have several gigabytes."""

MAX_RATIO = 100
"""Highest inflated:deflated ratio above ``RATIO_FLOOR``; CSV stays below 20."""

RATIO_FLOOR = 16 * 1024**2
"""Inflated bytes above which the ratio is checked; small files of zeros are harmless."""

CHUNK = 1024 * 1024
"""Bytes to read and to inflate at a time."""


class BadContainer(Exception):
    """A file that must not be used, because of its container.

    ``reason`` is a code, ``detail`` is for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def size_fault(name: str, inflated: int, deflated: int, max_bytes: int) -> str | None:
    """Why a file that has inflated to so many bytes is too large; None if it is not."""
    if inflated > max_bytes:
        return f"{name} inflates to more than {max_bytes:,} bytes"
    if inflated > RATIO_FLOOR and inflated > MAX_RATIO * deflated:
        return f"{name} inflates more than {MAX_RATIO}:1, as a zip bomb does"
    return None


def verified(read: Callable[[], Iterator[bytes]], held: int = 16 * 1024**2) -> Iterator[bytes]:
    """The chunks of ``read``, the first one only after all of them have come without an error.

    Up to ``held`` bytes are kept in memory meanwhile; more are read twice, to bound memory. Raises as ``read`` does.
    """
    chunks: list[bytes] | None = []
    size = 0
    for chunk in read():
        size += len(chunk)
        if chunks is not None and size <= held:
            chunks.append(chunk)
        else:
            chunks = None
    yield from read() if chunks is None else chunks
