"""Gzip files of an archive: good ones are read whole, all others are refused with a reason."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.archive.containers import iter_csv
from crypto_lakehouse.archive.gunzip import BadGzip, iter_gzip
from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.archive.unzip import BadZip
from crypto_lakehouse.catalog.model import Container

pytestmark = pytest.mark.requirement("F2.3")

LIMIT = 2**33
GOOD = gzip.compress(b"1,2,3\n" * 900_000, mtime=0)


def reason(body: bytes, max_bytes: int = LIMIT) -> str:
    with pytest.raises(BadGzip, match=r"a\.csv\.gz") as caught:
        list(iter_gzip(HeldFile("a.csv.gz", body), max_bytes))
    return caught.value.reason


@pytest.mark.parametrize("data", [b"", b"1,2\n", b"1,2,3\n" * 900_000, random.Random(1).randbytes(3_500_000)])
def test_a_good_file_is_read_whole(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(data))
    chunks = list(iter_gzip(path))
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= 2**20 for chunk in chunks)


def test_a_file_that_is_truncated_or_something_else_is_refused() -> None:
    assert {reason(body) for body in (b"", b"<html>", b"PK\x03\x04")} == {"not_a_gzip"}
    assert {reason(GOOD[:size]) for size in (2, 10, len(GOOD) // 2, len(GOOD) - 8, len(GOOD) - 1)} == {"corrupt"}


@pytest.mark.parametrize("place", [-8, -4], ids=["crc", "size"])
def test_a_wrong_crc_or_size_is_refused(place: int) -> None:
    body = bytearray(GOOD)
    body[place] ^= 1
    assert reason(bytes(body)) == "corrupt"


@pytest.mark.parametrize("more", [b"\0", gzip.compress(b"4,5,6\n"), b"x" * 2**21], ids=["byte", "stream", "megabytes"])
def test_bytes_after_the_stream_are_refused(more: bytes) -> None:
    assert reason(GOOD + more) == "corrupt"


@pytest.mark.requirement("T7")
def test_a_bomb_is_refused_before_memory_fills() -> None:
    bomb = gzip.compress(bytes(200 * 2**20))
    tracemalloc.start()
    try:
        assert reason(bomb) == "too_large"
        assert reason(GOOD, max_bytes=10_000) == "too_large"
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


@given(place=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_other_rows(place: int, bit: int) -> None:
    body = bytearray(GOOD)
    body[place] ^= 1 << bit
    try:
        data = b"".join(iter_gzip(HeldFile("a.csv.gz", bytes(body)), LIMIT))
    except BadGzip:
        return
    # A bit of the header, such as the time of the file.
    assert place < 10
    assert data == b"1,2,3\n" * 900_000


def test_the_container_of_the_feed_decides() -> None:
    file = HeldFile("a.zip", GOOD)
    assert b"".join(iter_csv(Container.GZIP_CSV, file, "x/a.zip", LIMIT)) == b"1,2,3\n" * 900_000
    with pytest.raises(BadZip, match="not_a_zip"):
        list(iter_csv(Container.ZIP_CSV, file, "x/a.zip", LIMIT))
