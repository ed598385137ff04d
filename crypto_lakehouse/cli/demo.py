"""The demo: write a sample archive, serve it, build a lake from it by real runs, and show it. It needs no network.

It only calls other modules of the platform. Code that others could use does not belong here.
"""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog import DEFAULT_EXCHANGE
from crypto_lakehouse.cli.console import follow, say, summarize
from crypto_lakehouse.lake.reader.lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.settings import Settings

# Funding rates first: continuous minutes hold them.
TABLES = ("funding_rates", "klines_1m")
FIRST, DAYS, SYMBOLS = date(2024, 12, 27), 10, 10
_PORT = 8765


def run_demo(folder: Path, console: Console) -> int:
    """Build the demo in ``folder``, or what is missing of it, and return the exit code.

    Raises OSError if the folder cannot be written, ArchiveError and LakeError like a run.
    """
    archive, lake_uri = folder / "archive", folder / "lake"
    say(console, f"sample archive: {archive}")
    sample = make_sample(archive, symbols=SYMBOLS, days=DAYS, start=FIRST)
    say(console, f"  {sample.files:,} files, {sample.symbols} symbols, {', '.join(sample.markets)}")
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
        code = _make(settings, folder / "dagster", console)
    if interrupts.received():
        return interrupts.exit_code()
    lake = Lakehouse(lake_uri)
    _show(lake, folder / "chart.html", console)
    _say_next_steps(lake_uri, archive, console)
    return code


def _make(settings: Settings, home: Path, console: Console) -> int:
    # Importing Dagster takes seconds, and the lines above must appear at once.
    interrupts.defer()
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration import launch
    from crypto_lakehouse.orchestration.launch import chunks, open_instance, run_chunks
    from crypto_lakehouse.orchestration.up_to_date import work_of

    store = LakeStore.open(settings.lake_uri)
    today = datetime.now(UTC).date()
    last = FIRST + timedelta(days=DAYS - 1)
    # A home of its own: in the real one, sample dates would count as materialized.
    with open_instance(home) as instance:
        todo = []
        for feed in sorted(settings.feeds, key=lambda feed: TABLES.index(feed.table)):
            plan = launch.plan(feed.exchange, feed.market.name, feed.table, FIRST, last, settings, today)
            work = work_of(plan, settings, "", False, instance, store)
            if work.keys:
                todo.append((plan, chunks(work.keys, plan.cadence, work.partitions_per_run)))
        if not todo:
            say(console, "nothing to do: every partition is up to date")
            return 0
        defs = build_defs(settings, with_archive_checks=False)
        outcomes = (outcome for plan, spans in todo for outcome in run_chunks(plan, spans, defs, instance, symbols=""))
        total = sum(len(span) for _, spans in todo for span in spans)
        return summarize(console, follow(console, outcomes, total))


def _show(lake: Lakehouse, chart: Path, console: Console) -> None:
    bars = lake.scan("gold.bars_1h", market="um", symbols="BTCUSDT").collect().sort("open_time")
    with pl.Config(tbl_rows=-1, tbl_cols=12, tbl_hide_dataframe_shape=True, tbl_width_chars=120):
        say(console, f"\ntables of the lake:\n{lake.tables()}")
        columns = ["symbol", "open_time", "open", "high", "low", "close", "vwap", "base_volume"]
        say(console, f"\ngold.bars_1h, um, BTCUSDT:\n{bars.select(columns).head(5)}")
    _draw(bars, chart)
    say(console, f"\nchart: {chart}")


def _draw(bars: pl.DataFrame, path: Path) -> None:
    """Write candles and volume as one HTML file that needs no network."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.03)
    times = bars["open_time"].to_list()
    prices = {name: bars[name].to_list() for name in ("open", "high", "low", "close")}
    figure.add_trace(go.Candlestick(x=times, name="price, USDT", **prices), row=1, col=1)
    figure.add_trace(go.Bar(x=times, y=bars["base_volume"].to_list(), name="volume, BTC"), row=2, col=1)
    title = "BTCUSDT, USD-M futures, 1 h, UTC (made-up sample data)"
    figure.update_layout(title=title, xaxis_rangeslider_visible=False, template="plotly_white", height=700)
    figure.write_html(path, include_plotlyjs=True)


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
    say(console, "to open the notebook notebooks/explore.ipynb, start Jupyter or your editor with this variable:")
    say(console, f"  {lake_only}")
    say(console, f"to list the tables again:\n  {lake_only} {bin_folder / 'crypto-lakehouse'} status")
