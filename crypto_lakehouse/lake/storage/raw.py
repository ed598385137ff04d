"""Raw files: the archive's own bytes, kept in the lake by hash so that bronze can be rebuilt offline.

This module stores and finds them. Download and verification are in ``archive``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from crypto_lakehouse.catalog.names import check_name
from crypto_lakehouse.lake.storage.paths import raw_path
from crypto_lakehouse.lake.storage.store import LakeStore


class Readable(Protocol):
    """A file on disk or elsewhere."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open the file for reading."""
        ...


@dataclass(frozen=True, slots=True)
class RawStore:
    """The raw files of one exchange. If ``keep`` is False, it stores nothing and finds nothing."""

    store: LakeStore
    exchange: str
    keep: bool

    def __post_init__(self) -> None:
        check_name(self.exchange)

    def get(self, key: str, sha256: str, directory: Path) -> Path | None:
        """Return a local file with exactly these bytes, or None if it was not kept or is damaged.

        In a local lake this is the stored file itself (do not change it), otherwise a copy in ``directory``.
        Raises ValueError on an unsafe key or hash, LakeError if the storage cannot be read.
        """
        path = raw_path(self.exchange, key, sha256)
        if not self.keep:
            return None
        local = Path(self.store.path(path)) if self.store.is_local else directory / Path(path).name
        try:
            if not self.store.is_local:
                self.store.fetch_to(path, local)
            with self.store.explained("read", path):
                digest = _sha256(local)
        except FileNotFoundError:
            return None
        return local if digest == sha256 else None

    def put(self, key: str, sha256: str, source: Readable) -> None:
        """Store the file ``source``, whose sha256 the caller has verified; other versions of it stay.

        A file that is already stored is not written again. Raises ValueError on an unsafe key or hash, LakeError if
        the storage refuses.
        """
        target = raw_path(self.exchange, key, sha256)
        if self.keep and not self._is_kept(target, sha256, source):
            with (
                self.store.publishing(target) as draft,
                self.store.explained("write", target),
                source.open("rb") as stream,
                draft.open("wb") as kept,
            ):
                shutil.copyfileobj(stream, kept)

    def _is_kept(self, target: str, sha256: str, source: Readable) -> bool:
        stored = self.store.find(target)
        if stored is None:
            return False
        with source.open("rb") as stream:
            if stored.size != stream.seek(0, os.SEEK_END):
                return False
        # S3 checks the bytes of its objects itself; a local file is read faster than it is written.
        return not self.store.is_local or _sha256(Path(self.store.path(target))) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
