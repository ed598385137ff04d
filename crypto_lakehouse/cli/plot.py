"""The commands that draw: ``plot candles``, ``coverage``, ``breadth`` and ``correlation``.

They check arguments and call the reader; ``lake/pictures`` draws. Nothing here imports Dagster, and Plotly and
matplotlib are imported only when a picture is drawn.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_lakehouse.cli.common import check_range, fail, first_day, last_day, symbol_list
from crypto_lakehouse.cli.complete import complete_market
from crypto_lakehouse.cli.read import TableArgument, open_reader, reading

if TYPE_CHECKING:
    from crypto_lakehouse.lake.pictures.picture import Picture

plot_app = typer.Typer(
    help="Draw candlesticks, what the lake has, breadth, or correlations, as PNG or HTML.", no_args_is_help=True
)

Market = Annotated[str, typer.Option(help="Market.", autocompletion=complete_market)]
First = Annotated[date | None, typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day.")]
Last = Annotated[
    date | None, typer.Option("--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive.")
]
Recent = Annotated[
    str | None,
    typer.Option("--last", metavar="LENGTH", help="30d, 12h, 4w: only so long before --to, or before the newest data."),
]
Exchange = Annotated[str, typer.Option(help="Exchange.")]
Symbols = Annotated[
    str, typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default all.")
]
Interval = Annotated[str, typer.Option(help="Interval of the bars: 1h, 8h, 1d, ...")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="File to write: .png (needs no browser) or .html.")]


@plot_app.command()
def candles(
    symbol: Annotated[str, typer.Argument(help="Symbol: BTCUSDT.")],
    market: Market,
    out: Out,
    bars: Annotated[str, typer.Option(help="Bars: 5m, 1h, 1d, dollar:1000000, ...")] = "1h",
    offset: Annotated[str, typer.Option(help="Shift of the bars' windows: 5m.")] = "0m",
    first: First = None,
    last: Last = None,
    recent: Recent = None,
    funding: Annotated[bool, typer.Option(help="Draw funding rates, if the lake has any.")] = True,
    exchange: Exchange = "binance",
) -> None:
    """Draw candlesticks with volume and funding rates; mark filled stretches and gaps.

    Without --from and --last, the newest bars are drawn.
    """
    _check(out)
    check_range(first, last, recent)
    lake = open_reader()
    with reading(f"reading {symbol}"):
        picture = lake.plot(
            symbol,
            bars,
            market=market,
            exchange=exchange,
            offset=offset,
            start=first,
            end=last + timedelta(days=1) if last else None,
            last=recent,
            funding=funding,
        )
        _save(picture, out)


@plot_app.command()
def coverage(
    market: Market,
    out: Out,
    table: TableArgument = "silver.klines_1m",
    symbols: Symbols = "",
    first: First = None,
    last: Last = None,
    recent: Recent = None,
    exchange: Exchange = "binance",
) -> None:
    """Draw the state of each symbol and day of a table: there, filled, missing, quarantined."""
    _check(out)
    check_range(first, last, recent)
    lake = open_reader()
    with reading(f"reading the ledger of {table}"):
        picture = lake.plot_coverage(
            table,
            market=market,
            exchange=exchange,
            symbols=symbols or None,
            start=first,
            end=last + timedelta(days=1) if last else None,
            last=recent,
        )
        _save(picture, out)


@plot_app.command()
def breadth(
    market: Market,
    out: Out,
    interval: Interval = "1d",
    average: Annotated[int, typer.Option(help="Windows of the moving average.")] = 20,
    symbols: Symbols = "",
    first: First = None,
    last: Last = None,
    recent: Recent = None,
    exchange: Exchange = "binance",
) -> None:
    """Draw how many symbols rise and fall in each window, and are above their moving average."""
    _check(out)
    check_range(first, last, recent)
    lake = open_reader()
    with reading(f"reading {interval} bars"):
        picture = lake.plot_breadth(
            symbols or None,
            interval,
            market=market,
            exchange=exchange,
            average=average,
            start=first,
            end=last + timedelta(days=1) if last else None,
            last=recent,
        )
        _save(picture, out)


@plot_app.command()
def correlation(
    market: Market,
    out: Out,
    interval: Interval = "1d",
    symbols: Symbols = "",
    first: First = None,
    last: Last = None,
    recent: Recent = None,
    exchange: Exchange = "binance",
) -> None:
    """Draw the correlations of the returns of each two symbols."""
    _check(out)
    check_range(first, last, recent)
    lake = open_reader()
    with reading(f"reading {interval} bars"):
        picture = lake.plot_correlation(
            symbols or None,
            interval,
            market=market,
            exchange=exchange,
            start=first,
            end=last + timedelta(days=1) if last else None,
            last=recent,
        )
        _save(picture, out)


def _check(out: Path) -> None:
    from crypto_lakehouse.lake.pictures.picture import MissingLibrary, check_suffix, require

    try:
        check_suffix(out)
        # Before the lake is read, which may take long.
        require("matplotlib" if out.suffix.lower() == ".png" else "plotly")
    except (ValueError, MissingLibrary) as error:
        fail(error, 2)


def _save(picture: Picture, out: Path) -> None:
    typer.echo(f"{picture.title}: {picture.save(out)}")
