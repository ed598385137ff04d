"""Writing the sample archive: zips, checksums, and atomic creation of files.

The modules of each archive type supply the text of the CSVs.
"""

from __future__ import annotations

import filecmp
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from isal import isal_zlib

_ZIP_TIME = (2025, 1, 1, 0, 0, 0)
_LIMIT = 2**32  # bytes; larger zips need the ZIP64 form
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX, _UTF8 = 20, 3 << 8, 1 << 11
_DOS_DATE = (_ZIP_TIME[0] - 1980) << 9 | _ZIP_TIME[1] << 5 | _ZIP_TIME[2]


class ArchiveFolder:
    """The folder of an archive; counts the files that belong to it and their bytes.

    An equal file that already exists is not rewritten.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.files = 0
        self.bytes = 0

    def add(self, key: str, pieces: Iterable[bytes], large: bool = False) -> None:
        """The zip of a CSV and its checksum; ``large`` ones are written piece by piece.

        Raises OSError if the folder cannot be written, ValueError if a large CSV has 4 GiB or more.
        """
        path = self._directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # A server may be reading: files appear atomically, and the dot hides drafts from listings.
        draft = path.with_name(f".{path.name}.tmp")
        try:
            if large:
                _stream(draft, path.with_suffix(".csv").name, pieces)
            else:
                draft.write_bytes(_zipped(path.with_suffix(".csv").name, b"".join(pieces)))
            with draft.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            self._publish(draft, path)
            # A few real checksum files have no newline.
            newline = "" if digest.startswith("0") else "\n"
            draft.write_bytes(f"{digest}  {path.name}{newline}".encode())
            self._publish(draft, path.with_name(f"{path.name}.CHECKSUM"))
        finally:
            draft.unlink(missing_ok=True)

    def _publish(self, draft: Path, path: Path) -> None:
        self.files, self.bytes = self.files + 1, self.bytes + draft.stat().st_size
        if not (path.is_file() and filecmp.cmp(draft, path, shallow=False)):
            draft.replace(path)


def _zipped(name: str, text: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(name, _ZIP_TIME)
        member.create_system = 3
        member.external_attr = 0o644 << 16
        archive.writestr(member, text, zipfile.ZIP_DEFLATED, compresslevel=4)
    return buffer.getvalue()


def _stream(path: Path, name: str, pieces: Iterable[bytes]) -> None:
    """A zip of one member, made five times faster than ``zipfile`` can: it knows of zlib alone."""
    encoded = name.encode()
    flags = 0 if name.isascii() else _UTF8
    deflate = isal_zlib.compressobj(isal_zlib.Z_BEST_SPEED, isal_zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = size = 0
    with path.open("wb") as handle:
        start = handle.write(bytes(_LOCAL.size)) + handle.write(encoded)
        for piece in pieces:
            crc, size = isal_zlib.crc32(piece, crc), size + len(piece)
            if size >= _LIMIT:
                raise ValueError(f"{name} would have 4 GiB or more: ask for fewer trades a day")
            handle.write(deflate.compress(piece))
        handle.write(deflate.flush())
        end = handle.tell()
        facts = (zipfile.ZIP_DEFLATED, 0, _DOS_DATE, crc, end - start, size, len(encoded), 0)
        handle.write(_CENTRAL.pack(b"PK\x01\x02", _UNIX | _VERSION, _VERSION, flags, *facts, 0, 0, 0, 0o644 << 16, 0))
        handle.write(encoded)
        handle.write(_END.pack(b"PK\x05\x06", 0, 0, 1, 1, _CENTRAL.size + len(encoded), end, 0))
        handle.seek(0)
        handle.write(_LOCAL.pack(b"PK\x03\x04", _VERSION, flags, *facts))
