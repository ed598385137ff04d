"""The command line: it checks arguments, calls the module that does the work, and chooses words and exit codes.

Exit codes: 0 success, 1 something failed, 2 wrong usage or settings, 130 stopped by Ctrl-C, 143 by SIGTERM.
Only commands that run something import Dagster.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.automation import MEANINGS
from crypto_lakehouse.catalog.commands import PROGRAM
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.archive import archive_app
from crypto_lakehouse.cli.archive_serve import archive_serve, archive_serve_api
from crypto_lakehouse.cli.backfill import backfill
from crypto_lakehouse.cli.common import (
    Commands,
    Program,
    decimal_number,
    explained,
    fail,
    first_day,
    last_day,
    load_settings,
    month,
    open_lake,
    quiet_dagster,
    symbol_list,
)
from crypto_lakehouse.cli.compare import compare
from crypto_lakehouse.cli.console import follow, say, say_late_signal, show_table, summarize
from crypto_lakehouse.cli.drill import drill
from crypto_lakehouse.cli.explain import explain
from crypto_lakehouse.cli.export_files import export_freqtrade, export_nautilus, export_table
from crypto_lakehouse.cli.lake import verify
from crypto_lakehouse.cli.metrics import metrics
from crypto_lakehouse.cli.plot import plot_app
from crypto_lakehouse.cli.read import coverage, describe, read, tables
from crypto_lakehouse.cli.relist import relist
from crypto_lakehouse.cli.revisions import revisions_app
from crypto_lakehouse.cli.serve import serve, tokens_app
from crypto_lakehouse.cli.sql import sql
from crypto_lakehouse.cli.update import update

app = Program(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
export_app = typer.Typer(help="Write rows of the lake as files of other tools.", no_args_is_help=True)
app.add_typer(export_app, name="export")
app.add_typer(archive_app, name="archive")
app.add_typer(plot_app, name="plot")
app.add_typer(revisions_app, name="revisions")
app.add_typer(tokens_app, name="tokens")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def program(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Market history of crypto exchanges: archive files to bronze, silver and gold tables."""


@app.command()
def config() -> None:
    """Print the effective settings, with secrets masked, and what starts by itself."""
    settings = load_settings()
    for name, value in settings.masked().items():
        typer.echo(f"{name}={value}")
    for kind, meaning in MEANINGS.items():
        state = "running" if kind in settings.automations else "stopped"
        typer.echo(f"# {state} unless changed in the UI: {kind}: {meaning}")


@app.command()
def status(
    table: Annotated[str | None, typer.Option(help="Only this table: klines_1m, or silver.klines_1m.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON that lists every hole and file.")] = False,
) -> None:
    """Show the range, holes, failed files, quarantined files and size of every table in each market."""
    settings = load_settings()
    with explained():
        from crypto_lakehouse.lake.reader.status import lake_status
        from crypto_lakehouse.schemas.slices import TableSlice

        store = open_lake(settings)
        try:
            slices = lake_status(store, table, settings.shown_markets, settings.start)
        except KeyError as error:
            fail(error.args[0], 2)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in slices], indent=2))
        return
    console = Console()
    if not slices and settings.hidden:
        say(console, f"the lake {store.uri} has nothing to show; hidden by the settings: {settings.hidden}")
        return
    if not slices:
        say(console, f"the lake {store.uri} has no partition of {table}" if table else f"no table is in {store.uri}")
        return
    say(console, f"lake {store.uri}; parts are partitions, bad are quarantined files")
    if hidden := settings.hidden:
        say(console, f"hidden by the settings: {hidden}")
    if chosen := settings.symbol_words:
        say(console, f"symbols that runs build: {chosen}")
    show_table(
        console,
        names=("table", "market"),
        values=("first", "last", "parts", "holes", "failed", "bad", "size"),
        rows=[
            (
                *(f"{each.layer}.{each.table}", f"{each.exchange}/{each.market}", each.first or "-", each.last or "-"),
                *(f"{n:,}" for n in (each.partitions, len(each.holes), len(each.failed), len(each.quarantined))),
                decimal(each.bytes),
            )
            for each in slices
        ],
    )
    for each in slices:
        table_slice = TableSlice(each.layer, each.exchange, each.market, each.table)
        for fault, names in (("hole", each.holes), ("failed", each.failed), ("quarantined", each.quarantined)):
            for name in names[:20]:
                say(console, f"{fault} {each.layer}.{each.table} {each.exchange}/{each.market}: {name}")
            if len(names) > 20:
                say(console, f"{fault}: and {len(names) - 20} more; --json lists all")
            if names and fault != "quarantined":
                # The names start with their partition, and are sorted.
                first, last = names[0].split()[0], names[-1].split()[0]
                command = table_slice.backfill_command(first, last)
                say(console, f"{fault} {each.layer}.{each.table} {each.exchange}/{each.market}: build with: {command}")


@app.command()
def compact(
    market: Annotated[str, typer.Option(help="Market: spot, um or cm.")],
    table: Annotated[str, typer.Option(help="klines_1m or other daily klines, or continuous_1m.")] = "klines_1m",
    first: Annotated[
        str | None, typer.Option("--from", parser=month, metavar="YYYY-MM", help="First month; by default all.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", parser=month, metavar="YYYY-MM", help="Last month, inclusive.")
    ] = None,
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
) -> None:
    """Write month files of a table, which make reads of a few symbols several times faster.

    A month file holds the rows of a complete month, sorted by symbol.

    Skips months that are not over, miss a day, or have a file that is up to date.
    """
    settings = load_settings()
    console = Console()
    interrupts.defer()
    quiet_dagster()
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.lake.storage.describe import require_lake
    from crypto_lakehouse.orchestration.launch import (
        chunks,
        compaction_plan,
        compaction_source,
        open_instance,
        since_start,
    )
    from crypto_lakehouse.orchestration.partitions import PARTITIONS_PER_RUN
    from crypto_lakehouse.orchestration.runs import run_chunks
    from crypto_lakehouse.pipeline.compaction import month_states
    from crypto_lakehouse.schemas.slices import TableSlice

    if first and last and last < first:
        fail(f"the range ends ({last}) before it starts ({first}): swap --from and --to", 2)
    try:
        table_slice = TableSlice.with_months(exchange, market, table)
        source = since_start(compaction_source(table_slice, settings), settings, first or "")
    except (KeyError, ValueError) as error:
        fail(error.args[0], 2)
    with explained(), open_instance() as instance:
        store = open_lake(settings)
        require_lake(store)
        if swept := store.sweep():
            say(console, f"removed {swept} temporary files that killed runs left in the lake or in TMPDIR")
        states = month_states(table_slice, source, store, datetime.now(UTC).date())
        states = [state for state in states if (first or "") <= state.month <= (last or "9999-12")]
        for state in states:
            if state.missing:
                say(console, f"skipped {table_slice.place} {state.month}: {state.missing_text}")
        plan = compaction_plan(
            table_slice, source, [state.month for state in states if not state.missing and not state.current]
        )
        spans = chunks(plan.keys, plan.cadence, settings.max_partitions_per_run or PARTITIONS_PER_RUN)
        current = sum(state.current for state in states)
        say(
            console,
            f"{plan.job}: {len(plan.keys)} months of {table_slice.place} to build, {current} are up to date",
        )
        outcomes = run_chunks(plan, spans, build_defs(settings), instance, "") if spans else []
        code = summarize(console, follow(console, outcomes, len(plan.keys)))
    say_late_signal(console, code)
    raise typer.Exit(code)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option(help="Folder for the archive, the lake, the chart and Dagster's records.")
    ] = Path("./demo"),
    end: Annotated[
        date | None,
        typer.Option(
            parser=first_day,
            metavar="YYYY-MM-DD",
            help="Last of the ten UTC days; by default yesterday, or the last day of the demo in the folder.",
        ),
    ] = None,
) -> None:
    """Build a small lake from a sample archive by real Dagster runs, and show it. It needs no network."""
    load_settings()
    quiet_dagster()
    with explained():
        from crypto_lakehouse.cli.demo import run_demo

        code = run_demo(folder, Console(), datetime.now(UTC).date(), end)
    raise typer.Exit(code)


for command in (
    backfill,
    update,
    compare,
    relist,
    drill,
    verify,
    read,
    sql,
    tables,
    describe,
    coverage,
    explain,
    serve,
    metrics,
):
    app.command()(command)


archive_app.command("serve")(archive_serve)
archive_app.command("serve-api")(archive_serve_api)
export_app.command("table")(export_table)
export_app.command("freqtrade")(export_freqtrade)
export_app.command("nautilus")(export_nautilus)


@export_app.command("legacy")
def export_legacy(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder to write to; created if it is missing.")],
    first: Annotated[date, typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day.")],
    last: Annotated[
        date, typer.Option("--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive.")
    ],
    market: Annotated[
        list[str] | None, typer.Option(help="spot, um or cm; can be repeated; by default LAKEHOUSE_MARKETS.")
    ] = None,
    symbols: Annotated[
        str, typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default all.")
    ] = "",
    bars: Annotated[
        str, typer.Option(help="Bars to write next to the minutes; 1h:5m: one hour at offsets 0, 5m, ...")
    ] = "1h:5m,5m",
    profile: Annotated[
        str, typer.Option(help="legacy: the legacy tool's rows; default: its defects corrected.")
    ] = "legacy",
    gap_days: Annotated[
        float,
        typer.Option(
            parser=decimal_number, metavar="NUMBER", help="Days without trades after which a price jump is a gap."
        ),
    ] = 1.0,
    gap_change: Annotated[
        float, typer.Option(parser=decimal_number, metavar="NUMBER", help="Relative price change that makes it a gap.")
    ] = 0.1,
) -> None:
    """Write continuous minutes and bars from silver, in the folders and columns of the legacy tool (BHDS)."""
    settings = load_settings()
    from crypto_lakehouse.catalog.bars import parse_bars_list
    from crypto_lakehouse.cli.export import show_export
    from crypto_lakehouse.lake.storage.describe import require_lake
    from crypto_lakehouse.lake.storage.store import LakeStore
    from crypto_lakehouse.pipeline.export_legacy import EXCHANGE, FOLDERS, ExportPlan, LegacyExport, check_market
    from crypto_lakehouse.transforms.gold.continuous import GapRule
    from crypto_lakehouse.transforms.gold.legacy import Profile

    if not (0 < gap_days <= 366 and 0 <= gap_change < float("inf")):
        fail(
            f"--gap-days must be above 0 and at most 366, --gap-change 0 or more; got {gap_days:g} and {gap_change:g}",
            2,
        )
    for name in market or ():
        try:
            check_market(name)
        except KeyError as error:
            fail(error.args[0], 2)
    if profile not in list(Profile):
        fail(f"no profile {profile!r}; there are {', '.join(Profile)}", 2)
    try:
        kinds, end = parse_bars_list(bars), last + timedelta(days=1)
        rule = GapRule.of_days(gap_days, gap_change)
        plan = ExportPlan(first, end, SymbolFilter.parse(symbols), kinds, rule, Profile(profile))
    except (ValueError, OverflowError) as error:
        fail(error, 2)
    with explained():
        lake = open_lake(settings)
        require_lake(lake)
        target = LakeStore.open(out, settings.s3_endpoint_url, settings.s3_region)
        chosen = market or [name for name in FOLDERS if settings.is_enabled(find_market(EXCHANGE, name))]
        exports = [LegacyExport(lake, target, name, plan) for name in dict.fromkeys(chosen)]
        succeeded = show_export(Console(), exports, plan.symbols)
    raise typer.Exit(0 if succeeded else 1)
