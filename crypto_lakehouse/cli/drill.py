"""The command ``drill``: an archive with the faults of real ones, and what becomes of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crypto_lakehouse.cli.common import explained, fail


def drill(
    folder: Annotated[Path, typer.Option(help="New folder for the archive, the lake and Dagster's records.")] = Path(
        "./drill"
    ),
) -> None:
    """Build a lake from an archive with the faults of real ones, and show what became of each.

    Missing days and hours, late and replaced files, a stale checksum, monthly files that differ, a pause and a
    delisting. It needs no network: the archive and the exchange's API are served on this machine.
    """
    with explained():
        from crypto_lakehouse.cli.fault_drill import run_drill

        try:
            code = run_drill(folder, Console())
        except FileExistsError as error:
            fail(str(error), 2)
    raise typer.Exit(code)
