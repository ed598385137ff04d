"""The Dockerfile copies files that exist and are not ignored, and installs the versions of requirements.lock."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("T13")

ROOT = Path(__file__).parents[2]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
LAST = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]


def _pins(path: Path) -> set[tuple[str, str]]:
    """Names and versions; a lock for all platforms may have several versions of one."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.\-]+)(?:\[[\w,\-]+\])?==([^\s;]+)", text, re.MULTILINE))


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copied = [
        source
        for line in LINES
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
        if not source.startswith("--")
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_has_the_versions_of_the_lock() -> None:
    locked, installed = _pins(ROOT / "requirements.lock"), _pins(ROOT / "deploy" / "requirements.txt")
    assert installed <= locked
    names = {name for name, _ in installed}
    assert {"dagster", "dagster-celery", "dagster-postgres", "dagster-aws", "polars", "fastapi"} <= names
    assert not {name for name in names if fnmatch(name, "jupyter*") or name in ("pytest", "mypy", "ruff", "uv")}


def test_the_process_is_not_root_and_listens_inside_only() -> None:
    assert [line for line in LAST if line.startswith("USER ")] == ["USER 10001"]
    assert not [line for line in LAST if "0.0.0.0" in line]
    assert [line for line in LAST if line.startswith("HEALTHCHECK ")]
    # Compilers, pip and caches stay in the stages before.
    assert not [line for line in LAST if re.search(r"\b(apt-get|pip install|gcc|build-essential)\b", line)]


def test_the_base_is_an_argument_with_a_version() -> None:
    (base,) = [line for line in LINES if line.startswith("ARG PYTHON_IMAGE=")]
    assert re.fullmatch(r"ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+", base)
    assert [line for line in LINES if line.startswith("FROM ${PYTHON_IMAGE}")]
    assert not [line for line in LINES if re.match(r"FROM (?!\$\{PYTHON_IMAGE\}|build )", line)]
