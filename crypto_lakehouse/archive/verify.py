"""Verify zips on disk: each must match the CHECKSUM next to it and hold one CSV.

This module finds the zips of a folder and checks each. ``unzip.py`` checks the container, ``download.py`` parses a
CHECKSUM, ``transforms`` parses the CSV. Nothing is written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crypto_lakehouse.archive.download import parse_checksum
from crypto_lakehouse.archive.unzip import BadZip, iter_member
from crypto_lakehouse.concurrency.map_ordered import map_ordered

OK = "ok"

# Inflated bytes are not kept, so the size alone is harmless; the limit of the ratio still stops a zip bomb early.
_MAX_BYTES = 2**40
_CHECKSUM_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a file; ``status`` is a code, ``detail`` is for people."""

    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked file and all its faults.

    Codes are ``checksum_missing``, ``checksum_malformed``, ``checksum_mismatch``, those of ``BadZip``, and
    ``unreadable`` and ``leads_out`` for files that could not or must not be opened. A zip can have two, one for its
    checksum and one for its content, to distinguish a stale CHECKSUM from a damaged zip.
    """

    path: Path
    findings: tuple[Finding, ...] = ()


def find_zips(folder: Path) -> tuple[list[Path], list[Checked]]:
    """The ``*.zip`` files below ``folder`` at any depth, in order, and the paths that were not opened.

    The latter are unreadable folders, and symbolic links to folders or zips outside of ``folder``. Links to folders
    inside are not followed, since the search visits those folders anyway. Raises NotADirectoryError.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; name the folder that contains the zips")
    root = Path(os.path.realpath(folder))
    zips: list[Path] = []
    refused: list[Checked] = []

    def unreadable(error: OSError) -> None:
        refused.append(Checked(Path(error.filename), (Finding("unreadable", f"cannot be listed: {error.strerror}"),)))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        links = [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in sorted(names) if name.endswith(".zip")):
            (links if path.is_symlink() and _leads_out(path, root) else zips).append(path)
        refused += [Checked(path, (_link(path),)) for path in links if _leads_out(path, root)]
    return zips, refused


def verify_zips(paths: Iterable[Path], root: Path | None = None, threads: int = 0) -> Iterator[Checked]:
    """``verify_zip`` of each, in the order of ``paths``, in ``threads`` threads (0: one per core)."""
    threads = threads or os.cpu_count() or 1
    # Bounded, so that a million paths do not queue a million results.
    yield from map_ordered(partial(verify_zip, root=root), paths, threads, 4 * threads)


def verify_zip(path: Path, root: Path | None = None) -> Checked:
    """Check one zip: ``{path}.CHECKSUM``, then the only member, ``{stem}.csv``, read to its end in small pieces.

    With ``root``, a CHECKSUM that is a symbolic link to a file outside of it is not opened. Never raises for a bad
    file.
    """
    findings: tuple[Finding | None, ...]
    try:
        if path.is_file():
            findings = _check_sum(path, root), _check_content(path)
        else:
            findings = (Finding("unreadable", "is no file" if path.exists() else "there is no such file"),)
    except OSError as error:
        findings = (Finding("unreadable", f"cannot be read: {error.strerror or error}"),)
    return Checked(path, tuple(finding for finding in findings if finding))


def _check_sum(path: Path, root: Path | None) -> Finding | None:
    checksum = path.with_name(f"{path.name}.CHECKSUM")
    if root is not None and checksum.is_symlink() and _leads_out(checksum, Path(os.path.realpath(root))):
        return _link(checksum)
    if not checksum.is_file():
        return Finding("checksum_missing", f"{checksum.name} is not next to it")
    with checksum.open("rb") as handle:
        body = handle.read(_CHECKSUM_LIMIT)
    try:
        stated = parse_checksum(body.decode("utf-8", "replace"), path.name)
    except ValueError as error:
        return Finding("checksum_malformed", f"{checksum.name}: {error}")
    with path.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    if sha256 != stated:
        return Finding("checksum_mismatch", f"{checksum.name} states sha256 {stated}, the file has {sha256}")
    return None


def _check_content(path: Path) -> Finding | None:
    try:
        for _ in iter_member(path, f"{path.stem}.csv", _MAX_BYTES):
            pass
    except BadZip as error:
        return Finding(error.reason, error.detail)
    return None


def _leads_out(path: Path, root: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(root)


def _link(path: Path) -> Finding:
    return Finding("leads_out", f"{path.name} is a symbolic link that leads out of the folder; it is not followed")
