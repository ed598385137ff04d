"""Raw files: the archive's own bytes, kept in the lake by hash so that bronze can be made again offline.

Here belong storing and finding them. Downloading and verifying against the archive belong to ``archive``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from crypto_lakehouse.lake.paths import check_name, raw_path
from crypto_lakehouse.lake.store import LakeStore


class Readable(Protocol):
    """A file on disk or elsewhere."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """The file to read."""
        ...


@dataclass(frozen=True, slots=True)
class RawStore:
    """The raw files of one exchange. With ``keep`` False nothing is stored and nothing is found."""

    store: LakeStore
    exchange: str
    keep: bool

    def __post_init__(self) -> None:
        check_name(self.exchange)

    def get(self, key: str, sha256: str, directory: Path) -> Path | None:
        """A local file with exactly these bytes, or None: not kept, or damaged since.

        In a local lake it is the kept file itself (do not change it), else a copy in ``directory``.
        Raises ValueError on an unsafe key or hash, LakeError if the storage cannot be read.
        """
        path = raw_path(self.exchange, key, sha256)
        if not self.keep:
            return None
        found = Path(self.store.path(path)) if self.store.is_local else directory / Path(path).name
        try:
            if not self.store.is_local:
                self.store.fetch_to(path, found)
            with self.store.explained("read", path):
                digest = _sha256(found)
        except FileNotFoundError:
            return None
        return found if digest == sha256 else None

    def put(self, key: str, sha256: str, source: Readable) -> None:
        """Keep the file ``source``, whose sha256 the caller has verified; other versions stay.

        What is kept already is not written again. Raises ValueError on an unsafe key or hash, LakeError if the
        storage refuses.
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
        there = self.store.find(target)
        if there is None:
            return False
        with source.open("rb") as stream:
            if there.size != stream.seek(0, os.SEEK_END):
                return False
        # S3 checks its objects itself; a file of this machine is read sooner than it is written.
        return not self.store.is_local or _sha256(Path(self.store.path(target))) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
