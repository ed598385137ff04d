"""The checks of the archive's zip files, on files with each fault."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto_lakehouse.archive.inflate import verified
from crypto_lakehouse.archive.memory_budget import HeldFile
from crypto_lakehouse.archive.unzip import BadZip, iter_member, read_member
from crypto_lakehouse.archive.verify import verify_zip

NAME = "BTCUSDT-1m-2024-01-01.csv"


def make(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def reason(path: Path, max_bytes: int = 2**33) -> str:
    with pytest.raises(BadZip) as caught:
        read_member(path, NAME, max_bytes)
    assert path.name in caught.value.detail
    return caught.value.reason


def taken_before_refusal(path: Path, max_bytes: int) -> int:
    taken = 0
    with pytest.raises(BadZip, match="too_large"):  # noqa: PT012
        for chunk in iter_member(path, NAME, max_bytes):
            taken += len(chunk)
    return taken


@pytest.mark.requirement("F2.3")
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("data", [b"", b"1,2\n", b"1,2,3\n" * 900_000, random.Random(1).randbytes(3_500_000)])
def test_a_good_member_is_read_whole(tmp_path: Path, data: bytes, method: int) -> None:
    path = make(tmp_path / "a.zip", {NAME: data}, method)
    assert read_member(path, NAME) == data
    assert all(0 < len(chunk) <= 2**20 for chunk in iter_member(path, NAME))


@pytest.mark.requirement("F2.3")
def test_truncated_and_foreign_files_are_not_zips(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: random.Random(1).randbytes(1000)})
    whole = path.read_bytes()
    for body in (b"", b"<html>", whole[: len(whole) // 2], whole[:-5]):
        path.write_bytes(body)
        assert reason(path) == "not_a_zip"


@pytest.mark.requirement("F2.3")
def test_exactly_one_member(tmp_path: Path) -> None:
    assert reason(make(tmp_path / "a.zip", {})) == "member_count"
    assert reason(make(tmp_path / "b.zip", {NAME: b"1", "x.csv": b"2"})) == "member_count"


@pytest.mark.requirement("F2.3", "T7")
@pytest.mark.parametrize("name", ["../x.csv", "/etc/passwd", "a/../../x", "a\\b.csv", "C:x"])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    assert reason(make(tmp_path / "a.zip", {name: b"1"})) == "unsafe_member"


@pytest.mark.requirement("F2.3")
def test_another_name(tmp_path: Path) -> None:
    assert reason(make(tmp_path / "a.zip", {"ETHUSDT-1m-2024-01-01.csv": b"1"})) == "member_name"


@pytest.mark.requirement("F2.3")
def test_stated_size_past_the_limit(tmp_path: Path) -> None:
    assert reason(make(tmp_path / "a.zip", {NAME: b"12345"}), max_bytes=4) == "too_large"


@pytest.mark.requirement("F2.3")
def test_a_false_size_does_not_bypass_the_limit(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: b"1" * 5_000_000})
    body = bytearray(path.read_bytes())
    directory = body.rindex(b"PK\x01\x02")
    struct.pack_into("<I", body, directory + 24, 10)
    path.write_bytes(body)
    assert taken_before_refusal(path, 2_000_000) <= 2_000_000
    assert reason(path) == "corrupt"


@pytest.mark.requirement("F2.3")
def test_a_bomb_is_refused_early(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: bytes(200 * 2**20)})
    assert taken_before_refusal(path, 2**33) <= 17 * 2**20


@pytest.mark.requirement("F2.3")
def test_text_that_repeats_as_no_csv_does_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: (bytes(range(256)) * 200 + random.Random(3).randbytes(100)) * 500})
    assert 100 < 500 * 51_300 / path.stat().st_size < 1000 / 3
    assert taken_before_refusal(path, 2**33) <= 17 * 2**20


@pytest.mark.requirement("F2.3")
def test_the_default_limit_is_far_below_memory(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: b"1" * 1000})
    body = bytearray(path.read_bytes())
    struct.pack_into("<I", body, body.rindex(b"PK\x01\x02") + 24, 257 * 2**20)
    path.write_bytes(body)
    with pytest.raises(BadZip, match="too_large"):
        read_member(path, NAME)


@pytest.mark.requirement("F2.3")
def test_damaged_bytes(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        path = make(tmp_path / f"{method}.zip", {NAME: random.Random(2).randbytes(5000)}, method)
        body = bytearray(path.read_bytes())
        body[2000] ^= 0xFF
        path.write_bytes(body)
        assert reason(path) == "corrupt"
    assert reason(make(tmp_path / "b.zip", {NAME: b"1" * 100}, zipfile.ZIP_BZIP2)) == "corrupt"


@pytest.mark.requirement("F2.3")
def test_any_damaged_byte_of_the_stream(tmp_path: Path) -> None:
    data = b"".join(b"%d,%d.5\n" % (i, i * i) for i in range(300))
    path = make(tmp_path / "a.zip", {NAME: data})
    whole = path.read_bytes()
    for position in range(30 + len(NAME), whole.rindex(b"PK\x01\x02"), 7):
        body = bytearray(whole)
        body[position] ^= 0x55
        path.write_bytes(body)
        assert reason(path) == "corrupt"


@pytest.mark.requirement("F2.3")
def test_encrypted(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {NAME: b"1"})
    body = bytearray(path.read_bytes())
    body[body.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(body)
    assert reason(path) == "encrypted"


def body_of(method: int = zipfile.ZIP_DEFLATED, zip64: bool = False) -> bytes:
    """A good zip of some hundred bytes."""
    body = io.BytesIO()
    with patch("zipfile.ZIP64_LIMIT", -1 if zip64 else zipfile.ZIP64_LIMIT), zipfile.ZipFile(body, "w", method) as made:
        made.writestr(NAME, b"".join(b"%d,%d.5\n" % (i, i * i) for i in range(20)))
    return body.getvalue()


GOOD = [body_of(), body_of(zipfile.ZIP_STORED), body_of(zip64=True)]
END, DIRECTORY, END64 = b"PK\x05\x06", b"PK\x01\x02", b"PK\x06\x06"


def with_number(body: bytes, record: bytes, place: int, form: str, number: int) -> bytes:
    """The zip with another number in one of its records."""
    changed = bytearray(body)
    struct.pack_into(form, changed, body.rindex(record) + place, number)
    return bytes(changed)


def number_in(body: bytes, record: bytes, place: int, form: str) -> int:
    return int(struct.unpack_from(form, body, body.rindex(record) + place)[0])


@pytest.mark.requirement("F2.3")
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(
    ("good", "record", "place", "form", "number"),
    [
        # Directory's offset and size in the end record; the member's offset, in the entry and in its ZIP64 field.
        (GOOD[0], END, 16, "<I", number_in(GOOD[0], END, 16, "<I") + 1),
        (GOOD[0], END, 12, "<I", 2**32 - 2),
        (GOOD[0], DIRECTORY, 42, "<I", len(GOOD[0]) - 29),
        (GOOD[2], DIRECTORY, 46 + len(NAME) + 20, "<Q", 2**64 - 1),
        (GOOD[2], END64, 48, "<Q", 2**64 - 1),
        (GOOD[2], END64, 40, "<Q", 2**64 - 1),
    ],
)
def test_places_outside_of_the_file(
    tmp_path: Path, held: bool, good: bytes, record: bytes, place: int, form: str, number: int
) -> None:
    body = with_number(good, record, place, form, number)
    path = tmp_path / NAME.replace(".csv", ".zip")
    path.write_bytes(body)
    with pytest.raises(BadZip) as caught:
        read_member(HeldFile(path.name, body) if held else path, NAME)
    assert caught.value.reason in ("corrupt", "not_a_zip")
    assert caught.value.reason in [finding.status for finding in verify_zip(path).findings]


_CHANGES = st.lists(
    st.tuples(
        st.integers(0, max(map(len, GOOD)) - 1),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(4), bytes(8)]),
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.requirement("F2.3", "F2.9")
@settings(max_examples=1000)
@given(good=st.sampled_from(GOOD), changes=_CHANGES, length=st.none() | st.integers(0, 1000))
@example(GOOD[0], [(GOOD[0].rindex(END) + 16, b"\xff")], None)
def test_a_zip_with_any_change_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, changes: Sequence[tuple[int, bytes]], length: int | None
) -> None:
    changed = bytearray(good)
    for place, data in changes:
        changed[place : place + len(data)] = data
    body = bytes(changed[:length])
    path = tmp_path_factory.getbasetemp() / NAME.replace(".csv", ".zip")
    path.write_bytes(body)
    verify_zip(path)
    for one in (path, HeldFile(path.name, body)):
        with suppress(BadZip):
            read_member(one, NAME)
        with suppress(BadZip):
            list(verified(partial(iter_member, one, NAME)))
