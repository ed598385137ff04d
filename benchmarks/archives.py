"""Archives for benchmarks: sample days under the names of many symbols, and a source that reads them from a folder.

A sample file of klines does not contain its symbol, so the same deflated bytes work under any name: writing a day of
2,000 symbols takes a second. The modules of the areas measure with them.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crypto_lakehouse.archive.memory_budget import MemoryBudget
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import FEEDS, Feed, partition_keys

KLINES = FEEDS["binance", "um", "klines_1m"]
CLI = "from crypto_lakehouse.cli import app; app()"
_FOLDER = "data/futures/um/daily/klines"
_BASES = 40
_FIRST = date(2024, 12, 1)


def cli(*arguments: str) -> list[str]:
    """Return the command line of the project's program."""
    return [sys.executable, "-c", CLI, *arguments]


@contextmanager
def served(archive: Path) -> Iterator[tuple[dict[str, str], int]]:
    """Serve an archive in another process; yield the variables of the settings that use it, and its process id."""
    with subprocess.Popen(
        cli("archive", "serve", str(archive), "--port", "0"), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            words = server.stdout.readline().split()
            yield dict(word.split("=", 1) for word in words if "=" in word), server.pid
        finally:
            server.terminate()


def klines_archive(folder: Path, symbols: int, days: int) -> list[str]:
    """Write daily one-minute klines of ``symbols`` symbols and ``days`` days; return the keys of the days."""
    sample = folder.with_name(f"{folder.name}-sample")
    wish = ["--tables", "klines_1m", "--markets", "um", "--symbols", str(_BASES), "--days", str(days)]
    subprocess.run(cli("archive", "sample", str(sample), *wish, "--start", _FIRST.isoformat()), check=True)
    keys = partition_keys(_FIRST, _FIRST + timedelta(days=days), KLINES.cadence)
    for key in keys:
        zips = sorted(sample.glob(f"{_FOLDER}/*/1m/*-{key}.zip"))[: min(_BASES, symbols)]
        members = [_member(path) for path in zips]
        for number in range(symbols):
            symbol = f"S{number:04}USDT"
            target = folder / _FOLDER / symbol / "1m" / f"{symbol}-1m-{key}.zip"
            target.parent.mkdir(parents=True, exist_ok=True)
            data = _zip(f"{target.stem}.csv", *members[number % len(members)])
            target.write_bytes(data)
            target.with_name(f"{target.name}.CHECKSUM").write_text(
                f"{hashlib.sha256(data).hexdigest()}  {target.name}\n"
            )
    return keys


def _member(path: Path) -> tuple[bytes, int, int]:
    """Return deflated bytes, CRC and size of the only member."""
    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
    data = path.read_bytes()
    start = info.header_offset + 30 + sum(struct.unpack_from("<HH", data, info.header_offset + 26))
    return data[start : start + info.compress_size], info.CRC, info.file_size


def _zip(name: str, deflated: bytes, crc: int, size: int) -> bytes:
    """Return a zip of one member that is already deflated (.ZIP file format specification, 4.3.7, 4.3.12, 4.3.16)."""
    text = name.encode()
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, crc, len(deflated), size, len(text), 0)
    local = b"PK\x03\x04" + common + text + deflated
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + text
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


class FolderArchive(ArchiveSource):
    """One feed of an archive in a local folder: no network, every sha256 compared with its CHECKSUM."""

    def __init__(self, folder: Path, feed: Feed = KLINES) -> None:
        market, name = feed.market.archive_path, feed.archive_type
        self._folder, self._place = folder, folder / "data" / market / feed.cadence.value / name
        self._interval = feed.interval.name if feed.interval else ""

    def symbols(self, feed: Feed) -> list[str]:  # noqa: ARG002
        """Return the names of the symbols' folders."""
        return sorted(path.name for path in self._place.iterdir())

    def files(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> list[ArchiveFile]:
        """Return the existing zips."""
        found = []
        for key in partition_keys(first, end, feed.cadence):
            for symbol in symbols:
                name = f"{symbol}-{self._interval or feed.archive_type}-{key}.zip"
                path = self._place / symbol / self._interval / name
                if path.is_file():
                    state = path.stat()
                    changed = datetime.fromtimestamp(state.st_mtime, UTC)
                    place = str(path.relative_to(self._folder))
                    found.append(ArchiveFile(place, symbol, key, state.st_size, str(state.st_mtime_ns), changed))
        return found

    def periods(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> Iterator[tuple[str, list[str]]]:
        """Yield the days that have a file, per symbol."""
        for symbol in symbols:
            yield symbol, [file.period for file in self.files(feed, [symbol], first, end)]

    def fetch(
        self,
        files: Sequence[ArchiveFile],
        directory: Path,  # noqa: ARG002
        hold: MemoryBudget | None = None,  # noqa: ARG002
    ) -> Iterator[FetchedFile | RejectedFile]:
        """Yield the zips in their folder, each with its sha256."""
        with ThreadPoolExecutor(1) as pool:
            yield from pool.map(self._fetched, files)

    def _fetched(self, file: ArchiveFile) -> FetchedFile | RejectedFile:
        path = self._folder / file.object_key
        # Reading a big day at once would be the peak of the measured memory.
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        stated = path.with_name(f"{path.name}.CHECKSUM").read_text().split()[0]
        if stated != found:
            return RejectedFile(file, "checksum_mismatch", f"states {stated}", found)
        return FetchedFile(file, path, found)
