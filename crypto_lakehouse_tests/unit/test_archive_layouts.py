"""What a source does with a layout other than Binance's: no checksums, other statuses, a rate, several ranges."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse.archive.bans import REFUSALS
from crypto_lakehouse.archive.layout import Checksum, KeyParts, KeyRange, Listing
from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.listed import ListedArchive
from crypto_lakehouse.archive.model import ArchiveFile, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import Cadence, Feed, partition_keys
from crypto_lakehouse_tests.unit.archive_http import BUCKET, DATA, SPOT_1M, Server, serve, status


@dataclass(frozen=True)
class Months:
    """``x/{SYMBOL}/{month}/{SYMBOL}_{day}.zip``."""

    listing: Listing = Listing.S3_V1
    checksum: Checksum = Checksum.NONE
    absent: frozenset[int] = frozenset({403, 404})
    ban: frozenset[int] = frozenset()
    requests_per_second: float | None = None

    def symbol_folder(self, feed: Feed) -> str:
        return "x/"

    def ranges(self, feed: Feed, symbol: str, start: date, end: date) -> Iterator[KeyRange]:
        for month in partition_keys(start, end, Cadence.MONTHLY):
            yield KeyRange(f"x/{symbol}/{month}/", f"x/{symbol}/{month}/{symbol}_{start}")

    def parse(self, feed: Feed, object_key: str) -> KeyParts | None:
        symbol, _, period = object_key.rpartition("/")[2].removesuffix(".zip").partition("_")
        return KeyParts(symbol, period)


@dataclass(frozen=True)
class NamedByDay(Months):
    """``x/{SYMBOL}/{month}/{day}.zip``: the files of a day have one name."""

    def ranges(self, feed: Feed, symbol: str, start: date, end: date) -> Iterator[KeyRange]:
        for month in partition_keys(start, end, Cadence.MONTHLY):
            yield KeyRange(f"x/{symbol}/{month}/", f"x/{symbol}/{month}/{start}")

    def parse(self, feed: Feed, object_key: str) -> KeyParts | None:
        _, symbol, _, name = object_key.split("/")
        return KeyParts(symbol, name.removesuffix(".zip"))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def source(server: Server, layout: Months | None = None, attempts: int = 2) -> ListedArchive:
    limits = Limits(concurrency=4, attempts=attempts, timeout=0.2)
    return ListedArchive(layout or Months(), server.url, f"{server.url}/{BUCKET}", limits)


def put(server: Server, day: str, symbol: str = "BTCUSDT", data: bytes = DATA) -> ArchiveFile:
    return server.put(f"x/{symbol}/{day[:7]}/{symbol}_{day}.zip", data, checksum=None)


@pytest.mark.requirement("F2.1")
def test_each_range_of_a_layout_is_listed_once_and_odd_keys_are_ignored(server: Server) -> None:
    days = ["2023-12-30", "2023-12-31", "2024-01-01", "2024-01-31", "2024-02-01", "2024-02-02"]
    for day in [*days, "2024-01-32", "note"]:
        put(server, day)
    put(server, "2024-01-01", "ETHUSDT")
    archive = source(server)
    assert archive.symbols(SPOT_1M) == ["BTCUSDT", "ETHUSDT"]
    asked = server.hits[BUCKET]
    files = archive.files(SPOT_1M, ["BTCUSDT"], date(2023, 12, 31), date(2024, 2, 2))
    assert [file.period for file in files] == days[1:5]
    assert {file.symbol for file in files} == {"BTCUSDT"}
    assert server.hits[BUCKET] - asked == 3


@pytest.mark.requirement("F2.2")
def test_without_checksums_a_file_is_fetched_by_one_request_and_hashed(server: Server, tmp_path: Path) -> None:
    file = put(server, "2024-01-01")
    (result,) = source(server).fetch([file], tmp_path)
    assert isinstance(result, FetchedFile)
    assert result.path.read_bytes() == DATA
    assert result.sha256 == hashlib.sha256(DATA).hexdigest()
    assert server.hits == {file.object_key: 1}
    # A file from before may be an older one of the same size, so it is fetched again.
    server.files[file.object_key] = DATA[::-1]
    (again,) = source(server).fetch([file], tmp_path)
    assert isinstance(again, FetchedFile)
    assert again.path.read_bytes() == DATA[::-1]


@pytest.mark.requirement("F2.2", "F2.11")
@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""])
def test_without_checksums_the_listed_size_decides(server: Server, tmp_path: Path, data: bytes) -> None:
    file = put(server, "2024-01-01")
    server.faults[file.object_key] = [serve(data)] * 9
    (result,) = source(server).fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "size_mismatch"
    assert "CHECKSUM" not in result.detail


@pytest.mark.requirement("F2.4")
def test_the_layout_says_which_statuses_mean_absent(server: Server, tmp_path: Path) -> None:
    files = [put(server, f"2024-01-{day:02}") for day in range(1, REFUSALS + 6)]
    server.faults = {file.object_key: [status(403)] for file in files[:-1]}
    begun = time.monotonic()
    results = list(source(server).fetch(files, tmp_path))
    reasons = [result.reason for result in results if isinstance(result, RejectedFile)]
    # Where 403 means absent, many in a row are no ban, and nothing pauses.
    assert reasons == ["not_found"] * (len(files) - 1)
    assert max(server.hits.values()) == 1
    assert time.monotonic() - begun < 5
    neither = Months(absent=frozenset({404}))
    server.faults = {files[0].object_key: [status(403)]}
    (result,) = source(server, neither).fetch(files[:1], tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "http_error"


@pytest.mark.requirement("F2.4")
def test_the_layout_says_which_statuses_mean_a_ban(server: Server, tmp_path: Path) -> None:
    files = [put(server, f"2024-01-{day:02}") for day in range(1, REFUSALS + 1)]
    server.faults = {file.object_key: [status(451)] for file in files}
    results = list(source(server, Months(ban=frozenset({451}))).fetch(files, tmp_path))
    refused = [result.reason for result in results if isinstance(result, RejectedFile)]
    # The last refusal looks like a ban, so that request is sent again after a pause.
    assert refused == ["forbidden"] * (REFUSALS - 1)


@pytest.mark.requirement("F2.4")
def test_requests_keep_to_the_rate_of_the_layout(server: Server, tmp_path: Path) -> None:
    files = [put(server, f"2024-01-{day:02}") for day in range(1, 9)]
    paced = source(server, Months(requests_per_second=10))
    begun = time.monotonic()
    assert all(isinstance(result, FetchedFile) for result in paced.fetch(files[:4], tmp_path))
    # Listings and files share the rate, and so do several clients of one archive.
    assert paced.symbols(SPOT_1M) == ["BTCUSDT"]
    assert all(isinstance(result, FetchedFile) for result in paced.fetch(files[4:], tmp_path))
    assert time.monotonic() - begun >= 0.8


@pytest.mark.requirement("F2.2")
@pytest.mark.parametrize("while_listing", [False, True])
def test_files_of_two_symbols_may_have_one_name(server: Server, tmp_path: Path, while_listing: bool) -> None:
    data = {symbol: symbol.encode() * 100_000 for symbol in ("BTCUSDT", "ETHUSDT")}
    files = [server.put(f"x/{symbol}/2024-01/2024-01-01.zip", data[symbol], checksum=None) for symbol in data]
    archive = source(server, NamedByDay())
    if while_listing:
        days = (date(2024, 1, 1), date(2024, 1, 2))
        results = list(archive.list_and_fetch(SPOT_1M, list(data), *days, lambda _: True, tmp_path))
    else:
        results = list(archive.fetch(files, tmp_path))
    fetched = {one.file.object_key.split("/")[1]: one.path for one in results if isinstance(one, FetchedFile)}
    assert {symbol: path.read_bytes() for symbol, path in fetched.items()} == data
