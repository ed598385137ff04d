"""The archive server over real HTTP: S3 listings and files."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from crypto_lakehouse.sample.server import ArchiveServer

pytestmark = pytest.mark.requirement("F2.6")

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
# In byte order, which is not the order of a walk: '-' and '.' come before '/'.
KEYS = ["data/a-b.txt", "data/a.zip", "data/a.zip.CHECKSUM", "data/a/1.zip", "data/a/2.zip", "data/b/c/3.zip"]
KEYS += ["data/z.txt", "data/ä/4.zip"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for key in KEYS:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {key}".encode())
    (tmp_path / "secret.txt").write_text("secret")
    (root / "data/empty").mkdir()
    (root / "data/.z.txt.tmp").write_text("draft")
    (root / "data/y.tmp").write_text("draft")
    (root / "data/link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "data/link").symlink_to(tmp_path)
    return root


@pytest.fixture
def server(root: Path) -> Iterator[ArchiveServer]:
    with ArchiveServer(root) as server:
        yield server


def get(
    server: ArchiveServer, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    # http.client sends a path as it is, also one with dots.
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def page(server: ArchiveServer, base: str = "/listing", **query: str) -> ElementTree.Element:
    status, _, body = get(server, f"{base}?{urlencode({k.replace('_', '-'): v for k, v in query.items()})}")
    assert status == 200
    return ElementTree.fromstring(body)


def keys(root: ElementTree.Element) -> list[str]:
    return [e.text or "" for e in root.iter(f"{NS}Key")]


def prefixes(root: ElementTree.Element) -> list[str]:
    return [e.text or "" for e in root.findall(f"{NS}CommonPrefixes/{NS}Prefix")]


@pytest.mark.parametrize(
    "prefix", ["data/link/", "data/link/s", "../", "data/../data/", "data//", "data/.hidden/", "none/"]
)
def test_the_listing_of_an_unknown_folder_is_empty(server: ArchiveServer, root: Path, prefix: str) -> None:
    (root / "data/.hidden").mkdir()
    (root / "data/.hidden/z.txt").write_text("hidden")
    for delimiter in ("", "/"):
        found = page(server, prefix=prefix, delimiter=delimiter)
        assert (keys(found), prefixes(found)) == ([], [])


@pytest.mark.parametrize("base", ["/listing", "/"])
def test_listing_gives_all_keys_in_byte_order_and_nothing_else(server: ArchiveServer, base: str) -> None:
    found = page(server, base, prefix="data/")
    assert keys(found) == KEYS
    assert found.findtext(f"{NS}IsTruncated") == "false"
    assert keys(page(server, base, prefix="data/a.")) == ["data/a.zip", "data/a.zip.CHECKSUM"]
    assert keys(page(server, base, prefix="nothing/")) == []
    assert keys(page(server, base, prefix="data/", marker="data/a/1.zip")) == KEYS[4:]
    assert keys(page(server, base, prefix="data/", marker="data/a/")) == KEYS[3:]


def test_an_entry_has_size_time_and_md5(server: ArchiveServer, root: Path) -> None:
    os.utime(root / KEYS[0], ns=(1_700_000_000_900_000_000, 1_700_000_000_900_000_000))
    entry = page(server, prefix=KEYS[0]).find(f"{NS}Contents")
    assert entry is not None
    content = (root / KEYS[0]).read_bytes()
    assert [(e.tag.removeprefix(NS), e.text) for e in entry] == [
        ("Key", KEYS[0]),
        ("LastModified", "2023-11-14T22:13:20.000Z"),
        ("ETag", f'"{hashlib.md5(content).hexdigest()}"'),
        ("Size", str(len(content))),
        ("StorageClass", "STANDARD"),
    ]


def test_the_delimiter_groups_folders_next_to_files(server: ArchiveServer) -> None:
    found = page(server, prefix="data/", delimiter="/")
    assert keys(found) == [k for k in KEYS if k.count("/") == 1]
    assert prefixes(found) == ["data/a/", "data/b/", "data/ä/"]
    assert prefixes(page(server, prefix="data", delimiter="/")) == ["data/"]
    assert prefixes(page(server, prefix="data/", delimiter="/", marker="data/a/1.zip")) == [
        "data/a/",
        "data/b/",
        "data/ä/",
    ]


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_paging_gives_everything_once(server: ArchiveServer, delimiter: str, size: int) -> None:
    whole = page(server, prefix="data/", delimiter=delimiter)
    seen: list[str] = []
    marker, more = "", True
    while more:
        part = page(server, prefix="data/", delimiter=delimiter, marker=marker, max_keys=str(size))
        found = sorted(keys(part) + prefixes(part))
        more = part.findtext(f"{NS}IsTruncated") == "true"
        assert len(found) == size if more else 0 < len(found) <= size
        following = part.findtext(f"{NS}NextMarker")
        assert following == (found[-1] if more and delimiter else None)
        seen, marker = seen + found, found[-1]
    assert seen == sorted(keys(whole) + prefixes(whole))


def test_a_page_holds_a_thousand_keys_at_most(server: ArchiveServer, root: Path) -> None:
    for i in range(1001):
        (root / f"data/b/{i:04d}").write_bytes(b"")
    found = page(server, prefix="data/b/", max_keys="5000")
    assert len(keys(found)) == 1000
    assert (found.findtext(f"{NS}MaxKeys"), found.findtext(f"{NS}IsTruncated")) == ("1000", "true")
    assert keys(page(server, prefix="data/b/", max_keys="0")) == []


@pytest.mark.parametrize("query", ["max-keys=x", "max-keys=-1", "delimiter=a"])
def test_bad_queries_are_refused_in_xml(server: ArchiveServer, query: str) -> None:
    status, _, body = get(server, f"/listing?{query}")
    assert status == 400
    assert ElementTree.fromstring(body).findtext("Code") == "InvalidArgument"


def test_file_comes_with_the_etag_of_the_listing(server: ArchiveServer, root: Path) -> None:
    status, headers, body = get(server, "/data/a.zip")
    assert (status, body) == (200, (root / "data/a.zip").read_bytes())
    assert headers["ETag"] == page(server, prefix="data/a.zip").findtext(f"{NS}Contents/{NS}ETag")
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Last-Modified"].endswith("GMT")
    status, head, body = get(server, "/data/a.zip", method="HEAD")
    assert (status, head["ETag"], head["Content-Length"], body) == (
        200,
        headers["ETag"],
        headers["Content-Length"],
        b"",
    )
    assert get(server, "/data/%C3%A4/4.zip")[0] == 200


def test_ranges_and_conditions(server: ArchiveServer, root: Path) -> None:
    content = (root / "data/a.zip").read_bytes()
    etag, modified = (get(server, "/data/a.zip")[1][name] for name in ("ETag", "Last-Modified"))
    for asked, given in (
        ("bytes=3-5", slice(3, 6)),
        ("bytes=3-", slice(3, None)),
        ("bytes=-4", slice(-4, None)),
    ):
        for condition in ({}, {"If-Range": etag}, {"If-Range": modified}):
            status, headers, body = get(server, "/data/a.zip", {"Range": asked, **condition})
            assert (status, body) == (206, content[given])
            first = given.start % len(content)
            expected = f"bytes {first}-{first + len(body) - 1}/{len(content)}"
            assert headers["Content-Range"] == expected
    status, _, body = get(server, "/data/a.zip", {"Range": "bytes=3-5", "If-Range": '"other"'})
    assert (status, body) == (200, content)
    status, headers, _ = get(server, "/data/a.zip", {"Range": f"bytes={len(content)}-"})
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert get(server, "/data/a.zip", {"If-None-Match": etag})[0] == 304
    assert get(server, "/data/a.zip", {"If-None-Match": '"other"'})[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/data/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/data/..%2f..%2fsecret.txt",
        "/data/%2e%2e%2f%2e%2e%2fsecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/data/link.txt",
        "/data/link/secret.txt",
        "/data/.z.txt.tmp",
        "/data/y.tmp",
        "/data/a",
        "/data/a.zip/",
        "/data/a.zip%00",
        "/data/absent.zip",
    ],
)
def test_nothing_else_is_served(server: ArchiveServer, path: str) -> None:
    status, headers, body = get(server, path)
    assert status == 404
    assert headers["Content-Type"].startswith("application/xml")
    assert ElementTree.fromstring(body).findtext("Code") == "NoSuchKey"


def test_changed_new_and_removed_files_are_seen(server: ArchiveServer, root: Path) -> None:
    before = get(server, "/data/a.zip")[1]["ETag"]
    # The same length, so that only content and time differ.
    path = root / "data/a.zip"
    path.write_bytes(path.read_bytes().upper())
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000_000))
    (root / "data/new.zip").write_bytes(b"new")
    (root / "data/z.txt").unlink()
    _, headers, body = get(server, "/data/a.zip")
    assert body.startswith(b"CONTENT")
    assert headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' != before
    found = page(server, prefix="data/")
    assert set(keys(found)) == {*KEYS, "data/new.zip"} - {"data/z.txt"}
    assert page(server, prefix="data/a.zip").findtext(f"{NS}Contents/{NS}ETag") == headers["ETag"]


def test_a_missing_folder_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="absent"), ArchiveServer(tmp_path / "absent"):
        pass


def test_a_client_that_goes_away_is_no_error(
    server: ArchiveServer, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "data/large.zip").write_bytes(bytes(64 * 1024**2))
    caplog.set_level(logging.INFO)
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"GET /data/large.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1024)
    end = time.monotonic() + 60
    while not any("the client closed the connection" in record.message for record in caplog.records):
        assert time.monotonic() < end, caplog.text
        time.sleep(0.01)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
