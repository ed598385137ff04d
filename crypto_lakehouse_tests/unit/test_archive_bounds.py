"""Limits for an archive's answers: bodies, their speed, listings, recorded texts, and repeated refusals."""

from __future__ import annotations

import asyncio
import itertools
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.archive.bans import REFUSALS
from crypto_lakehouse.archive.model import ArchiveError, FetchedFile, RejectedFile
from crypto_lakehouse.archive.unzip import BadZip, read_member
from crypto_lakehouse.lake.storage.ledger import read_ledger, record_files
from crypto_lakehouse.lake.storage.quarantine import read_rejected, record_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.unit.archive_http import (
    BUCKET,
    DATA,
    FOLDER,
    KEY,
    SPOT_1M,
    Fault,
    Server,
    check_fetched,
    fetch_one,
    listing,
    saved,
    serve,
    source,
    status,
)

pytestmark = pytest.mark.slow


def endless(data: bytes, pause: float, head: dict[str, str], sent: list[int]) -> Fault:
    """Send ``data`` again and again, until the client goes; ``sent`` counts its bytes."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=head)
        await response.prepare(request)
        while True:
            await response.write(data)
            sent.append(len(data))
            await asyncio.sleep(pause)

    return fault


@pytest.mark.requirement("F2.11")
@pytest.mark.parametrize("length", [None, "99999999999"])
def test_a_body_ends_at_the_listed_size(server: Server, tmp_path: Path, length: str | None) -> None:
    file = server.put(KEY)
    sent: list[int] = []
    head = {"ETag": '"x"', **({"Content-Length": length} if length else {})}
    server.faults[KEY] = [endless(b"x" * 2**18, 0, head, sent)] * 2
    result = fetch_one(server, file, tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "size_mismatch"
    assert "lists 1,024,000 bytes but serves more" in result.detail
    # The server also sent the bytes that wait in the system's buffers.
    assert sum(sent) < 64 * 2**20
    assert not saved(tmp_path)
    # It is listed again once, and is as it was.
    assert server.hits[BUCKET] == 1
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("F2.11")
@pytest.mark.parametrize("change", [1, -1])
def test_a_file_replaced_after_the_listing_is_accepted(server: Server, tmp_path: Path, change: int) -> None:
    file = server.put(KEY)
    result = fetch_one(server, replace(file, size=file.size - change, etag="older"), tmp_path)
    check_fetched(result, tmp_path)
    # The result describes the present version, so the ledger records that version.
    assert result.file == file
    assert server.hits[BUCKET] == 1


@pytest.mark.requirement("F2.11")
@pytest.mark.parametrize("answer", [status(403), status(404), serve(listing("").encode())])
def test_a_file_that_cannot_be_listed_again_is_refused_for_its_size(
    server: Server, tmp_path: Path, answer: Fault
) -> None:
    file = server.put(KEY)
    server.faults[BUCKET] = [answer]
    result = fetch_one(server, replace(file, size=file.size - 1), tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "size_mismatch"


@pytest.mark.requirement("F2.11")
def test_a_partial_download_longer_than_the_file_is_discarded(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / f"{KEY}.part").write_bytes(DATA * 2)
    (tmp_path / f"{KEY}.part.etag").write_text('"x"')
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == [None]


@pytest.mark.requirement("F2.11")
def test_a_transfer_below_the_minimum_rate_fails(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    sent: list[int] = []
    drip = endless(b"x", 0.05, {"ETag": '"x"', "Content-Length": str(len(DATA))}, sent)
    server.faults = {KEY: [drip], BUCKET: [drip]}
    archive = BinanceArchive(server.url, f"{server.url}/{BUCKET}", attempts=1, timeout=3, least_rate=1000)
    (result,) = archive.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "timeout"
    assert "the least rate is 1000 bytes/s" in result.detail
    with pytest.raises(ArchiveError, match="the least rate is 1000 bytes/s"):
        archive.symbols(SPOT_1M)
    assert not server.faults[KEY]
    # A slow one that is fast enough comes whole.
    small = server.put(KEY, DATA[:40])
    slow = BinanceArchive(server.url, f"{server.url}/{BUCKET}", attempts=1, timeout=5, least_rate=1)

    async def by_bytes(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "40"})
        await response.prepare(request)
        for index in range(40):
            await response.write(DATA[index : index + 1])
            await asyncio.sleep(0.01)
        return response

    server.faults[KEY] = [by_bytes]
    (result,) = slow.fetch([small], tmp_path)
    assert isinstance(result, FetchedFile)


# --- listings


def page(*keys: str, marker: str = "") -> bytes:
    following = f"<NextMarker>{marker}</NextMarker>" if marker else ""
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>a</ETag>"
        "<Size>1</Size></Contents>"
        for key in keys
    )
    return listing(f"{following}{entries}", truncated=bool(marker)).encode()


@pytest.mark.requirement("F2.11")
def test_a_listing_of_ever_new_markers_ends(server: Server) -> None:
    numbers = itertools.count()

    async def next_page(_: web.Request) -> web.Response:
        return web.Response(body=page(marker=f"data/spot/daily/klines/{next(numbers):09}"))

    server.faults[BUCKET] = [next_page] * 5000
    with pytest.raises(ArchiveError, match="does not end after 1,000 pages"):
        source(server).symbols(SPOT_1M)
    assert server.hits[BUCKET] == 1000


@pytest.mark.requirement("F2.11")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (page("data/spot/daily/klines/ETHUSDT/1m/x.zip"), "outside the requested prefix"),
        (page(f"{FOLDER}/b", f"{FOLDER}/a"), "do not increase"),
        (page(f"{FOLDER}/b", f"{FOLDER}/b"), "do not increase"),
        (page(f"{FOLDER}/A"), "do not increase"),
        (page(f"{FOLDER}/b", f"{FOLDER}/c", marker=f"{FOLDER}/b"), "starts before this one ends"),
    ],
)
def test_keys_of_a_listing_must_have_its_prefix_and_ascend(server: Server, body: bytes, words: str) -> None:
    server.faults[BUCKET] = [serve(body)] * 2
    with pytest.raises(ArchiveError, match=words):
        source(server, attempts=2).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 2))
    assert server.hits[BUCKET] == 2


# --- words


@pytest.mark.requirement("F2.11")
def test_the_recorded_text_of_a_refusal_is_short_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\U0001f4a9\x01" * 10_000, "1")
    with pytest.raises(BadZip) as caught:
        read_member(path, "a.csv")
    assert len(caught.value.detail) < 1000
    assert caught.value.detail.isprintable()
    store, now = LakeStore.open(str(tmp_path / "lake")), datetime(2024, 1, 3, tzinfo=UTC)
    facts = {"symbol": "BTCUSDT", "period": "2024-01-01", "detail": "\x00\x1b[31m" + "x" * 385_000}
    row = {"key": KEY, "rows": 0, "rejected_rows": 0, "status": "failed", "reason": "odd", **facts}
    record_files(store, SPOT_1M, "2024-01-01", [row], now)
    rejected = {"layer": "bronze", "source_key": KEY, "reason": "odd", **facts}
    record_rejected(store, SPOT_1M, "2024-01-01", [rejected], now)
    for rows in (read_ledger(store, SPOT_1M), read_rejected(store, SPOT_1M)):
        (detail,) = rows["detail"]
        assert len(detail) < 600
        assert detail.isprintable()


# --- refusals in a row


def files_of(server: Server, count: int) -> list[str]:
    keys = [f"{FOLDER}/BTCUSDT-1m-{date.fromordinal(738_000 + day)}.zip" for day in range(count)]
    for key in keys:
        server.put(key, key.encode())
    return keys


def refuse(server: Server, count: int) -> None:
    """Answer the next requests for files, of any path, with 403."""
    left = itertools.count(count, -1)

    async def fault(request: web.Request) -> web.Response | None:
        return web.Response(status=403) if next(left) > 0 else None

    for key in list(server.files):
        server.faults[key] = [fault] * 10_000


@pytest.mark.requirement("F2.4")
def test_a_ban_that_passes_costs_few_files(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [server.put(key, key.encode()) for key in files_of(server, 40)]
    refuse(server, REFUSALS + 3)
    archive = BinanceArchive(server.url, f"{server.url}/{BUCKET}", concurrency=4, attempts=3, timeout=2)
    results = list(archive.fetch(files, tmp_path))
    forbidden = [result for result in results if isinstance(result, RejectedFile)]
    assert [result.reason for result in forbidden] == ["forbidden"] * (REFUSALS - 1)
    assert len(results) == len(files)
    assert "all requests wait 1.0 s" in caplog.text


@pytest.mark.requirement("F2.4")
def test_a_ban_ends_the_run_with_a_clear_error(server: Server, tmp_path: Path) -> None:
    files = [server.put(key, key.encode()) for key in files_of(server, 200)]
    refuse(server, 10**6)
    archive = BinanceArchive(server.url, f"{server.url}/{BUCKET}", concurrency=8, attempts=5, timeout=1)
    with pytest.raises(ArchiveError, match=r"answers HTTP 403 to everything.*banned.*LAKEHOUSE_CONCURRENCY"):
        list(archive.fetch(files, tmp_path))
    # Those in flight, and one after each pause.
    assert sum(server.hits.values()) <= REFUSALS + 8 + 4


@pytest.mark.requirement("F2.4")
def test_a_few_forbidden_files_do_not_count_as_a_ban(server: Server, tmp_path: Path) -> None:
    files = [server.put(key, key.encode()) for key in files_of(server, 40)]
    for file in files[::2]:
        server.faults[file.object_key] = [status(403)]
    results = list(source(server, concurrency=1).fetch(files, tmp_path))
    assert [result.reason for result in results if isinstance(result, RejectedFile)] == ["forbidden"] * 20


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_forbidden_symbol_does_not_end_the_run(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, concurrency: int
) -> None:
    forbidden = [server.put(key) for key in files_of(server, 4 * REFUSALS)]
    server.faults = {file.object_key + ".CHECKSUM": [status(403)] * 9 for file in forbidden}
    other = server.put(KEY.replace("BTCUSDT", "ETHUSDT"))
    archive = source(server, concurrency=concurrency)
    # A later run fetches only the failed files: it gets none of them, and the listing names another folder.
    for files, served in (([other, *forbidden], 1), (forbidden, 0)):
        results = list(archive.fetch(files, tmp_path))
        assert [isinstance(result, FetchedFile) for result in results].count(True) == served
        assert {result.reason for result in results if isinstance(result, RejectedFile)} == {"forbidden"}
        archive = source(server, concurrency=concurrency)
        assert len(archive.files(SPOT_1M, ["BTCUSDT", "ETHUSDT"], date(2020, 1, 1), date(2025, 1, 1))) == 41
    assert "requests wait" not in caplog.text


@pytest.mark.requirement("F2.4")
def test_a_ban_is_detected_even_if_each_fetch_has_few_files(server: Server, tmp_path: Path) -> None:
    files = [server.put(key, key.encode()) for key in files_of(server, 40)]
    refuse(server, 10**6)
    archive = BinanceArchive(server.url, f"{server.url}/{BUCKET}", concurrency=8, attempts=5, timeout=0.1)
    # A day's client asks for few files, as where few symbols are chosen.
    with pytest.raises(ArchiveError, match="answers HTTP 403 to everything"):
        list(itertools.chain.from_iterable(archive.fetch([file], tmp_path) for file in files))
    assert sum(server.hits.values()) <= REFUSALS + 4
