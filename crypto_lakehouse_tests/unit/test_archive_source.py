"""The Binance archive source against a real HTTP server with programmed faults."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.archive.listing import MalformedAnswerError, parse_page
from crypto_lakehouse.archive.memory_budget import HeldFile, MemoryBudget
from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveSource,
    FetchedFile,
    ListedSymbol,
    RejectedFile,
)
from crypto_lakehouse_tests.unit.archive_http import (
    BUCKET,
    DATA,
    FOLDER,
    FUNDING,
    KEY,
    SPOT_1M,
    SPOT_1W,
    Server,
    check_fetched,
    fetch_one,
    listing,
    rejected,
    saved,
    serve,
    source,
    status,
    stop_after,
)


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_symbols_over_pages(server: Server, page_size: int, caplog: pytest.LogCaptureFixture) -> None:
    server.page_size = page_size
    for name in ("ETHUSDT", "BTCUSDT", "币安人生USDT", "BAD NAME"):
        server.put(f"data/spot/daily/klines/{name}/1m/{name}-1m-2024-01-01.zip")
    server.files["data/spot/daily/klines/readme.txt"] = b"beside the folders"
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
    assert "BAD NAME" in caplog.text


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_files_of_a_range(server: Server, page_size: int) -> None:
    server.page_size = page_size
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for day in range(1, 29):
            server.put(f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-{day:02}.zip", b"12")
    server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-10-new.zip")
    server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-1x.zip")
    found = source(server).files(SPOT_1M, ["ETHUSDT", "BTCUSDT", "NONE"], date(2024, 1, 10), date(2024, 1, 12))
    assert [(file.period, file.symbol) for file in found] == [
        ("2024-01-10", "BTCUSDT"),
        ("2024-01-10", "ETHUSDT"),
        ("2024-01-11", "BTCUSDT"),
        ("2024-01-11", "ETHUSDT"),
    ]
    assert found[0].object_key == f"{FOLDER}/BTCUSDT-1m-2024-01-10.zip"
    assert (found[0].size, found[0].etag) == (2, "abc")
    assert found[0].last_modified == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.requirement("F2.1")
def test_a_listing_stops_at_the_end_of_the_range(server: Server) -> None:
    for day in range(1, 29):
        server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip")
    assert len(source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 3))) == 2
    assert server.hits[BUCKET] == 1
    assert source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 3), date(2024, 1, 3)) == []
    assert server.hits[BUCKET] == 1


@pytest.mark.requirement("F2.1")
@pytest.mark.parametrize("page_size", [3, 1000])
def test_periods_are_those_of_the_files(server: Server, page_size: int) -> None:
    server.page_size = page_size
    for symbol, days in (("BTCUSDT", range(1, 13)), ("ETHUSDT", range(11, 29))):
        for day in days:
            server.put(f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-{day:02}.zip")
    wanted = ["ETHUSDT", "BTCUSDT", "NONE", "BTCUSDT"]
    first, end = date(2024, 1, 10), date(2024, 1, 14)
    assert dict(source(server).periods(SPOT_1M, wanted, first, end)) == {
        "BTCUSDT": ["2024-01-10", "2024-01-11", "2024-01-12"],
        "ETHUSDT": ["2024-01-11", "2024-01-12", "2024-01-13"],
        "NONE": [],
    }
    assert dict(source(server).periods(SPOT_1M, ["BTCUSDT"], end, first)) == {"BTCUSDT": []}
    with pytest.raises(ValueError, match="not a symbol"):
        source(server).periods(SPOT_1M, ["../x"], first, end)
    server.faults[BUCKET] = [status(403)]
    with pytest.raises(ArchiveError, match="HTTP 403"):
        list(source(server).periods(SPOT_1M, ["BTCUSDT"], first, end))


@pytest.mark.requirement("F2.1")
def test_monthly_folders(server: Server) -> None:
    for month in ("2024-01", "2024-02", "2024-03"):
        server.put(f"data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-{month}.zip")
        server.put(f"data/spot/monthly/klines/BTCUSDT/1w/BTCUSDT-1w-{month}.zip")
    for wanted in (FUNDING, SPOT_1W):
        files = source(server).files(wanted, ["BTCUSDT"], date(2024, 1, 2), date(2024, 3, 1))
        assert [file.period for file in files] == ["2024-02"]


@pytest.mark.requirement("F2.1", "F2.4")
def test_listing_retries_then_says_what_failed(server: Server) -> None:
    server.put(KEY)
    server.faults[BUCKET] = [status(500), serve(b"<html>")]
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT"]
    server.faults[BUCKET] = [status(500)] * 3
    with pytest.raises(ArchiveError, match=r"cannot list .*HTTP 500.*Check the network"):
        source(server).symbols(SPOT_1M)
    server.faults[BUCKET] = [status(403)]
    with pytest.raises(ArchiveError, match="HTTP 403"):
        source(server).files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 2))


@pytest.mark.requirement("F2.1")
def test_a_listing_that_does_not_advance_ends(server: Server) -> None:
    body = listing("<NextMarker>a</NextMarker>", truncated=True).encode()
    server.faults[BUCKET] = [serve(body)] * 9
    with pytest.raises(ArchiveError, match="goes back"):
        source(server).symbols(SPOT_1M)


@pytest.mark.requirement("F2.1")
def test_a_listing_without_an_end_is_cut(server: Server) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)
            sent += 2**20

    server.faults[BUCKET] = [endless]
    with pytest.raises(ArchiveError, match="listing has more than 33,554,432 bytes"):
        source(server, attempts=1).symbols(SPOT_1M)
    assert sent < 64 * 2**20


@pytest.mark.requirement("F2.1", "T7")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Error/>",
        b"\xff",
        listing("").replace("<List", "<!DOCTYPE x [<!ENTITY a 'b'>]><List", 1).encode(),
        listing("<!ENTITY a 'b'>").encode("utf-16"),
        listing("", truncated=True).encode(),
        listing("<Contents><Key>a</Key></Contents>").encode(),
    ],
)
def test_pages_that_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        parse_page(body)


@pytest.mark.requirement("F2.1", "T7")
def test_unsafe_symbols_are_never_asked_for(server: Server) -> None:
    with pytest.raises(ValueError, match="not a symbol"):
        source(server).files(SPOT_1M, ["../x"], date(2024, 1, 1), date(2024, 1, 2))
    assert not server.hits


@pytest.mark.requirement("F2.1")
def test_sync_methods_work_inside_a_running_loop(server: Server) -> None:
    server.put(KEY)

    async def notebook_cell() -> list[str]:
        return source(server).symbols(SPOT_1M)

    assert asyncio.run(notebook_cell()) == ["BTCUSDT"]


# --- download


@pytest.mark.requirement("F2.2")
@pytest.mark.parametrize("text", ["{sha}  {name}\n", "{sha}  {name}", "{sha}  {name}\r\n"])
def test_fetch_verifies(server: Server, tmp_path: Path, text: str) -> None:
    check_fetched(fetch_one(server, server.put(KEY, checksum=text), tmp_path), tmp_path)


@pytest.mark.requirement("F2.2")
def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    for _ in range(2):
        check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 1
    (tmp_path / KEY).write_bytes(b"damaged")
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 2


@pytest.mark.requirement("F2.2")
def test_rejects(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY, checksum=None)
    assert rejected(server, file, tmp_path) == "checksum_missing"
    for text in ("", "no", "{sha}", "{sha}  other.zip", "{sha}  {name}\nmore", "x" * 9000):
        assert rejected(server, server.put(KEY, checksum=text), tmp_path) == "checksum_malformed"
    server.put(KEY)
    server.faults[KEY] = [status(403)]
    assert rejected(server, file, tmp_path) == "forbidden"
    server.faults[KEY] = [status(404)]
    assert rejected(server, file, tmp_path) == "not_found"
    server.files.clear()
    assert rejected(server, file, tmp_path) == "not_found"


@pytest.mark.requirement("F2.2")
def test_checksum_mismatch(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [serve(b"stale")]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    (tmp_path / KEY).unlink()
    server.faults[KEY] = [serve(b"stale")] * 2
    result = fetch_one(server, file, tmp_path)
    assert isinstance(result, RejectedFile)
    assert (result.reason, result.sha256) == ("checksum_mismatch", hashlib.sha256(b"stale").hexdigest())
    assert not saved(tmp_path)


@pytest.mark.requirement("F2.2")
def test_an_old_zip_with_its_old_checksum_is_not_the_file_that_is_listed(server: Server, tmp_path: Path) -> None:
    old, new = DATA[:-1], DATA
    server.put(KEY, old)
    older = [serve(server.files[KEY]), serve(server.files[KEY])], [serve(server.files[f"{KEY}.CHECKSUM"])] * 2
    file = server.put(KEY, new)
    server.faults = {KEY: older[0][:1], f"{KEY}.CHECKSUM": older[1][:1]}
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.hits[KEY] == 2
    (tmp_path / KEY).write_bytes(old)
    server.faults = {KEY: older[0], f"{KEY}.CHECKSUM": older[1]}
    (result,) = source(server).fetch([file], tmp_path, MemoryBudget(2 * len(DATA)))
    assert isinstance(result, RejectedFile)
    assert (result.reason, result.sha256) == ("size_mismatch", hashlib.sha256(old).hexdigest())
    assert "lists 1,024,000 bytes but serves 1,023,999" in result.detail


@pytest.mark.requirement("F2.2")
def test_many_files_one_bad(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 29)]
    files = [server.put(key, key.encode()) for key in keys]
    del server.files[keys[3]]
    results = list(source(server).fetch(files, tmp_path))
    assert {result.file.object_key for result in results} == set(keys)
    assert [r.file.object_key for r in results if isinstance(r, RejectedFile)] == [keys[3]]
    assert len(saved(tmp_path)) == len(keys) - 1


@pytest.mark.requirement("F2.2")
def test_a_folder_that_cannot_be_written_is_not_a_reject(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    with pytest.raises(ArchiveError, match="no such folder"):
        source(server).fetch([file], tmp_path / "none")
    (tmp_path / f"{KEY}.part").mkdir(parents=True)
    with pytest.raises(ArchiveError, match=f"cannot write .* to {tmp_path}"):
        list(source(server).fetch([file], tmp_path))


@pytest.mark.requirement("F2.2")
def test_a_write_that_fails_midway_is_not_a_reject(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    # A file size limit makes the kernel refuse the write, as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(ArchiveError, match="free space"):
            list(source(server).fetch([file], tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("P4")
def test_a_file_costs_two_requests(server: Server, tmp_path: Path) -> None:
    check_fetched(fetch_one(server, server.put(KEY), tmp_path), tmp_path)
    assert server.hits == {KEY: 1, f"{KEY}.CHECKSUM": 1}


@pytest.mark.requirement("F2.2")
def test_closing_the_iterator_stops_the_downloads(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 29)]
    files = [server.put(key) for key in keys]
    for key in keys[1:]:
        server.faults[key] = [stop_after(10, stall=True)]
    results = source(server, concurrency=2).fetch(files, tmp_path)
    check = next(results)
    assert isinstance(check, FetchedFile)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "archive-source"]
    assert server.hits[keys[-1]] == 0


@pytest.mark.requirement("F2.2", "P3")
def test_small_files_are_held_in_memory_while_there_is_room(server: Server, tmp_path: Path) -> None:
    keys = [f"{FOLDER}/BTCUSDT-1m-2024-01-{day:02}.zip" for day in range(1, 5)]
    small, hold = DATA[:1000], MemoryBudget(2_500)
    files = [server.put(key, small) for key in keys]
    large = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-31.zip")
    come = list(source(server).fetch([large, *files], tmp_path, hold))
    places = {got.file.object_key: got.path for got in come if isinstance(got, FetchedFile)}
    for key, place in places.items():
        with place.open("rb") as stream:
            assert stream.read() == server.files[key]
    held = [place for place in places.values() if isinstance(place, HeldFile)]
    assert len(held) == 2
    assert saved(tmp_path) == sorted(place for place in places.values() if isinstance(place, Path))
    assert len(places) == 5
    hold.give_back(1000)
    (again,) = source(server).fetch([server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-30.zip", small)], tmp_path, hold)
    assert isinstance(again, FetchedFile)
    assert isinstance(again.path, HeldFile)


@pytest.mark.requirement("F2.2")
def test_a_file_with_a_wrong_checksum_is_not_kept_in_memory(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY, DATA[:1000], checksum=f"{'0' * 64}  {{name}}\n")
    hold = MemoryBudget(1000)
    (result,) = source(server).fetch([file], tmp_path, hold)
    assert isinstance(result, RejectedFile)
    assert result.reason == "checksum_mismatch"
    assert hold.take(1000)


# --- both at once


async def as_usual(_: web.Request) -> None:
    """No fault."""


def listed_and_fetched(
    of: Callable[..., Iterator[ListedSymbol | FetchedFile | RejectedFile]], directory: Path, symbols: Sequence[str]
) -> tuple[dict[str, list[str]], set[str]]:
    """Listed keys by symbol, and keys of the fetched files; files of 2024-01-02 are wanted."""
    directory.mkdir()
    span = date(2024, 1, 1), date(2024, 1, 4)
    come = list(of(SPOT_1M, symbols, *span, lambda file: file.period == "2024-01-02", directory, None))
    by_symbol = {one.symbol: [file.object_key for file in one.files] for one in come if isinstance(one, ListedSymbol)}
    fetched = {one.file.object_key for one in come if isinstance(one, FetchedFile)}
    assert len(come) == len(by_symbol) + len(fetched)
    return by_symbol, fetched


@pytest.mark.requirement("F2.1", "P4")
def test_listing_and_fetching_at_once_equals_listing_then_fetching(server: Server, tmp_path: Path) -> None:
    keys = [
        f"data/spot/daily/klines/{symbol}/1m/{symbol}-1m-2024-01-0{day}.zip"
        for symbol in ("BTCUSDT", "ETHUSDT")
        for day in range(1, 5)
    ]
    for key in keys:
        server.put(key)
    both = source(server)
    symbols = ["ETHUSDT", "NONE", "BTCUSDT"]
    at_once = listed_and_fetched(both.list_and_fetch, tmp_path / "at once", symbols)
    in_turn = listed_and_fetched(partial(ArchiveSource.list_and_fetch, both), tmp_path / "in turn", symbols)
    assert at_once == in_turn
    by_symbol, fetched = at_once
    assert by_symbol == {"BTCUSDT": keys[:3], "ETHUSDT": keys[4:7], "NONE": []}
    assert fetched == {keys[1], keys[5]}


@pytest.mark.requirement("P4")
def test_files_are_fetched_while_others_are_listed(server: Server, tmp_path: Path) -> None:
    file = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-02.zip")

    async def when_the_file_was_asked_for(_: web.Request) -> None:
        async with asyncio.timeout(30):
            while not server.hits[file.object_key]:
                await asyncio.sleep(0.01)

    server.faults[BUCKET] = [as_usual, when_the_file_was_asked_for]
    by_symbol, fetched = listed_and_fetched(
        source(server, concurrency=1).list_and_fetch, tmp_path / "folder", ["BTCUSDT", "ETHUSDT"]
    )
    assert by_symbol == {"BTCUSDT": [file.object_key], "ETHUSDT": []}
    assert fetched == {file.object_key}


@pytest.mark.requirement("F2.1")
def test_a_failed_listing_stops_the_parallel_downloads(server: Server, tmp_path: Path) -> None:
    file = server.put(f"{FOLDER}/BTCUSDT-1m-2024-01-02.zip")
    server.faults[file.object_key] = [stop_after(10, stall=True)]
    server.faults[BUCKET] = [as_usual, status(404)]
    begun = source(server, attempts=1, concurrency=1).list_and_fetch
    with pytest.raises(ArchiveError, match="cannot list ETHUSDT"):
        listed_and_fetched(begun, tmp_path / "folder", ["BTCUSDT", "ETHUSDT"])
    assert not [thread for thread in threading.enumerate() if thread.name == "archive-source"]
    with pytest.raises(ArchiveError, match="no such folder"):
        source(server).list_and_fetch(SPOT_1M, [], date(2024, 1, 1), date(2024, 1, 2), bool, tmp_path / "none")
    with pytest.raises(ValueError, match="x"):
        source(server).list_and_fetch(SPOT_1M, ["../x"], date(2024, 1, 1), date(2024, 1, 2), bool, tmp_path)


# --- retries and resume
