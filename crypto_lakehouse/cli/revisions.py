"""The commands ``revisions list`` and ``revisions purge``: what the lake keeps of replaced partitions.

Versions are kept, listed and purged by the lake (``lake/storage/revisions.py``). Nothing here imports Dagster.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from crypto_lakehouse import interrupts
from crypto_lakehouse.cli.common import explained, fail, first_day, load_settings, open_lake
from crypto_lakehouse.cli.complete import complete_market
from crypto_lakehouse.cli.console import counted
from crypto_lakehouse.cli.pipe import note
from crypto_lakehouse.cli.rows import STDOUT, FormatOption, OutOption, Output

if TYPE_CHECKING:
    from crypto_lakehouse.lake.storage.revisions import Version
    from crypto_lakehouse.lake.storage.store import LakeStore

revisions_app = typer.Typer(help="List and purge what replaced partitions held.", no_args_is_help=True)

TableOption = Annotated[str | None, typer.Option(help="Only this table: klines_1m, or silver.klines_1m.")]
MarketOption = Annotated[str | None, typer.Option(help="Only this market.", autocompletion=complete_market)]


@revisions_app.command("list")
def list_revisions(
    table: TableOption = None, market: MarketOption = None, format: FormatOption = None, out: OutOption = STDOUT
) -> None:
    """List the replaced versions of partitions: from and until when the lake held them, and their bytes."""
    output = Output.parse(format, out)
    _, versions = _replaced(table, market)
    with explained():
        from crypto_lakehouse.lake.reader.versions import versions_frame

        output.write(versions_frame(versions))


@revisions_app.command("purge")
def purge_revisions(
    before: Annotated[
        date,
        typer.Option(parser=first_day, metavar="YYYY-MM[-DD]", help="Versions that were replaced before this UTC day."),
    ],
    table: TableOption = None,
    market: MarketOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; otherwise they are only counted.")] = False,
) -> None:
    """Delete the rows of versions that were replaced before a day, to free their space.

    A read of their time then says what was purged. What the tables hold now stays.
    """
    store, versions = _replaced(table, market)
    end = datetime.combine(before, time(), UTC)
    old = [version for version in versions if version.has_rows and version.known_to and version.known_to <= end]
    words = f"{counted(len(old), 'version')} ({decimal(sum(version.size for version in old))}) replaced before {before}"
    if not delete:
        note(f"{words}; nothing was deleted: add --delete")
        return
    with explained():
        from crypto_lakehouse.lake.storage.revisions import purge

        for version in old:
            interrupts.ask()
            purge(store, version)
    note(f"{words} deleted from {store.uri}")


def _replaced(table: str | None, market: str | None) -> tuple[LakeStore, list[Version]]:
    """The lake, and the versions of its partitions that were replaced. Ends with exit code 2 on an unknown table."""
    settings = load_settings()
    with explained():
        from crypto_lakehouse.lake.reader.versions import replaced_versions

        store = open_lake(settings)
        try:
            return store, replaced_versions(store, table, market)
        except KeyError as error:
            fail(error.args[0], 2)
