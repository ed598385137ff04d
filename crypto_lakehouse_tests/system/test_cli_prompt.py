"""The prompt of ``crypto-lakehouse sql`` on a real terminal: queries, errors, completion, history, signals."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.cli.prompt import Completer
from crypto_lakehouse_tests.system.test_cli import environment
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F7.8")

HANGS = 600
"""Seconds after which a prompt counts as hanging: longer than any wait on a loaded machine."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a lake with a day of bars."""
    put(day_of_bars(DAYS[0], ["BTCUSDT"]), part_path(tmp_path / "lake", "um", f"{DAYS[0]}"))
    return tmp_path / "lake"


class Terminal:
    """A prompt in a terminal of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        self._controller, terminal = pty.openpty()
        settings = {"LAKEHOUSE_LAKE_URI": str(root), "XDG_STATE_HOME": str(root.parent / "state")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crypto_lakehouse", "sql", *options],
            **{"stdin": terminal, "stdout": terminal, "stderr": terminal, "env": environment(**settings)},
            start_new_session=True,
        )
        os.close(terminal)
        self.shown = ""

    def expect(self, text: str, *, within: float = HANGS) -> str:
        """Wait until the terminal shows the text; return what it has shown since the last call."""
        end = time.monotonic() + within
        while text not in self.shown:
            if time.monotonic() > end:
                raise TimeoutError(f"the prompt does not show {text!r}: {self.shown!r}")
            if select.select([self._controller], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._controller, 65536).decode()
                except OSError:
                    raise AssertionError(f"the prompt ended: {self.shown}") from None
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def type(self, text: str) -> None:
        os.write(self._controller, text.encode())

    def interrupt(self, text: str) -> str:
        """Send SIGINT until the terminal shows the text.

        Python's readline misses a signal that arrives just before it starts to wait for a key.
        """
        end = time.monotonic() + HANGS
        while True:
            os.kill(self.process.pid, signal.SIGINT)
            try:
                return self.expect(text, within=1)
            except TimeoutError:
                assert time.monotonic() < end, self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._controller)


@pytest.fixture
def prompt(root: Path) -> Iterator[Terminal]:
    terminal = Terminal(root, "--format", "csv")
    terminal.expect("lake> ")
    yield terminal
    terminal.close()


def test_queries_run_one_after_the_other_and_errors_end_nothing(prompt: Terminal) -> None:
    prompt.type("SELECT count(*) AS n\n")
    prompt.expect("...> ")
    prompt.type("FROM gold.bars_1h;\n")
    assert "n\r\n24\r\n" in prompt.expect("lake> ")
    prompt.type("SELECT nothing FROM gold.bars_7h;\n")
    assert "did you mean bars_1h" in prompt.expect("lake> ")
    prompt.type("SHOW TABLES;\n")
    assert "gold.bars_1h\r\n" in prompt.expect("lake> ")
    prompt.type("exit\n")
    assert prompt.process.wait(timeout=HANGS) == 0


def test_the_tab_key_completes_names(prompt: Terminal) -> None:
    prompt.type("SELECT count(*) AS n FROM gold.ba\t WHERE market = 'u")
    prompt.expect("gold.bars_1h")
    prompt.type("m';\n")
    assert "24" in prompt.expect("lake> ")


def test_an_interrupt_drops_the_line_and_the_end_of_input_ends_the_prompt(prompt: Terminal, root: Path) -> None:
    prompt.type("SELECT 1 AS one;\n")
    prompt.expect("lake> ")
    prompt.type("SELECT something")
    prompt.expect("something")
    prompt.interrupt("lake> ")
    prompt.type("SELECT 2 AS two;\n")
    assert "two\r\n2\r\n" in prompt.expect("lake> ")
    prompt.type("\x04")
    assert prompt.process.wait(timeout=HANGS) == 0
    history = (root.parent / "state/crypto-lakehouse/sql_history").read_text(encoding="utf-8")
    assert history.splitlines()[-2:] == ["SELECT 1 AS one;", "SELECT 2 AS two;"]


def test_sigterm_ends_the_prompt(prompt: Terminal) -> None:
    # Python's readline misses a signal that arrives just before it starts to wait for a key.
    for _ in range(HANGS):
        os.kill(prompt.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            prompt.process.wait(timeout=1)
            break
    assert prompt.process.returncode == 143


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FROM gold.b", ["gold.bars_1h"]),
        ("SELECT trade_c", []),
        ("SELECT * FROM gold.bars_1h WHERE trade_c", ["trade_count"]),
        ("sel", ["SELECT"]),
        ("FROM resam", ["resample("]),
        ("FROM ", ["gold.bars_1h", "silver.klines_1m"]),
    ],
)
def test_what_can_follow_is_offered(line: str, words: list[str]) -> None:
    lake = Lakehouse("./nowhere")
    completer = Completer(["gold.bars_1h", "silver.klines_1m"], lambda table: lake.describe(table)["column"].to_list())
    assert completer.words(line) == words


def test_columns_of_tables_in_earlier_lines_are_offered() -> None:
    completer = Completer(["gold.bars_1h"], lambda table: ["close", "open"])
    completer.earlier = "WITH a AS (FROM gold.bars_1h)\n"
    assert completer.words("SELECT clo") == ["close"]


@pytest.mark.parametrize("word", ["help", "help;", r"\?"])
def test_help_is_no_query(prompt: Terminal, word: str) -> None:
    prompt.type(f"{word}\n")
    prompt.expect("End a query with ;")
    prompt.expect("lake> ")
    prompt.type(".tables;\n")
    prompt.expect("gold.bars_1h")
    prompt.expect("lake> ")
    prompt.type("\\q;\n")
    assert prompt.process.wait(HANGS) == 0


def test_the_prompt_shows_the_first_of_many_rows(prompt: Terminal) -> None:
    prompt.type("SELECT unnest(range(2222)) AS n;\n")
    text = prompt.expect("the first 200 of 2,222 rows; to get all, write them to a file")
    assert "199" in text.split()
    assert "200" not in text.replace("first 200", "").split()
