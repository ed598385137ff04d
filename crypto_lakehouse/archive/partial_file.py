"""A partly downloaded file: its bytes so far, their sha256, and the ETag of the file.

Contains the draft (``name.part``), resuming it after an interruption, and its publication under the final name.
``download.py`` requests the bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]+"')
_HELD = 256 * 1024


class PartialFile:
    """The draft of ``path``. Small files stay in memory until they are complete, so that they cost one write.

    It has ``size`` bytes so far, of a file with the ETag ``etag``. All methods raise OSError if the folder cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.part")
        self._etag_file = path.with_name(f"{path.name}.part.etag")
        self._held: list[bytes] = []
        self._held_size = 0
        self._digest = hashlib.sha256()
        self._on_disk = self._draft.exists()
        self.size, self.etag = 0, ""

    @property
    def is_on_disk(self) -> bool:
        """Whether the draft exists on disk."""
        return self._on_disk

    @property
    def can_go_on(self) -> bool:
        """Whether the download can be resumed. If-Range accepts only strong ETags; without one, the bytes so far might
        be of an older file.
        """
        return self.size > 0 and _STRONG_ETAG.fullmatch(self.etag) is not None

    def load(self) -> None:
        """Load the bytes that an earlier run left on disk, if their ETag is known; reads all of them."""
        try:
            etag = self._etag_file.read_text(errors="replace")
        except FileNotFoundError:
            return
        with self._draft.open("rb") as stream:
            self._digest = hashlib.file_digest(stream, "sha256")
            self.size, self.etag = stream.tell(), etag

    def restart(self, etag: str) -> None:
        """Start over with a file of this ETag; "" if it has none."""
        self.discard()
        self.etag = etag

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self._digest.update(chunk)
        self._held.append(chunk)
        self._held_size += len(chunk)
        self.size += len(chunk)
        if self._held_size >= _HELD:
            self._flush()

    def keep(self) -> None:
        """Write the bytes in memory to disk, so that a later run can resume."""
        if self._held and self.can_go_on:
            self._flush()

    def discard(self) -> None:
        """Discard all bytes, also on disk."""
        if self._on_disk:
            self._draft.unlink(missing_ok=True)
            self._etag_file.unlink(missing_ok=True)
        self._on_disk = False
        self._held, self._held_size = [], 0
        self._digest = hashlib.sha256()
        self.size, self.etag = 0, ""

    def content(self) -> bytes:
        """All bytes so far; only while none of them is on disk."""
        return b"".join(self._held)

    def sha256(self) -> str:
        """sha256 of all bytes so far, as lower-case hexadecimal digits."""
        return self._digest.hexdigest()

    def publish(self) -> None:
        """Give the complete file its final name, atomically."""
        kept = self._on_disk
        if self._held or not kept:
            self._append()
        self._draft.replace(self._path)
        if kept:
            self._etag_file.unlink(missing_ok=True)
        self._on_disk = False

    def _flush(self) -> None:
        self._append(can_go_on=self.can_go_on)

    def _append(self, can_go_on: bool = False) -> None:
        held, self._held, self._held_size = self._held, [], 0
        if not self._on_disk:
            self._draft.parent.mkdir(parents=True, exist_ok=True)
            if can_go_on:
                self._etag_file.write_text(self.etag)
        with self._draft.open("ab" if self._on_disk else "wb") as handle:
            self._on_disk = True
            handle.write(b"".join(held))
