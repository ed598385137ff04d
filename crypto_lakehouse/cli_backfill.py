"""What ``backfill`` does around its runs. The runs themselves are ``orchestration/launch.py``'s work.

Words and exit codes; what a name means is decided in ``pipeline/symbols.py``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli_common import explained, fail, open_lake
from crypto_lakehouse.console import follow, say, summarize
from crypto_lakehouse.environment import Environment

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.launch import Plan


def refuse_unknown_symbols(settings: Environment, wish: Plan, symbols: str) -> None:
    """End with 2 before any run where a name is no symbol of the archive or the ledger, or nothing is selected.

    ``symbols`` are those of the command, else the settings' count; gold is made for all symbols.
    """
    from crypto_lakehouse.orchestration.resources import ArchiveResource
    from crypto_lakehouse.pipeline.symbols import UnknownSymbolsError, check_selection, check_symbols_exist

    layer, *place = wish.assets[0].path
    chosen = SymbolFilter.parse(symbols or settings.symbols)
    if layer != "bronze" or chosen == SymbolFilter():
        return
    of = feed(*place)
    with explained():
        source = ArchiveResource.of(settings).source()
        listed = source.symbols(of)
        try:
            check_symbols_exist(of, source, open_lake(settings), chosen, listed, for_feed=bool(symbols))
            if not symbols:
                check_selection(of, chosen, listed)
        except UnknownSymbolsError as error:
            fail(error, 2)


def backfill_plans(console: Console, settings: Environment, wish: Plan, symbols: str, remake: bool, today: date) -> int:
    """Run a plan, the funding rates of its months first and gold days that follow from them afterwards; the exit code.

    Raises ArchiveError where the symbols of the funding rates cannot be listed, LakeError like a run.
    """
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration.funding import days_after_funding, funding_before, lacking_funding
    from crypto_lakehouse.orchestration.launch import chunks, open_instance, run_chunks

    # What the archive has besides is told by the daily reconciliation; here later runs may be about to make it.
    defs = build_defs(settings, with_archive_checks=False)
    code, is_stopped = 0, False

    def run(one: Plan, symbols: str, remake: bool = False) -> None:
        nonlocal code, is_stopped
        spans = chunks(one.keys, one.cadence, settings.max_partitions_per_run)
        say(console, f"{one.job}: {len(one.keys)} partitions of {one.name} in {len(spans)} runs")
        outcomes = follow(console, run_chunks(one, spans, defs, instance, symbols, remake), len(one.keys))
        code = max(code, summarize(console, outcomes))
        is_stopped = any(outcome.interrupted for outcome in outcomes)

    funding, store = funding_before(wish, settings, today), open_lake(settings)
    of_funding = _symbols_of_funding(settings, funding, symbols) if funding else None
    with open_instance() as instance:
        if funding and of_funding is not None:
            say(console, "funding rates come first, since minutes and bars take them")
            run(funding, of_funding)
        if not is_stopped:
            run(wish, symbols, remake)
        again = None if is_stopped else days_after_funding(funding or wish, settings, store)
        days = [key for key in again.keys if not funding or key not in wish.keys] if again else []
        if again and days:
            say(console, f"gold of {len(days)} days again, now that their funding rates are there")
            run(replace(again, keys=tuple(days)), "", remake)
    for words in [] if is_stopped else lacking_funding(wish, settings, store, today):
        say(console, words)
    return code


def _symbols_of_funding(settings: Environment, funding: Plan, symbols: str) -> str | None:
    """The symbols of a command, or of the settings, that have funding rates; None where none has. Empty is all."""
    from crypto_lakehouse.orchestration.resources import ArchiveResource

    chosen = SymbolFilter.parse(symbols or settings.symbols)
    if chosen == SymbolFilter():
        return ""
    _, *place = funding.assets[0].path
    with_funding = ArchiveResource.of(settings).source().symbols(feed(*place))
    if not chosen.select(with_funding):
        return None
    without = chosen.unknown(with_funding)
    kept = [name for name in chosen.wanted if name not in without]
    return ",".join([*kept, *(f"!{name}" for name in chosen.unwanted)])
