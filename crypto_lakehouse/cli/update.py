"""The command ``update``: from the newest stored partition of each table to yesterday.

``orchestration/requests.py`` decides what to build, ``backfill.py`` runs it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from crypto_lakehouse.catalog import Cadence, partition_key
from crypto_lakehouse.cli.backfill import DryRunOption, ForceOption, run_plans
from crypto_lakehouse.cli.common import check_repeated, explained, fail, load_settings, open_lake, quiet_dagster
from crypto_lakehouse.cli.complete import complete_built, complete_market
from crypto_lakehouse.cli.pipe import note


def update(
    market: Annotated[
        list[str] | None,
        typer.Option(help="Only this market; can be repeated.", autocompletion=complete_market),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Only this table; can be repeated.", autocompletion=complete_built)
    ] = None,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Build everything from the newest stored partition to yesterday, in every enabled table and market.

    Funding rates are built first. The newest stored partition is built again if the archive has new files for it.

    A table of which nothing is stored is skipped: backfill it once.
    """
    settings = load_settings()
    quiet_dagster()
    from crypto_lakehouse.lake.storage.describe import require_lake
    from crypto_lakehouse.orchestration.requests import update_plans

    today = datetime.now(UTC).date()
    check_repeated(market=market, table=table)
    with explained():
        store = open_lake(settings)
        try:
            found = update_plans(table or (), market or (), settings, store, today)
        except ValueError as error:
            fail(error, 2)
    if not found.plans:
        with explained():
            require_lake(store)
    for each in found.never_built:
        day = today - timedelta(days=1) if each.cadence is Cadence.DAILY else today.replace(day=1) - timedelta(days=1)
        key = partition_key(day, each.cadence)
        # The newest day of instruments holds what earlier days hold.
        start = key if each.layer == "gold" else partition_key(day - timedelta(days=29), each.cadence)
        note(
            f"skipped {each.layer}.{each.table} of {each.exchange}/{each.market}: nothing is stored. Build it with:"
            f" {each.backfill_command(start, key)}",
        )
    stored = [plan.market.name for plan in found.plans]
    markets = [name for name in settings.market_names if name.rpartition("/")[2] in stored]
    if found.plans and len(markets) < len({each.market for each in found.never_built} | set(stored)):
        note(f"to leave out the markets of which nothing is stored, set LAKEHOUSE_MARKETS={','.join(markets)}")
    if not found.plans:
        fail("there is nothing to update: no enabled table is stored, or all of them have ended", 2)
    run_plans(settings, found.plans, "", force, dry_run, today)
