"""Reading the one CSV inside a gzip file of an archive, without trusting what the file states about itself.

Contains the checks of the container: one stream, its size and its CRC, and nothing after it. ``transforms`` parses the
bytes; nothing here writes to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib
from isal.igzip_lib import IsalError

from crypto_lakehouse.archive.inflate import CHUNK, MAX_BYTES, BadContainer, size_fault
from crypto_lakehouse.archive.memory_budget import HeldFile

_GZIP = 31
_MAGIC = b"\x1f\x8b"


class BadGzip(BadContainer):
    """A gzip file that must not be used. ``reason`` is one of ``not_a_gzip``, ``too_large`` and ``corrupt``."""


def iter_gzip(path: Path | HeldFile, max_bytes: int = MAX_BYTES) -> Iterator[bytes]:
    """The inflated bytes in chunks of at most 1 MiB.

    The CRC is checked at the end: do not use any bytes before the iterator has ended without an error. Raises BadGzip,
    OSError if ``path`` cannot be read.
    """
    with path.open("rb") as handle:
        pending = handle.read(CHUNK)
        if not pending.startswith(_MAGIC):
            raise BadGzip("not_a_gzip", f"{path.name} is no gzip file")
        inflate = isal_zlib.decompressobj(wbits=_GZIP)
        total, consumed = 0, len(pending)
        while not inflate.eof:
            try:
                chunk = inflate.decompress(pending, CHUNK)
            except IsalError as error:  # type: ignore[misc]  # its stub says instance
                raise BadGzip("corrupt", f"{path.name} does not inflate ({error})") from error
            pending = inflate.unconsumed_tail
            total += len(chunk)
            if fault := size_fault(path.name, total, consumed - len(pending), max_bytes):
                raise BadGzip("too_large", fault)
            if chunk:
                yield chunk
            if not pending and not inflate.eof:
                pending = handle.read(CHUNK)
                consumed += len(pending)
                if not pending and not chunk:
                    raise BadGzip("corrupt", f"{path.name} ends before its stream does")
        if inflate.unused_data or handle.read(1):
            raise BadGzip("corrupt", f"{path.name} has bytes after the end of its stream")
