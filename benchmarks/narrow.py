"""Few symbols over many days through the real command: the first thing that a new user does.

The command is ``crypto-lakehouse backfill`` of two symbols and half a year of minutes, with downloads, all layers, all
checks and Dagster's records. The baselines read the same zips from disk: a plain loop that a user would write (compare
the sha256, parse, sort, one Parquet file per symbol, bars of one hour and one day), and the legacy chain.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from zipfile import ZipFile

import polars as pl

from benchmarks.archives import cli, served
from benchmarks.legacy_bars import bars_all, continuous_all, spawned_pool
from benchmarks.legacy_parse import parse_all
from benchmarks.measure import Result, interleaved

SYMBOLS, DAYS, ROUNDS = 2, 181, 3
RECORDS = 10_000
FIRST = date(2024, 1, 1)
# The first symbols of spot were listed on this day.
LISTED, YEARS = date(2017, 8, 17), 9
_INTERVALS = (timedelta(hours=1), timedelta(days=1))
_COLUMNS = {
    "open_time": pl.Int64,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "close_time": pl.Int64,
    "quote_volume": pl.Float64,
    "count": pl.Int64,
    "taker_buy_volume": pl.Float64,
    "taker_buy_quote_volume": pl.Float64,
    "ignore": pl.Int64,
}


def run() -> Iterator[Result]:
    """Yield the figures of a backfill, of the same command again, of a day's update, and of nine years."""
    yield from _half_a_year()
    yield _nine_years()


def _half_a_year() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as name, spawned_pool(2) as pool:
        folder, numbers = Path(name), count()
        zips = make_archive(folder / "archive", DAYS)
        last = FIRST + timedelta(days=DAYS - 1)
        funding = folder / "funding"
        _write_no_funding(funding, zips)
        with served(folder / "archive") as (urls, _):

            def ours() -> None:
                backfill(folder / f"ours-{next(numbers)}", urls, FIRST, last)

            def legacy() -> None:
                target = folder / f"legacy-{next(numbers)}"
                parse_all(pool, zips, target / "klines")
                continuous_all(pool, target / "klines", funding, target / "minutes")
                bars_all(pool, target / "minutes", target / "bars", [(each, [timedelta()]) for each in _INTERVALS])

            def plain() -> None:
                plain_loop(zips, folder / f"plain-{next(numbers)}")

            again = folder / "again"
            backfill(again, urls, FIRST, last)
            seconds = interleaved(
                {
                    "ours": ours,
                    "legacy": legacy,
                    "plain": plain,
                    "again": lambda: backfill(again, urls, FIRST, last),
                    "a day, forced": lambda: backfill(again, urls, last, last, "--force"),
                    "start": lambda: backfill(again, urls, last, FIRST, code=2),
                },
                ROUNDS,
                warm_up=0,
            )
            add_records(again, f"{last}", RECORDS // 7)
            long = interleaved({"day": lambda: backfill(again, urls, last, last, "--force")}, ROUNDS)["day"]
    taken = ", ".join(f"{way} {second:.2f} s" for way, second in seconds.items())
    size = f"{SYMBOLS} symbols, {DAYS} days"
    yield Result(
        "narrow: a backfill over the legacy chain",
        seconds["legacy"] / seconds["ours"],
        4,
        detail=f"{size}, our downloads included: {taken}",
    )
    yield Result("narrow: a backfill against the plain loop", seconds["ours"] / seconds["plain"], 5, at_most=True)
    yield Result(
        "narrow: the same backfill again, without the start of the command",
        seconds["again"] - seconds["start"],
        2,
        at_most=True,
        unit="s",
    )
    day = seconds["a day, forced"]
    yield Result("narrow: one day, with the start of the command", day, 3, at_most=True, unit="s")
    yield Result(
        f"narrow: one day with {RECORDS:,} more recorded partitions over the day before",
        long / day,
        1.1,
        at_most=True,
        detail=f"{long:.2f} s",
    )


def _nine_years() -> Result:
    """Compare the cost of a day in a backfill of one symbol over its whole history with that in half a year."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    last = min(LISTED.replace(year=LISTED.year + YEARS), yesterday)
    days = (last - LISTED).days + 1
    with tempfile.TemporaryDirectory() as name:
        folder, numbers = Path(name), count()
        make_archive(folder / "archive", days, "spot", LISTED, symbols=1)
        with served(folder / "archive") as (urls, _):

            def ours(first: date, last: date = last, code: int = 0) -> float:
                before = _seconds_of_ended_commands()
                backfill(folder / f"{next(numbers)}", urls, first, last, code=code, market="spot")
                return _seconds_of_ended_commands() - before

            half = last - timedelta(days=DAYS - 1)
            start, half_a_year = (median(ours(*asked) for _ in range(ROUNDS)) for asked in ((last, half, 2), (half,)))
            whole = ours(LISTED)
    detail = f"one symbol, {days:,} days {whole:.1f} s of CPU, {DAYS} days {half_a_year:.1f} s, start {start:.1f} s"
    return Result(
        "narrow: CPU seconds of a day of nine years over a day of half a year",
        (whole - start) / days / ((half_a_year - start) / DAYS),
        1,
        at_most=True,
        detail=detail,
    )


def _seconds_of_ended_commands() -> float:
    # CPU seconds: the whole takes minutes, and runs once, so any other load of the machine would show in its time.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_archive(
    folder: Path, days: int, market: str = "um", first: date = FIRST, symbols: int = SYMBOLS
) -> dict[str, list[str]]:
    """Write a sample archive of minutes; return the zips of each symbol in order of days."""
    wish = ["--tables", "klines_1m", "--markets", market, "--symbols", f"{symbols}", "--days", f"{days}"]
    subprocess.run(cli("archive", "sample", str(folder), *wish, "--start", f"{first}"), check=True, stdout=sys.stderr)
    zips: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.zip")):
        zips.setdefault(path.name.split("-")[0], []).append(str(path))
    return zips


def add_records(home: Path, key: str, days: int) -> None:
    """Copy Dagster's records of the day ``key`` to ``days`` later days, in all tables."""
    later = [f"{date.fromisoformat(key) + timedelta(number + 1)}" for number in range(days)]
    columns = "run_id, dagster_event_type, timestamp, step_key, asset_key"
    with closing(sqlite3.connect(home / ".dagster" / "history" / "runs" / "index.db")) as index, index:
        made = "FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND partition = ?"
        index.execute(f"CREATE TEMP TABLE day AS SELECT * {made} GROUP BY asset_key", (key,))
        copied = (
            f"INSERT INTO event_logs ({columns}, partition, event) SELECT {columns}, ?, replace(event, ?, ?) FROM day"
        )
        index.executemany(copied, [(one, key, one) for one in later])


def backfill(
    home: Path, urls: dict[str, str], first: date, last: date, *more: str, code: int = 0, market: str = "um"
) -> None:
    """Run the command in a process, with its lake and records in ``home``."""
    home.mkdir(exist_ok=True)
    ours = {"LAKEHOUSE_LAKE_URI": str(home / "lake"), "LAKEHOUSE_TABLES": "klines_1m", "DAGSTER_HOME": str(home)}
    span = ["--from", f"{first}", "--to", f"{last}"]
    command = cli("backfill", "--market", market, "--table", "klines_1m", *span, *more)
    ended = subprocess.run(command, env=os.environ | urls | ours, cwd=home, capture_output=True, check=False)
    assert ended.returncode == code, ended.stdout.decode() + ended.stderr.decode()


def plain_loop(zips: dict[str, list[str]], target: Path) -> None:
    """The loop that a user would write: verified zips to one Parquet file per symbol, and bars."""
    target.mkdir()
    for symbol, paths in zips.items():
        frames = [_parsed(Path(path)) for path in paths]
        rows = pl.concat(frames).unique("open_time").sort("open_time")
        rows.write_parquet(target / f"{symbol}.parquet")
        for interval in _INTERVALS:
            bars = rows.group_by_dynamic("open_time", every=interval).agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume").sum(),
            )
            bars.write_parquet(target / f"{symbol}-{interval // timedelta(hours=1)}h.parquet")


def _parsed(path: Path) -> pl.DataFrame:
    data = path.read_bytes()
    stated = path.with_name(f"{path.name}.CHECKSUM").read_text().split()[0]
    assert hashlib.sha256(data).hexdigest() == stated
    with ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    has_header = text.startswith(b"open_time")
    rows = pl.read_csv(text, has_header=has_header, new_columns=list(_COLUMNS), schema_overrides=_COLUMNS)
    return rows.drop("ignore").with_columns(pl.from_epoch("open_time", "ms"), pl.from_epoch("close_time", "ms"))


def _write_no_funding(folder: Path, symbols: dict[str, list[str]]) -> None:
    folder.mkdir()
    none = pl.DataFrame(schema={"candle_begin_time": pl.Datetime("ms", "UTC"), "funding_rate": pl.Float64})
    for symbol in symbols:
        none.write_parquet(folder / symbol)
