"""Files that are held in memory on their way to a reader, as far as there is room for them.

A small file that is read within seconds needs no place on disk. Finding one can take long where many files come and go:
ext4 gives no inode away that was freed shortly before, and looks past all of those (``recently_deleted`` in Linux's
fs/ext4/ialloc.c). Asking for files is the work of
``download.py``, letting go of them that of whoever has read them.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file in memory, which is opened like a path.

    >>> HeldFile("a.zip", b"PK").open("rb").read()
    b'PK'
    """

    name: str
    content: bytes = field(repr=False)

    def open(self, mode: str) -> io.BytesIO:
        """The file to read; ``mode`` is ``rb``."""
        if mode != "rb":
            raise ValueError(f"{self.name} can be opened as rb only, not as {mode}")
        return io.BytesIO(self.content)


class Hold:
    """Room for files of ``most`` bytes in all; any thread may take some and give it back."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take room for so many bytes, if there is as much."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Room for so many bytes is free again."""
        with self._lock:
            self._left += size
