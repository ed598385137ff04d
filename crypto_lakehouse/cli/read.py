"""The commands that read a lake: ``read``, ``tables``, ``describe`` and ``coverage``.

They check arguments and call the reader (``lake/reader``). Formats and files of rows are in ``rows.py``, SQL is in
``sql.py``. Nothing here imports Dagster.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from crypto_lakehouse.cli.common import (
    check_range,
    check_repeated,
    explained,
    fail,
    first_day,
    last_day,
    load_settings,
    symbol_list,
    whole,
)
from crypto_lakehouse.cli.complete import complete_market, complete_table
from crypto_lakehouse.cli.pipe import note
from crypto_lakehouse.cli.rows import STDOUT, FormatOption, OutOption, Output

if TYPE_CHECKING:
    import polars as pl

    from crypto_lakehouse import Lakehouse
    from crypto_lakehouse.lake.reader.known import Mode

TableArgument = Annotated[
    str,
    typer.Argument(help="layer.table: gold.bars_1h, silver.funding_rates, ...", autocompletion=complete_table),
]


AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="Read the lake as it was at this time (UTC), or at a snapshot."),
]


def open_reader(as_of: str | None = None) -> Lakehouse:
    """The reader of the lake of the settings, at a time of it. Ends with exit code 2 if that is no time."""
    settings = load_settings()
    with explained():
        from crypto_lakehouse import Lakehouse

        try:
            return Lakehouse(settings.lake_uri, s3_endpoint_url=settings.s3_endpoint_url, as_of=as_of)
        except ValueError as error:
            fail(f"--{str(error).replace('as_of', 'as-of', 1)}", 2)


@contextmanager
def reading(label: str, quiet: bool = False) -> Iterator[None]:
    """Print errors and warnings of the reader on stderr: wrong arguments end with 2, faults of the lake with 1.

    Unless ``quiet``, a terminal shows ``label`` on stderr meanwhile.
    """
    with explained(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            with nullcontext() if quiet else Console(stderr=True).status(label):
                yield
        except (KeyError, ValueError) as error:
            _say(caught)
            fail(error.args[0] if error.args else error, 2)
        finally:
            _say(caught)


def _say(caught: list[warnings.WarningMessage]) -> None:
    """Print the warnings of the reader, each once: before the error that they explain."""
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            note(f"warning: {warning.message}")
    caught.clear()


def read(
    table: TableArgument,
    market: Annotated[
        list[str] | None,
        typer.Option(help="Market; can be repeated; by default all.", autocompletion=complete_market),
    ] = None,
    symbols: Annotated[
        str, typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default all.")
    ] = "",
    first: Annotated[
        date | None,
        typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day; by default all."),
    ] = None,
    last: Annotated[
        date | None, typer.Option("--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive.")
    ] = None,
    recent: Annotated[
        str | None,
        typer.Option(
            "--last", metavar="LENGTH", help="30d, 12h, 4w: only so long before --to, or before the newest data."
        ),
    ] = None,
    columns: Annotated[str, typer.Option(metavar="LIST", help="open_time,close; by default all.")] = "",
    limit: Annotated[
        int | None, typer.Option(parser=whole(0), metavar="NUMBER", help="At most this many rows, from the first on.")
    ] = None,
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
    format: FormatOption = None,
    out: OutOption = STDOUT,
    as_of: AsOfOption = None,
    known_by: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only rows that were known at this UTC time: 2024-01-02T03:00.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="What counts as known: live, or archive (the files that this lake had seen).")
    ] = "live",
) -> None:
    """Print rows of a table, sorted by market and primary key."""
    check_range(first, last, recent)
    check_repeated(market=market)
    output, lake = Output.parse(format, out), open_reader(as_of)
    with reading(f"reading {table}"):
        rows = cast(
            "pl.DataFrame",
            lake.read(
                table,
                exchange=exchange,
                market=market or None,
                symbols=symbols or None,
                start=first,
                end=last + timedelta(days=1) if last else None,
                last=recent,
                columns=names(columns),
                limit=limit,
                known_by=known_by,
                mode=cast("Mode", mode),
                format="polars",
            ),
        )
    with explained():
        output.write(rows)


def tables(format: FormatOption = None, out: OutOption = STDOUT, as_of: AsOfOption = None) -> None:
    """List the tables of the lake in each market: partitions, first and last of them, bytes."""
    output, lake = Output.parse(format, out), open_reader(as_of)
    with reading("listing the lake"):
        rows = lake.tables()
    with explained():
        output.write(rows)


def describe(table: TableArgument, format: FormatOption = None, out: OutOption = STDOUT) -> None:
    """List the columns of a table: type, unit, whether they are in the primary key, meaning."""
    output, lake = Output.parse(format, out), open_reader()
    with reading(f"describing {table}"):
        rows = lake.describe(table)
    with explained():
        output.write(rows)


def coverage(
    symbol: Annotated[str, typer.Argument(help="Symbol: BTCUSDT.")],
    market: Annotated[str | None, typer.Option(help="Only this market.", autocompletion=complete_market)] = None,
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
    format: FormatOption = None,
    out: OutOption = STDOUT,
    as_of: AsOfOption = None,
) -> None:
    """List what each table holds of a symbol: first and last partition, missing ones, rows."""
    output, lake = Output.parse(format, out), open_reader(as_of)
    with reading(f"looking for {symbol}"):
        rows = lake.coverage(symbol, market=market, exchange=exchange)
    with explained():
        output.write(rows)


def names(text: str) -> list[str] | None:
    """The names of a list with commas; None if it is empty."""
    return [name for each in text.split(",") if (name := each.strip())] or None
