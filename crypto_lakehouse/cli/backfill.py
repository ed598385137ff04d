"""The command ``backfill``, and the steps before and after its runs: symbols, funding rates, later gold days.

``orchestration/requests.py`` decides what to build in which order, ``orchestration/launch.py`` does the runs, and
``pipeline/symbols.py`` decides what a symbol name means. ``update.py`` has the other command that builds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.filesize import decimal

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.common import (
    check_range,
    check_repeated,
    explained,
    fail,
    first_day,
    last_day,
    load_settings,
    open_lake,
    quiet_dagster,
    symbol_list,
    whole,
)
from crypto_lakehouse.cli.complete import complete_built, complete_market
from crypto_lakehouse.cli.console import counted, follow, say, say_failed_checks, say_late_signal, summarize
from crypto_lakehouse.cli.pipe import note
from crypto_lakehouse.lake.storage.leftovers import sweep_temporary

if TYPE_CHECKING:
    from dagster import Definitions

    from crypto_lakehouse.orchestration.launch import Plan
    from crypto_lakehouse.orchestration.up_to_date import Work
    from crypto_lakehouse.settings import Settings

ForceOption = Annotated[bool, typer.Option("--force", help="Rebuild even partitions whose inputs have not changed.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only print the partitions to build, and the files and bytes to download.")
]


def backfill(
    market: Annotated[
        list[str],
        typer.Option(help="Market: spot, um, cm or option; can be repeated.", autocompletion=complete_market),
    ],
    table: Annotated[
        list[str],
        typer.Option(
            help="Table: klines_1m, funding_rates, ...; or a gold table: bars_1h; can be repeated.",
            autocompletion=complete_built,
        ),
    ],
    first: Annotated[
        date | None, typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day.")
    ] = None,
    last: Annotated[
        date | None,
        typer.Option(
            "--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, inclusive; by default yesterday."
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(parser=whole(1), metavar="NUMBER", help="So many days up to --to, without --from.")
    ] = None,
    symbols: Annotated[
        str,
        typer.Option(parser=symbol_list, metavar="LIST", help="BTCUSDT,*USDC,!USDCUSDT; by default LAKEHOUSE_SYMBOLS."),
    ] = "",
    exchange: Annotated[str, typer.Option(help="Exchange.")] = "binance",
    force: ForceOption = False,
    remake: Annotated[bool, typer.Option("--remake", hidden=True, help="The former name of --force.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Build the partitions of tables from --from to --to, in bronze, silver and gold.

    A monthly table gets every month that has a day in the range. Funding rates are built first.

    Partitions whose inputs have not changed are skipped.

    LAKEHOUSE_TABLES (for bars LAKEHOUSE_BARS) must enable each table.
    """
    settings = load_settings()
    check_range(first, last)
    check_repeated(market=market, table=table)
    if first is not None and days is not None:
        fail("--from and --days both say where the range starts: leave out one of them", 2)
    if first is None and days is None:
        fail("choose where the range starts: --from 2024-01-01, or --days 30", 2)
    quiet_dagster()
    from crypto_lakehouse.orchestration.requests import Request, requested_plans

    today = datetime.now(UTC).date()
    end = last or today - timedelta(days=1)
    start = first or end - timedelta(days=(days or 1) - 1)
    # A range of one table that is written out must fit exactly; otherwise each table takes the part that it has.
    is_clipped = first is None or last is None or len(market) * len(table) > 1
    request = Request(
        exchange, tuple(dict.fromkeys(market)), tuple(dict.fromkeys(table)), start, end, is_clipped and start <= end
    )
    try:
        plans = requested_plans(request, settings, today)
    except (KeyError, ValueError) as error:
        fail(error.args[0], 2)
    for plan in plans if symbols else ():
        if plan.layer == "gold":
            fail(f"{plan.assets[0].path[-1]} is always built for all symbols: leave out --symbols", 2)
    run_plans(settings, plans, symbols, force or remake, dry_run, today)


def run_plans(settings: Settings, plans: Sequence[Plan], symbols: str, force: bool, dry_run: bool, today: date) -> None:
    """Run plans that are in order, or print what they would build, and exit with the code of their runs."""
    console = Console()
    plans = _with_symbols(settings, plans, symbols)
    interrupts.defer()
    if not dry_run and (swept := sweep_temporary()):
        say(console, f"removed {swept} temporary files and folders that killed runs left in TMPDIR")
    with explained():
        code = (show_plans if dry_run else backfill_plans)(console, settings, plans, symbols, force, today)
    say_late_signal(console, code)
    raise typer.Exit(code)


def _with_symbols(settings: Settings, plans: Sequence[Plan], symbols: str) -> list[Plan]:
    """The plans without those whose market has none of LAKEHOUSE_SYMBOLS, if there are others.

    Ends with exit code 2, before any run, if a symbol is unknown, or nothing is selected.
    """
    checked = _checked_plans(plans)
    kept = [plan for plan in checked if _selects_symbols(settings, plan, symbols, is_alone=len(checked) == 1)]
    if not kept:
        fail(f"{settings.symbol_words} selects no symbol of any of these tables", 2)
    return [
        plan
        for plan in plans
        if plan in kept or (plan not in checked and any(plan.market == other.market for other in kept))
    ]


def _checked_plans(plans: Sequence[Plan]) -> list[Plan]:
    """The plans whose symbols the user means: not funding rates next to other tables, which may have more symbols."""
    from crypto_lakehouse.orchestration.requests import is_funding

    others = [plan.market for plan in plans if not is_funding(plan)]
    return [plan for plan in plans if not (is_funding(plan) and plan.market in others)]


def _selects_symbols(settings: Settings, plan: Plan, symbols: str, is_alone: bool) -> bool:
    """Whether the symbols of the command, or else of the settings, select any of the plan. Gold has all symbols.

    Ends with exit code 2 if neither archive nor ledger knows a symbol, or if nothing is selected for a plan that
    ``is_alone`` or for the symbols of the command.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource
    from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError, check_selection, check_symbols_exist

    chosen, table_feed = settings.symbols_of(plan.market, symbols), plan.feed
    if plan.layer != "bronze" or chosen == SymbolFilter():
        return True
    with explained():
        source = ArchiveResource.from_settings(settings).source(table_feed.exchange)
        listed = source.symbols(table_feed)
        try:
            check_symbols_exist(table_feed, source, open_lake(settings), chosen, listed, for_feed=bool(symbols))
            if not symbols and is_alone:
                check_selection(table_feed, chosen, listed)
        except UnknownSymbolsError as error:
            fail(error, 2)
    if not symbols and not chosen.select(listed):
        note(f"skipped {table_feed.name}: {settings.symbol_words} selects none of its symbols")
        return False
    return True


def show_plans(
    console: Console, settings: Settings, plans: Sequence[Plan], symbols: str, force: bool, today: date
) -> int:
    """Print the partitions that plans would build, and what they would download; return the exit code 0.

    Lists the archive and runs nothing. Raises ArchiveError if the archive cannot be listed, LakeError like a run.
    """
    from crypto_lakehouse.orchestration.launch import open_records
    from crypto_lakehouse.orchestration.up_to_date import downloads_of, work_of

    store, files_of_all, bytes_of_all = open_lake(settings), 0, 0
    with open_records() as instance:
        for plan, chosen in _with_funding(settings, plans, symbols, today):
            work = work_of(plan, settings, chosen, force, instance, store)
            keys = work.keys
            size, files = downloads_of(plan, keys, settings, chosen, force, store)
            files_of_all, bytes_of_all = files_of_all + files, bytes_of_all + size
            span = f": {_span(keys)}" if keys else ""
            say(console, f"{plan.name}: {len(keys)} of {counted(len(plan.keys), 'partition')} to build{span}")
            _say_why(console, plan, work)
            if plan.layer == "bronze":
                say(console, f"{plan.name}: {counted(files, 'file')} to download, {decimal(size)}")
    say(console, f"in all {counted(files_of_all, 'file')}, {decimal(bytes_of_all)}; --dry-run builds nothing")
    return 0


def _say_why(console: Console, plan: Plan, work: Work) -> None:
    """Say why partitions are built although their rows may not change."""
    from crypto_lakehouse.orchestration.launch import home_folder
    from crypto_lakehouse.schemas.gold import find_gold_table

    if work.unrecorded:
        say(
            console,
            f"{plan.name}: {work.unrecorded} of them are up to date in the lake, but not in Dagster's records in"
            f" DAGSTER_HOME={home_folder()}: runs keep their rows, and only record them. If the records are elsewhere,"
            " set DAGSTER_HOME to their folder",
        )
    table = find_gold_table(plan.assets[0].path[-1]) if plan.layer == "gold" else None
    if work.keys and table is not None and table.is_of_listing:
        say(console, f"{plan.name}: it is built from the listing of the archive, so every run lists the archive again")


def backfill_plans(
    console: Console, settings: Settings, plans: Sequence[Plan], symbols: str, force: bool, today: date
) -> int:
    """Run plans in order and return the exit code. The funding rates of their months run first, gold days that they
    change last.

    Raises ArchiveError if the symbols of the funding rates cannot be listed, LakeError like a run.
    """
    from crypto_lakehouse.orchestration.cuts import processes_of, unused_processes
    from crypto_lakehouse.orchestration.funding import days_after_funding, missing_funding_messages
    from crypto_lakehouse.orchestration.launch import chunks, open_instance
    from crypto_lakehouse.orchestration.requests import is_funding
    from crypto_lakehouse.orchestration.runs import run_chunks
    from crypto_lakehouse.orchestration.side_by_side import SideBySide
    from crypto_lakehouse.orchestration.up_to_date import failed_checks, work_of

    defs = definitions(settings)
    code, is_stopped = 0, False

    def run(step: Plan, symbols: str, force: bool = False) -> None:
        nonlocal code, is_stopped
        work = work_of(step, settings, symbols, force, instance, store)
        if current := len(step.keys) - len(work.keys):
            say(console, f"{step.name}: {counted(current, 'partition')} {'is' if current == 1 else 'are'} up to date")
        if not work.keys:
            for name in work.unmatched:
                say(console, f"warning: no symbol of {step.name} matches {name} in the archive")
            code = max(code, say_failed_checks(console, failed_checks(defs, step, instance)))
            return
        _say_why(console, step, work)
        what, processes = (
            f"{step.job}: {counted(len(work.keys), 'partition')} of {step.name}",
            processes_of(work, settings),
        )
        if reason := unused_processes(work, settings):
            say(console, reason)
        if processes > 1:
            say(console, f"{what} in {processes} processes")
            runs = team.run_plan(step, work, processes, symbols, force)
            outcomes = follow(console, runs, len(work.keys))
        else:
            spans = chunks(work.keys, step.cadence, work.partitions_per_run)
            say(console, f"{what} in {counted(len(spans), 'run')}")
            outcomes = follow(console, run_chunks(step, spans, defs, instance, symbols, force), len(work.keys))
        code = max(code, summarize(console, outcomes))
        is_stopped = any(outcome.interrupted or outcome.banned for outcome in outcomes)

    store = open_lake(settings)
    steps = _with_funding(settings, plans, symbols, today)
    if any(is_funding(step) and all(step.name != plan.name for plan in plans) for step, _ in steps):
        say(console, "funding rates come first, because minutes and bars use them")
    with open_instance() as instance, SideBySide(settings, store, instance, definitions) as team:
        for step, chosen in steps:
            if not is_stopped:
                run(step, chosen, force and any(step.name == plan.name for plan in plans))
        for step, _ in steps:
            again = days_after_funding(step, settings, store) if is_funding(step) and not is_stopped else None
            built = {key for plan in plans if again and plan.market == again.market for key in plan.keys}
            days = [key for key in again.keys if key not in built] if again else []
            if again and days:
                say(console, f"rebuild gold of {counted(len(days), 'day')}: their funding rates are stored now")
                run(replace(again, keys=tuple(days)), "", force)
    for plan in [] if is_stopped else plans:
        for message in missing_funding_messages(plan, settings, store, today):
            say(console, message)
    return code


def definitions(settings: Settings) -> Definitions:
    """The definitions of a process that runs a backfill, whose own messages are not shown.

    Without the checks that list the archive: they would report days that later runs of this backfill build.
    """
    from crypto_lakehouse.definitions import build_defs

    quiet_dagster()
    return build_defs(settings, with_archive_checks=False)


def _with_funding(settings: Settings, plans: Sequence[Plan], symbols: str, today: date) -> list[tuple[Plan, str]]:
    """The plans with the symbols of their runs, after the funding rates that they use; each month once.

    Raises ArchiveError if the symbols of the funding rates cannot be listed.
    """
    from crypto_lakehouse.orchestration.funding import funding_before
    from crypto_lakehouse.orchestration.requests import in_order, is_funding

    funding: dict[str, Plan] = {}
    for plan in plans:
        before = plan if is_funding(plan) else funding_before(plan, settings, today)
        if before is not None:
            known = funding.get(before.name)
            keys = sorted({*before.keys, *(known.keys if known else ())})
            # The plan of the user stays itself where it has all months.
            funding[before.name] = known if known and list(known.keys) == keys else replace(before, keys=tuple(keys))
    alone = [plan for plan in _checked_plans(plans) if is_funding(plan)]
    steps = []
    for step in in_order([*funding.values(), *(plan for plan in plans if not is_funding(plan))]):
        # Symbols of klines may have no funding rates.
        chosen = _symbols_of_funding(settings, step, symbols) if is_funding(step) and step not in alone else symbols
        if chosen is not None:
            steps.append((step, "" if step.layer == "gold" else chosen))
    return steps


def _span(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"


def _symbols_of_funding(settings: Settings, funding: Plan, symbols: str) -> str | None:
    """The symbols of the command, or else of the settings, that have funding rates. Empty means all, None that none has
    any.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource

    chosen = settings.symbols_of(funding.market, symbols)
    if chosen == SymbolFilter():
        return ""
    rates = funding.feed
    with_funding = ArchiveResource.from_settings(settings).source(rates.exchange).symbols(rates)
    if not chosen.select(with_funding):
        return None
    without = chosen.unknown(with_funding)
    kept = [name for name in chosen.wanted if name not in without]
    return ",".join([*kept, *(f"!{name}" for name in chosen.unwanted)])
