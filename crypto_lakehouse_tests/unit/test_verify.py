"""Zips on disk, good ones and one for each fault, in folders with links and missing files."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crypto_lakehouse.archive.verify import Checked, find_zips, verify_zip, verify_zips

NAME = "BTCUSDT-1m-2024-01-01"
DATA = b"1704067200000,1.0\n" * 50


def make(folder: Path, name: str = NAME, data: bytes = DATA, member: str | None = None) -> Path:
    """A good zip with its CHECKSUM."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member or f"{name}.csv", data)
    stamp(path)
    return path


def stamp(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    checksum(path).write_text(f"{digest}  {path.name}\n", encoding="ascii")


def checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.CHECKSUM")


def codes(checked: Checked) -> list[str]:
    return [finding.status for finding in checked.findings]


@pytest.mark.requirement("F2.9")
@pytest.mark.parametrize("form", ["{sha}  {name}\n", "{sha}  {name}", "{sha}  {name}\r\n", "{sha} *{name}\n"])
def test_a_good_zip_has_no_findings(tmp_path: Path, form: str) -> None:
    path = make(tmp_path)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    checksum(path).write_bytes(form.format(sha=sha, name=path.name).encode())
    assert verify_zip(path, tmp_path) == Checked(path, ())


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[45 + len(NAME)] ^= 0xFF
    path.write_bytes(body)


def two_members(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.csv", b"1")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def stamped(change: Callable[[Path], object]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        change(path)
        stamp(path)

    return changed


def encrypted(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[body.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(body)


FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no checksum": (lambda path: checksum(path).unlink(), ["checksum_missing"]),
    "empty checksum": (lambda path: checksum(path).write_bytes(b""), ["checksum_malformed"]),
    "html": (lambda path: checksum(path).write_bytes(b"<html>"), ["checksum_malformed"]),
    "no text": (lambda path: checksum(path).write_bytes(b"\xff\xfe"), ["checksum_malformed"]),
    "of another file": (
        lambda path: checksum(path).write_text(f"{'0' * 64}  other.zip\n"),
        ["checksum_malformed"],
    ),
    "endless": (lambda path: checksum(path).write_bytes(b" " * 10_000_000), ["checksum_malformed"]),
    # A good zip with a stale CHECKSUM and a zip damaged in transfer are two cases.
    "stale": (lambda path: checksum(path).write_text(f"{'0' * 64}  {path.name}\n"), ["checksum_mismatch"]),
    "damaged": (flip, ["checksum_mismatch", "corrupt"]),
    "truncated": (cut, ["checksum_mismatch", "not_a_zip"]),
    "republished damaged": (stamped(flip), ["corrupt"]),
    "published truncated": (stamped(cut), ["not_a_zip"]),
    "no zip": (stamped(lambda path: path.write_bytes(b"<html>")), ["not_a_zip"]),
    "two members": (stamped(two_members), ["member_count"]),
    "another member": (lambda path: make(path.parent, member="other.csv"), ["member_name"]),
    "a member that leads out": (lambda path: make(path.parent, member="../x.csv"), ["unsafe_member"]),
    "a bomb": (lambda path: make(path.parent, data=bytes(20 * 2**20)), ["too_large"]),
    "encrypted": (stamped(encrypted), ["encrypted"]),
    "gone": (lambda path: path.unlink(), ["unreadable"]),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), ["unreadable"]),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), ["unreadable"]),
}


@pytest.mark.requirement("F2.9")
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_code(tmp_path: Path, fault: str) -> None:
    change, expected = FAULTS[fault]
    path = make(tmp_path)
    change(path)
    checked = verify_zip(path, tmp_path)
    assert (checked.path, codes(checked)) == (path, expected)
    assert all(finding.detail for finding in checked.findings)
    assert max(len(finding.detail) for finding in checked.findings) < 500


@pytest.mark.requirement("F2.9")
def test_a_false_size_is_reported(tmp_path: Path) -> None:
    path = make(tmp_path)
    body = bytearray(path.read_bytes())
    struct.pack_into("<I", body, body.rindex(b"PK\x01\x02") + 24, 10)
    path.write_bytes(body)
    stamp(path)
    assert codes(verify_zip(path)) == ["corrupt"]


@pytest.mark.requirement("F2.9")
def test_more_than_the_parser_takes_is_verified(tmp_path: Path) -> None:
    """300 MiB inflated, past the default limit of a parsed member, and within the ratio of a CSV."""
    block = bytes(64_000) + random.Random(1).randbytes(1_000)
    path = tmp_path / f"{NAME}.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(f"{NAME}.csv", "w", force_zip64=True) as member,
    ):
        for _ in range(300 * 2**20 // len(block)):
            member.write(block)
    assert path.stat().st_size > 3 * 2**20
    stamp(path)
    assert verify_zip(path) == Checked(path, ())


@pytest.mark.requirement("F2.9")
def test_zips_are_found_at_any_depth_and_in_order(tmp_path: Path) -> None:
    expected = [make(tmp_path / folder, name) for folder in ("", "a/b", "a/c") for name in ("A-1m", "B-1m")]
    (tmp_path / "notes.txt").write_text("no zip")
    (tmp_path / "A-1m.zip.part").write_text("half a zip")
    assert find_zips(tmp_path) == (expected, [])


@pytest.mark.requirement("F2.9")
def test_a_path_that_is_not_a_folder_is_an_error(tmp_path: Path) -> None:
    for path in (make(tmp_path), tmp_path / "nowhere"):
        with pytest.raises(NotADirectoryError, match=path.name):
            find_zips(path)


@pytest.mark.requirement("F2.9", "T7")
def test_links_that_lead_out_are_not_followed_and_named(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    secret = make(outside, "SECRET-1m")
    good = make(inside / "a", "GOOD-1m")
    (inside / "out.zip").symlink_to(secret)
    (inside / "folder").symlink_to(outside)
    (inside / "again").symlink_to(good.parent)
    (inside / "loop.zip").symlink_to(inside / "loop.zip")
    (inside / "gone.zip").symlink_to(inside / "gone")
    within = inside / "a" / "WITHIN-1m.zip"
    within.symlink_to(good)
    # Its CHECKSUM would be quoted, so it must not be opened either.
    sums = make(inside / "z", "SUMS-1m")
    checksum(sums).unlink()
    checksum(sums).symlink_to(outside / "SECRET-1m.zip.CHECKSUM")

    zips, refused = find_zips(inside)
    assert zips == [inside / "gone.zip", inside / "loop.zip", good, within, sums]
    assert {one.path.name: codes(one) for one in refused} == {"out.zip": ["leads_out"], "folder": ["leads_out"]}
    found = {one.path.name: codes(one) for one in verify_zips(zips, inside)}
    assert found == {
        "gone.zip": ["unreadable"],
        "loop.zip": ["unreadable"],
        "GOOD-1m.zip": [],
        "WITHIN-1m.zip": ["checksum_missing", "member_name"],
        "SUMS-1m.zip": ["leads_out"],
    }


@pytest.mark.requirement("F2.9")
@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_count_as_bad(tmp_path: Path) -> None:
    locked = make(tmp_path / "locked").parent
    path = make(tmp_path)
    try:
        path.chmod(0)
        locked.chmod(0)
        zips, refused = find_zips(tmp_path)
        assert [codes(one) for one in (*refused, *verify_zips(zips, tmp_path))] == [["unreadable"], ["unreadable"]]
    finally:
        locked.chmod(0o700)


@pytest.mark.requirement("F2.9")
def test_results_come_in_order_from_several_threads(tmp_path: Path) -> None:
    rng = random.Random(2)
    paths = [make(tmp_path, f"S{n}-1m", rng.randbytes(rng.choice((10, 300_000)))) for n in range(60)]
    for path in paths[::7]:
        flip(path)
    alone = list(verify_zips(paths, threads=1))
    assert [one.path for one in alone] == paths
    assert list(verify_zips(paths, threads=7)) == alone
    assert sum(bool(one.findings) for one in alone) == 9


@pytest.mark.requirement("F2.9")
def test_paths_are_read_lazily_and_closing_stops_the_threads(tmp_path: Path) -> None:
    path = make(tmp_path)
    taken = 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield path

    results = verify_zips(paths(), threads=2)
    assert next(results) == Checked(path, ())
    results.close()  # type: ignore[attr-defined]
    assert taken < 20
    left = [thread for thread in threading.enumerate() if thread.name.startswith("verify")]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
