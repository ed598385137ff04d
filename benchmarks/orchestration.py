"""The overhead of Dagster: per partition in a range run, at the start of a process and of the UI, and in an idle tick.

The run is that of ``crypto-lakehouse backfill``, with all its checks and SQLite records, on an archive of three
symbols, so that the work inside the partitions is small. The time of the same functions without Dagster is subtracted.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

import dagster as dg

from benchmarks.archives import cli, served
from benchmarks.chain import BARS, KLINES, make_chain
from benchmarks.measure import Result, interleaved
from crypto_lakehouse.archive.sources import open_source
from crypto_lakehouse.catalog import Feed, feeds, partition_keys
from crypto_lakehouse.definitions import build_defs
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.launch import open_instance, plan
from crypto_lakehouse.orchestration.runs import run_chunks
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.system.ui import ROOT, ui_server

_FIRST, _LAST = date(2024, 12, 1), date(2024, 12, 31)
_DAYS = 31
_DATES = 3_400
# These tables have 48 feeds; 40 of them get records.
_FORTY = "klines_*,funding_rates"
_LOAD = (
    "from crypto_lakehouse.definitions import build_defs; defs = build_defs();"
    "defs.get_repository_def().load_all_definitions(); print(len(list(defs.assets)))"
)
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { ... on PythonError { message } }
} } } }"""


def run() -> Iterator[Result]:
    """Yield the overhead of a range run, the load of definitions, the start of the UI, and an idle tick."""
    with tempfile.TemporaryDirectory() as name:
        yield _range_run(Path(name))
    yield from _loads()
    with tempfile.TemporaryDirectory() as name:
        yield _ui(Path(name))
    with tempfile.TemporaryDirectory() as name:
        yield _idle_tick(Path(name))


def _range_run(folder: Path) -> Result:
    wish = ["--tables", "klines_1m", "--markets", "um", "--symbols", "3", "--days", str(_DAYS)]
    subprocess.run(
        cli("archive", "sample", str(folder / "archive"), *wish, "--start", f"{_FIRST}"), check=True, stdout=sys.stderr
    )
    with urls_of(folder / "archive") as urls:
        took = interleaved(
            {
                "run": lambda: backfill(urls, Path(tempfile.mkdtemp(dir=folder))),
                "functions": lambda: _functions(urls, Path(tempfile.mkdtemp(dir=folder))),
            },
            rounds=3,
        )
    added = (took["run"] - took["functions"]) / _DAYS
    detail = f"{took['run']:.2f} s a run of {_DAYS} days and 7 tables, its functions alone {took['functions']:.2f} s"
    return Result("orchestration: added to a partition in a range run", added, 0.25, True, "s", detail)


def backfill(
    urls: dict[str, str], folder: Path, first: date = _FIRST, last: date = _LAST, tables: str = KLINES.table
) -> Settings:
    """Run ``crypto-lakehouse backfill`` of the days as one run in this process, with its own lake and records."""
    logging.getLogger("dagster").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    os.environ.pop("DAGSTER_HOME", None)
    settings = Settings.load(lake_uri=str(folder / "lake"), tables=tables, bars=BARS, **urls)
    wish = plan("binance", "um", KLINES.table, first, last, settings, datetime.now(UTC).date())
    with chdir(folder), open_instance() as instance:
        (outcome,) = run_chunks(wish, [wish.keys], build_defs(settings), instance, "")
    assert not outcome.error, outcome.error
    return settings


def _functions(urls: dict[str, str], folder: Path) -> None:
    keys = [f"{_FIRST.replace(day=day)}" for day in range(1, _DAYS + 1)]
    source = open_source("binance", urls["archive_url"], urls["archive_listing_url"])
    make_chain(source, LakeStore.open(str(folder / "lake")), keys)


def _loads() -> Iterator[Result]:
    for what, tables in (("of the default tables", ""), ("of every table", "*")):
        environment = {**os.environ, "LAKEHOUSE_TABLES": tables}
        command = [sys.executable, "-W", "ignore", "-c", _LOAD]
        counted = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        load = partial(subprocess.run, command, env=environment, check=True, capture_output=True)
        took = interleaved({"load": load}, 3)
        detail = f"a new process with all jobs resolved, {counted} assets"
        yield Result(f"orchestration: definitions {what}", took["load"], 5, True, "s", detail)


def _ui(folder: Path) -> Result:
    """Measure ``make ui`` until its code location is loaded. The first start makes the home and is not counted."""
    shutil.copy(ROOT / "dagster.yaml", folder)
    hidden = ("LAKEHOUSE_", "DAGSTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"DAGSTER_HOME": str(folder), "LAKEHOUSE_LAKE_URI": str(folder / "lake")}
    seconds: list[float] = []
    for _ in range(4):
        started = time.perf_counter()
        with ui_server(folder, environment) as address:
            while (status := _location(address)) == "LOADING":
                time.sleep(0.05)
            seconds.append(time.perf_counter() - started)
        assert status == "LOADED", status
    detail = "dg dev with the default tables, in a home that exists"
    return Result("orchestration: the UI ready, code location loaded", median(seconds[1:]), 6, True, "s", detail)


def _location(address: str) -> str:
    """Return LOADING or LOADED, or the error of the code location."""
    body = json.dumps({"query": _LOCATIONS}).encode()
    request = Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        entries = json.load(answer)["data"]["workspaceOrError"].get("locationEntries", [])
    if not entries or any(entry["loadStatus"] == "LOADING" for entry in entries):
        return "LOADING"
    (found,) = (entry["locationOrLoadError"] for entry in entries)
    return str(found.get("message") or "LOADED")


@contextmanager
def urls_of(archive: Path) -> Iterator[dict[str, str]]:
    """Serve an archive in another process, and yield the settings that use it."""
    with served(archive) as (variables, _):
        yield {name.removeprefix("LAKEHOUSE_").lower(): value for name, value in variables.items()}


def _idle_tick(folder: Path) -> Result:
    """Measure the sensor of an up-to-date feed next to 39 other feeds, all with 3,400 dates.

    The newest 31 dates come from a real run of 50 symbols. The older dates and the other feeds are copies of them in
    the lake and in Dagster's index, under other names.
    """
    last = datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=_DAYS - 1)
    wish = ["--tables", "klines_1m", "--markets", "um", "--symbols", "50", "--days", f"{_DAYS}", "--start", f"{first}"]
    subprocess.run(cli("archive", "sample", str(folder / "archive"), *wish), check=True, stdout=sys.stderr)
    with urls_of(folder / "archive") as urls:
        environment = backfill(urls, folder, first, last, tables=_FORTY)
        active = feeds(environment.table_names)[:40]
        older = partition_keys(last - timedelta(days=_DATES - 1), first, KLINES.cadence)
        _lengthen(folder, f"{first}", older, active)
        defs = build_defs(environment)
        repository = defs.get_repository_def()
        sensor = repository.get_sensor_def("binance_um_klines_1m_sensor")
        resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}
        messages: list[str] = []

        def tick() -> None:
            with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
                messages.append(sensor.evaluate_tick(context).skip_message or "requests")

        with chdir(folder), open_instance() as instance:
            assert len(instance.get_materialized_partitions(asset_key("silver", KLINES.market, KLINES.table))) == _DATES
            took = interleaved({"tick": tick, "listing": partial(_listing, urls, first)}, rounds=7)
        assert all("nothing new" in text for text in messages), messages
    detail = f"{len(active)} feeds of {_DATES:,} dates; the listing of 50 symbols in it alone {took['listing']:.2f} s"
    return Result("orchestration: an idle sensor tick", took["tick"], 0.5, True, "s", detail)


def _listing(urls: dict[str, str], first: date) -> None:
    source = open_source("binance", urls["archive_url"], urls["archive_listing_url"])
    source.files(KLINES, source.symbols(KLINES), first - timedelta(days=1), first + timedelta(days=_DAYS))


def _lengthen(folder: Path, key: str, older: Sequence[str], active: Sequence[Feed]) -> None:
    """Copy the date ``key`` to the dates ``older``, in every table of the lake and in Dagster's index."""
    for pattern in ("*/klines_1m", "gold/*"):
        for part in (folder / "lake").glob(f"{pattern}/*/*/date={key}/*.parquet"):
            for one in older:
                place = part.parent.with_name(f"date={one}")
                place.mkdir()
                os.link(part, place / part.name)
    columns = "run_id, dagster_event_type, timestamp, step_key"
    copied = f"INSERT INTO event_logs ({columns}, asset_key, partition, event) SELECT {columns}"
    mine = {layer: asset_key(layer, KLINES.market, KLINES.table).to_string() for layer in ("bronze", "silver")}
    with closing(sqlite3.connect(folder / ".dagster" / "history" / "runs" / "index.db")) as index, index:
        made = "FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        index.execute(f"CREATE TEMP TABLE day AS SELECT * {made} AND partition = ?", (key,))
        for one in older:
            index.execute(f"{copied}, asset_key, ?, replace(event, ?, ?) FROM day", (one, key, one))
        for feed in active:
            for layer in mine if feed != KLINES else ():
                # No tick reads the text of another feed's events.
                what = f"{copied}, ?, partition, '' {made} AND asset_key = ?"
                index.execute(what, (asset_key(layer, feed.market, feed.table).to_string(), mine[layer]))
