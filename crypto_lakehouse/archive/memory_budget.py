"""A bounded amount of memory for downloaded files that wait for their reader.

A small file that is read within seconds does not need the disk. Creating files can be slow where many are created and
deleted: ext4 does not reuse recently freed inodes, and scans past all of them (``recently_deleted`` in Linux's
fs/ext4/ialloc.c). ``download.py`` fills the memory; readers release it.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file in memory that can be opened like a path.

    >>> HeldFile("a.zip", b"PK").open("rb").read()
    b'PK'
    """

    name: str
    content: bytes = field(repr=False)

    def open(self, mode: str) -> io.BytesIO:
        """Open the file for reading; ``mode`` must be ``rb``."""
        if mode != "rb":
            raise ValueError(f"{self.name} can only be opened as rb, not as {mode}")
        return io.BytesIO(self.content)


class MemoryBudget:
    """A budget of ``most`` bytes for files in memory; any thread may take and return bytes."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; returns whether that many were free."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Release ``size`` bytes."""
        with self._lock:
            self._left += size
