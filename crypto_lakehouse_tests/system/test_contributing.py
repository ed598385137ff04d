"""The checklists of docs/contributing.md, followed to the letter in a copy of the package, and nothing else done.

The steps are read from the page: a step names a file, and the code below it is written or added there. So a step that
is missing on the page fails here.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import crypto_lakehouse
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.server import ArchiveServer

pytestmark = [pytest.mark.requirement("T11")]

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"
DAYS = ("2024-12-28", "2024-12-29")
TABLES = "klines_1m,funding_rates,insurance_fund"
_BLOCK = re.compile(r"^( *)```(python|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FILE = r"`(crypto_lakehouse/[\w/]+\.py)`"


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


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package in which both checklists were followed."""
    folder = tmp_path_factory.mktemp("copy")
    package = Path(crypto_lakehouse.__file__).parent
    shutil.copytree(package, folder / "crypto_lakehouse", ignore=shutil.ignore_patterns("__pycache__"))
    follow("Add a gold table", folder)
    follow("Add an archive type", folder)
    return folder


@pytest.fixture(scope="module")
def environment(copy: Path) -> Iterator[dict[str, str]]:
    """Settings of a lake and of an archive that the changed package has made."""
    (sample,) = [line for line in commands("Add an archive type") if "archive sample" in line]
    run(copy, {}, sample)
    with ArchiveServer(copy / "archive") as server:
        yield {
            "LAKEHOUSE_ENV": "test",
            "LAKEHOUSE_LAKE_URI": str(copy / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_TABLES": TABLES,
            "LAKEHOUSE_RETRIES": "1",
        }


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


def read_in_copy(copy: Path, environment: dict[str, str], table: str) -> pl.DataFrame:
    """Rows of a table, read by the copied package."""
    code = f"""
from crypto_lakehouse import Lakehouse
rows = Lakehouse().read("{table}", market="um", start="{DAYS[0]}", end="2024-12-30", format="polars")
rows.write_parquet("rows.parquet")
print(Lakehouse().tables().filter(__import__("polars").col("table") == "{table.partition(".")[2]}"))
"""
    output(copy, environment, [sys.executable, "-c", code])
    return pl.read_parquet(copy / "rows.parquet")


def test_a_new_gold_table_is_built_checked_read_and_then_unchanged(copy: Path, environment: dict[str, str]) -> None:
    minutes = f"crypto-lakehouse backfill --market um --table klines_1m --from {DAYS[0]} --to {DAYS[1]}"
    first = run(copy, environment, minutes)
    assert "gold.realized_volatility" in first
    (command,) = commands("Add a gold table")
    stored = files(copy / "lake")
    again = run(copy, environment, command)
    assert "binance/um/realized_volatility: 2 partitions are up to date" in again
    for text in (first, again):
        assert "realized_volatility" not in "".join(re.findall(r"(?:warning|error).*", text)), text
    assert files(copy / "lake") == stored
    names = {"schema", "primary_key", "moves"}
    assert failed_checks(copy, environment, "gold/binance/um/realized_volatility", names) == ""
    rows = read_in_copy(copy, environment, "gold.realized_volatility")
    expected = (
        Lakehouse(copy / "lake")
        .read("gold.continuous_1m", market="um", start=DAYS[0], end="2024-12-30", format="polars")
        .sort("symbol", "open_time")
        .group_by("symbol", pl.col("open_time").dt.truncate("1d"))
        .agg(pl.col("close").log().diff().pow(2).sum().sqrt().alias("realized_volatility"), minutes=pl.len())
        .sort("symbol", "open_time")
    )
    rows = rows.sort("symbol", "open_time")
    assert rows["realized_volatility"].to_list() == pytest.approx(expected["realized_volatility"].to_list())
    assert rows["symbol"].n_unique() == 2
    assert rows.height == 4
    assert (rows["realized_volatility"] > 0).all()


def test_a_new_archive_type_is_built_checked_read_and_then_unchanged(copy: Path, environment: dict[str, str]) -> None:
    (command,) = [line for line in commands("Add an archive type") if "backfill" in line]
    first = run(copy, environment, command)
    assert "bronze.insurance_fund" in first
    assert "silver.insurance_fund" in first
    assert not re.findall(r"(?:warning|error|refused).*insurance_fund.*", first), first
    stored = files(copy / "lake")
    run(copy, environment, command)
    assert files(copy / "lake") == stored
    assert failed_checks(copy, environment, "bronze/binance/um/insurance_fund", {"epochs"}) == ""
    names = {"schema", "primary_key", "completeness"}
    assert failed_checks(copy, environment, "silver/binance/um/insurance_fund", names) == ""
    rows = read_in_copy(copy, environment, "silver.insurance_fund")
    assert rows.height == 2 * 2 * 24
    assert rows["balance"].is_between(9_000, 11_000).all()


def test_the_new_names_are_in_status_suggestions_and_the_documentation(copy: Path, environment: dict[str, str]) -> None:
    page = copy / "formats.md"
    output(copy, environment, [sys.executable, "-m", "crypto_lakehouse.cli.document", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "### Gold realized_volatility" in text
    assert "### Silver insurance_fund" in text
    status = run(copy, environment, "crypto-lakehouse status --table realized_volatility")
    assert "gold.realized_volatility" in status
    misspelled = [
        sys.executable,
        "-m",
        "crypto_lakehouse",
        "backfill",
        "--market",
        "um",
        "--table",
        "realised_volatility",
    ]
    done = subprocess.run(
        [*misspelled, "--from", DAYS[0], "--to", DAYS[0]], cwd=copy, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean realized_volatility" in done.stderr
