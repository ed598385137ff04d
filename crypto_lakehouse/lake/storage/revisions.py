"""Versions of partitions: what a replaced partition held is kept, with the times from and until which it was stored.

Before a partition is replaced by other rows, its object is kept as ``_revisions/{folder}/{from}_{until}.parquet``. A
version that was purged leaves an empty object ``{from}_{until}.purged``. If a partition is first written again with the
same rows, the empty object ``{from}_{from}.same`` keeps the time from which they are known. So the present object is
known from the newest ``until`` of its folder on or, without any, from its own time of change.

Reads of versions are in ``as_of.py``, differences of their rows in ``changes.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.lake.storage.remembered import Remembered, remembered
from crypto_lakehouse.lake.storage.store import LakeFile, LakeStore
from crypto_lakehouse.schemas.slices import FILE_NAME, Partition

REVISIONS = "_revisions"
VERSIONED = ("bronze", "silver", "gold")
"""The layers whose partitions have versions."""

_KEPT, _PURGED, _SAME = "parquet", "purged", "same"
_TIME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(
    rf"([0-9]{{8}}T[0-9]{{6}}\.[0-9]{{6}}Z)_([0-9]{{8}}T[0-9]{{6}}\.[0-9]{{6}}Z)\.({_KEPT}|{_PURGED}|{_SAME})"
)
_MOMENT = timedelta(microseconds=1)
# layer/table/exchange=/market=
_SLICE_DEPTH = 3
_OBJECTS = Remembered()
_COMPARED_AT_ONCE = 1024**2
# Magic bytes and the length of the footer, at the end of a Parquet file.
_END = 8


@dataclass(frozen=True, slots=True)
class Version:
    """What a partition held from ``known_from`` until ``known_to`` (exclusive); None means that it still holds it.

    ``path`` is that of the partition, ``object_path`` that of the object with the rows, ``size`` is in bytes, and
    ``modified`` is the time of change of the object. All times are UTC.
    """

    path: str
    object_path: str
    known_from: datetime
    known_to: datetime | None
    size: int
    modified: datetime

    @property
    def is_purged(self) -> bool:
        """Whether its rows were removed by ``purge``."""
        return self.object_path.endswith(f".{_PURGED}")

    @property
    def has_rows(self) -> bool:
        """Whether its rows are stored."""
        return not self.object_path.endswith((f".{_PURGED}", f".{_SAME}"))

    def is_of(self, moment: datetime) -> bool:
        """Whether the partition held this version at a time."""
        return self.known_from <= moment and (self.known_to is None or moment < self.known_to)


def is_partition_path(path: str) -> bool:
    """Whether a path of the lake is that of a partition, which has versions."""
    return path.partition("/")[0] in VERSIONED and path.endswith(f"/{FILE_NAME}")


def folder_of(path: str) -> str:
    """Return the folder of a path."""
    return path.rpartition("/")[0]


def stamp(moment: datetime) -> str:
    """Return a time as it is in the names of versions.

    >>> stamp(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '20260301T120000.000000Z'
    """
    return moment.astimezone(UTC).strftime(_TIME)


def first_known(store: LakeStore, file: LakeFile) -> datetime:
    """Return from when an object without earlier versions is known.

    S3 servers state whole seconds in one answer and fractions of seconds in another.
    """
    return file.modified if store.is_local else file.modified.replace(microsecond=0)


def kept_versions(store: LakeStore, folder: str) -> dict[str, list[Version]]:
    """Return the replaced versions of the partitions below a folder, by path, oldest first; one listing.

    They include purged ones, and the marks of partitions that were written again with the same rows.
    """
    kept = f"{REVISIONS}/{folder}"
    if not _is_slice(folder):
        return _kept(store.list(kept))
    return dict(remembered(store, kept, lambda: _kept(store.list(kept))))


def history(store: LakeStore, folder: str) -> dict[str, list[Version]]:
    """Return all versions of the partitions below a folder, by path, oldest first; the present one is the last.

    Two listings. The present objects are listed first: an object that is replaced in between is in both.
    """
    present = [file for file in _objects(store, folder) if is_partition_path(file.path)]
    versions = kept_versions(store, folder)
    for file in present:
        known = versions.get(file.path, [])
        since = (known[-1].known_to if known else None) or first_known(store, file)
        versions[file.path] = [*known, Version(file.path, file.path, since, None, file.size, file.modified)]
    return versions


def _kept(files: Iterable[LakeFile]) -> dict[str, list[Version]]:
    versions: dict[str, list[Version]] = defaultdict(list)
    for file in files:
        place, _, name = file.path.removeprefix(f"{REVISIONS}/").rpartition("/")
        if match := _NAME.fullmatch(name):
            known_from, known_to = map(datetime.fromisoformat, match.group(1, 2))
            path = f"{place}/{FILE_NAME}"
            versions[path].append(Version(path, file.path, known_from, known_to, file.size, file.modified))
    for each in versions.values():
        each.sort(key=lambda version: (version.known_to or version.known_from, version.known_from))
    return dict(versions)


def _objects(store: LakeStore, folder: str) -> list[LakeFile]:
    if not (_is_slice(folder) and store.is_local):
        return store.list(folder)
    return _OBJECTS.of(store.path(folder), lambda: store.list(folder))


def _is_slice(folder: str) -> bool:
    """Whether the folders of partitions are directly in a folder, so that its listing can be remembered."""
    return folder.count("/") == _SLICE_DEPTH


def version_of(versions: Iterable[Version], moment: datetime) -> Version | None:
    """Return the version of a time among those of a partition; None if nothing was stored then."""
    return next((version for version in versions if version.is_of(moment)), None)


def keep(store: LakeStore, partition: Partition, draft: Path) -> Version | None:
    """Keep what a partition holds before ``draft`` replaces it, and return it; None if the rows stay the same.

    A first publication costs one request. If the process is killed afterwards, both versions are readable, and the next
    call keeps the same rows again, for the time since this one. Raises LakeError if the storage refuses.
    """
    present = store.head(partition.path)
    if present is None:
        return None
    folder = f"{REVISIONS}/{partition.folder}"
    versions = kept_versions(store, partition.folder).get(partition.path, [])
    known_from = (versions[-1].known_to if versions else None) or first_known(store, present)
    with store.open_file(partition.path) as old, pa.OSFile(str(draft)) as new:
        is_same = _same_rows(old, new)
    if is_same:
        if not versions:
            store.write_bytes_atomic(f"{folder}/{stamp(known_from)}_{stamp(known_from)}.{_SAME}", b"")
        return None
    # A clock may have been set back.
    known_to = max(datetime.now(UTC), known_from + _MOMENT)
    target = f"{folder}/{stamp(known_from)}_{stamp(known_to)}.{_KEPT}"
    store.copy(partition.path, target)
    return Version(partition.path, target, known_from, known_to, present.size, present.modified)


def purge(store: LakeStore, version: Version) -> None:
    """Remove the rows of a replaced version; an empty object stays, so that reads of its time say it was purged."""
    store.write_bytes_atomic(f"{version.object_path.removesuffix(_KEPT)}{_PURGED}", b"")
    store.delete(version.object_path)


def _same_rows(old: pa.NativeFile, new: pa.NativeFile) -> bool:
    """Whether two partitions of a table hold the same rows: the same columns, and the same bytes before the footer.

    The writer gives the same bytes for the same rows. The footer also holds the input fingerprint, which says nothing
    about rows. An old file without a readable footer has no rows that could be kept.
    """
    try:
        lengths = [_rows_length(file) for file in (old, new)]
        if lengths[0] != lengths[1]:
            return False
        if not pq.read_schema(old).equals(pq.read_schema(new)):
            return False
    except (pa.ArrowException, OSError, ValueError):
        return True
    for at in range(0, lengths[0], _COMPARED_AT_ONCE):
        count = min(_COMPARED_AT_ONCE, lengths[0] - at)
        if old.read_at(count, at) != new.read_at(count, at):
            return False
    return True


def _rows_length(file: pa.NativeFile) -> int:
    """Return the number of bytes of a Parquet file before its footer."""
    size = file.size()
    if size < _END:
        raise ValueError("not a Parquet file")
    tail = file.read_at(_END, size - _END)
    if tail[4:] != b"PAR1":
        raise ValueError("not a Parquet file")
    return size - _END - int.from_bytes(tail[:4], "little")
