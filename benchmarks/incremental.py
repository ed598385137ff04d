"""Incremental runs: files downloaded, bytes written and time if nothing is new, and if one file of 400 was replaced.

Two days of 400 symbols, zips to bars, from a folder and without the raw layer, so that each file that is parsed is
counted when it is fetched.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.archives import FolderArchive, klines_archive
from benchmarks.chain import make_chain
from benchmarks.measure import Result
from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.lake.storage.store import LakeStore

_SYMBOLS, _DAYS = 400, 2
_ROUNDS = 5


class _Counted(FolderArchive):
    """Counts the fetched files."""

    fetched = 0

    def fetch(
        self, files: Sequence[ArchiveFile], directory: Path, hold: MemoryBudget | None = None
    ) -> Iterator[FetchedFile | RejectedFile]:
        self.fetched += len(files)
        return super().fetch(files, directory, hold)


def run() -> Iterator[Result]:
    """Yield the figures of a second run, and of a run after one file was replaced, in lakes of complete first runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = klines_archive(folder / "archive", _SYMBOLS, _DAYS)
        source = _Counted(folder / "archive")
        seconds: dict[str, list[float]] = {"first": [], "again": [], "replaced": []}
        for number in range(_ROUNDS):
            lake = folder / "lake"
            shutil.rmtree(lake, ignore_errors=True)
            seconds["first"].append(_timed(source, lake, keys))
            before = _written(lake)
            source.fetched = 0
            seconds["again"].append(_timed(source, lake, keys))
            fetched_again, bytes_again = source.fetched, _bytes(_written(lake) - before)
            _replace(folder / "archive", keys[0], neighbour=number + 1)
            source.fetched = 0
            seconds["replaced"].append(_timed(source, lake, keys))
            fetched_replaced = source.fetched
        first, again, replaced = (sorted(seconds[name])[_ROUNDS // 2] for name in seconds)
    what = f"{_SYMBOLS} symbols, {_DAYS} days, zips to bars"
    yield Result("incremental: files downloaded by a second run", fetched_again, 0, True, "files", what)
    yield Result("incremental: bytes written by a second run", bytes_again, 0, True, "bytes", what)
    name = f"incremental: files downloaded after one of {_SYMBOLS} was replaced"
    yield Result(name, fetched_replaced, 1, True, "files", what)
    detail = f"{again:.2f} s, first {first:.2f} s"
    yield Result("incremental: a second run over the first", again / first, 0.1, True, detail=detail)
    # One of the two days is rewritten in every layer.
    detail = f"{replaced:.2f} s, first {first:.2f} s"
    yield Result(
        "incremental: a run after one replaced file over the first", replaced / first, 0.8, True, detail=detail
    )


def _timed(source: FolderArchive, lake: Path, keys: Sequence[str]) -> float:
    begun = time.perf_counter()
    make_chain(source, LakeStore.open(str(lake)), keys, keep_raw=False)
    return time.perf_counter() - begun


def _written(lake: Path) -> set[tuple[Path, int, int]]:
    """Return every file of the lake with its size and its time of change."""
    return {(path, path.stat().st_size, path.stat().st_mtime_ns) for path in lake.rglob("*") if path.is_file()}


def _bytes(files: set[tuple[Path, int, int]]) -> int:
    return sum(size for _, size, _ in files)


def _replace(archive: Path, key: str, neighbour: int) -> None:
    """Replace the file of a day's middle symbol with that of another symbol."""
    symbols = sorted((archive / "data/futures/um/daily/klines").iterdir())
    mine, other = (symbols[_SYMBOLS // 2 + n] / "1m" for n in (0, neighbour))
    name, stem = f"{mine.parent.name}-1m-{key}", f"{other.parent.name}-1m-{key}"
    # The members' names have the same length, so one can replace the other inside the zip.
    data = (other / f"{stem}.zip").read_bytes().replace(stem.encode(), name.encode())
    (mine / f"{name}.zip").write_bytes(data)
    (mine / f"{name}.zip.CHECKSUM").write_text(f"{hashlib.sha256(data).hexdigest()}  {name}.zip\n")
