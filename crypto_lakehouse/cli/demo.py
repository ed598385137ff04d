"""The demo: write a sample archive, serve it, build a lake from it by real runs, and show it. It needs no network.

It only calls other modules of the platform. Code that others could use does not belong here.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import DEFAULT_EXCHANGE, Cadence
from crypto_lakehouse.cli.console import follow, say, summarize
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.partitions import partition_exists
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings

# Funding rates first: continuous minutes hold them.
TABLES = ("funding_rates", "klines_1m")
DAYS, SYMBOLS = 10, 10
_PORT, _DAY = 8765, timedelta(days=1)
# The market of which the demo shows bars and builds instruments, and its file of one symbol and day.
_MARKET, _SYMBOL, _FILE = "um", "BTCUSDT", re.compile(r"BTCUSDT-1m-([0-9]{4}-[0-9]{2}-[0-9]{2})\.zip")


def run_demo(folder: Path, console: Console, today: date, end: date | None = None) -> int:
    """Build the demo in ``folder``, or what is missing of it, and return the exit code.

    Its days end with ``end``; without it, a demo that exists keeps its days, and a new one ends the day before
    ``today``. Raises OSError if the folder cannot be written, ArchiveError and LakeError like a run.
    """
    archive, lake_uri = folder / "archive", folder / "lake"
    say(console, f"sample archive: {archive}")
    last = end or _last_day(archive) or today - _DAY
    sample = make_sample(archive, symbols=SYMBOLS, days=DAYS, start=last - (DAYS - 1) * _DAY)
    first_of_monthly, last_of_monthly = monthly_days(sample.first, last, today)
    if last_of_monthly < sample.first:
        make_sample(archive, symbols=SYMBOLS, days=1, start=last_of_monthly, tables=["funding_rates"])
        say(console, f"  funding rates of {last_of_monthly:%Y-%m}: the archive has no file of a month that is not over")
    say(console, f"  {sample.files:,} files, {sample.symbols} symbols, {', '.join(sample.markets)}, up to {last}")
    with ArchiveServer(archive) as server:
        settings = Settings.load(
            lake_uri=str(lake_uri),
            s3_endpoint_url=None,
            archive_url=server.url,
            archive_listing_url=server.listing_url,
            exchanges=DEFAULT_EXCHANGE,
            symbols="",
            tables=",".join(TABLES),
            markets="",
            start=None,
        )
        days = {Cadence.DAILY: (sample.first, last), Cadence.MONTHLY: (first_of_monthly, last_of_monthly)}
        code = _make(settings, days, folder / "dagster", console, today)
    if interrupts.received():
        return interrupts.exit_code()
    lake = Lakehouse(lake_uri)
    _show(lake, folder / "chart.html", console)
    _say_next_steps(lake_uri, archive, console)
    return code


def _last_day(archive: Path) -> date | None:
    """The last day of a sample archive that exists; None without one."""
    names = (_FILE.fullmatch(path.name) for path in archive.glob(f"data/spot/daily/klines/{_SYMBOL}/1m/*.zip"))
    return max((date.fromisoformat(name[1]) for name in names if name), default=None)


def monthly_days(first: date, last: date, today: date) -> tuple[date, date]:
    """Return the days of the monthly tables of a demo: those in complete months, else the newest complete month.

    >>> monthly_days(date(2024, 12, 5), date(2024, 12, 14), today=date(2024, 12, 15))
    (datetime.date(2024, 11, 1), datetime.date(2024, 11, 30))
    """
    newest = today.replace(day=1) - _DAY
    return (newest.replace(day=1) if first > newest else first), min(last, newest)


def _make(
    settings: Settings, days: Mapping[Cadence, tuple[date, date]], home: Path, console: Console, today: date
) -> int:
    # Importing Dagster takes seconds, and the lines above must appear at once.
    interrupts.defer()
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration import launch
    from crypto_lakehouse.orchestration.launch import chunks, open_instance
    from crypto_lakehouse.orchestration.runs import Outcome, run_chunks
    from crypto_lakehouse.orchestration.up_to_date import work_of

    store = LakeStore.open(settings.lake_uri)
    requests = [
        (feed.exchange, feed.market.name, feed.table, *days[feed.cadence])
        for feed in sorted(settings.feeds, key=lambda feed: TABLES.index(feed.table))
    ]
    # The instruments of a day include those of all days before. Each run of them lists the archive.
    last = days[Cadence.DAILY][1]
    if not partition_exists(store, TableSlice("gold", DEFAULT_EXCHANGE, _MARKET, "instruments").partition(str(last))):
        requests.append((DEFAULT_EXCHANGE, _MARKET, "instruments", last, last))
    # A home of its own: in the real one, sample dates would count as materialized.
    with open_instance(home) as instance:
        todo = []
        for exchange, market, table, first, last in requests:
            plan = launch.plan(exchange, market, table, first, last, settings, today)
            work = work_of(plan, settings, "", False, instance, store)
            if work.keys:
                todo.append((plan, chunks(work.keys, plan.cadence, work.partitions_per_run)))
        if not todo:
            say(console, "nothing to do: every partition is up to date")
            return 0
        defs = build_defs(settings, with_archive_checks=False)

        def outcomes() -> Iterator[Outcome]:
            for plan, spans in todo:
                for outcome in run_chunks(plan, spans, defs, instance, symbols=""):
                    yield outcome
                    if outcome.interrupted:
                        return

        total = sum(len(span) for _, spans in todo for span in spans)
        return summarize(console, follow(console, outcomes(), total))


def _show(lake: Lakehouse, chart: Path, console: Console) -> None:
    bars = lake.scan("gold.bars_1h", market=_MARKET, symbols=_SYMBOL).collect().sort("open_time")
    with pl.Config(tbl_rows=-1, tbl_cols=12, tbl_hide_dataframe_shape=True, tbl_width_chars=120):
        say(console, f"\ntables of the lake:\n{lake.tables()}")
        say(
            console,
            "\nstored rows include those that were filled after the end of a series. Readers leave them out:"
            f" gold.bars_1d of {_MARKET} has {lake.scan('gold.bars_1d', market=_MARKET).collect().height} rows",
        )
        columns = ["symbol", "open_time", "open", "high", "low", "close", "vwap", "base_volume"]
        say(console, f"\ngold.bars_1h, {_MARKET}, {_SYMBOL}:\n{bars.select(columns).head(5)}")
    picture = lake.plot(_SYMBOL, "1h", market=_MARKET)
    picture.title = f"{picture.title}: made-up sample data"
    picture.save(chart)
    say(console, f"\nchart: {chart}")


def _say_next_steps(lake: Path, archive: Path, console: Console) -> None:
    bin_folder = Path(sys.executable).parent
    base = f"http://127.0.0.1:{_PORT}"
    settings = {
        "DAGSTER_HOME": os.environ["DAGSTER_HOME"],
        "LAKEHOUSE_LAKE_URI": str(lake.resolve()),
        "LAKEHOUSE_ARCHIVE_URL": base,
        "LAKEHOUSE_ARCHIVE_LISTING_URL": f"{base}/listing",
    }
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    lake_only = f"LAKEHOUSE_LAKE_URI={shlex.quote(settings['LAKEHOUSE_LAKE_URI'])}"
    serve = f"{bin_folder / 'crypto-lakehouse'} archive serve {shlex.quote(str(archive))} --port {_PORT}"
    ui = f"{exports} {bin_folder / 'dg'} dev -m crypto_lakehouse.definitions"
    say(console, "\nto see these runs in Dagster's UI, http://127.0.0.1:3000, serve the archive and start the UI:")
    say(console, f"  {serve} &\n  {ui}")
    say(console, "to open the notebooks in notebooks/, run make notebook, or start your editor, with this variable:")
    say(console, f"  {lake_only}")
    say(console, f"to list the tables again:\n  {lake_only} {bin_folder / 'crypto-lakehouse'} tables")
