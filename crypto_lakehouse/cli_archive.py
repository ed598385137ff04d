"""The commands of ``crypto-lakehouse archive``: a made-up archive, written and served.

Arguments, words and exit codes; the work is in ``archive``.
"""

from __future__ import annotations

import signal
import threading
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from crypto_lakehouse.cli_common import day, explained

archive_app = typer.Typer(help="A made-up archive, for trying things without a network.", no_args_is_help=True)


@archive_app.command("sample")
def archive_sample(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write, made if it is not there.")],
    symbols: Annotated[int, typer.Option(min=1, max=1000, help="Coins in each market.")] = 10,
    days: Annotated[int, typer.Option(min=1, max=3660, help="UTC days.")] = 10,
    start: Annotated[date, typer.Option(parser=day, metavar="YYYY-MM-DD", help="First UTC day.")] = date(2024, 12, 27),
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
) -> None:
    """Write a made-up archive in the layout of the real one."""
    with explained():
        from crypto_lakehouse.archive.sample import make_sample

        made = make_sample(directory, symbols=symbols, days=days, start=start, seed=seed)
    typer.echo(f"{made.files} files, {made.bytes} bytes, {made.first} to {made.end} (exclusive) in {directory}")


@archive_app.command("serve")
def archive_serve(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an archive.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")],
) -> None:
    """Serve an archive over HTTP until interrupted."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    with explained():
        from crypto_lakehouse.archive.server import ArchiveServer

        with ArchiveServer(directory, port) as server:
            typer.echo(f"serving {directory}; use it with")
            typer.echo(f"LAKEHOUSE_ARCHIVE_URL={server.url} LAKEHOUSE_ARCHIVE_LISTING_URL={server.listing_url}")
            ended.wait()
    typer.echo("ended")
