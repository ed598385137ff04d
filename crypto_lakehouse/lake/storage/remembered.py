"""What was computed from the files of a folder on disk, kept until a file is published in it.

Publishing renames a file into its folder, which changes the time of the folder. So the times of all folders show
whether a listing still holds, and reading them costs less than listing and parsing all paths. A file that
another program changes in place is not noticed before the next file is published. On S3, and of earlier times of a
lake, nothing is remembered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from crypto_lakehouse.lake.storage.store import LakeStore

T = TypeVar("T")

# Two changes within one tick of the file system's clock look like one, so a recent state is not trusted.
_TRUSTED_AFTER = 2_000_000_000
_MOST = 256

_States = tuple[tuple[str, int], ...]


class Remembered:
    """Values by folder. ``folder`` is an absolute path whose folders hold files, one level deep."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[_States, Any]] = {}
        self._lock = Lock()

    def of(self, folder: str, compute: Callable[[], T]) -> T:
        """Return ``compute()``, or its last result if no file was published below the folder since then."""
        states = _states(folder)
        with self._lock:
            known = self._values.get(folder)
        value: T
        if known is not None and known[0] == states:
            value = known[1]
            return value
        value = compute()
        newest = max((changed for _, changed in states), default=None)
        if newest is not None and time.time_ns() - newest > _TRUSTED_AFTER and states == _states(folder):
            with self._lock:
                if len(self._values) >= _MOST:
                    self._values.clear()
                self._values[folder] = states, value
        return value


_REMEMBERED = Remembered()


def remembered(store: LakeStore, folder: str, compute: Callable[[], T]) -> T:
    """Return ``compute()`` for a folder of the lake, or its last result if nothing was published in it since then."""
    is_present = store.is_local and store.as_of is None
    return _REMEMBERED.of(store.path(folder), compute) if is_present else compute()


def _states(folder: str) -> _States:
    """The folder and those in it, each with the time of its last change in nanoseconds; empty if it is missing."""
    try:
        with os.scandir(folder) as entries:
            inner = [(entry.name, entry.stat().st_mtime_ns) for entry in entries]
        return (("", Path(folder).stat().st_mtime_ns), *sorted(inner))
    except OSError:
        return ()
