"""Commands that messages recommend, parsed by the command line itself."""

from __future__ import annotations

import re
import shlex
from typing import Any, cast

import typer

from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.cli.main import app

# A recommended command ends with its text, before a sentence, or before the next command.
_COMMAND = re.compile(rf"{PROGRAM} [a-z].*?(?=\.?$|[;,] |\. |\)| \(|: )", re.MULTILINE)


def parsed(command: str) -> dict[str, Any]:
    """The arguments of a command after the parser of the command line has accepted all of them.

    An option that can be repeated and is given once is its one value.
    """
    program, *words = shlex.split(command)
    assert program == PROGRAM
    group = cast("typer.core.TyperGroup", typer.main.get_command(app))
    while isinstance(group.commands[words[0]], typer.core.TyperGroup):
        group = cast("typer.core.TyperGroup", group.commands[words.pop(0)])
    arguments = group.commands[words[0]].make_context(words[0], words[1:]).params
    for name in ("market", "table"):
        if isinstance(values := arguments.get(name), list | tuple) and len(values) == 1:
            arguments[name] = values[0]
    return arguments


def recommended(text: str) -> list[str]:
    """The commands in a message."""
    return _COMMAND.findall(text)
