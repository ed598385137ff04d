"""The prompt of ``crypto-lakehouse sql``: queries line by line, with history and completion.

It uses the standard library's ``readline``, so that reading a lake needs no further package. Queries run in ``sql.py``.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from crypto_lakehouse import interrupts
from crypto_lakehouse.cli.pipe import note

if TYPE_CHECKING:
    from crypto_lakehouse import Lakehouse

_FIRST, _NEXT = "lake> ", "  ...> "
_WORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "ASOF JOIN", "USING", "WITH", "PIVOT"),
    *("DESCRIBE", "SUMMARIZE", "EXPLAIN", "SHOW TABLES", "INTERVAL", "HAVING", "QUALIFY", "BETWEEN", "DISTINCT"),
)
_NAME = re.compile(r"\b(\w+)\.(\w+)\b")
_WORD = re.compile(r"[\w.]*$")
_HISTORY, _LINES = "sql_history", 1000
# Words of this prompt and of those of DuckDB, SQLite and PostgreSQL.
_EXITS, _HELPS = ("exit", "quit", ".exit", ".quit", r"\q"), ("help", ".help", "?", r"\?", r"\h")
_LISTS = (".tables", "tables", r"\d", r"\dt")
_HELP = "End a query with ; and Enter. Tab completes tables, columns and words. SHOW TABLES; lists tables. exit ends."


class Completer:
    """Completes the word before the cursor: tables of the lake, columns of tables that the query names, SQL."""

    def __init__(self, tables: Iterable[str], columns: Callable[[str], list[str]]) -> None:
        from crypto_lakehouse.lake.reader.sql_macros import MACROS

        self._tables, self._columns = list(tables), columns
        self._functions = [signature.partition("(")[0] + "(" for signature in MACROS]
        self.earlier = ""
        """Lines of the query before the present one."""

    def words(self, line: str) -> list[str]:
        """What the last word of the line can become."""
        match = _WORD.search(line)
        start = match[0] if match else ""
        columns = [
            column
            for table in dict.fromkeys(".".join(names) for names in _NAME.findall(f"{self.earlier} {line}"))
            if table in self._tables
            for column in self._columns(table)
        ]
        known = dict.fromkeys([*columns, *self._tables, *self._functions, *_WORDS])
        # Without any letter, all words of SQL would hide the columns.
        offered = known if start else dict.fromkeys([*columns, *self._tables])
        return [word for word in offered if word.lower().startswith(start.lower())]


def run_prompt(lake: Lakehouse, run: Callable[[str], None]) -> None:
    """Read queries from the terminal and ``run`` each, until ``exit`` or the end of input.

    A failed query ends nothing. Ctrl-C stops a query, or drops what was typed. SIGTERM ends the prompt.
    """
    listed = lake.tables().select("layer", "table").unique(maintain_order=True)
    tables = [f"{layer}.{table}" for layer, table in listed.iter_rows()]
    completer = Completer(tables, lambda table: lake.describe(table)["column"].to_list())
    note(f"{lake.uri}: {len(tables)} tables. {_HELP}")
    save = _line_editing(completer)
    try:
        while True:
            try:
                query = _query(completer)
                word = query.strip(" ;\n").lower()
                if word in _EXITS:
                    return
                if word in _HELPS:
                    note(_HELP)
                elif word:
                    run("SHOW TABLES" if word in _LISTS else query)
            except EOFError:
                note("")
                return
            except typer.Exit:
                # The error has been printed.
                continue
            except KeyboardInterrupt:
                if interrupts.received() == signal.SIGTERM:
                    raise
                interrupts.install()
                note("")
    finally:
        save()


def _query(completer: Completer) -> str:
    """The lines up to one that ends with a semicolon, or a word that ends the prompt."""
    completer.earlier = ""
    line = input(_FIRST)
    if line.strip(" ;").lower() in (*_EXITS, *_HELPS, *_LISTS, ""):
        return line
    while not line.rstrip().endswith(";"):
        completer.earlier += f"{line}\n"
        line = input(_NEXT)
    return completer.earlier + line


def _line_editing(completer: Completer) -> Callable[[], None]:
    """Switch on history and completion where Python has readline. Returns what saves the history."""
    try:
        import readline
    except ImportError:
        return lambda: None
    found: list[str] = []

    def complete(_text: str, state: int) -> str | None:
        if state == 0:
            found[:] = completer.words(readline.get_line_buffer()[: readline.get_endidx()])
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    # A dot is part of the name of a table.
    readline.set_completer_delims(" \t\n,()=<>+-*/;'\"")
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()) / "crypto-lakehouse"
    # A prompt without its history is better than none.
    with suppress(OSError):
        readline.read_history_file(folder / _HISTORY)
    readline.set_history_length(_LINES)

    def save() -> None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(folder / _HISTORY)

    return save
