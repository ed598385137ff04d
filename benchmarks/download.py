"""Downloads compared with aria2c, and the listing of 3,000 symbols, over connections with latency.

A file is a zip of a day's minutes and its CHECKSUM; both ways download both, and rates are zips per second. Ours also
compares the sha256, aria2c does not. aria2c runs with ``-j32 -x4`` and without preallocation, which would cost time on
some file systems. Both use one server that keeps all files in memory; ``latency.py`` adds latency.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from benchmarks.file_server import serve_files
from benchmarks.latency import LatencyProxy
from benchmarks.listing_server import Bucket, serve_listing
from benchmarks.measure import Result, interleaved
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog import feed
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.settings import Settings

_SYMBOLS, _DAYS = 20, 60
_ARIA2C = ("aria2c", "--quiet", "-j32", "-x4", "--file-allocation=none")
_LISTED = 3000


def run() -> Iterator[Result]:
    """Yield the ratio to aria2c's rate at 0 and 100 ms, and the requests of a listing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_sample(folder / "archive", _SYMBOLS, _DAYS, tables=("klines_1m",), markets=("um",))
        files = _files(folder / "archive")
        if shutil.which("aria2c") is None:
            print("skipping the comparison with aria2c: not installed (Debian and Ubuntu: apt-get install aria2)")
        else:
            with serve_files(folder / "archive") as port:
                for milliseconds, goal, rounds in ((0, 2.5, 5), (100, 4.0, 3)):
                    detail = f"{len(files)} zips and CHECKSUMs, {made.bytes / len(files) / 1000:.0f} kB each"
                    yield _against_aria2c(port, milliseconds, goal, rounds, files, folder, detail)
    yield from _listing()


def _files(archive: Path) -> list[ArchiveFile]:
    """Return all zips as a listing would."""
    modified = datetime(2025, 1, 1, tzinfo=UTC)
    return [
        ArchiveFile(str(path.relative_to(archive)), path.parts[-3], path.stem[-10:], path.stat().st_size, "", modified)
        for path in sorted(archive.rglob("*.zip"))
    ]


def _against_aria2c(
    port: int, milliseconds: int, goal: float, rounds: int, files: Sequence[ArchiveFile], folder: Path, detail: str
) -> Result:
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        if milliseconds:
            url = stack.enter_context(LatencyProxy(url, milliseconds / 1000)).url
        wanted = folder / "wanted"
        wanted.write_text("".join(f"{url}/{file.object_key}{end}\n" for file in files for end in ("", ".CHECKSUM")))
        ways = {"ours": partial(_ours, url, files, folder), "aria2c": partial(_aria2c, wanted, files, folder)}
        seconds = interleaved(ways, rounds)
    megabytes = sum(file.size for file in files) / 1e6
    rates = ", ".join(
        f"{way} {len(files) / time:,.0f} files/s, {megabytes / time:,.0f} MB/s" for way, time in seconds.items()
    )
    name = f"download: rate over aria2c's at {milliseconds} ms"
    return Result(name, seconds["aria2c"] / seconds["ours"], goal, detail=f"{rates}; {detail}")


def _ours(url: str, files: Sequence[ArchiveFile], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as target:
        results = open_source("binance", url, url, Limits(Settings.load().concurrency)).fetch(files, Path(target))
        fetched = sum(isinstance(result, FetchedFile) for result in results)
    if fetched != len(files):
        raise RuntimeError(f"only {fetched} of {len(files)} files arrived")


def _aria2c(wanted: Path, files: Sequence[ArchiveFile], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as target:
        subprocess.run([*_ARIA2C, f"--input-file={wanted}", f"--dir={target}"], check=True)
        if len(list(Path(target).iterdir())) != 2 * len(files):
            raise RuntimeError("aria2c did not download all files")


def _listing() -> Iterator[Result]:
    """List a month of all symbols of a market, with round trips of 30 ms."""
    concurrency = Settings.load().concurrency
    first, end = date(2026, 1, 1), date(2026, 2, 1)
    with serve_listing(Bucket({"spot": _LISTED}, 12_000_000), delay=0.03) as server:
        source = open_source("binance", server.url, server.url, Limits(concurrency))
        spot = feed("binance", "spot", "klines_1m")
        symbols = source.symbols(spot)
        before = server.requests
        seconds = interleaved({"listing": lambda: source.files(spot, symbols, first, end)}, rounds=3)["listing"]
        requests = (server.requests - before) / 4
        detail = f"{len(symbols)} symbols, 31 days, 30 ms: {seconds:.1f} s, {requests / seconds:,.0f} requests/s"
        yield Result("listing: requests per symbol", requests / len(symbols), 1.0, at_most=True, detail=detail)
        name = "listing: requests at once over the bound"
        yield Result(name, server.most_at_once / concurrency, 1.0, at_most=True, detail=f"bound {concurrency}")
