"""The command ``compare``: daily against monthly files of klines. It prints what ``gold.witnesses`` says.

``pipeline/gold/witnesses.py`` does the comparison, in runs of Dagster that record the days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.cli.common import (
    check_range,
    explained,
    fail,
    first_day,
    last_day,
    load_settings,
    open_lake,
    quiet_dagster,
    symbol_list,
)
from crypto_lakehouse.cli.complete import complete_market
from crypto_lakehouse.cli.console import counted, follow, say, say_late_signal, show_table, summarize

if TYPE_CHECKING:
    import polars as pl

    from crypto_lakehouse.orchestration.launch import Plan
    from crypto_lakehouse.settings import Settings

_SHOWN = 50


def compare(
    market: Annotated[str, typer.Option(help="Market: spot, um or cm.", autocompletion=complete_market)],
    first: Annotated[date, typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day.")],
    last: Annotated[
        date, typer.Option("--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive.")
    ],
    table: Annotated[str, typer.Option(help="Table of klines: klines_1m, klines_1h, ...")] = "klines_1m",
    symbols: Annotated[
        str,
        typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default LAKEHOUSE_SYMBOLS."),
    ] = "",
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
    force: Annotated[bool, typer.Option("--force", help="Compare again what was compared in these versions.")] = False,
) -> None:
    """Compare daily with monthly files of klines, and print where they disagree.

    Fetches both files of each symbol, and keeps them in the raw layer. The verdicts are in gold.witnesses.

    Bars rebuilt from trades are compared too, on days whose trades the lake has. Bronze and silver stay as they are.
    """
    settings = load_settings()
    check_range(first, last)
    console = Console()
    interrupts.defer()
    quiet_dagster()
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration.launch import open_instance
    from crypto_lakehouse.orchestration.runs import run_chunks

    try:
        plan = _plan(exchange, market, table, first, last, settings)
    except (KeyError, ValueError) as error:
        fail(error.args[0], 2)
    # A run has whole months, so that each monthly file is fetched once.
    spans = [list(keys) for _, keys in groupby(plan.keys, key=lambda key: key[:7])]
    with explained(), open_instance() as instance:
        outcomes = run_chunks(plan, spans, build_defs(settings), instance, symbols, force)
        code = summarize(console, follow(console, outcomes, len(plan.keys)))
        if not code:
            _show(console, _verdicts(settings, plan, table, symbols))
    say_late_signal(console, code)
    raise typer.Exit(code)


def _plan(exchange: str, market: str, table: str, first: date, last: date, settings: Settings) -> Plan:
    """The plan of the comparison. Raises KeyError or ValueError that says what to change."""
    from crypto_lakehouse.orchestration import launch
    from crypto_lakehouse.pipeline.gold.witnesses import TABLE, compared_feeds

    today = datetime.now(UTC).date()
    # The checks of the table itself: whether it exists, is enabled, and has these days.
    source = launch.plan(exchange, market, table, first, last, settings, today)
    if source.layer != "bronze" or not compared_feeds([source.feed]):
        raise ValueError(f"{table} of {exchange}/{market} has no monthly files to compare: choose daily klines")
    whole = launch.plan(exchange, market, TABLE, first, last, settings, today)
    return replace(whole, options={"tables": table})


def _verdicts(settings: Settings, plan: Plan, table: str, symbols: str) -> pl.DataFrame:
    import polars as pl

    from crypto_lakehouse.lake.storage.partitions import collect_partitions
    from crypto_lakehouse.schemas.slices import TableSlice

    witnesses = TableSlice(*plan.assets[0].path)
    rows = collect_partitions(
        open_lake(settings), witnesses, plan.keys, lambda rows: rows.filter(pl.col("table") == table)
    )
    chosen = settings.symbols_of(plan.market, symbols).select(rows["symbol"].unique())
    return rows.filter(pl.col("symbol").is_in(chosen)).sort("symbol", "day")


def _show(console: Console, rows: pl.DataFrame) -> None:
    """Print the number of symbols and days with each verdict, then those that do not agree."""
    import polars as pl

    counts = rows["verdict"].value_counts(sort=True).iter_rows()
    text = ", ".join(f"{verdict} {count:,}" for verdict, count in counts) or "the archive has no file of these days"
    say(console, f"{counted(rows.height, 'day')} of {counted(rows['symbol'].n_unique(), 'symbol')}: {text}")
    wrong = rows.filter((pl.col("verdict") != "agree") | (pl.col("trades_different_rows").fill_null(0) > 0))
    if wrong.is_empty():
        return
    show_table(
        console,
        names=("symbol", "day", "verdict"),
        values=("daily", "monthly", "differ", "largest", "column", "trades differ"),
        rows=[_shown(row) for row in wrong.head(_SHOWN).iter_rows(named=True)],
    )
    if wrong.height > _SHOWN:
        say(console, f"and {wrong.height - _SHOWN} more: {command_line('read', 'gold.witnesses')}")


def _shown(row: dict[str, object]) -> Sequence[str]:
    names = ("daily_rows", "monthly_rows", "monthly_different_rows", "monthly_largest", "monthly_column")
    values = [row[name] for name in (*names, "trades_different_rows")]
    texts = ["-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return (str(row["symbol"]), f"{row['day']:%Y-%m-%d}", str(row["verdict"]), *texts)
