"""The command ``relist``: list the whole archive again, and rebuild the partitions whose files have changed.

``pipeline/relist.py`` finds them, runs of Dagster build them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import parse_partition
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.cli.backfill import definitions
from crypto_lakehouse.cli.common import check_repeated, explained, fail, load_settings, open_lake, quiet_dagster
from crypto_lakehouse.cli.complete import complete_built, complete_market
from crypto_lakehouse.cli.console import counted, follow, say, say_late_signal, summarize

if TYPE_CHECKING:
    from crypto_lakehouse.catalog import Feed
    from crypto_lakehouse.orchestration.launch import Plan
    from crypto_lakehouse.orchestration.relist import Changed
    from crypto_lakehouse.orchestration.runs import Outcome
    from crypto_lakehouse.settings import Settings

_NAMED = 5


def relist(
    market: Annotated[
        list[str] | None,
        typer.Option(help="Only this market; can be repeated.", autocompletion=complete_market),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Only this table; can be repeated.", autocompletion=complete_built)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what has changed.")] = False,
) -> None:
    """List all files of stored partitions again, and rebuild the partitions of which files were replaced or are new.

    Archives replace files of years ago without notice. Runs fetch the changed files alone.
    """
    settings = load_settings()
    check_repeated(market=market, table=table)
    console = Console()
    interrupts.defer()
    quiet_dagster()
    from crypto_lakehouse.lake.storage.describe import require_lake
    from crypto_lakehouse.orchestration.relist import relist as list_again
    from crypto_lakehouse.orchestration.resources import ArchiveResource

    feeds = _chosen(settings, market or [], table or [])
    with explained():
        store, archive = open_lake(settings), ArchiveResource.from_settings(settings)
        require_lake(store)
        found = []
        for feed in feeds:
            changed = list_again(feed, archive, store, settings)
            _say(console, changed)
            if changed.symbols:
                found.append(changed)
        code = 0 if dry_run or not found else _rebuild(console, settings, found)
    say_late_signal(console, code)
    raise typer.Exit(code)


def _chosen(settings: Settings, markets: list[str], tables: list[str]) -> list[Feed]:
    """The enabled feeds of these markets and tables, funding rates first; ends with exit code 2 for an unknown name."""
    from crypto_lakehouse.pipeline.gold.continuous import FUNDING

    for kind, names, known in (
        ("market", markets, list(dict.fromkeys(feed.market.name for feed in settings.feeds))),
        ("table", tables, list(settings.table_names)),
    ):
        for name in names:
            if name not in known:
                fail(unknown_name(kind, name, known, scope="what the settings enable"), 2)
    chosen = [
        feed
        for feed in settings.feeds
        if (not markets or feed.market.name in markets) and (not tables or feed.table in tables)
    ]
    return sorted(chosen, key=lambda feed: feed.table != FUNDING)


def _say(console: Console, changed: Changed) -> None:
    if not changed.symbols:
        say(console, f"{changed.feed.name}: nothing has changed")
        return
    files = ", ".join(counted(count, f"{problem} file") for problem, count in sorted(changed.files.items()))
    say(console, f"{changed.feed.name}: {files} in {counted(len(changed.symbols), 'partition')}")
    for key, symbols in sorted(changed.symbols.items()):
        names = sorted(symbols)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(console, f"  {key}: {', '.join(names[:_NAMED])}{more}")


def _rebuild(console: Console, settings: Settings, found: list[Changed]) -> int:
    """Run the partitions that have changed, and return the exit code."""
    from crypto_lakehouse.orchestration.funding import days_after_funding
    from crypto_lakehouse.orchestration.launch import chunks, open_instance
    from crypto_lakehouse.orchestration.partitions import PARTITIONS_PER_RUN
    from crypto_lakehouse.orchestration.requests import is_funding
    from crypto_lakehouse.orchestration.runs import run_chunks

    defs, store = definitions(settings), open_lake(settings)
    plans = [(changed, _plan(settings, changed)) for changed in found]
    with open_instance() as instance:

        def outcomes() -> Iterator[Outcome]:
            for changed, plan in plans:
                for keys, symbols in changed.spans():
                    yield from run_chunks(plan, [keys], defs, instance, symbols)
                again = days_after_funding(plan, settings, store) if is_funding(plan) else None
                if again is not None:
                    spans = chunks(again.keys, again.cadence, PARTITIONS_PER_RUN)
                    yield from run_chunks(again, spans, defs, instance, "")

        return summarize(console, follow(console, outcomes(), sum(len(plan.keys) for _, plan in plans)))


def _plan(settings: Settings, changed: Changed) -> Plan:
    from crypto_lakehouse.orchestration import launch

    feed, keys = changed.feed, sorted(changed.symbols)
    first, last = (parse_partition(key, feed.cadence)[0] for key in (keys[0], keys[-1]))
    whole = launch.plan(feed.exchange, feed.market.name, feed.table, first, last, settings, datetime.now(UTC).date())
    return replace(whole, keys=tuple(keys))
