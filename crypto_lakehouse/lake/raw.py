"""Raw files: the archive's own bytes, kept in the lake by hash so that bronze can be made again offline.

Here belong storing and finding them. Downloading and verifying against the archive belong to ``archive``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from crypto_lakehouse.lake.paths import check_name, raw_path
from crypto_lakehouse.lake.store import LakeStore


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
        try:
            data = self.store.read_bytes(path)
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        if self.store.is_local:
            return Path(self.store.path(path))
        copy = directory / Path(path).name
        copy.write_bytes(data)
        return copy

    def put(self, key: str, sha256: str, path: Path) -> None:
        """Keep the file at ``path``, whose sha256 the caller has verified; other versions stay.

        Raises ValueError on an unsafe key or hash, LakeError if the storage refuses.
        """
        target = raw_path(self.exchange, key, sha256)
        if self.keep:
            self.store.write_bytes_atomic(target, path.read_bytes())
