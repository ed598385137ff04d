"""Network faults of an archive: temporary errors, broken downloads, credentials in URLs, and redirects."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.archive.download import local_path, parse_checksum
from crypto_lakehouse.archive.http_client import HttpError, is_worth_retrying, retry_after
from crypto_lakehouse.archive.model import (
    ArchiveError,
    ArchiveFile,
    RejectedFile,
)
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.unit.archive_http import (
    BUCKET,
    KEY,
    SPOT_1M,
    Server,
    check_fetched,
    fetch_one,
    rejected,
    source,
    status,
    stop_after,
)


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("code", [500, 502, 429, 503, 418])
def test_passing_errors_are_retried(server: Server, tmp_path: Path, code: int) -> None:
    file = server.put(KEY)
    server.faults = {KEY: [status(code, Retry_After="1")], f"{KEY}.CHECKSUM": [status(code)]}
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("F2.4")
def test_the_number_of_attempts_is_bounded(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [status(500)] * 9
    assert rejected(server, file, tmp_path) == "http_error"
    assert server.hits[KEY] == 3
    server.faults[KEY] = [status(429, Retry_After="86400")] * 9
    assert rejected(server, file, tmp_path) == "http_error"
    assert server.hits[KEY] == 4


@pytest.mark.requirement("F2.4")
def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(300_000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    kept = (tmp_path / f"{KEY}.part").stat().st_size
    assert 0 < kept <= 300_000
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == [f"bytes={kept}-"]


@pytest.mark.requirement("F2.4")
def test_a_small_file_goes_on_too(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(10_000)]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == ["bytes=10000-"]
    (tmp_path / KEY).unlink()
    server.faults[KEY] = [stop_after(10_000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert server.ranges == ["bytes=10000-"] * 2


@pytest.mark.requirement("F2.4")
def test_a_stall_times_out_and_is_resumed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(300_000, stall=True)]
    check_fetched(fetch_one(server, file, tmp_path, timeout=0.3), tmp_path)
    assert server.ranges[-1] is not None
    (tmp_path / KEY).unlink()
    server.faults[KEY] = [stop_after(0, stall=True)]
    assert rejected(server, file, tmp_path, attempts=1, timeout=0.3) == "timeout"


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("fault", [None, 416, 206])
def test_a_partial_download_of_an_older_file_is_not_used(server: Server, tmp_path: Path, fault: int | None) -> None:
    file = server.put(KEY)
    server.faults[KEY] = [stop_after(1000, data=b"older" * 1000)]
    assert rejected(server, file, tmp_path, attempts=1) == "connection_error"
    if fault:
        server.faults[KEY] = [status(fault)]
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)


@pytest.mark.requirement("F2.4")
def test_a_refused_connection_is_reported(tmp_path: Path, server: Server) -> None:
    file = server.put(KEY)
    gone = BinanceArchive("http://127.0.0.1:9", "http://127.0.0.1:9/bucket", attempts=2)
    (result,) = gone.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert result.reason == "connection_error"
    with pytest.raises(
        ArchiveError, match=r"cannot list .*127\.0\.0\.1:9: Connection refused \(up to 2 attempts\)\. Check"
    ):
        gone.symbols(SPOT_1M)


@pytest.mark.requirement("F1.2", "F2.4")
def test_credentials_of_a_url_are_sent_and_never_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent: set[str | None] = set()

    async def note(request: web.Request) -> None:
        sent.add(request.headers.get("Authorization"))

    async def odd_listing(request: web.Request) -> web.Response:
        await note(request)
        return web.Response(text="<html/>")

    missing = server.put(KEY)
    server.files.clear()
    server.put("data/spot/daily/klines/bad name/1m/x.zip")
    server.faults = {f"{KEY}.CHECKSUM": [note], BUCKET: [note, odd_listing, status(404)]}
    url = server.url.replace("http://", "http://bob:s3cr%40t@")
    source = BinanceArchive(url, f"{url}/{BUCKET}", attempts=1)
    [rejected] = source.fetch([missing], tmp_path)
    assert isinstance(rejected, RejectedFile)
    texts = [rejected.detail, str(source.symbols(SPOT_1M))]
    for _ in range(2):
        with pytest.raises(ArchiveError, match="cannot list") as caught:
            source.symbols(SPOT_1M)
        texts += [str(caught.value), str(caught.value.__cause__)]
    assert sent == {"Basic " + base64.b64encode(b"bob:s3cr@t").decode()}
    gone = BinanceArchive("http://bob:s3cr%40t@127.0.0.1:9", "http://bob:s3cr%40t@127.0.0.1:9/bucket", attempts=1)
    with pytest.raises(ArchiveError, match="cannot list") as caught:
        gone.symbols(SPOT_1M)
    texts += [str(caught.value), *(str(one) for one in gone.fetch([missing], tmp_path))]
    for bad in (
        "ftp://bob:s3cr%40t@host",
        "http://bob:s3cr%40t@",
        "http://bob:s3cr%40t@host:x",
        "http://bob:s3cr%40t@[h",
        "http://bob:12/s3cr@host",
    ):
        with pytest.raises(ValueError, match=r"\*\*\*\*@") as refused:
            BinanceArchive("http://host", bad)
        texts += [str(refused.value), str(refused.value.__context__)]
    texts += [str(HttpError(f"{url}/x", 404)), caplog.text]
    assert "skipped a folder" in caplog.text
    assert not [text for text in texts if "s3cr" in text or "bob" in text]


@pytest.mark.requirement("F2.4")
def test_redirects_within_the_server_are_followed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    server.faults = {
        KEY: [status(302, Location="/moved/there")],
        "moved/there": [status(307, Location=f"{server.url}/{KEY}")],
        BUCKET: [status(301, Location=f"/{BUCKET}?prefix=data/spot/daily/klines/&max-keys=9&delimiter=/")],
    }
    check_fetched(fetch_one(server, file, tmp_path), tmp_path)
    assert source(server).symbols(SPOT_1M) == ["BTCUSDT"]


@pytest.mark.requirement("F2.4", "F1.2")
def test_redirects_to_another_server_are_reported_and_not_followed(server: Server, tmp_path: Path) -> None:
    file = server.put(KEY)
    other = Server()
    try:
        places = [
            other.url.replace("http://", "http://bob:s3cr@"),
            other.url.removeprefix("http:"),
            server.url.replace("http:", "https:"),
            "file:///etc/passwd",
            "http://[h",
            "/moved",
        ]
        for place in places:
            server.faults = {name: [status(302, Location=place)] * 30 for name in (KEY, BUCKET, "moved")}
            result = fetch_one(server, file, tmp_path)
            assert isinstance(result, RejectedFile)
            with pytest.raises(ArchiveError, match="cannot list") as caught:
                source(server).symbols(SPOT_1M)
            for text in (result.detail, str(caught.value)):
                assert "HTTP 302" in text
                assert place.rpartition("@")[2] in text
                assert "s3cr" not in text
        assert not other.hits
        # Nothing of it heals by asking again.
        assert server.hits[KEY] == server.hits[BUCKET] == len(places)
    finally:
        other.stop()


@pytest.mark.requirement("F2.4")
def test_retry_after_forms() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2115 07:28:00 GMT"}) > 1e9
    assert retry_after({"Retry-After": "soon"}) == retry_after({}) == 0
    assert retry_after({"Retry-After": f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT"}) == 0
    assert is_worth_retrying(HttpError("u", 429, 10))
    assert not is_worth_retrying(HttpError("u", 429, 1e9))
    assert not is_worth_retrying(HttpError("u", 404))


# --- names


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    "key",
    ["", "/etc/x.zip", "a/../x.zip", "a//x.zip", "a/.x.zip", "a/x?y.zip", "a\\x", "a/x\n", f"a/{'x' * 300}"],
)
def test_unsafe_keys(server: Server, tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a safe archive key"):
        local_path(tmp_path, key)
    file = ArchiveFile(key, "X", "2024-01-01", 1, "e", datetime(2024, 1, 1, tzinfo=UTC))
    # It fails alone.
    other = server.put(KEY)
    first, second = sorted(source(server).fetch([file, other], tmp_path), key=lambda result: result.file != file)
    assert isinstance(first, RejectedFile)
    assert first.reason == "unsafe_name"
    assert "at most 200 bytes" in first.detail
    check_fetched(second, tmp_path)
    assert set(server.hits) == {KEY, f"{KEY}.CHECKSUM"}


@pytest.mark.requirement("F2.2")
def test_checksum_text() -> None:
    assert parse_checksum(f"{'AB' * 32} *x.zip", "x.zip") == "ab" * 32
    with pytest.raises(ValueError, match="not for"):
        parse_checksum(f"{'ab' * 32}  y.zip", "x.zip")
