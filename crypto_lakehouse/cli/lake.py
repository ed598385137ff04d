"""The command ``verify``: it checks whether each file of the lake still holds what was written.

This module chooses words and exit codes; ``lake/storage/integrity.py`` reads the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from crypto_lakehouse.cli.common import explained, fail, load_settings, open_lake
from crypto_lakehouse.cli.console import counted
from crypto_lakehouse.cli.pipe import advance, after_bar, bar, emit, field, note


def verify(
    table: Annotated[str | None, typer.Option(help="Only this table: klines_1m, or silver.klines_1m.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Read every file of the lake completely, and print damaged ones with the command that repairs them.

    Changes nothing.
    """
    settings = load_settings()
    checked = bad = 0

    def lines() -> Iterator[str]:
        nonlocal checked, bad
        with bar("verify", len(files), shown=True) as progress:
            for file in check_files(store, files):
                checked += 1
                if file.damage is not None:
                    bad += 1
                    report = {"path": file.path, "damage": file.damage, "remedy": remedy(store, file.path)}
                    yield json.dumps(report) if as_json else "\t".join(map(field, report.values()))
                advance(progress, label=f"verify, {bad} damaged")

    with explained():
        from crypto_lakehouse.lake.storage.damage import remedy
        from crypto_lakehouse.lake.storage.integrity import check_files, parquet_files

        store = open_lake(settings)
        try:
            files = parquet_files(store, table)
        except KeyError as error:
            fail(error.args[0], 2)
        emit(after_bar(lines()))
    note(f"{counted(checked, 'file')} checked in {store.uri}, {bad} damaged")
    raise typer.Exit(1 if bad else 0)
