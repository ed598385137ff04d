"""Commands in pipelines: names from stdin, lines to stdout, and a progress bar on stderr.

Only data goes to stdout. What the data means is decided by the commands.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from crypto_lakehouse.catalog import check_symbol
from crypto_lakehouse.cli.common import fail
from crypto_lakehouse.cli.console import say

STDIN = "-"


def is_piped() -> bool:
    """Whether stdin is a pipe or a file, as in ``a | b`` and ``b < names``; False for terminals and /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def input_lines() -> Iterator[bytes]:
    """The lines of stdin without line ends; blank lines are skipped."""
    for line in typer.get_binary_stream("stdin"):
        if text := line.rstrip(b"\r\n"):
            yield text


def symbol_of(line: bytes) -> str:
    """The symbol of a line: the ``symbol`` of a JSON object, or else the text up to the first tab.

    Raises ValueError that quotes the line.

    >>> symbol_of(b'{"symbol": "BTCUSDT", "files": 3}'), symbol_of(b"ETHUSDT\\t2024-01-01")
    ('BTCUSDT', 'ETHUSDT')
    """
    text = line.decode("utf-8-sig", "replace").strip()
    if not text.startswith("{"):
        return check_symbol(text.split("\t", 1)[0].strip())
    try:
        return check_symbol(json.loads(text)["symbol"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{text[:100]!r} is not a JSON object with a symbol") from None


def read_names(arguments: Sequence[str], filtered: bool) -> tuple[list[str] | None, list[str]]:
    """Symbols from arguments, or from stdin for ``-`` or a pipe (None without any of these); and faults of lines.

    A fault says what is wrong with a line of stdin. A bad argument is wrong usage. So are names together with filters,
    because it would be unclear which of the two decides.
    """
    piped = STDIN in arguments or (not arguments and is_piped())
    if not arguments and not piped:
        return None, []
    if filtered:
        origin = "the arguments" if arguments else "standard input (to ignore it, end the command with < /dev/null)"
        fail(f"symbols come from filters and from {origin}: use only one of the two", 2)
    names, faults = [], []
    for name in arguments:
        if name != STDIN:
            try:
                names.append(check_symbol(name))
            except ValueError as error:
                fail(error, 2)
    for number, line in enumerate(input_lines() if piped else (), 1):
        try:
            names.append(symbol_of(line))
        except ValueError as error:
            faults.append(f"line {number} of standard input: {error}")
    if not names and not faults:
        note("standard input has no symbol, so nothing is listed")
    return names, faults


def emit(lines: Iterable[str]) -> None:
    """Write lines to stdout in UTF-8, whatever the locale. Exit with 0 if the reader closes the pipe (``| head``)."""
    send(f"{line}\n".encode("utf-8", "backslashreplace") for line in lines)


def send(blocks: Iterable[bytes]) -> None:
    """Write bytes to stdout. Exit with 0 if the reader closes the pipe."""
    out = typer.get_binary_stream("stdout")
    at_once = out.isatty()
    try:
        try:
            for block in blocks:
                out.write(block)
                if at_once:
                    out.flush()
        finally:
            out.flush()
    except BrokenPipeError:
        # Python flushes stdout again when it exits, and would print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def after_bar(lines: Iterable[str]) -> Iterator[str]:
    """The lines. If stdout is a terminal, all of them come after the progress bar has ended, because they would mix."""
    yield from list(lines) if sys.stdout.isatty() else lines


def note(text: str) -> None:
    """Print a message on stderr."""
    say(Console(stderr=True), text)


def field(text: str) -> str:
    """``text`` as a field of a tab-separated line: tabs, line ends and terminal codes become ``?``."""
    return "".join(character if character.isprintable() else "?" for character in text)


@contextmanager
def bar(label: str, total: int | None, shown: bool) -> Iterator[Progress]:
    """A progress bar on stderr, if that is a terminal and ``shown`` is true; ``advance(progress)`` moves it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    hidden = not (shown and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        progress.add_task(label, total=total)
        yield progress


def advance(progress: Progress, steps: int = 1, label: str | None = None) -> None:
    """Move the bar forward, with ``label`` as its new label."""
    progress.update(TaskID(0), advance=steps, description=label)
