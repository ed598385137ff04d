"""docs/contributing.md as a test follows it: its steps, done in a copy of the project, and its commands.

A step names a file, and the code below it is written or added there. So a step that is missing on the page fails.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contributing.md"
_BLOCK = re.compile(r"^( *)```(python|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FILE = r"`(crypto_lakehouse(?:_tests)?/[\w/]+\.py)`"


def section(heading: str) -> str:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")
    assert rest, heading
    return re.split(r"^## ", rest, flags=re.MULTILINE)[0]


def blocks(text: str, language: str) -> Iterator[tuple[str, str]]:
    """(text before it, code) of each code block of a language."""
    end = 0
    for block in _BLOCK.finditer(text):
        if block[2] == language:
            yield text[end : block.start()], textwrap.dedent(block[3]) if language == "bash" else unindent(block)
        end = block.end()


def unindent(block: re.Match[str]) -> str:
    return "".join(line.removeprefix(block[1]) for line in block[3].splitlines(keepends=True))


def follow(heading: str, folder: Path) -> None:
    """Do what the steps of a section say, in the copy of the package."""
    for words, code in blocks(section(heading), "python"):
        steps = {
            "write": re.findall(rf"Write {_FILE}", words),
            "append": re.findall(rf"Add to the end of {_FILE}", words),
            "import": re.findall(rf"Import in {_FILE}", words),
            "add": re.findall(rf"Add to `(\w+)` in {_FILE}", words),
        }
        (action, (target,)), *more = [(name, found) for name, found in steps.items() if found]
        assert not more, words
        name, path = target if action == "add" else ("", target)
        file = folder / path
        if action == "write":
            assert not file.exists(), path
            file.write_text(code, encoding="utf-8")
            continue
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        at = len(lines)
        if action != "append":
            at = {"import": last_import, "add": closing_line}[action](lines, name)
        file.write_text("".join([*lines[:at], code, *lines[at:]]), encoding="utf-8")


def last_import(lines: list[str], _: str) -> int:
    body = ast.parse("".join(lines)).body
    return max(node.end_lineno or 0 for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def closing_line(lines: list[str], name: str) -> int:
    """The line with the bracket that closes the value of a name of the module, from 0."""
    for node in ast.parse("".join(lines)).body:
        names = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(one, ast.Name) and one.id == name for one in names):
            assert node.end_lineno is not None
            return node.end_lineno - 1
    raise AssertionError(name)


def copy_of_project(folder: Path, *headings: str) -> Path:
    """A copy of the project in ``folder`` in which the steps of these sections were followed."""
    for name in ("benchmarks", "crypto_lakehouse", "crypto_lakehouse_tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder / name)
    for heading in headings:
        follow(heading, folder)
    return folder


def commands(heading: str) -> list[str]:
    return [line for _, code in blocks(section(heading), "bash") for line in code.splitlines()]


def run(folder: Path, environment: dict[str, str], command: str) -> str:
    """The output of a command of the copied package, which must succeed."""
    program, *arguments = command.split()
    assert program == "crypto-lakehouse"
    words = [sys.executable, "-m", "crypto_lakehouse", *arguments]
    return output(folder, environment, words)


def output(folder: Path, environment: dict[str, str], words: list[str]) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    done = subprocess.run(
        words, cwd=folder, env={**kept, "COLUMNS": "200", **environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def files(folder: Path) -> dict[str, int]:
    """The partitions of the lake and when they were written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def failed_checks(copy: Path, environment: dict[str, str], table: str, names: set[str]) -> str:
    """Those of the checks of a table whose last evaluation in the records of the copy did not pass."""
    code = f"""
import dagster as dg
asset = dg.AssetKey("{table}".split("/"))
with dg.DagsterInstance.get() as instance:
    for name in {sorted(names)}:
        record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(asset, name))
        check = record.event.asset_check_evaluation if record else None
        if not (check and check.passed):
            print(name, check)
"""
    return output(copy, {**environment, "DAGSTER_HOME": str(copy / ".dagster")}, [sys.executable, "-c", code])


@contextmanager
def served(folder: Path, command: str) -> Iterator[dict[str, str]]:
    """The variables that a command of the copied package prints to export, while it serves an archive."""
    words = [sys.executable, "-m", "crypto_lakehouse", *command.split()[1:]]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            word, *variables = server.stdout.readline().split()
            assert word == "export"
            yield dict(variable.split("=", 1) for variable in variables)
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
