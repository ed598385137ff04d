"""The commands ``export table``, ``export freqtrade`` and ``export nautilus``: files for each symbol.

The reader gives the rows (``lake/reader``), ``pipeline/export_freqtrade.py`` and ``export_nautilus.py`` know the
files of these programs, and ``rows.py`` writes formats. Nothing here imports Dagster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer
from rich.progress import Progress

from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.common import exact_number, explained, fail, first_day, last_day, symbol_list
from crypto_lakehouse.cli.complete import complete_market
from crypto_lakehouse.cli.console import counted
from crypto_lakehouse.cli.pipe import advance, bar, note
from crypto_lakehouse.cli.read import TableArgument, names, open_reader, reading
from crypto_lakehouse.cli.rows import Format, publish, rendered

if TYPE_CHECKING:
    import polars as pl

    from crypto_lakehouse import Lakehouse


class FileFormat(StrEnum):
    """Formats of exported files; Feather is the file format of Arrow."""

    PARQUET = "parquet"
    FEATHER = "feather"
    CSV = "csv"


_FORMATS = {FileFormat.PARQUET: Format.PARQUET, FileFormat.FEATHER: Format.ARROW, FileFormat.CSV: Format.CSV}

FolderOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to; created if missing.")]
SymbolsOption = Annotated[
    str, typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default all.")
]
FirstOption = Annotated[
    date | None,
    typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day; by default all."),
]
TradedMarket = Annotated[str, typer.Option("--market", help="Market: spot or um.", autocompletion=complete_market)]
TimeframeOption = Annotated[str, typer.Option("--timeframe", help="Interval of the candles: 1m, 5m, 1h, 1d, ...")]
FeeOption = Annotated[
    Decimal | None,
    typer.Option(
        parser=exact_number,
        metavar="RATE",
        help="Fee of the instruments: 0.0005 is 0.05 %; by default that of an earlier export, or 0.",
    ),
]
LastOption = Annotated[
    date | None, typer.Option("--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive.")
]


def export_table(
    table: TableArgument,
    market: Annotated[str, typer.Option(help="Market: spot, um, cm or option.", autocompletion=complete_market)],
    out: FolderOption,
    symbols: SymbolsOption = "",
    first: FirstOption = None,
    last: LastOption = None,
    columns: Annotated[str, typer.Option(metavar="LIST", help="open_time,close; by default all.")] = "",
    format: Annotated[FileFormat, typer.Option("--format", help="Format of the files.")] = FileFormat.PARQUET,
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
) -> None:
    """Write a file with the rows of each symbol of a table: DIR/BTCUSDT.parquet."""
    with explained():
        from crypto_lakehouse.pipeline.export_bars import stored_symbols
    lake, end, written = open_reader(), last + timedelta(days=1) if last else None, 0
    with reading(f"listing {table}"):
        stored = stored_symbols(lake, table, market, first, end, exchange)
    for symbol, progress in _each(_chosen(table, symbols, stored)):
        with reading(f"reading {symbol}", quiet=True):
            rows = lake.read(
                table,
                exchange=exchange,
                market=market,
                symbols=symbol,
                start=first,
                end=end,
                columns=names(columns),
                format="polars",
            )
        with _writing(out):
            publish(out / f"{symbol}.{format}", rendered(_FORMATS[format], cast("pl.DataFrame", rows)))
        written += 1
        advance(progress, label=symbol)
    note(f"{counted(written, 'file')} written to {out}")


def export_freqtrade(
    market: TradedMarket,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="freqtrade's folder of data: user_data/data/binance.")
    ],
    timeframe: TimeframeOption = "1h",
    symbols: SymbolsOption = "",
    first: FirstOption = None,
    last: LastOption = None,
) -> None:
    """Write the candles that freqtrade reads, such as DIR/futures/BTC_USDT_USDT-1h-futures.feather.

    Of futures it also writes the funding rates and mark prices that are in the lake.
    """
    with explained():
        from crypto_lakehouse.pipeline.export_freqtrade import MARKS, RATES, FreqtradeExport, feather, find_pair
    lake, end, written = open_reader(), last + timedelta(days=1) if last else None, 0
    chosen, others = _traded("freqtrade", lake, market, timeframe, symbols, first, end), []
    with reading("listing funding"):
        export = FreqtradeExport(lake, market, timeframe, first, end)
    for symbol, progress in _each(chosen):
        pair = find_pair(market, symbol)
        with reading(f"reading {symbol}", quiet=True):
            files = export.files(pair) if pair else {}
        for path, rows in files.items():
            with _writing((out / path).parent):
                publish(out / path, iter([feather(rows)]))
        written += len(files)
        if not files:
            others.append(symbol)
        advance(progress, label=symbol)
    for name, table, missing in (
        ("funding rates", RATES, export.without_rates),
        ("mark prices", MARKS[-1], export.without_marks),
    ):
        if missing:
            note(
                f"warning: the lake has no {name} of {_some(missing)} in this range, which backtests of futures in"
                f" freqtrade need. Build them with: {export.build(table)}"
            )
    _finish("freqtrade gets no candles", others, written, out)


def export_nautilus(
    market: TradedMarket,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the catalog; created if missing.")],
    timeframe: TimeframeOption = "1h",
    symbols: SymbolsOption = "",
    first: FirstOption = None,
    last: LastOption = None,
    maker_fee: FeeOption = None,
    taker_fee: FeeOption = None,
) -> None:
    """Write bars and instruments as a Parquet data catalog of nautilus_trader."""
    with explained():
        from crypto_lakehouse.pipeline.export_nautilus import NautilusExport, find_instrument
    lake, end, written = open_reader(), last + timedelta(days=1) if last else None, 0
    chosen, others = _traded("nautilus_trader", lake, market, timeframe, symbols, first, end), []
    export = NautilusExport(lake, out, market, timeframe, first, end, maker_fee, taker_fee)
    for symbol, progress in _each(chosen):
        instrument = find_instrument(market, symbol)
        with reading(f"reading {symbol}", quiet=True):
            files = export.files(instrument) if instrument else {}
        for path, content in files.items():
            with _writing((out / path).parent):
                publish(out / path, iter([content]))
        with reading(f"replacing {symbol}", quiet=True):
            for old in export.replaced(files):
                old.unlink()
        written += len(files)
        if not files:
            others.append(symbol)
        advance(progress, label=symbol)
    _finish("nautilus_trader gets no bars", others, written, out)


def _traded(
    program: str, lake: Lakehouse, market: str, timeframe: str, symbols: str, first: date | None, end: date | None
) -> list[str]:
    """The stored symbols of an export to a trading program. Ends with exit code 2 for wrong arguments."""
    from crypto_lakehouse.pipeline.export_bars import MARKETS, MINUTES, check_timeframe, stored_symbols

    if market not in MARKETS:
        fail(f"files of {program} are written for the markets {' and '.join(MARKETS)}, not {market}", 2)
    with reading("listing the minutes"):
        check_timeframe(timeframe)
        stored = stored_symbols(lake, MINUTES, market, first, end)
    return _chosen(MINUTES, symbols, stored)


def _finish(reason: str, others: list[str], written: int, out: Path) -> NoReturn:
    """Name the symbols that were not written, and exit: with 1 if none was."""
    if others:
        note(f"{reason} for {_some(others)}: not written")
    note(f"{counted(written, 'file')} written to {out}")
    raise typer.Exit(0 if written else 1)


def _some(symbols: list[str]) -> str:
    """The first of the symbols, and how many more there are."""
    return ", ".join(symbols[:10]) + (f" and {len(symbols) - 10} more" if len(symbols) > 10 else "")


def _chosen(table: str, symbols: str, stored: list[str]) -> list[str]:
    """The stored symbols that the user chose. Ends with exit code 2 for a name or pattern without any."""
    wanted = SymbolFilter.parse(symbols)
    if unknown := wanted.unknown(stored):
        fail(f"{table} has no rows in this range for {', '.join(with_near(name, stored) for name in unknown)}", 2)
    if not stored:
        fail(f"{table} has no rows in this range, so no file is written", 1)
    return wanted.select(stored)


def _each(symbols: list[str]) -> Iterator[tuple[str, Progress]]:
    """The symbols, with a progress bar on a terminal."""
    with bar("export", len(symbols), shown=True) as progress:
        for symbol in symbols:
            yield symbol, progress


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    with explained():
        folder.mkdir(parents=True, exist_ok=True)
        yield
