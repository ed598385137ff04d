"""The page of all commands, generated from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import typer

from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.catalog.extras import PLATFORM, install_command
from crypto_lakehouse.cli.document.markdown import markdown_table, prose
from crypto_lakehouse.cli.main import app

_HEAD = (
    "Each command with its arguments and options, as `--help` prints them. `make docs` generates this page from the"
    " command line: change that, not this page. [Command line](command-line.md) explains the commands that read."
)
_EXTRA = (
    "The base installation has all commands. Those that build a lake or use an archive need"
    f" `{install_command(PLATFORM)}` and say so, with exit code 2."
)


def commands_page() -> str:
    """The whole page as markdown."""
    parts = ["# All commands\n", prose(_HEAD), prose(_EXTRA)]
    for name, command in _commands(cast("typer.core.TyperGroup", typer.main.get_command(app))):
        parts += [f"## `{PROGRAM} {name}`\n", *_description(command), *_parameters(command)]
    return "\n".join(parts)


def _commands(group: typer.core.TyperGroup, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, typer.core.TyperGroup):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _description(command: Any) -> list[str]:
    paragraphs = (command.help or "").split("\n\n")
    return [prose(" ".join(paragraph.split())) for paragraph in paragraphs if paragraph.strip()]


def _parameters(command: Any) -> list[str]:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    rows = [row for row in rows if row[0] not in ("`--help`", "`--install-completion`", "`--show-completion`")]
    return [markdown_table(["argument or option", "value", "default", "meaning"], rows)] if rows else []


def _row(parameter: Any) -> list[str]:
    is_argument = parameter.param_type_name == "argument"
    opts = [*parameter.opts, *parameter.secondary_opts]
    names = [parameter.metavar or parameter.name.upper()] if is_argument else opts
    has_value = not is_argument and not parameter.is_flag
    return [
        " ".join(f"`{name}`" for name in names),
        f"`{parameter.metavar or 'TEXT'}`" if has_value else "",
        "required" if parameter.required else _default(parameter.default),
        " ".join((parameter.help or "").split()),
    ]


def _default(value: Any) -> str:
    # A flag that is off, and a list that is empty, need no word.
    return "" if value in (None, "", False, ()) or callable(value) else f"`{value}`"
