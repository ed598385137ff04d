"""An environment for each client package, in a cache folder that survives runs, and programs that run in it.

``requirements/NAME.in`` pins the clients of an environment, ``requirements/NAME.txt`` all its packages (``make lock``
updates them).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.install import ROOT, clean_environment, fresh_environment, interpreters, pip

REQUIREMENTS = Path(__file__).parent / "requirements"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crypto-lakehouse" / "clients"
OLDEST = {"nautilus_trader": "3.12"}
"""The oldest Python of clients that do not support all versions that we do."""


@cache
def environment(client: str) -> Path:
    """The interpreter of the client's environment, which is installed if it is not in the cache."""
    oldest = OLDEST.get(client, "3.11")
    pythons = {version: path for version, path in interpreters().items() if _number(version) >= _number(oldest)}
    if not pythons:
        pytest.skip(f"{client} needs Python {oldest} or newer with venv and ensurepip")
    version = min(pythons, key=_number)
    requirements = REQUIREMENTS / f"{client}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{client}-{version}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / f"{client}.lock"):
        if not (folder / ".ready").exists():
            for old in CACHE.glob(f"{client}-*"):
                shutil.rmtree(old)
            python = fresh_environment(pythons[version], folder)
            try:
                # The list is complete, so there is nothing to resolve.
                pip(python, "install", "--no-deps", "-r", str(requirements))
            except subprocess.CalledProcessError as error:
                pytest.skip(f"pip cannot install {client} {version}: {error.stderr[-300:]}")
            (folder / ".ready").touch()
    return folder / "bin" / "python"


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(client: str, folder: Path, *words: str) -> str:
    """What a program of the client's environment prints, with ``folder`` as working directory. It must succeed."""
    python = environment(client)
    variables = {
        **clean_environment(),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "MPLBACKEND": "agg",
        "LAKEHOUSE_LAKE_URI": "./demo/lake",
    }
    command = [str(python.with_name(words[0])), *words[1:]]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def facts(client: str, folder: Path, code: str, **values: str) -> dict[str, Any]:
    """Run code in the client's environment, and return the values of these expressions in it, through JSON."""
    pairs = ", ".join(f"{name!r}: {value}" for name, value in values.items())
    output = run(client, folder, "python", "-c", f"{code}\nimport json\nprint(json.dumps({{{pairs}}}))")
    return dict(json.loads(output.splitlines()[-1]))
