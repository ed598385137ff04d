"""The commands ``serve`` and ``tokens``: the REST service of ``api/`` and who may use it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.cli.common import check_repeated, explained, fail, last_day, load_settings, open_lake, whole
from crypto_lakehouse.cli.console import say, show_table

if TYPE_CHECKING:
    from crypto_lakehouse.api.tokens import TokenFile
    from crypto_lakehouse.lake.storage.store import LakeStore

tokens_app = typer.Typer(help="Tokens of the REST service: who may read what.", no_args_is_help=True)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's need tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(parser=whole(0, 65535), metavar="PORT", help="Port; 0 chooses a free one.")] = (
        8000
    ),
    workers: Annotated[int, typer.Option(parser=whole(1, 64), metavar="NUMBER", help="Worker processes.")] = 1,
    sql: Annotated[bool, typer.Option("--sql", help="Allow queries: POST /v1/sql.")] = False,
    binance: Annotated[
        bool, typer.Option("--binance", help="Answer Binance's own REST API, too: /binance/api/v3/klines.")
    ] = False,
) -> None:
    """Serve the lake over HTTP, read only, until Ctrl-C or SIGTERM.

    On an address of this machine it is open until a token exists. It needs the extra serve.
    """
    settings = load_settings()
    from crypto_lakehouse.api.config import ServeConfig
    from crypto_lakehouse.api.tokens import TokenError, TokenFile

    config = ServeConfig(
        lake_uri=settings.lake_uri,
        s3_endpoint_url=settings.s3_endpoint_url,
        s3_region=settings.s3_region,
        tokens=settings.serve_tokens,
        host=host,
        port=port,
        workers=workers,
        sql=sql or settings.serve_sql,
        max_rows=settings.serve_max_rows,
        max_bytes=settings.serve_max_bytes,
        timeout=settings.serve_timeout,
        concurrency=settings.serve_concurrency,
        rate=settings.serve_rate,
        exchange_api="binance" if binance or settings.serve_binance else "",
        exchange_universe=None if settings.serve_universe is None else settings.serve_universe.isoformat(),
        exchange_as_of=settings.serve_as_of or None,
    )
    try:
        has_token = any(token.is_valid(datetime.now(UTC)) for token in TokenFile(config.tokens).tokens())
    except TokenError as error:
        fail(error, 1)
    if not config.is_loopback and not has_token:
        fail(
            f"--host {host} is reachable from other machines, and there is no valid token: add one with"
            f" {command_line('tokens', 'add', 'NAME')}, or leave out --host",
            2,
        )
    with explained():
        # A place that cannot hold a lake ends the command, and not each of its workers.
        store = open_lake(settings)
    if config.exchange_as_of is not None:
        _check_as_of(store, config.exchange_as_of)
    from crypto_lakehouse.api.server import serve as run

    run(config)


@tokens_app.command("add")
def add_token(
    name: Annotated[str, typer.Argument(help="Name of the token, as it appears in the log.")],
    days: Annotated[
        int | None, typer.Option(parser=whole(1, 36500), metavar="NUMBER", help="Days until it expires.")
    ] = None,
    until: Annotated[
        date | None,
        typer.Option(parser=last_day, metavar="YYYY-MM-DD", help="Last UTC day on which it is valid."),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Table or pattern (gold.*); can be repeated; by default all.")
    ] = None,
    market: Annotated[list[str] | None, typer.Option(help="Market; can be repeated; by default all.")] = None,
) -> None:
    """Add a token and print it. It cannot be shown again: only its hash is stored."""
    check_repeated(table=table, market=market)
    if days is not None and until is not None:
        fail("--days and --until both say when the token expires: leave out one of them", 2)
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    if until is not None:
        expires = datetime.combine(until + timedelta(days=1), time.min, UTC)
    from crypto_lakehouse.api.tokens import TokenError

    try:
        secret = _file().add(name, expires=expires, tables=table, markets=market)
    except TokenError as error:
        fail(error, 2)
    typer.echo(secret)


@tokens_app.command("list")
def list_tokens() -> None:
    """List the tokens: names, scopes, and whether they are valid. The tokens themselves are not stored."""
    from crypto_lakehouse.api.tokens import TokenError

    try:
        tokens = _file().tokens()
    except TokenError as error:
        fail(error, 1)
    now = datetime.now(UTC)
    if not tokens:
        say(Console(), "there are no tokens")
        return
    show_table(
        Console(),
        names=("name", "state", "tables", "markets", "created", "expires"),
        values=(),
        rows=[
            (
                token.name,
                "valid" if token.is_valid(now) else "revoked" if token.revoked else "expired",
                ",".join(token.tables or ("all",)),
                ",".join(token.markets or ("all",)),
                token.created,
                token.expires or "never",
            )
            for token in tokens
        ],
    )


@tokens_app.command("revoke")
def revoke_token(name: Annotated[str, typer.Argument(help="Name of the token.")]) -> None:
    """Make a token invalid at once, also for servers that are running."""
    from crypto_lakehouse.api.tokens import TokenError

    try:
        _file().revoke(name)
    except TokenError as error:
        fail(error, 2)
    say(Console(), f"revoked {name}")


def _check_as_of(store: LakeStore, text: str) -> None:
    """End the command, and not each worker, if the setting is no time of the lake."""
    from crypto_lakehouse.lake.reader.versions import open_as_of

    try:
        open_as_of(store, text)
    except ValueError as error:
        fail(f"LAKEHOUSE_SERVE_AS_OF: {error}", 2)


def _file() -> TokenFile:
    from crypto_lakehouse.api.tokens import TokenFile

    return TokenFile(load_settings().serve_tokens)
