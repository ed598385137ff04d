"""A lake as it was at an earlier time: a store that lists and opens the versions of that time.

Readers use it like the store of the present. Paths stay those of the partitions; only the object that a path stands for
differs. How versions are kept is in ``revisions.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crypto_lakehouse.lake.storage.revisions import (
    REVISIONS,
    VERSIONED,
    Version,
    first_known,
    folder_of,
    history,
    is_partition_path,
    kept_versions,
    stamp,
    version_of,
)
from crypto_lakehouse.lake.storage.store import LakeError, LakeFile, LakeStore

LOGS = ("ledger", "quarantine")
_NAMED = 5
_KEY = re.compile(r"/(?:date|month)=([0-9-]+)/")


class NoVersion(LakeError):
    """The lake, or a table of it, was first stored after the time of a read. The message names that first time."""


class PurgedVersion(LakeError):
    """What a partition held at the time of a read was purged. The message names the partitions and the times."""


class ChangedSnapshot(LakeError):
    """The versions of a snapshot are not those that it was taken of."""


@dataclass(frozen=True, kw_only=True)
class AsOfStore(LakeStore):
    """The store of a lake at ``moment`` (UTC). Only reads; ``digest`` is that of a snapshot, to compare before them."""

    moment: datetime
    digest: str | None = None
    _versions: dict[str, Version | None] = field(default_factory=dict, compare=False, repr=False)
    _checked: list[str] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def at(cls, store: LakeStore, moment: datetime, digest: str | None = None) -> AsOfStore:
        """Return the store of the same lake at a time."""
        place = store.uri, store.root, store.is_local, store.s3_endpoint_url, store.s3_region
        return cls(*place, moment=moment, digest=digest)

    @property
    def as_of(self) -> datetime | None:
        """The time of the lake."""
        return self.moment

    @property
    def present(self) -> LakeStore:
        """The store of the lake as it is now."""
        return LakeStore(self.uri, self.root, self.is_local, self.s3_endpoint_url, self.s3_region)

    def versions(self, folder: str) -> dict[str, Version]:
        """Return the versions of the partitions below a folder, by path. Raises ChangedSnapshot."""
        self._check_digest()
        resolved = {path: version_of(each, self.moment) for path, each in history(self.present, folder).items()}
        self._versions.update(resolved)
        return {path: version for path, version in sorted(resolved.items()) if version is not None}

    def path(self, *parts: str) -> str:
        """Return the path of the object that a path had then. Raises PurgedVersion if its rows were purged."""
        path = "/".join(parts)
        if not is_partition_path(path):
            return LakeStore.path(self, *parts)
        version = self._version(path)
        if version is None:
            # No object has this name, so whoever opens it finds none.
            return LakeStore.path(self, REVISIONS, folder_of(path), stamp(self.moment))
        if version.is_purged:
            raise PurgedVersion(self._purged(version))
        return LakeStore.path(self, version.object_path)

    def find(self, path: str) -> LakeFile | None:
        """Return the object that was at ``path``, None if there was none."""
        if is_partition_path(path):
            version = self.versions(folder_of(path)).get(path)
            return None if version is None else LakeFile(path, version.size, version.modified)
        file = LakeStore.find(self, path)
        return file if file is None or self._was_there(file) else None

    def list(self, path: str = "", recursive: bool = True) -> list[LakeFile]:
        """Return the objects that were below a folder."""
        if path.partition("/")[0] in VERSIONED:
            versions = self.versions(path).values()
            return [LakeFile(version.path, version.size, version.modified) for version in versions]
        return [file for file in LakeStore.list(self, path, recursive) if self._was_there(file)]

    def folders(self, path: str = "") -> Sequence[str]:
        """Return the sorted names of the folders directly in a folder in which an object was then."""
        if path.partition("/")[0] not in (*VERSIONED, *LOGS):
            return LakeStore.folders(self, path)
        below = (file.path[len(path) + 1 :].split("/") for file in self.list(path))
        return sorted({names[0] for names in below if len(names) > 1})

    def has_changed(self, paths: Iterable[str]) -> bool:
        """Whether one of these partitions was replaced after it was listed, so that a read may have seen later rows."""
        present = {path: version for path in paths if (version := self._versions.get(path)) and not version.known_to}
        slices = {folder_of(folder_of(path)) for path in present}
        kept = {path: each for folder in slices for path, each in kept_versions(self.present, folder).items()}
        return any(
            later.has_rows and later.known_from >= version.known_from
            for path, version in present.items()
            for later in kept.get(path, ())
        )

    def is_replaced(self, path: str) -> bool:
        """Whether a partition was replaced since then by other rows."""
        version = self._version(path) if is_partition_path(path) else None
        return version is not None and version.known_to is not None

    def check_stored(self, folders: Sequence[str]) -> None:
        """Raise NoVersion if the first version below the folders is later than the time; nothing if there is none."""
        firsts = [
            version.known_from
            for folder in folders
            for each in history(self.present, folder).values()
            for version in each
        ]
        if firsts and min(firsts) > self.moment:
            what = ", ".join(dict.fromkeys(map(_table, folders))) if set(folders).isdisjoint(VERSIONED) else "the lake"
            raise NoVersion(
                f"{what} in {self.uri} has no version of {_text(self.moment)}: its first version is of"
                f" {_text(min(firsts))}. Set as_of to that time or a later one"
            )

    def _version(self, path: str) -> Version | None:
        if path not in self._versions:
            self.find(path)
        return self._versions.get(path)

    def _was_there(self, file: LakeFile) -> bool:
        # Objects of the logs are never replaced.
        return file.path.partition("/")[0] not in LOGS or first_known(self, file) <= self.moment

    def _check_digest(self) -> None:
        if self.digest is None or self._checked:
            return
        self._checked.append(self.digest)
        versions = stored_versions(self.present, self.moment)
        if digest_of(versions) != self.digest:
            purged = [version for version in versions if version.is_purged]
            words = f" Purged since then, or before: {self._named(purged)}." if purged else ""
            self._checked.clear()
            raise ChangedSnapshot(
                f"{self.uri} has other versions of that time than the snapshot {snapshot_id(self.moment, self.digest)}:"
                f" files of the lake or of its folder {REVISIONS} were removed or changed by another program.{words} To"
                f" read what is there, set as_of to {_text(self.moment)}"
            )

    def _purged(self, version: Version) -> str:
        folder = folder_of(folder_of(version.path))
        others = [
            each for path, each in self._versions.items() if each and each.is_purged and path.startswith(f"{folder}/")
        ]
        return (
            f"rows of {folder} as of {_text(self.moment)} were purged: {self._named(others)}. Read other partitions, or"
            " set as_of to a time outside of these"
        )

    @staticmethod
    def _named(versions: Sequence[Version]) -> str:
        names = [
            f"{match[1] if (match := _KEY.search(version.path)) else version.path} (held from"
            f" {_text(version.known_from)} until {_text(version.known_to)})"
            for version in versions[:_NAMED]
        ]
        return ", ".join(names) + (f" and {len(versions) - _NAMED} more" if len(versions) > _NAMED else "")


def present_versions(store: LakeStore, folder: str) -> list[Version]:
    """Return the version of each partition below a folder that the store reads: of the present, or of its time."""
    if isinstance(store, AsOfStore):
        return list(store.versions(folder).values())
    return [versions[-1] for versions in history(store, folder).values() if versions[-1].known_to is None]


def stored_versions(store: LakeStore, moment: datetime) -> list[Version]:
    """Return what all partitions of bronze, silver and gold held at a time."""
    found = (version_of(each, moment) for layer in VERSIONED for each in history(store, layer).values())
    return [version for version in found if version is not None]


def digest_of(versions: Iterable[Version]) -> str:
    """Return a digest of the paths and times of versions. A version keeps both when it is replaced or purged."""
    words = sorted(f"{version.path} {stamp(version.known_from)}" for version in versions)
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def snapshot_id(moment: datetime, digest: str) -> str:
    """Return the name of a snapshot: its time and digest."""
    return f"{_text(moment)}-{digest}"


def _table(folder: str) -> str:
    """Return the name of the table of a folder.

    >>> _table("gold/bars_1h/exchange=binance/market=um")
    'gold.bars_1h'
    """
    return ".".join(folder.split("/")[:2])


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" if moment else "now"
