"""The CSV inside an archive file, whatever its container."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from crypto_lakehouse.archive.gunzip import iter_gzip
from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.archive.unzip import iter_member
from crypto_lakehouse.catalog.model import Container


def _of_zip(path: Path | HeldFile, object_key: str, max_bytes: int) -> Iterator[bytes]:
    return iter_member(path, f"{PurePosixPath(object_key).stem}.csv", max_bytes)


def _of_gzip(path: Path | HeldFile, _object_key: str, max_bytes: int) -> Iterator[bytes]:
    return iter_gzip(path, max_bytes)


_READERS: Mapping[Container, Callable[[Path | HeldFile, str, int], Iterator[bytes]]] = {
    Container.ZIP_CSV: _of_zip,
    Container.GZIP_CSV: _of_gzip,
}


def iter_csv(container: Container, path: Path | HeldFile, object_key: str, max_bytes: int) -> Iterator[bytes]:
    """The bytes of the CSV in chunks of at most 1 MiB.

    Do not use any bytes before the iterator has ended without an error. Raises BadContainer, also if the CSV has more
    than ``max_bytes``; OSError if ``path`` cannot be read.
    """
    return _READERS[container](path, object_key, max_bytes)
