"""Compression of an answer while it is sent: zstd or gzip, whichever the client accepts."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

import pyarrow as pa

from crypto_lakehouse.api.formats import quality_of
from crypto_lakehouse.api.pieces import Pieces

Coding = Literal["zstd", "gzip"]
# In the order of our preference: zstd is several times faster at the same size.
CODINGS: tuple[Coding, ...] = ("zstd", "gzip")


def choose_coding(accept_encoding: str) -> Coding | None:
    """The coding to use; None to send the bytes as they are.

    >>> choose_coding("gzip, deflate, br, zstd"), choose_coding("gzip;q=0"), choose_coding("")
    ('zstd', None, None)
    """
    accepted = {}
    for entry in accept_encoding.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        accepted[name] = quality_of(parameters)
    return next((coding for coding in CODINGS if accepted.get(coding, 0) > 0), None)


def compressed(coding: Coding | None, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces in a coding. Pieces without bytes are left out."""
    if coding is None:
        return (piece for piece in pieces if piece)
    return _gzip(pieces) if coding == "gzip" else _zstd(pieces)


def _gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    # A header of gzip instead of zlib's, at the fastest level: more costs much time and saves little.
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    sink = Pieces()
    with pa.CompressedOutputStream(pa.PythonFile(sink, "w"), "zstd") as stream:
        for piece in pieces:
            if piece:
                stream.write(piece)
            if data := sink.take():
                yield data
    yield sink.take()
