"""Files for bronze: a raw copy is used only if it is the version that the archive lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.download_queue import DownloadQueue

NEW = b"the newer version"


class Source:
    """An archive that has one version of each file."""

    def fetch(self, files: list[ArchiveFile], *_: object) -> Iterator[FetchedFile]:
        """Every file, in memory."""
        for file in files:
            yield FetchedFile(file, HeldFile("a.zip", NEW), hashlib.sha256(NEW).hexdigest())


@pytest.mark.requirement("F2.2")
@pytest.mark.parametrize("kept", [NEW, b"the old one"])
def test_a_raw_copy_of_another_size_than_listed_is_fetched_again(kept: bytes, tmp_path: Path) -> None:
    raw = RawStore(LakeStore.open(str(tmp_path / "lake")), "binance", keep=True)
    sha256 = hashlib.sha256(kept).hexdigest()
    raw.put("data/a.zip", sha256, HeldFile("a.zip", kept))
    file = ArchiveFile("data/a.zip", "A", "2024-01-01", len(NEW), "e", datetime(2024, 1, 2, tzinfo=UTC))
    row = {"status": "ingested", "sha256": sha256, "etag": "e", "size": len(NEW), "last_modified": file.last_modified}
    arrivals = DownloadQueue(cast(ArchiveSource, Source()), raw, tmp_path)
    arrivals.want([(file, row)])
    taken = arrivals.take(file)
    assert isinstance(taken, FetchedFile)
    assert isinstance(taken.path, HeldFile) == (kept != NEW)
    with taken.path.open("rb") as stream:
        assert stream.read() == NEW
