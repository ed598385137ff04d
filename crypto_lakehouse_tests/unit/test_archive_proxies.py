"""Proxies between the client and an archive: the choice by the environment, and credentials."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile, RejectedFile
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.unit.archive_http import KEY, SPOT_1M, Server, check_fetched
from crypto_lakehouse_tests.unit.raw_server import RawServer


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the proxies of the machine that runs the tests."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.mark.requirement("F2.4")
def test_the_proxy_of_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = server.put(KEY)
    sent: set[str | None] = set()

    async def note(request: web.Request) -> None:
        sent.add(request.headers.get("Proxy-Authorization"))

    server.faults[KEY] = [note, note]
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://bob:s3cr%40t@"))
    away = BinanceArchive("http://archive.invalid", "http://archive.invalid/bucket", attempts=1)
    (result,) = away.fetch([file], tmp_path)
    check_fetched(result, tmp_path)
    assert sent == {"Basic " + base64.b64encode(b"bob:s3cr@t").decode()}
    (tmp_path / KEY).unlink()
    monkeypatch.setenv("no_proxy", "archive.invalid")
    (result,) = away.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "http://bob:s3cr%40t@127.0.0.1:9")
    (result,) = away.fetch([file], tmp_path)
    assert isinstance(result, RejectedFile)
    assert "s3cr" not in result.detail


@pytest.mark.requirement("F2.4")
@pytest.mark.parametrize("variables", [["ALL_PROXY"], ["all_proxy"], ["HTTP_PROXY"], ["http_proxy", "all_proxy"]])
def test_every_spelling_of_a_proxy_is_obeyed(
    variables: list[str], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.put(KEY)
    first, *others = variables
    monkeypatch.setenv(first, server.url)
    for other in others:
        # A proxy for the scheme takes precedence over one for all schemes.
        monkeypatch.setenv(other, "http://127.0.0.1:9")
    away = BinanceArchive("http://archive.invalid", "http://archive.invalid/bucket", attempts=1)
    (result,) = away.fetch([file], tmp_path)
    check_fetched(result, tmp_path)
    (tmp_path / KEY).unlink()
    for spelling in ("NO_PROXY", "no_proxy"):
        with monkeypatch.context() as patch:
            patch.setenv(spelling, "other.invalid, .invalid")
            (result,) = away.fetch([file], tmp_path)
        assert isinstance(result, RejectedFile)
        assert "cannot connect to archive.invalid" in result.detail


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "SOCKS"])
def test_a_socks_proxy_is_refused_by_name(name: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"{scheme}://bob:s3cr@127.0.0.1:9")
    archive = BinanceArchive("https://archive.invalid", "https://archive.invalid/bucket", attempts=1)
    with pytest.raises(ArchiveError, match=f"{name.upper()} names a SOCKS proxy, which is not supported") as caught:
        archive.symbols(SPOT_1M)
    assert "s3cr" not in str(caught.value)
    # What is not asked through it needs none.
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ArchiveError, match=r"cannot connect to archive\.invalid"):
        archive.symbols(SPOT_1M)


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize(
    ("scheme", "status"),
    [("http", 407), ("https", 407), ("https", 200), ("http", 0), ("https", 0)],
    ids=["refused", "tunnel refused", "no TLS in the tunnel", "away", "tunnel away"],
)
def test_the_password_of_a_proxy_is_sent_to_it_and_never_shown(
    scheme: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = ArchiveFile(KEY, "BTCUSDT", "2024-01-01", 1, "e", datetime(2024, 1, 2, tzinfo=UTC))
    with RawServer(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
        address = proxy.address if status else "127.0.0.1:9"
        monkeypatch.setenv(f"{scheme}_proxy", f"http://bob:s3cr%40t@{address}")
        away = BinanceArchive(f"{scheme}://archive.invalid", f"{scheme}://archive.invalid/bucket", attempts=2)
        (result,) = away.fetch([file], tmp_path)
        with pytest.raises(ArchiveError, match="cannot list") as caught:
            away.symbols(SPOT_1M)
    assert isinstance(result, RejectedFile)
    secret = base64.b64encode(b"bob:s3cr@t").decode()
    assert bool(proxy.asked) is bool(status)
    assert all(f"Proxy-Authorization: Basic {secret}\r\n" in head for head in proxy.asked)
    cause = caught.value.__cause__
    texts = [result.detail, str(caught.value), str(cause), repr(cause), *(str(vars(one)) for one in caplog.records)]
    assert not [text for text in texts if "s3cr" in text or "bob" in text or secret in text]
    if status == 407:
        assert all("407" in text for text in texts[:2])
        # A wrong password does not become right by asking again.
        assert len(proxy.asked) == 2


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize(
    "value", ["bob:s3cr@host:3128", "http://bob:s3/cr@host", "ftp://bob:s3cr@host", "http://bob:s3cr@host:x"]
)
def test_a_bad_proxy_is_named_by_its_variable(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(ArchiveError, match="HTTPS_PROXY is not an http:// or https:// URL") as caught:
        BinanceArchive("https://archive.invalid", "https://archive.invalid/bucket").symbols(SPOT_1M)
    assert "s3" not in str(caught.value)
    assert caught.value.__context__ is None
