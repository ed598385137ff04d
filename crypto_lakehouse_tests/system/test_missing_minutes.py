"""Reasons of missing minutes from a real lake: files, listings, quarantine and trades of a sample with faults."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.instruments import instrument_partitions
from crypto_lakehouse.pipeline.gold.missing_minutes import MissingMinutes
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.gold import find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.exchange import day as exchange_day
from crypto_lakehouse_tests.system.exchange import exchange
from crypto_lakehouse_tests.system.monthly import edit, ingest
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, failures, read, run, variables

START = date(2024, 1, 30)
DAYS = [f"{START + timedelta(days=number)}" for number in range(3)]
DAY = DAYS[1]
KLINES, TRADES = FEEDS["binance", "um", "klines_1m"], FEEDS["binance", "um", "trades"]
TABLE = "missing_minutes"
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]
B, E, S, X = "BTCUSDT", "ETHUSDT", "LTCUSDT", "XRPUSDT"


def klines(archive: Path, symbol: str, day: str = DAY) -> Path:
    return archive / f"data/futures/um/daily/klines/{symbol}/1m/{symbol}-1m-{day}.zip"


def without(*minutes: range, day: str = DAY) -> Callable[[list[str]], list[str]]:
    midnight = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    gone = {f"{(midnight + 60 * n) * 1000}" for each in minutes for n in each}
    return lambda lines: [line for line in lines if line.partition(",")[0] not in gone]


def bought_too_much(line: int) -> Callable[[list[str]], list[str]]:
    """Takers bought more than was traded in a line, so silver refuses it."""

    def changed(lines: list[str]) -> list[str]:
        fields = lines[line].split(",")
        return [*lines[:line], ",".join([*fields[:9], "1000000000", *fields[10:]]), *lines[line + 1 :]]

    return changed


def build(lake: Path, keys: Sequence[str] = (DAY,)) -> list[str]:
    """Do the steps of a run; return the days that were written."""
    store, written = LakeStore.open(str(lake)), []
    table = find_gold_table(TABLE)
    assert table is not None
    days = MissingMinutes(store, KLINES.market, table)
    for key in keys:
        day = days.day(key)
        if day.unchanged is None:
            partition = TableSlice.of_market("gold", KLINES.market, table.name).partition(key)
            write_partition(store, partition, days.rows(key), Provenance(day.input_fingerprint))
            written.append(key)
    return written


def stretches(lake: Path, day: str = DAY) -> list[tuple[str, int, int, str]]:
    """Symbol, first and number of minutes, and reason of each stretch."""
    rows = read(Lakehouse(lake), "gold.missing_minutes").filter(pl.col("start").dt.date() == date.fromisoformat(day))
    at = (pl.col("start") - pl.col("start").dt.truncate("1d")).dt.total_minutes()
    return rows.select("symbol", at, "minutes", "reason").rows()


def evidence(lake: Path, symbol: str) -> dict[str, object]:
    rows = read(Lakehouse(lake), "gold.missing_minutes").filter(pl.col("start").dt.date() == date.fromisoformat(DAY))
    (text,) = rows.filter(symbol=symbol)["evidence"]
    loaded = json.loads(text)
    assert isinstance(loaded, dict)
    return loaded


def list_instruments(server: WatchedServer, lake: Path, day: str = DAYS[2]) -> None:
    store, source = LakeStore.open(str(lake)), BinanceArchive(server.url, server.listing_url, attempts=1)
    for key, rows in instrument_partitions(source, KLINES.market, [day]):
        write_partition(store, TableSlice.of_market("gold", KLINES.market, "instruments").partition(key), rows)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    make_sample(
        tmp_path / "archive", 5, 3, START, tables=["klines_1m", "trades"], markets=["um"], trades_per_day=10_080
    )
    return tmp_path / "archive"


@pytest.fixture
def server(archive: Path) -> Iterator[WatchedServer]:
    with WatchedServer(archive) as running:
        yield running


@pytest.mark.requirement("D18")
def test_a_lake_says_why_minutes_are_missing(archive: Path, server: WatchedServer, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert {path.name for path in (archive / "data/futures/um/daily/klines").iterdir()} == {B, E, S, X}
    halt = range(600, 660)
    edit(klines(archive, B), without(halt, range(700, 705)))
    edit(klines(archive, E), without(halt))
    edit(klines(archive, S), without(halt))
    klines(archive, X).write_bytes(b"not a zip")
    ingest(server, lake, DAYS, "daily", feed=KLINES)
    list_instruments(server, lake)
    assert build(lake) == [DAY]
    assert stretches(lake) == [
        (B, 600, 60, "exchange_halt"),
        (B, 700, 5, "unknown"),
        (E, 600, 60, "exchange_halt"),
        (S, 600, 60, "exchange_halt"),
        (X, 0, 1440, "not_fetched"),
    ]
    assert evidence(lake, X)["reason"] == "checksum_mismatch"
    assert build(lake) == []
    # Any minute of a stretch selects it.
    for time in ("10:00", "10:30", "10:59"):
        assert "exchange_halt" in str(Lakehouse(lake).explain("gold.missing_minutes", B, f"{DAY}T{time}"))
    with pytest.raises(ValueError, match="has no row of"):
        Lakehouse(lake).explain("gold.missing_minutes", B, f"{DAY}T11:00")
    with pytest.raises(
        ValueError, match=r"row before is at .*missing_minutes says why: exchange_halt \{.symbols.: 3\}"
    ):
        Lakehouse(lake).explain("silver.klines_1m", B, f"{DAY}T10:30")


@pytest.mark.requirement("D18")
def test_trades_decide_between_a_hole_and_no_trades(archive: Path, server: WatchedServer, tmp_path: Path) -> None:
    lake, quiet, busy = tmp_path / "lake", range(600, 603), range(700, 701)
    midnight = int(datetime.fromisoformat(DAY).replace(tzinfo=UTC).timestamp()) * 1000

    def in_quiet_minutes(line: str) -> bool:
        return (int(line.split(",")[4]) - midnight) // 60_000 in quiet

    def renumbered(lines: list[str]) -> list[str]:
        """Without the trades of the quiet minutes, as if the exchange had never had them."""
        header, *trades = lines
        first = int(trades[0].partition(",")[0])
        kept = [line.partition(",")[2] for line in trades if not in_quiet_minutes(line)]
        assert len(kept) < len(trades)
        return [header, *(f"{first + number},{rest}" for number, rest in enumerate(kept))]

    edit(archive / f"data/futures/um/daily/trades/{B}/{B}-trades-{DAY}.zip", renumbered)
    edit(klines(archive, B), without(quiet, busy))
    ingest(server, lake, [DAY], "daily", symbols=B, feed=TRADES)
    ingest(server, lake, DAYS, "daily", symbols=B, feed=KLINES)
    build(lake)
    assert stretches(lake) == [(B, 600, 3, "no_trades"), (B, 700, 1, "archive_hole")]


@pytest.mark.requirement("D18")
def test_symbols_that_no_run_chose_and_files_that_are_late(
    archive: Path, server: WatchedServer, tmp_path: Path
) -> None:
    lake, late = tmp_path / "lake", klines(archive, E, DAYS[2])
    content = {path: path.read_bytes() for path in (late, late.with_name(f"{late.name}.CHECKSUM"))}
    for path in content:
        path.unlink()
    ingest(server, lake, DAYS, "daily", symbols=f"{B},{E}", feed=KLINES)
    list_instruments(server, lake)
    build(lake, DAYS)
    others = [(symbol, 0, 1440, "not_fetched") for symbol in (S, X)]
    assert stretches(lake) == others
    assert evidence(lake, S) == {"chosen": False}
    assert stretches(lake, DAYS[2]) == [(E, 0, 1440, "not_yet_published"), *others]
    for path, data in content.items():
        path.write_bytes(data)
    ingest(server, lake, DAYS, "daily", symbols=f"{B},{E}", feed=KLINES)
    list_instruments(server, lake)
    assert build(lake, DAYS) == [DAYS[2]]
    assert stretches(lake, DAYS[2]) == others


@pytest.mark.requirement("D18")
def test_the_order_of_runs_does_not_show_in_the_rows(archive: Path, server: WatchedServer, tmp_path: Path) -> None:
    # LTCUSDT has no file of the second day: that is late, until its third day is known.
    for path in (klines(archive, S), klines(archive, S).with_name(f"{klines(archive, S).name}.CHECKSUM")):
        path.unlink()

    def command(lake: str, *words: str) -> None:
        more = {"LAKEHOUSE_TABLES": "klines_1m", "LAKEHOUSE_BARS": "1d", "DAGSTER_HOME": str(tmp_path / f"home-{lake}")}
        environment = variables(server, tmp_path / lake) | more
        ended = subprocess.run(
            [*COMMAND, "backfill", "--market", "um", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    for table in ("klines_1m", TABLE):
        command("whole", "--table", table, "--from", DAYS[0], "--to", DAYS[2])
    assert stretches(tmp_path / "whole") == [(S, 0, 1440, "unknown")]
    for first, last in ((DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])):
        command("parts", "--table", "klines_1m", "--from", first, "--to", last)
        # Backfills of klines do not build it.
        assert (tmp_path / "parts" / "gold" / TABLE).exists() is (first == DAYS[2])
        command("parts", "--table", TABLE, "--from", first, "--to", last)
        assert stretches(tmp_path / "parts") == [(S, 0, 1440, "unknown" if first == DAYS[2] else "not_yet_published")]
    whole, parts = (digests(tmp_path / lake) for lake in ("whole", "parts"))
    assert whole == parts


@pytest.mark.requirement("D18")
def test_rest_rows_are_holes_of_the_archive_and_what_rest_does_not_have_is_lost(tmp_path: Path) -> None:
    with exchange(tmp_path, days=2) as market:
        hole, lost = range(180, 300), range(600, 610)
        truth = market.truth / klines(market.archive, B, exchange_day(1)).relative_to(market.archive)
        edit(truth, without(lost, day=exchange_day(1)))
        # Of this minute of the hole silver has no row either.
        edit(truth, bought_too_much(200))
        edit(klines(market.archive, B, exchange_day(1)), without(hole, lost, day=exchange_day(1)))
        done = run(market.settings(tmp_path / "lake"), "um", exchange_day(0), exchange_day(1))
        assert done.success, failures(done)
        build(tmp_path / "lake", [exchange_day(0), exchange_day(1)])
    assert set(read(Lakehouse(tmp_path / "lake"), "quarantine.rejected")["reason"]) == {"taker_over_volume"}
    assert stretches(tmp_path / "lake", exchange_day(1)) == [(B, 180, 120, "archive_hole"), (B, 600, 10, "lost")]
