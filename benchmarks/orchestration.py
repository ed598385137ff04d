"""What Dagster adds: to a partition in a range run, to the start of a process, and to a sensor that finds nothing.

The run is that of ``crypto-lakehouse backfill``, with all its checks and SQLite records, on an archive of three
symbols, so that work inside the partitions is small; taken off are the same functions called one after the other.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from benchmarks.archives import cli
from benchmarks.chain import BARS, make_chain
from benchmarks.measure import Result, interleaved
from crypto_lakehouse.archive.binance import BinanceArchive
from crypto_lakehouse.environment import Environment
from crypto_lakehouse.lake.store import LakeStore

_FIRST, _LAST = date(2024, 12, 1), date(2024, 12, 31)
_DAYS = 31
_LOAD = (
    "from crypto_lakehouse.definitions import defs; defs.get_repository_def().load_all_definitions();"
    "print(len(list(defs.assets)))"
)


def run() -> Iterator[Result]:
    """A range run, loading, and an idle tick."""
    with tempfile.TemporaryDirectory() as name:
        yield _range_run(Path(name))
    yield from _loads()


def _range_run(folder: Path) -> Result:
    wish = ["--tables", "klines_1m", "--markets", "um", "--symbols", "3", "--days", str(_DAYS)]
    subprocess.run(
        cli("archive", "sample", str(folder / "archive"), *wish, "--start", f"{_FIRST}"), check=True, stdout=sys.stderr
    )
    with served(folder / "archive") as urls:
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


def backfill(urls: dict[str, str], folder: Path) -> None:
    """``crypto-lakehouse backfill`` of the days in one run, in this process, with a lake and records of its own."""
    from crypto_lakehouse.definitions import build_defs
    from crypto_lakehouse.orchestration.launch import open_instance, plan, run_chunks

    logging.getLogger("dagster").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    os.environ.pop("DAGSTER_HOME", None)
    settings = Environment.load(lake_uri=str(folder / "lake"), tables="klines_1m", bars=BARS, **urls)
    wish = plan("binance", "um", "klines_1m", _FIRST, _LAST, settings, datetime.now(UTC).date())
    with chdir(folder), open_instance() as instance:
        (outcome,) = run_chunks(wish, [wish.keys], build_defs(settings), instance, "")
    assert not outcome.error, outcome.error


def _functions(urls: dict[str, str], folder: Path) -> None:
    keys = [f"{_FIRST.replace(day=day)}" for day in range(1, _DAYS + 1)]
    source = BinanceArchive(urls["archive_url"], urls["archive_listing_url"])
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


@contextmanager
def served(archive: Path) -> Iterator[dict[str, str]]:
    """Settings for an archive that another process serves."""
    with subprocess.Popen(
        cli("archive", "serve", str(archive), "--port", "0"), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        told = dict(pair.split("=", 1) for pair in server.stdout.readline().split())
        try:
            yield {name.removeprefix("LAKEHOUSE_").lower(): value for name, value in told.items()}
        finally:
            server.terminate()
