"""The command ``sql``: one query over the lake, its rows in any format; or a prompt for several (``prompt.py``).

The reader runs the query (``lake/reader/sql.py``). Nothing here imports Dagster.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.cli.common import explained, fail
from crypto_lakehouse.cli.pipe import STDIN, is_piped, note
from crypto_lakehouse.cli.prompt import run_prompt
from crypto_lakehouse.cli.read import AsOfOption, open_reader, reading
from crypto_lakehouse.cli.rows import STDOUT, FormatOption, OutOption, Output

if TYPE_CHECKING:
    import polars as pl

    from crypto_lakehouse import Lakehouse

_NUMBER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_SHOWN = 200
"""The most rows of a query that the prompt prints."""
_BOOLEANS = {"true": True, "false": False}

Value = str | int | float | bool


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One statement; tables are named layer.table. By default standard input, or a prompt."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Value of $NAME in the query; can be repeated."),
    ] = None,
    format: FormatOption = None,
    out: OutOption = STDOUT,
    as_of: AsOfOption = None,
) -> None:
    """Run a DuckDB query that reads the lake, and print its rows. On a terminal, without a query, open a prompt."""
    output, values = Output.parse(format, out), dict(map(_parameter, param or ()))
    if query is None and sys.stdin.isatty():
        lake = open_reader(as_of)

        def run(text: str) -> None:
            rows = run_query(lake, text, values)
            is_long = output.out == STDOUT and rows.height > _SHOWN
            with explained():
                output.write(rows.head(_SHOWN) if is_long else rows)
            if is_long:
                command = command_line("sql", options={"out": "FILE"})
                note(f"the first {_SHOWN} of {rows.height:,} rows; to get all, write them to a file: {command}")

        with reading("listing the lake"):
            lake.tables()
        run_prompt(lake, run)
        return
    if query is None and not is_piped():
        fail("no query: write it as an argument in quotes, or send it to standard input", 2)
    text = typer.get_text_stream("stdin").read() if query is None or query == STDIN else query
    rows = run_query(open_reader(as_of), text, values)
    with explained():
        output.write(rows)


def run_query(lake: Lakehouse, query: str, values: dict[str, Value]) -> pl.DataFrame:
    """The rows of a query. Ends with exit code 2 if the query is wrong."""
    import duckdb

    from crypto_lakehouse.lake.reader.sql import MissingParameters

    with reading("running the query"):
        try:
            return cast("pl.DataFrame", lake.sql(query, values, format="polars"))
        except MissingParameters as error:
            if error.names[0].isdigit():
                fail("the query has ? or $1: write $symbol instead, and add --param symbol=BTCUSDT", 2)
            options = " ".join(f"--param {name}=VALUE" for name in error.names)
            fail(f"the query has no value for ${', $'.join(error.names)}: add {options}", 2)
        except duckdb.Error as error:
            fail(error, 2)


def _parameter(text: str) -> tuple[str, Value]:
    """Name and value of ``name=value``: numbers, true and false are what they look like, all else is text.

    >>> _parameter("symbol=BTCUSDT"), _parameter("usd=1e6"), _parameter("day=2024-12-28")
    (('symbol', 'BTCUSDT'), ('usd', 1000000.0), ('day', '2024-12-28'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        fail(f"--param {text!r} is not name=value, such as symbol=BTCUSDT for $symbol", 2)
    if _NUMBER.fullmatch(value):
        return name, int(value)
    return name, float(value) if _DECIMAL.fullmatch(value) else _BOOLEANS.get(value, value)
