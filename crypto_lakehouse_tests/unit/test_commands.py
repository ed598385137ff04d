"""Every command that a message or a page recommends is one that the command line accepts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.lake.storage.damage import remedy
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.missing import missing_partition
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.commands import parsed, recommended

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
UM = "exchange=binance/market=um"
DAMAGED = [
    (f"silver/klines_1m/{UM}/date=2024-01-02/part-0.parquet", "klines_1m", "2024-01-02", "2024-01-02"),
    (f"bronze/klines_1mo/{UM}/month=2024-02/part-0.parquet", "klines_1mo", "2024-02-01", "2024-02-29"),
    (f"silver/funding_rates/{UM}/month=2024-02/part-0.parquet", "funding_rates", "2024-02-01", "2024-02-29"),
    (f"gold/bars_1h_by_5m/{UM}/date=2024-01-02/part-0.parquet", "bars_1h_by_5m", "2024-01-02", "2024-01-02"),
    (f"ledger/files/{UM}/feed=trades/date=2024-01-02/a.parquet", "trades", "2024-01-02", "2024-01-02"),
    (
        f"quarantine/rejected/{UM}/feed=funding_rates/month=2024-02/a.parquet",
        "funding_rates",
        "2024-02-01",
        "2024-02-29",
    ),
    (f"compacted/silver/klines_1m/{UM}/month=2024-02/days-0.parquet", "klines_1m", "2024-02", "2024-02"),
]


def commands_of(page: Path) -> list[str]:
    """The commands of a page: in blocks of code, and between backticks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    whole = re.findall(rf"(?:^|\|\s*)[./\w]*({PROGRAM} [^|\n#`]*)", text, re.MULTILINE)
    inline = re.findall(rf"`({PROGRAM} [^`]*)`", text)
    return [command.strip() for command in (*whole, *inline)]


@pytest.mark.requirement("F6.8")
@pytest.mark.parametrize(("path", "table", "first", "last"), DAMAGED)
def test_the_remedy_for_a_damaged_file_is_a_command_for_its_table_and_period(
    path: str, table: str, first: str, last: str
) -> None:
    (command,) = recommended(remedy(LakeStore.open("./lake"), path))
    arguments = parsed(command)
    assert (arguments["market"], arguments["table"]) == ("um", table)
    assert (str(arguments["first"]), str(arguments["last"])) == (first, last)


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize(
    ("layer", "table", "key", "built"),
    [
        ("silver", "klines_1m", "2024-01-02", "klines_1m"),
        ("silver", "funding_rates", "2024-01", "funding_rates"),
        # Without its own input it cannot be built, so the command builds that.
        ("gold", "continuous_1m", "2024-01-02", "klines_1m"),
    ],
)
def test_the_error_for_a_missing_input_ends_with_a_command(
    layer: str, table: str, key: str, built: str, tmp_path: Path
) -> None:
    partition = TableSlice(layer, "binance", "cm", table).partition(key)
    (command,) = recommended(str(missing_partition(LakeStore.open(str(tmp_path)), partition)))
    assert parsed(command)["table"] == built


def test_one_module_writes_the_name_of_the_program() -> None:
    package = REPOSITORY / "crypto_lakehouse"
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
        written = [node.lineno for node in texts if isinstance(node.value, str) and f"{PROGRAM} " in node.value]
        assert not written, f"{path.relative_to(REPOSITORY)}, lines {written}: use catalog.commands.command_line"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_command_line_accepts_the_commands_of_the_pages(page: Path) -> None:
    for command in commands_of(page):
        # A command without options may be only mentioned, and three dots stand for a value.
        if "..." not in command and " --" in command.replace("--help", ""):
            parsed(command)
