"""Size and time of installations, each in a fresh environment: the base, which reads, and the platform, which builds.

``python -m benchmarks.install`` prints a table. It needs the package registry, or what pip is configured to use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
OLDEST = (3, 11)
"""The oldest Python that the package supports."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installation took: packages, bytes on disk, seconds of pip with downloads, seconds to import."""

    packages: int
    bytes: int
    seconds: float
    import_seconds: float


def interpreters() -> dict[str, Path]:
    """One interpreter of each supported version of Python on PATH or in pyenv's folder, by version: ``3.12``."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: dict[str, Path] = {}
    for minor in range(OLDEST[1], OLDEST[1] + 10):
        version = f"{OLDEST[0]}.{minor}"
        on_path = shutil.which(f"python{version}")
        candidates = [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for candidate in candidates:
            # A shim of pyenv is on PATH for each version, also for one that is not selected; Debian splits off venv.
            if _succeeds(candidate, "-c", "import ensurepip, venv"):
                found[version] = candidate
                break
    return found


def fresh_environment(python: Path, folder: Path) -> Path:
    """Make a virtual environment, and return its interpreter."""
    subprocess.run([python, "-m", "venv", folder], check=True, env=clean_environment())
    return folder / "bin" / "python"


def build_wheel(python: Path, folder: Path) -> Path:
    """Build the wheel of this checkout into ``folder`` with the pip of an environment."""
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(python: Path, *words: str) -> str:
    """Run pip of an environment. Raises CalledProcessError, with what pip printed."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout


def clean_environment() -> dict[str, str]:
    """The environment of this process without the paths and settings that would reach into another installation."""
    hidden = ("PYTHON", "LAKEHOUSE_", "DAGSTER_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def install(python: Path, requirement: str) -> Installation:
    """Install a requirement in an environment, and measure it."""
    start = time.perf_counter()
    pip(python, "install", requirement)
    seconds = time.perf_counter() - start
    packages = json.loads(pip(python, "list", "--format", "json"))
    size = sum(path.lstat().st_size for path in python.parents[1].rglob("*") if path.is_file())
    start = time.perf_counter()
    code = "from crypto_lakehouse import Lakehouse"
    subprocess.run([python, "-c", code], check=True, env=clean_environment(), cwd=python.parent)
    return Installation(len(packages), size, seconds, time.perf_counter() - start)


def main() -> None:
    """Measure both installations with this Python, and print the table."""
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        wheel = build_wheel(fresh_environment(base, folder / "build"), folder)
        for extra, use in (("", "reads a lake"), ("[platform]", "also builds one")):
            environment = fresh_environment(base, folder / (extra or "base"))
            done = install(environment, f"{wheel}{extra}")
            cells = (f"`crypto-lakehouse{extra}`", use, f"{done.packages}", f"{done.bytes / 1e6:,.0f} MB")
            rows.append((*cells, f"{done.seconds:.0f} s", f"{done.import_seconds:.1f} s"))
    head = ("installation", "what it does", "packages", "size", "time of pip", "first import")
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def _succeeds(*command: Path | str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, env=clean_environment()).returncode == 0


if __name__ == "__main__":
    main()
