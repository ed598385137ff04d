"""Commands that messages recommend, parsed by the command line itself."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import typer

from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.settings import PREFIX, Settings

# A recommended command may start with variables, and ends with its text, before a sentence, or before the next command.
_VARIABLE = re.compile(rf"({PREFIX}[A-Z0-9_]+)=(.*)", re.DOTALL)
_VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
_COMMAND = re.compile(
    rf"(?:{PREFIX}[A-Z0-9_]+={_VALUE} )*{PROGRAM} [a-z].*?(?=\.?$|[;,] |\. |\)| \(|: )",
    re.MULTILINE,
)


def parsed(command: str) -> dict[str, Any]:
    """The arguments of a command after the parser of the command line has accepted all of them.

    An option that can be repeated and is given once is its one value. The settings accept the variables before it.
    """
    settings, words = split(command)
    Settings(**settings)
    group = cast("typer.core.TyperGroup", typer.main.get_command(app))
    while isinstance(group.commands[words[0]], typer.core.TyperGroup):
        group = cast("typer.core.TyperGroup", group.commands[words.pop(0)])
    arguments = group.commands[words[0]].make_context(words[0], words[1:]).params
    for name in ("market", "table"):
        if isinstance(values := arguments.get(name), list | tuple) and len(values) == 1:
            arguments[name] = values[0]
    return arguments


def split(command: str) -> tuple[dict[str, str], list[str]]:
    """The settings that the variables before a command set, and the words after the program's name."""
    words, settings = shlex.split(command), {}
    while match := _VARIABLE.fullmatch(words[0]):
        settings[match[1].removeprefix(PREFIX).lower()] = match[2]
        words.pop(0)
    assert words.pop(0) == PROGRAM
    return settings, words


def partitions(command: str) -> list[str]:
    """The partitions that a recommended backfill would build when it is typed now, with the settings of this process.

    Raises ValueError if the command would end with an error.
    """
    from crypto_lakehouse.orchestration.requests import Request, requested_plans

    arguments, today = parsed(command), datetime.now(UTC).date()
    first, last, days = arguments["first"], arguments["last"], arguments["days"]
    assert (first is None) != (days is None), "a range has one start"
    end = last or today - timedelta(days=1)
    request = Request(
        arguments["exchange"],
        (arguments["market"],),
        (arguments["table"],),
        first or end - timedelta(days=days - 1),
        end,
        is_clipped=first is None or last is None,
    )
    plans = requested_plans(request, Settings(**split(command)[0]), today)
    return [key for plan in plans for key in plan.keys]


def recommended(text: str) -> list[str]:
    """The commands in a message."""
    return _COMMAND.findall(text)
