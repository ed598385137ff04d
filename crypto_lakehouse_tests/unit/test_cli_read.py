"""The commands that read a lake: rows on stdout in every format, messages on stderr."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.cli.rows import Format

pytestmark = pytest.mark.requirement("F7.6")

BARS = ("read", "gold.bars_1h", "--market", "um", "--symbols", "BTCUSDT")
ONE_DAY = ("--from", "2024-01-02", "--to", "2024-01-02")
FEW = (*BARS, *ONE_DAY, "--columns", "open_time,close,complete", "--limit", "2")


@pytest.fixture(autouse=True)
def _lake_of_the_settings(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(root))
    # Rows are whole however narrow the terminal is.
    monkeypatch.setenv("COLUMNS", "20")


def run(*arguments: str) -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout_bytes, result.stderr


def rows(*arguments: str) -> list[dict[str, object]]:
    code, out, error = run(*arguments, "--format", "jsonl")
    assert code == 0, error
    return [json.loads(line) for line in out.splitlines()]


TEXTS = {
    "table": """\
open_time             close  complete
2024-01-02T00:00:00Z    1.5  true
2024-01-02T01:00:00Z    1.5  true
""",
    "csv": """\
open_time,close,complete
2024-01-02T00:00:00Z,1.5,true
2024-01-02T01:00:00Z,1.5,true
""",
    "json": """\
[
{"open_time":"2024-01-02T00:00:00Z","close":1.5,"complete":true},
{"open_time":"2024-01-02T01:00:00Z","close":1.5,"complete":true}
]
""",
    "jsonl": """\
{"open_time":"2024-01-02T00:00:00Z","close":1.5,"complete":true}
{"open_time":"2024-01-02T01:00:00Z","close":1.5,"complete":true}
""",
    "markdown": """\
| open_time | close | complete |
| --- | ---: | --- |
| 2024-01-02T00:00:00Z | 1.5 | true |
| 2024-01-02T01:00:00Z | 1.5 | true |
""",
}


@pytest.mark.parametrize("format", TEXTS)
def test_rows_are_printed_in_every_text_format(format: str) -> None:
    assert run(*FEW, "--format", format) == (0, TEXTS[format].encode(), "")


def test_a_table_is_the_default_on_stdout() -> None:
    assert run(*FEW) == run(*FEW, "--format", "table")


@pytest.mark.parametrize(("format", "read"), [("parquet", pl.read_parquet), ("arrow", pl.read_ipc)])
def test_binary_formats_hold_the_rows_and_types_of_the_reader(format: str, read: object, lake: Lakehouse) -> None:
    code, out, error = run(*BARS, *ONE_DAY, "--format", format)
    assert (code, error) == (0, "")
    stored = lake.read(
        "gold.bars_1h", market="um", symbols="BTCUSDT", start="2024-01-02", end="2024-01-03", format="polars"
    )
    assert callable(read)
    assert read(io.BytesIO(out)).equals(stored)


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.jsonl", "x.ndjson", "x.parquet", "x.feather", "x.MD", "x.txt"])
def test_the_name_of_a_file_chooses_the_format(tmp_path: Path, name: str) -> None:
    formats = {"ndjson": "jsonl", "feather": "arrow", "MD": "markdown", "txt": "table"}
    file = tmp_path / name
    code, out, error = run(*FEW, "--out", str(file))
    assert (code, out, error) == (0, b"", f"2 rows written to {file}\n")
    suffix = name.partition(".")[2]
    assert file.read_bytes() == run(*FEW, "--format", formats.get(suffix, suffix))[1]
    assert [path.name for path in tmp_path.glob("*x.*")] == [name]


def test_what_stands_in_a_file_stays_if_the_read_fails(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("before", encoding="utf-8")
    assert run("read", "gold.nothing", "--out", str(file))[0] == 2
    assert file.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("format", Format)
def test_no_rows_are_a_header_or_an_empty_list(format: Format) -> None:
    code, out, _ = run(*FEW[:-1], "0", "--format", format)
    assert code == 0
    empty = {"json": b"[]\n", "jsonl": b"", "csv": b"open_time,close,complete\n"}
    assert out == empty.get(format, out)


def test_both_ends_of_a_range_are_inclusive_and_may_be_months() -> None:
    assert len(rows(*BARS, "--from", "2024-01-02", "--to", "2024-01-03")) == 48
    assert len(rows(*BARS, "--from", "2024-01", "--to", "2024-01")) == 72
    assert len(rows("read", "gold.bars_1h", "--market", "um", "--market", "spot")) == 3 * 48 + 24


def test_a_range_can_end_at_the_newest_data_and_symbols_can_be_patterns() -> None:
    bars = ("read", "gold.bars_1h", "--market", "um")
    assert len(rows(*bars, "--last", "12h", "--symbols", "BTC*")) == 12
    assert len(rows(*bars, "--last", "1d", "--to", "2024-01-02", "--symbols", "*USDT,!BTCUSDT")) == 24


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("read", "gold.bars_7h"), 2, "error: no table 'bars_7h' in layer gold; did you mean bars_1h, "),
        (("read", "bars_1h"), 2, "error: 'bars_1h' does not name its layer; try gold.bars_1h"),
        (("read", "gold.bars_1h", "--market", "umm"), 2, "umm"),
        (("read", "gold.bars_1h", "--columns", "closes"), 2, "has no column 'closes'; did you mean close"),
        (("read", "gold.bars_1h", "--from", "2024-01-03", "--to", "2024-01-01"), 2, "is before"),
        (("read", "gold.bars_1h", "--from", "yesterday"), 2, "yesterday"),
        (("read", "gold.bars_1h", "--limit", "-1"), 2, "use 0 or more"),
        (("read", "gold.bars_1h", "--format", "excel"), 2, "excel"),
        (("read", "gold.bars_1h", "--out", "x.xlsx"), 2, "does not show a format: add --format table|csv|json|"),
        (("read", "gold.bars_1h", "--out", "missing/x.csv"), 1, "error: there is no folder missing: create it first"),
        (("read", "gold.bars_1h", "--last", "1 month"), 2, "is not a length such as 30d"),
        (("describe", "gold.bars_7h"), 2, "did you mean bars_1h"),
        (("coverage", "../etc"), 2, "not a symbol"),
        (("sql", "FROM gold.bars_7h"), 2, "did you mean bars_1h"),
        (("sql", "SELECT nothing FROM gold.bars_1h"), 2, "error: Binder Error: Referenced column "),
        (("sql", "SELEC 1"), 2, "error: Parser Error: syntax error"),
        (("sql", "SELECT 1; SELECT 2"), 2, "this text has 2 statements"),
        (("sql", "COPY (SELECT 1) TO 'x.csv'"), 2, "statement of type COPY"),
        (("sql", "SELECT $a"), 2, "the query has no value for $a"),
        (("sql", "SELECT $a", "--param", "a"), 2, "--param 'a' is not name=value"),
    ],
)
def test_mistakes_are_explained_on_stderr(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run(*arguments)
    assert result[:2] == (code, b"")
    assert message in " ".join(result[2].replace("│", " ").split())


def test_a_location_without_a_lake_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", str(tmp_path / "nowhere"))
    for command in (("tables",), ("read", "gold.bars_1h")):
        code, out, error = run(*command)
        assert (code, out) == (1, b"")
        assert error.startswith("error: there is no lake at")


def test_warnings_of_the_reader_are_on_stderr() -> None:
    code, out, error = run("read", "gold.bars_1h", "--market", "um", "--symbols", "BTCUSD", "--format", "json")
    assert (code, out) == (0, b"[]\n")
    assert error.startswith("warning: gold.bars_1h in ")
    assert "BTCUSDT?" in error
    assert "UserWarning" not in error


def test_tables_and_describe_print_what_python_returns(lake: Lakehouse) -> None:
    assert rows("tables") == lake.tables().to_dicts()
    assert rows("describe", "gold.bars_1h") == lake.describe("gold.bars_1h").to_dicts()
    code, out, _ = run("describe", "gold.bars_1h")
    assert code == 0
    assert "…" not in out.decode()
    assert len(out.splitlines()) == lake.describe("gold.bars_1h").height + 1


def test_coverage_prints_what_python_returns(lake: Lakehouse) -> None:
    assert rows("coverage", "BTCUSDT", "--market", "um") == lake.coverage("BTCUSDT", market="um").to_dicts()


@pytest.mark.parametrize(
    ("condition", "params"),
    [
        ("symbol = $symbol AND market = $market", ["symbol=BTCUSDT", "market=um"]),
        ("date >= $day AND close > $price", ["day=2024-01-01", "price=1.25"]),
        ("complete = $complete AND trade_count = $count", ["complete=true", "count=3"]),
    ],
)
def test_a_query_prints_its_rows(lake: Lakehouse, condition: str, params: list[str]) -> None:
    query = f"SELECT market, count(*) AS n, sum(trade_count) AS trades FROM gold.bars_1h WHERE {condition} GROUP BY 1"
    values = {"symbol": "BTCUSDT", "market": "um", "day": "2024-01-01", "price": 1.25, "complete": True, "count": 3}
    named = {name: value for name, value in values.items() if f"${name}" in condition}
    options = [word for each in params for word in ("--param", each)]
    expected = lake.sql(f"{query} ORDER BY 1", named, format="polars").to_dicts()
    assert rows("sql", f"{query} ORDER BY 1", *options) == [
        {**each, "trades": int(each["trades"])} for each in expected
    ]


def test_a_query_comes_from_standard_input() -> None:
    command = [sys.executable, "-m", "crypto_lakehouse", "sql", "--format", "csv"]
    query = "SELECT count(*) AS n\nFROM gold.bars_1h;\n"
    done = subprocess.run(command, input=query, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\n168\n", "")


def test_binary_rows_are_not_written_to_a_terminal() -> None:
    controller, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "crypto_lakehouse", *FEW, "--format", "parquet"]
        done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert "parquet is binary, and stdout is a terminal: add --out FILE" in done.stderr
        os.set_blocking(controller, False)
        with pytest.raises(BlockingIOError):
            os.read(controller, 1)
    finally:
        os.close(controller)
        os.close(terminal)


def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m crypto_lakehouse {' '.join(BARS)} --format csv | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("read gold.bars_12", "gold.bars_12h"),
        ("read gold.bars_1h --market u", "um"),
        ("backfill --table klines_1mo", "klines_1mo"),
        ("export freqtrade --market sp", "spot"),
        ("updat", "update"),
    ],
)
def test_the_shell_completes_commands_tables_and_markets(words: str, offered: str) -> None:
    line = f"crypto-lakehouse {words}"
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    command = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app(prog_name='crypto-lakehouse')"]
    environment = {**os.environ, "_CRYPTO_LAKEHOUSE_COMPLETE": "complete_bash", **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.stdout.split(), done.stderr) == ([offered], "")


def test_the_version_is_printed() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.decode().startswith("crypto-lakehouse ")


def test_reading_loads_neither_dagster_nor_what_it_does_not_use() -> None:
    commands = [["--version"], ["tables"], ["describe", "gold.bars_1h"], ["coverage", "BTCUSDT"], list(FEW)]
    code = f"""
import sys
from crypto_lakehouse.cli import app
for command in {commands}:
    try:
        app(command)
    except SystemExit as end:
        assert not end.code, command
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(name for name in loaded if name.startswith("dagster") or name in ("duckdb", "plotly")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    code = code.replace(repr(commands), repr([["sql", "SELECT 1"]]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['duckdb']"
