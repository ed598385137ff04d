"""Reading the one CSV inside an archive zip, without trusting what the zip states about itself.

Contains the checks of the container (one member, its name, its size, its CRC) and the inflating. ``transforms`` parses
the bytes; nothing here writes to disk.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib
from isal.igzip_lib import IsalError

from crypto_lakehouse.archive.inflate import CHUNK, MAX_BYTES, BadContainer, size_fault
from crypto_lakehouse.archive.memory_budget import HeldFile

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1


class BadZip(BadContainer):
    """A zip that must not be used.

    ``reason`` is one of ``not_a_zip`` (truncated ones too), ``member_count``, ``unsafe_member``,
    ``member_name``, ``too_large``, ``corrupt`` and ``encrypted``.
    """


def read_member(path: Path | HeldFile, expected_name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """All bytes of the only member of the zip at ``path``, which must have the name ``expected_name``.

    Raises BadZip, also if it inflates to more than ``max_bytes``; OSError if ``path`` cannot be read.
    """
    return b"".join(iter_member(path, expected_name, max_bytes))


def iter_member(path: Path | HeldFile, expected_name: str, max_bytes: int = MAX_BYTES) -> Iterator[bytes]:
    """The bytes of the only member in chunks of at most 1 MiB; raises as ``read_member`` does.

    The CRC is checked at the end: do not use any bytes before the iterator has ended without an error.
    """
    with path.open("rb") as handle:
        try:
            # Closing the ZipFile does not close a handle that it did not open.
            with zipfile.ZipFile(handle) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise BadZip("not_a_zip", f"{path.name} is no zip file or is truncated ({error})") from error
        info = _check(path, members, expected_name, max_bytes)
        # zipfile shifts this offset by the directory position in the end record, so it can be anywhere.
        if not 0 <= info.header_offset <= handle.seek(0, os.SEEK_END) - _LOCAL_HEADER.size:
            raise BadZip("corrupt", f"{path.name} states an offset of its member that is outside the file")
        handle.seek(info.header_offset)
        magic, name_length, extra_length = _LOCAL_HEADER.unpack(handle.read(_LOCAL_HEADER.size))
        if magic != b"PK\x03\x04":
            raise BadZip("corrupt", f"{path.name} has no local header at the offset in its directory")
        handle.seek(name_length + extra_length, 1)

        crc = total = consumed = 0
        inflate = isal_zlib.decompressobj(wbits=-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
        pending = b""
        while True:
            if not pending and consumed < info.compress_size:
                pending = handle.read(min(CHUNK, info.compress_size - consumed))
                if not pending:
                    raise BadZip("corrupt", f"{path.name} ends before its member does")
                consumed += len(pending)
            if inflate is None:
                chunk, pending = pending, b""
            else:
                try:
                    chunk = inflate.decompress(pending, CHUNK)
                except IsalError as error:  # type: ignore[misc]  # its stub says instance
                    raise BadZip("corrupt", f"{path.name} does not inflate ({error})") from error
                pending = inflate.unconsumed_tail
            if not chunk and not pending and consumed >= info.compress_size:
                break
            total += len(chunk)
            if fault := size_fault(path.name, total, consumed - len(pending), max_bytes):
                raise BadZip("too_large", fault)
            if inflate is not None and inflate.eof and inflate.unused_data:
                raise BadZip("corrupt", f"{path.name} has bytes after the end of its member")
            crc = isal_zlib.crc32(chunk, crc)
            if chunk:
                yield chunk
            if inflate is not None and inflate.eof:
                break
        if (inflate is not None and not inflate.eof) or consumed != info.compress_size:
            raise BadZip("corrupt", f"{path.name}: the deflate stream and the stated size do not agree")
        if total != info.file_size or crc != info.CRC:
            raise BadZip("corrupt", f"{path.name}: CRC or size of {info.filename} is not the stated one")


def _shown(name: str) -> str:
    """A name from a zip in a form that is safe to show; the original can have 65,535 characters of any kind."""
    return ascii(name[:60]) + ("..." if len(name) > 60 else "")


def _check(
    path: Path | HeldFile, members: list[zipfile.ZipInfo], expected_name: str, max_bytes: int
) -> zipfile.ZipInfo:
    """The only member, after checking all that the directory states about it."""
    if len(members) != 1:
        raise BadZip("member_count", f"{path.name} holds {len(members)} members, not one")
    info = members[0]
    # orig_filename: zipfile cuts ``filename`` at a NUL byte.
    name = info.orig_filename
    if name.startswith("/") or "\\" in name or "\0" in name or ":" in name or ".." in name.split("/"):
        raise BadZip("unsafe_member", f"{path.name} holds {_shown(name)}, which is outside of its folder")
    if name != expected_name:
        raise BadZip("member_name", f"{path.name} holds {_shown(name)}, not {expected_name!r}")
    if info.flag_bits & _ENCRYPTED:
        raise BadZip("encrypted", f"{path.name}: {name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadZip("corrupt", f"{path.name}: compression method {info.compress_type} is not deflate")
    if info.file_size > max_bytes:
        raise BadZip("too_large", f"{path.name} states {info.file_size:,} bytes, more than {max_bytes:,}")
    return info
