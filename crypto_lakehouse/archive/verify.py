"""Verifying zips that lie on disk: each against the CHECKSUM beside it, and as a container of one CSV.

Here belong finding them in a folder and judging each. The checks of the container are ``unzip.py``'s, the form
of a CHECKSUM is ``download.py``'s; what the CSV says is the business of ``transforms``. Nothing is written.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crypto_lakehouse import interrupts
from crypto_lakehouse.archive.download import parse_checksum
from crypto_lakehouse.archive.unzip import BadZip, iter_member

OK = "ok"

# Nothing is kept of what is inflated, so the size alone is no danger; the ratio still ends a bomb early.
_MAX_BYTES = 2**40
_CHECKSUM_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file; ``status`` is a code, ``detail`` is for people."""

    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was looked at, and all that is wrong with it.

    Codes are ``checksum_missing``, ``checksum_malformed``, ``checksum_mismatch``, those of ``BadZip``, and
    ``unreadable`` and ``leads_out`` for what could not or must not be opened. A zip can have two: one of its
    checksum and one of its content, so that a stale CHECKSUM can be told from a damaged zip.
    """

    path: Path
    findings: tuple[Finding, ...] = ()


def find_zips(folder: Path) -> tuple[list[Path], list[Checked]]:
    """The ``*.zip`` below ``folder`` at any depth, in order, and what could not be looked into.

    The latter are folders that cannot be read, and symbolic links to folders or zips outside of ``folder``. Links
    to folders inside are not followed either, since those are found anyway. Raises NotADirectoryError.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; name the folder that holds the zips")
    root = Path(os.path.realpath(folder))
    found: list[Path] = []
    refused: list[Checked] = []

    def unreadable(error: OSError) -> None:
        refused.append(Checked(Path(error.filename), (Finding("unreadable", f"cannot be listed: {error.strerror}"),)))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        links = [Path(here, name) for name in folders if Path(here, name).is_symlink()]
        for path in (Path(here, name) for name in sorted(names) if name.endswith(".zip")):
            (links if path.is_symlink() and _leads_out(path, root) else found).append(path)
        refused += [Checked(path, (_link(path),)) for path in links if _leads_out(path, root)]
    return found, refused


def verify_zips(paths: Iterable[Path], root: Path | None = None, threads: int = 0) -> Iterator[Checked]:
    """``verify_zip`` of each, in the order of ``paths``, in ``threads`` threads (0: as many as there are cores)."""
    threads = threads or os.cpu_count() or 1
    waiting: deque[Future[Checked]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        try:
            for path in paths:
                interrupts.ask()
                waiting.append(pool.submit(verify_zip, path, root))
                # A window, so that a million of paths is no million of waiting results.
                if len(waiting) > 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def verify_zip(path: Path, root: Path | None = None) -> Checked:
    """Check one zip: ``{path}.CHECKSUM``, then the only member, ``{stem}.csv``, read to its end in small pieces.

    With ``root``, a CHECKSUM that is a symbolic link to outside of it is not opened. Raises nothing for a bad
    file, whatever is wrong with it.
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
    beside = path.with_name(f"{path.name}.CHECKSUM")
    if root is not None and beside.is_symlink() and _leads_out(beside, Path(os.path.realpath(root))):
        return _link(beside)
    if not beside.is_file():
        return Finding("checksum_missing", f"{beside.name} is not beside it")
    with beside.open("rb") as handle:
        body = handle.read(_CHECKSUM_LIMIT)
    try:
        stated = parse_checksum(body.decode("utf-8", "replace"), path.name)
    except ValueError as error:
        return Finding("checksum_malformed", f"{beside.name}: {error}")
    with path.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    if sha256 != stated:
        return Finding("checksum_mismatch", f"{beside.name} states sha256 {stated}, the file has {sha256}")
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
