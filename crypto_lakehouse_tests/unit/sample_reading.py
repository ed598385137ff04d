"""How tests read a sample archive: zips by pattern, and their lines, without the code under test."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path


def lines(path: Path) -> list[list[str]]:
    """All lines of the CSV in a zip, a header line included."""
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [path.with_suffix(".csv").name]
        return list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def rows(path: Path) -> list[list[str]]:
    """Its rows, without a header line."""
    found = lines(path)
    return found if found[0][0][:1].isdigit() else found[1:]


def zips(root: Path, pattern: str) -> list[Path]:
    """The matching zips below ``data/``; at least one must exist."""
    found = sorted(root.glob(f"data/{pattern}.zip"))
    assert found, pattern
    return found


def one(root: Path, pattern: str) -> Path:
    """The one zip that matches."""
    (path,) = zips(root, pattern)
    return path
