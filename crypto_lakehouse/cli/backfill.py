"""The steps of ``backfill`` before and after its runs: symbols, funding rates, later gold days.

This module chooses words and exit codes. ``orchestration/launch.py`` does the runs, and ``pipeline/symbols.py``
decides what a symbol name means.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.common import explained, fail, open_lake
from crypto_lakehouse.cli.console import follow, say, say_failed_checks, summarize

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.launch import Plan
    from crypto_lakehouse.settings import Settings


def refuse_unknown_symbols(settings: Settings, plan: Plan, symbols: str) -> None:
    """End with exit code 2, before any run, if neither archive nor ledger knows a symbol, or nothing is selected.

    ``symbols`` are those of the command; if empty, those of the settings. Gold is built for all symbols.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource
    from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError, check_selection, check_symbols_exist

    layer, *names = plan.assets[0].path
    chosen = SymbolFilter.parse(symbols or settings.symbols)
    if layer != "bronze" or chosen == SymbolFilter():
        return
    table_feed = feed(*names)
    with explained():
        source = ArchiveResource.from_settings(settings).source(table_feed.exchange)
        listed = source.symbols(table_feed)
        try:
            check_symbols_exist(table_feed, source, open_lake(settings), chosen, listed, for_feed=bool(symbols))
            if not symbols:
                check_selection(table_feed, chosen, listed)
        except UnknownSymbolsError as error:
            fail(error, 2)


def backfill_plans(console: Console, settings: Settings, plan: Plan, symbols: str, force: bool, today: date) -> int:
    """Run a plan and return the exit code. The funding rates of its months run before it, gold days that they change
    after it.

    Raises ArchiveError if the symbols of the funding rates cannot be listed, LakeError like a run.
    """
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration.funding import days_after_funding, funding_before, missing_funding_messages
    from crypto_lakehouse.orchestration.launch import chunks, open_instance, run_chunks
    from crypto_lakehouse.orchestration.up_to_date import failed_checks, work_of

    # Without the checks that list the archive: they would report days that later runs of this backfill build.
    defs = build_defs(settings, with_archive_checks=False)
    code, is_stopped = 0, False

    def run(step: Plan, symbols: str, force: bool = False) -> None:
        nonlocal code, is_stopped
        work = work_of(step, settings, symbols, force, instance, store)
        if current := len(step.keys) - len(work.keys):
            say(console, f"{step.name}: {current} partitions are up to date")
        if not work.keys:
            for name in work.unmatched:
                say(console, f"warning: no symbol of {step.name} matches {name} in the archive")
            code = max(code, say_failed_checks(console, failed_checks(defs, step, instance)))
            return
        spans = chunks(work.keys, step.cadence, work.partitions_per_run)
        say(console, f"{step.job}: {len(work.keys)} partitions of {step.name} in {len(spans)} runs")
        outcomes = follow(console, run_chunks(step, spans, defs, instance, symbols, force), len(work.keys))
        code = max(code, summarize(console, outcomes))
        is_stopped = any(outcome.interrupted or outcome.banned for outcome in outcomes)

    funding, store = funding_before(plan, settings, today), open_lake(settings)
    funding_symbols = _symbols_of_funding(settings, funding, symbols) if funding else None
    with open_instance() as instance:
        if funding and funding_symbols is not None:
            say(console, "funding rates come first, because minutes and bars use them")
            run(funding, funding_symbols)
        if not is_stopped:
            run(plan, symbols, force)
        again = None if is_stopped else days_after_funding(funding or plan, settings, store)
        days = [key for key in again.keys if not funding or key not in plan.keys] if again else []
        if again and days:
            say(console, f"rebuild gold of {len(days)} days: their funding rates are stored now")
            run(replace(again, keys=tuple(days)), "", force)
    for message in [] if is_stopped else missing_funding_messages(plan, settings, store, today):
        say(console, message)
    return code


def _symbols_of_funding(settings: Settings, funding: Plan, symbols: str) -> str | None:
    """The symbols of the command, or else of the settings, that have funding rates. Empty means all, None that none has
    any.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource

    chosen = SymbolFilter.parse(symbols or settings.symbols)
    if chosen == SymbolFilter():
        return ""
    _, *names = funding.assets[0].path
    rates = feed(*names)
    with_funding = ArchiveResource.from_settings(settings).source(rates.exchange).symbols(rates)
    if not chosen.select(with_funding):
        return None
    without = chosen.unknown(with_funding)
    kept = [name for name in chosen.wanted if name not in without]
    return ",".join([*kept, *(f"!{name}" for name in chosen.unwanted)])
