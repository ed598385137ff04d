"""The commands of ``crypto-lakehouse archive``: list an archive, verify zips on disk, write a sample archive.

This module handles arguments, words and exit codes; ``pipeline/discover.py`` and ``archive`` do the work. Commands
that are used in pipelines write only data to stdout; see ``cli/pipe.py``. Servers are in ``archive_serve.py``.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_lakehouse.archive.limits import Limits
from crypto_lakehouse.archive.model import ArchiveSource
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter, parse_symbol
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.cli.common import explained, fail, first_day, last_day, load_settings, whole
from crypto_lakehouse.cli.console import counted
from crypto_lakehouse.cli.pipe import STDIN, advance, after_bar, bar, emit, field, input_lines, note, read_names
from crypto_lakehouse.pipeline.discover import (
    coverage,
    file_url,
    files_in_order,
    find_feed,
    in_order,
    span,
    split_known,
)

if TYPE_CHECKING:
    from crypto_lakehouse.archive.verify import Checked, Finding

archive_app = typer.Typer(
    help="List an archive, verify zips on disk, write and serve a sample archive.", no_args_is_help=True
)

Market = Annotated[str, typer.Option(help="Market: spot, um, cm or option.")]
Table = Annotated[str | None, typer.Option(help="Table of the lake: klines_1m, trades, funding_rates, ...")]
Type = Annotated[
    str | None,
    typer.Option(
        "--type", help="Instead of --table, a type by the archive's own name: klines, aggTrades, fundingRate, ..."
    ),
]
Interval = Annotated[str | None, typer.Option(help="With --type, the interval of klines: 1m, 1h, 1mo, ...")]
Quote = Annotated[str, typer.Option(metavar="LIST", help="Only these quote assets: USDT,USDC.")]
Contract = Annotated[str, typer.Option(metavar="LIST", help="Only these: spot, perpetual, delivery, option.")]
Stable = Annotated[bool, typer.Option("--stable/--no-stable", help="Include pairs of two stable coins.")]
Leveraged = Annotated[bool, typer.Option("--leveraged/--no-leveraged", help="Include leveraged tokens (BTCUPUSDT).")]
Settled = Annotated[bool, typer.Option("--settled/--no-settled", help="Include settled contracts (ICPUSDT_SETTLED).")]
Symbols = Annotated[
    str,
    typer.Option(
        metavar="LIST", help="Names, patterns and exclusions: BTCUSDT,*USDC,!USDCUSDT. Names pass all other filters."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SYMBOL]...", help="Symbols, instead of filters. Without any, or for '-', a pipe gives the symbols."
    ),
]
First = Annotated[
    date | None,
    typer.Option("--from", parser=first_day, metavar="YYYY-MM[-DD]", help="First UTC day; by default the oldest."),
]
Last = Annotated[
    date | None,
    typer.Option(
        "--to", parser=last_day, metavar="YYYY-MM[-DD]", help="Last UTC day, included; by default the newest."
    ),
]
Monthly = Annotated[bool, typer.Option("--monthly", help="List monthly files, if the type has daily files too.")]
Exchange = Annotated[str, typer.Option(help="Exchange.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


@archive_app.command("symbols")
def archive_symbols(
    market: Market,
    table: Table = None,
    archive_type: Type = None,
    interval: Interval = None,
    quote: Quote = "",
    contract: Contract = "",
    stable: Stable = True,
    leveraged: Leveraged = False,
    settled: Settled = True,
    symbols: Symbols = "",
    monthly: Monthly = False,
    as_json: AsJson = False,
    exchange: Exchange = "binance",
) -> None:
    """Print the symbols of the archive, one per line, delisted ones included."""
    feed, source, _ = _open(exchange, market, table, archive_type, interval, monthly)
    chosen = _filter(quote, contract, stable, leveraged, settled, symbols)
    with explained():
        names, unknown = _select(source, feed, chosen)
        if as_json:
            emit(json.dumps(asdict(parse_symbol(feed.market, name)), default=str) for name in names)
        else:
            emit(names)
    _end(feed, unknown)


@archive_app.command("dates")
def archive_dates(
    market: Market,
    names: Names = None,
    table: Table = None,
    archive_type: Type = None,
    interval: Interval = None,
    quote: Quote = "",
    contract: Contract = "",
    stable: Stable = True,
    leveraged: Leveraged = False,
    settled: Settled = True,
    symbols: Symbols = "",
    first: First = None,
    last: Last = None,
    each: Annotated[bool, typer.Option("--list", help="Print symbol and date of every file instead.")] = False,
    monthly: Monthly = False,
    as_json: AsJson = False,
    exchange: Exchange = "binance",
) -> None:
    """Print the first date, the last date, the number of files and the number of missing dates of each symbol.

    Fields are separated by tabs. A symbol without files has '-' for both dates.
    """
    feed, source, _ = _open(exchange, market, table, archive_type, interval, monthly)
    chosen = _filter(quote, contract, stable, leveraged, settled, symbols)
    start, end = _span(feed, first, last)
    requested, faults = read_names(names or (), chosen != InstrumentFilter())

    def lines(wanted: Sequence[str]) -> Iterator[str]:
        with bar("dates", len(wanted), shown=not sys.stdout.isatty()) as progress:
            for symbol, periods in in_order(wanted, source.periods(feed, wanted, start, end)):
                advance(progress, label=symbol)
                if each and as_json:
                    yield from (json.dumps({"symbol": symbol, "date": period}) for period in periods)
                elif each:
                    yield from (f"{symbol}\t{period}" for period in periods)
                else:
                    row = coverage(feed.cadence, symbol, periods)
                    yield (
                        json.dumps(asdict(row))
                        if as_json
                        else "\t".join("-" if value is None else str(value) for value in astuple(row))
                    )

    with explained():
        wanted, unknown = _select(source, feed, chosen, requested)
        emit(lines(wanted))
    _end(feed, unknown, faults)


@archive_app.command("files")
def archive_files(
    market: Market,
    names: Names = None,
    table: Table = None,
    archive_type: Type = None,
    interval: Interval = None,
    quote: Quote = "",
    contract: Contract = "",
    stable: Stable = True,
    leveraged: Leveraged = False,
    settled: Settled = True,
    symbols: Symbols = "",
    first: First = None,
    last: Last = None,
    urls: Annotated[bool, typer.Option("--urls", help="Print the URL of each file instead of its key.")] = False,
    monthly: Monthly = False,
    as_json: AsJson = False,
    exchange: Exchange = "binance",
) -> None:
    """Print the key of each file of the archive, one per line, by symbol and date."""
    feed, source, base = _open(exchange, market, table, archive_type, interval, monthly)
    chosen = _filter(quote, contract, stable, leveraged, settled, symbols)
    start, end = _span(feed, first, last)
    requested, faults = read_names(names or (), chosen != InstrumentFilter())

    def lines(wanted: Sequence[str]) -> Iterator[str]:
        with bar("files", len(wanted), shown=not sys.stdout.isatty()) as progress:
            for number, files in files_in_order(source, feed, wanted, start, end):
                advance(progress, number)
                for file in files:
                    url = file_url(base, file.object_key)
                    if as_json:
                        values = asdict(file)
                        facts = {"key": values.pop("object_key"), **values}
                        yield json.dumps({**facts, "last_modified": file.last_modified.isoformat(), "url": url})
                    else:
                        yield url if urls else file.object_key

    with explained():
        wanted, unknown = _select(source, feed, chosen, requested)
        emit(lines(wanted))
    _end(feed, unknown, faults)


@archive_app.command("verify")
def archive_verify(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of zips; '-': read paths from standard input.")],
    every: Annotated[bool, typer.Option("--all", help="Print good files too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check zips on disk and print the bad ones. A zip must match the CHECKSUM next to it and hold one CSV."""
    from crypto_lakehouse.archive.verify import OK, Finding, find_zips, verify_zips

    root: Path | None = None
    refused: list[Checked] = []
    paths: Iterable[Path]
    if folder == STDIN:
        paths, total = (Path(os.fsdecode(line)) for line in input_lines()), None
    else:
        root = Path(folder)
        try:
            paths, refused = find_zips(root)
        except NotADirectoryError as error:
            fail(error, 2)
        total = len(paths)
    counts: Counter[str] = Counter()
    bad = checked = 0

    def lines() -> Iterator[str]:
        nonlocal bad, checked
        with bar("verify", total, shown=True) as progress:
            for result in chain(refused, verify_zips(paths, root)):
                checked += 1
                bad += bool(result.findings)
                counts.update(finding.status for finding in result.findings)
                advance(progress, label=f"verify, {bad} bad")
                for finding in result.findings or ([Finding(OK, "")] if every else ()):
                    yield _verify_line(result.path, finding, as_json)

    with explained():
        emit(after_bar(lines()))
    note(
        f"{counted(checked, 'file')} checked, {bad} bad"
        + "".join(f", {counts[code]} {code}" for code in sorted(counts))
    )
    if total == 0 and not refused:
        fail(f"no zip file in {folder}", 1)
    raise typer.Exit(1 if bad else 0)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@archive_app.command("sample")
def archive_sample(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; created if it is missing.")],
    symbols: Annotated[int, typer.Option(parser=whole(1, 1000), metavar="NUMBER", help="Coins per market.")] = 10,
    days: Annotated[int, typer.Option(parser=whole(1, 3660), metavar="NUMBER", help="Number of UTC days.")] = 10,
    start: Annotated[
        date | None,
        typer.Option(parser=first_day, metavar="YYYY-MM-DD", help="First UTC day; by default 2024-12-27."),
    ] = None,
    end: Annotated[
        date | None,
        typer.Option(parser=first_day, metavar="YYYY-MM-DD", help="Last UTC day, inclusive, instead of --start."),
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole(0), metavar="NUMBER", help="The same seed gives the same bytes.")
    ] = 7,
    tables: Annotated[
        str, typer.Option(metavar="LIST", help="Tables or patterns: trades,mark_klines_*; * means all.")
    ] = "klines_1m,klines_1h,funding_rates",
    markets: Annotated[str, typer.Option(metavar="LIST", help="spot,um,cm,option; by default all.")] = "",
    specials: Annotated[
        bool, typer.Option("--specials", help="Add relisted, renamed, settled, delivery and leveraged symbols.")
    ] = False,
    trades_per_day: Annotated[
        int | None,
        typer.Option(
            parser=whole(1), metavar="NUMBER", help="Trades per symbol and day; by default they follow from its volume."
        ),
    ] = None,
    monthly: Annotated[
        bool, typer.Option("--monthly", help="Add monthly files of klines, for months whose last day is in the sample.")
    ] = False,
) -> None:
    """Write a sample archive: made-up data in the layout of the real archive.

    The same arguments give the same files.
    """
    if start and end:
        fail("--start and --end both place the days: give one of them, and --days", 2)
    with explained():
        from crypto_lakehouse.sample.build import DEFAULT_START, make_sample

        try:
            sample = make_sample(
                directory,
                symbols=symbols,
                days=days,
                start=end - timedelta(days=days - 1) if end else start or DEFAULT_START,
                seed=seed,
                tables=_names(tables),
                markets=_names(markets),
                specials=specials,
                trades_per_day=trades_per_day,
                monthly=monthly,
            )
        except ValueError as error:
            fail(error, 2)
    typer.echo(f"{sample.files} files, {sample.bytes} bytes, {sample.first} to {sample.end} (exclusive) in {directory}")


def _verify_line(path: Path, finding: Finding, as_json: bool) -> str:
    if as_json:
        return json.dumps({"path": str(path), "status": finding.status, "detail": finding.detail})
    return "\t".join(field(text) for text in (finding.status, str(path), finding.detail) if text)


def _open(
    exchange: str, market: str, table: str | None, archive_type: str | None, interval: str | None, monthly: bool
) -> tuple[Feed, ArchiveSource, str]:
    """The feed, a client of its archive, and the base URL of its files."""
    try:
        feed = find_feed(exchange, market, table=table, archive_type=archive_type, interval=interval, monthly=monthly)
    except ValueError as error:
        fail(error, 2)
    settings = load_settings()
    files, listing = settings.archive_urls(exchange)
    limits = Limits(settings.concurrency, settings.retries, settings.stall_timeout, settings.least_rate)
    return feed, open_source(exchange, files, listing, limits), files


def _filter(quote: str, contract: str, stable: bool, leveraged: bool, settled: bool, symbols: str) -> InstrumentFilter:
    try:
        return InstrumentFilter(
            quotes=tuple(_parts(quote)),
            contract_types=tuple(_contract_type(part) for part in _parts(contract)),
            stable_pairs=stable,
            leveraged=leveraged,
            settled=settled,
            symbols=SymbolFilter.parse(symbols),
        )
    except ValueError as error:
        fail(error, 2)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _contract_type(text: str) -> ContractType:
    if text not in list(ContractType):
        raise ValueError(f"no contract type {text!r}; there are {', '.join(ContractType)}")
    return ContractType(text)


def _span(feed: Feed, first: date | None, last: date | None) -> tuple[date, date]:
    try:
        return span(feed.cadence, first, last, datetime.now(UTC).date())
    except ValueError as error:
        fail(error, 2)


def _select(
    source: ArchiveSource, feed: Feed, chosen: InstrumentFilter, requested: list[str] | None = None
) -> tuple[list[str], list[str]]:
    """The chosen symbols, and the names and patterns that match nothing in the archive, each with near names."""
    if requested == []:
        return [], []
    available = source.symbols(feed)
    if requested is not None:
        names, unknown = split_known(requested, available)
    else:
        names, unknown = chosen.select(feed.market, available), chosen.unknown(available)
    return names, [with_near(name, available) for name in unknown]


def _end(feed: Feed, unknown: Sequence[str], faults: Sequence[str] = ()) -> None:
    """Report unknown names and unreadable lines, and end the command: with 1 if there are any, else with 0."""
    for fault in faults:
        note(f"error: {fault}")
    for name in unknown:
        note(f"error: the archive has no {feed.cadence} files of {feed.name} for {name}")
    raise typer.Exit(1 if unknown or faults else 0)
