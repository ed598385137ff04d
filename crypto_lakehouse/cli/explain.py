"""The command ``explain``: where a row comes from, and which partitions used a file.

This module chooses words and exit codes; ``lake/lineage`` finds the rows and files.
"""

from __future__ import annotations

from typing import Annotated

import typer

from crypto_lakehouse.cli.common import explained, fail
from crypto_lakehouse.cli.complete import complete_market, complete_table
from crypto_lakehouse.cli.pipe import emit
from crypto_lakehouse.cli.read import AsOfOption, open_reader, reading
from crypto_lakehouse.cli.rows import STDOUT, FormatOption, OutOption, Output


def explain(
    table: Annotated[
        str | None, typer.Argument(help="layer.table: gold.bars_1h, ...", autocompletion=complete_table)
    ] = None,
    symbol: Annotated[str | None, typer.Argument(help="Symbol: BTCUSDT.")] = None,
    time: Annotated[str | None, typer.Argument(help="UTC time of the row: 2024-01-02T03:00.")] = None,
    market: Annotated[str | None, typer.Option(help="Market of the row.", autocompletion=complete_market)] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="KEY|SHA256", help="Instead of a row: list the partitions that used this file."),
    ] = None,
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
    format: FormatOption = None,
    out: OutOption = STDOUT,
    as_of: AsOfOption = None,
) -> None:
    """Print where a row comes from, down to lines of files; or which partitions used a file.

    With --format or --out, the rows of all steps are written.
    """
    output, lake = Output.parse(format, out), open_reader(as_of)
    if file is not None:
        if table is not None:
            fail("--file lists the partitions that used a file, and a table, symbol and time name a row: give one", 2)
        with reading(f"looking for {file}"):
            rows = lake.uses(file, exchange=exchange)
        with explained():
            output.write(rows)
        return
    if table is None or symbol is None or time is None:
        fail("name the table, the symbol and the time of a row (gold.bars_1h BTCUSDT 2024-01-02T03:00), or --file", 2)
    with reading(f"explaining {table} {symbol} {time}"):
        explanation = lake.explain(table, symbol, time, market=market, exchange=exchange)
    with explained():
        if format is None and out == STDOUT:
            emit(str(explanation).splitlines())
        else:
            output.write(explanation.frame())
