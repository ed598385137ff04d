"""The command ``metrics``: numbers of the lake and of Dagster's records for Prometheus."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from crypto_lakehouse.cli.common import explained, load_settings, open_lake, quiet_dagster


def metrics(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write this file, whole or not at all, instead of printing: lakehouse.prom."),
    ] = None,
) -> None:
    """Print metrics for Prometheus: rows, bytes, files, quarantine, lag of the newest date, runs.

    They are computed from the lake and Dagster's records, whichever processes wrote them.
    """
    settings = load_settings()
    quiet_dagster()
    with explained():
        import dagster as dg

        from crypto_lakehouse.orchestration.home_faults import opening
        from crypto_lakehouse.orchestration.metrics import collect, exposition

        store = open_lake(settings)
        with opening():
            instance = dg.DagsterInstance.get()
        with instance:
            text = exposition(collect(store, instance, settings, datetime.now(UTC)))
        if out is None:
            typer.echo(text, nl=False)
            return
        draft = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.chmod(0o644)
            draft.replace(out)
        finally:
            draft.unlink(missing_ok=True)
