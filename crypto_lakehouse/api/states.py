"""The state of the files that an answer depends on: ETags, and whether all days of a range are complete.

A file is its path, size and time of writing. Nothing here opens a file; listings of a local lake are remembered until
something is published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from importlib.metadata import version

from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.lake.storage.describe import StoredFile, check_markets, remembered_slice_files
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

# The rows that readers leave out after the end of a series depend on this table.
_STATES = "symbol_states"
_COMPLETE = "private, max-age=3600"
_OPEN = "private, no-cache"


@dataclass(frozen=True, slots=True)
class FileStates:
    """The files of a request: those of its ``tables`` within a range, and the ends of series."""

    files: tuple[StoredFile, ...]
    end: datetime | None
    newest: datetime | None

    @property
    def digest(self) -> str:
        """A text that changes when a file changes."""
        return _digest(f"{file.path} {file.size} {file.modified.timestamp()}" for file in self.files)

    @property
    def cache_control(self) -> str:
        """An hour for a range that ends before the newest stored day does; otherwise clients ask each time."""
        is_complete = self.end is not None and self.newest is not None and self.end <= self.newest
        return _COMPLETE if is_complete else _OPEN

    def of_key(self, key: str) -> str:
        """A text that changes when a file of one partition key changes."""
        states = (f"{file.path} {file.size} {file.modified.timestamp()}" for file in self.files if file.key == key)
        return _digest(states)[:16]


def file_states(
    store: LakeStore,
    tables: Sequence[tuple[str, str]],
    exchange: str,
    markets: Sequence[str] | None,
    start: datetime | None = None,
    end: datetime | None = None,
    lag: timedelta = timedelta(0),
) -> FileStates:
    """The files of (layer, table) in markets whose days overlap [start, end + lag), and the newest end of any.

    Raises KeyError if a market is unknown.
    """
    listed = [
        file
        for layer, table in tables
        for market in check_markets(exchange, list(markets) if markets else None)
        for file in remembered_slice_files(store, TableSlice(layer, exchange, market, table))
    ]
    newest = max((_midnight(file) for file in listed), default=None)
    states = [
        file
        for market in check_markets(exchange, list(markets) if markets else None)
        for file in remembered_slice_files(store, TableSlice("gold", exchange, market, _STATES))[-1:]
    ]
    first = None if start is None else start.date()
    last = None if end is None else _after(end, lag)
    kept = [
        file for file in listed if (first is None or file.end > first) and (last is None or file.start <= last.date())
    ]
    return FileStates((*kept, *states), end, newest)


def etag(digest: str, *facts: object) -> str:
    """The ETag of an answer: of its files, its arguments and this version of the program."""
    return f'"{_digest([version(PROGRAM), digest, *map(repr, facts)])[:32]}"'


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether a client that sends this header has the answer already.

    >>> is_known('"a", W/"b"', '"b"'), is_known("*", '"a"'), is_known("", '"a"')
    (True, True, False)
    """
    known = [entry.strip().removeprefix("W/") for entry in if_none_match.split(",")]
    return tag in known or "*" in known


def _midnight(file: StoredFile) -> datetime:
    return datetime.combine(file.end, time.min, UTC)


def _after(end: datetime, lag: timedelta) -> datetime:
    return end + lag if end < datetime.max.replace(tzinfo=UTC) - lag else end


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
        digest.update(b"\n")
    return digest.hexdigest()
