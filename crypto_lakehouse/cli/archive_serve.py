"""The commands of ``crypto-lakehouse archive`` that serve a folder: as an archive, and as the API of an exchange.

This module handles arguments and words; the servers are in ``sample/server.py`` and ``sample/api_server.py``.
"""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from crypto_lakehouse.catalog import EXCHANGES, no_exchange
from crypto_lakehouse.cli.archive import Exchange
from crypto_lakehouse.cli.common import explained, fail, whole

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the archive.")]
Port = Annotated[
    int, typer.Option(parser=whole(0, 65535), metavar="NUMBER", help="Port on 127.0.0.1; 0 chooses a free one.")
]


def archive_serve(directory: Directory, port: Port = 0, exchange: Exchange = "binance") -> None:
    """Serve the folder of an archive over HTTP, until Ctrl-C or SIGTERM."""
    if exchange not in EXCHANGES:
        fail(no_exchange(exchange), 2)
    ended = _on_signals()
    with explained():
        from crypto_lakehouse.sample.server import ArchiveServer
        from crypto_lakehouse.settings import PREFIX, url_settings

        with ArchiveServer(directory, port) as server:
            files, listing = (f"{PREFIX}{name.upper()}" for name in url_settings(exchange))
            typer.echo(f"serving {directory} until Ctrl-C; commands use it with these variables:")
            typer.echo(f"export {files}={server.url} {listing}={server.listing_url}")
            ended.wait()
    typer.echo("ended")


def archive_serve_api(
    directory: Directory,
    port: Port = 0,
    now: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="UTC time of the exchange's clock when it starts; by default the machine's."),
    ] = None,
) -> None:
    """Serve the rows in the folder of an archive as Binance's REST API, until Ctrl-C or SIGTERM.

    Klines, aggregate trades, funding rates, open interest and ratios have the exchange's paths, limits and errors.
    Rows after the exchange's clock are not served.
    """
    started = _time(now)
    ended = _on_signals()
    with explained():
        from crypto_lakehouse.catalog.rest import rest_api
        from crypto_lakehouse.sample.api_server import ApiServer
        from crypto_lakehouse.settings import PREFIX

        with ApiServer(directory, port, now=started) as server:
            hosts = ",".join(f"{role}={server.url}" for role in rest_api("binance").hosts)
            typer.echo(f"serving {directory} as an API until Ctrl-C; commands use it with this variable:")
            typer.echo(f"export {PREFIX}REST_URLS={hosts}")
            ended.wait()
    typer.echo("ended")


def _on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    return ended


def _time(text: str | None) -> datetime | None:
    from crypto_lakehouse.lake.reader.times import utc

    try:
        return utc("--now", text)
    except ValueError as error:
        fail(error, 2)
