"""Daily and monthly files as two witnesses, on a sample with injected faults and on real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.witnesses import Witnesses
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.exchange import day as exchange_day
from crypto_lakehouse_tests.system.exchange import exchange
from crypto_lakehouse_tests.system.monthly import UM, daily_file, edit, ingest, monthly_file
from crypto_lakehouse_tests.system.realdata import ARCHIVE, needs_real_archive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, failures, read, run, variables

START, END = date(2024, 1, 30), date(2024, 3, 2)
DAYS = partition_keys(START, END, Cadence.DAILY)
B, E = "BTCUSDT", "ETHUSDT"
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]


def compare(
    server: WatchedServer, lake: Path, keys: Sequence[str] = DAYS, symbols: str = "", feed: Feed = UM, **more: Any
) -> list[str]:
    """Do the steps of a run; return the days that were written."""
    store = LakeStore.open(str(lake))
    source = BinanceArchive(server.url, server.listing_url, attempts=1)
    raw, wanted = RawStore(store, "binance", keep=True), SymbolFilter.parse(symbols)
    written = []
    for day in Witnesses(feed.market, [feed], source, store, raw, wanted, **more).days(keys):
        if day.unchanged is None:
            written.append(day.key)
            partition = TableSlice.of_market("gold", feed.market, "witnesses").partition(day.key)
            write_partition(store, partition, day.rows, day.provenance)
    return written


def witnesses(lake: Path) -> pl.DataFrame:
    return read(Lakehouse(lake), "gold.witnesses")


def verdicts(lake: Path) -> dict[tuple[str, str], str]:
    """The verdicts other than ``agree``, by symbol and day."""
    rows = witnesses(lake).filter(pl.col("verdict") != "agree")
    return {(symbol, f"{day:%Y-%m-%d}"): text for symbol, day, text in rows.select("symbol", "day", "verdict").rows()}


def hour(day: str, number: int) -> str:
    """The first field of a line of the CSV."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC, hour=number)
    return f"{int(at.timestamp()) * 1000}"


def without(start: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line for line in lines if not line.startswith(start)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    make_sample(tmp_path / "archive", 2, (END - START).days, START, tables=["klines_1h"], markets=["um"], monthly=True)
    return tmp_path / "archive"


@pytest.fixture
def server(archive: Path) -> Iterator[WatchedServer]:
    with WatchedServer(archive) as running:
        yield running


@pytest.mark.requirement("D17")
def test_each_injected_difference_has_its_verdict(archive: Path, server: WatchedServer, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    edit(monthly_file(archive, B, "2024-02"), without(hour("2024-02-03", 7)))
    edit(daily_file(archive, B, "2024-02-05"), without(hour("2024-02-05", 9)))

    def changed(lines: list[str]) -> list[str]:
        fields = [line.split(",") for line in lines]
        for row in fields:
            if row[0] == hour("2024-02-10", 4):
                row[5] = f"{float(row[5]) * 2:.8f}"
        return [",".join(row) for row in fields]

    edit(monthly_file(archive, E, "2024-02"), changed)
    for name in ("", ".CHECKSUM"):
        path = daily_file(archive, E, "2024-02-12")
        path.with_name(path.name + name).unlink()
    edit(
        monthly_file(archive, E, "2024-01"),
        lambda lines: [line for line in lines if line[0] != "1" or line[:13] < hour("2024-01-31", 0)],
    )
    daily_file(archive, B, "2024-02-20").write_bytes(b"not a zip")

    compare(server, lake)
    assert verdicts(lake) == {
        (B, "2024-02-03"): "monthly_short",
        (B, "2024-02-05"): "daily_short",
        (B, "2024-02-20"): "only_monthly",
        (E, "2024-01-31"): "only_daily",
        (E, "2024-02-10"): "values_differ",
        (E, "2024-02-12"): "only_monthly",
        **{(symbol, "2024-03-01"): "only_daily" for symbol in (B, E)},
    }
    rows = {(row["symbol"], f"{row['day']:%m-%d}"): row for row in witnesses(lake).iter_rows(named=True)}
    wrong = rows[E, "02-10"]
    assert (wrong["monthly_different_rows"], wrong["monthly_column"]) == (1, "base_volume")
    # v against 2 v: v / (2 v).
    assert wrong["monthly_largest"] == pytest.approx(0.5)
    assert wrong["monthly_time"] == datetime(2024, 2, 10, 4, tzinfo=UTC)
    short = rows[B, "02-03"]
    assert (short["daily_rows"], short["monthly_rows"], short["missing_in_monthly"]) == (24, 23, 1)
    assert rows[B, "02-20"]["detail"].startswith("daily file: checksum_mismatch")
    assert rows[B, "02-20"]["daily_etag"] is None
    assert (rows[E, "03-01"]["monthly_rows"], rows[E, "03-01"]["monthly_sha256"]) == (None, None)
    # Bronze, silver and the ledger are as before: there are none.
    assert {path.name for path in lake.iterdir()} == {"gold", "raw"}


@pytest.mark.requirement("D17")
def test_runs_in_any_order_give_the_same_rows_and_fetch_only_what_changed(
    archive: Path, server: WatchedServer, tmp_path: Path
) -> None:
    compare(server, tmp_path / "whole")
    compare(server, tmp_path / "parts", DAYS[3:], E)
    compare(server, tmp_path / "parts", DAYS, B)
    compare(server, tmp_path / "parts", DAYS[:10])
    compare(server, tmp_path / "parts")
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    server.requests.clear()
    assert compare(server, tmp_path / "whole") == []
    assert server.requests == []
    edit(daily_file(archive, B, "2024-02-05"), without(hour("2024-02-05", 9)))
    assert compare(server, tmp_path / "whole") == ["2024-02-05"]
    assert verdicts(tmp_path / "whole")[B, "2024-02-05"] == "daily_short"
    assert not [path for path in server.zips() if E in path]


@pytest.mark.requirement("D17")
def test_bars_rebuilt_from_trades_are_another_witness(tmp_path: Path) -> None:
    feeds = [FEEDS["binance", "um", name] for name in ("klines_1m", "trades")]
    archive, lake, keys = tmp_path / "archive", tmp_path / "lake", ["2024-01-30", "2024-01-31"]
    make_sample(archive, 1, 2, START, tables=[feed.table for feed in feeds], markets=["um"], monthly=True)
    with WatchedServer(archive) as server:
        compare(server, lake, keys, feed=feeds[0])
        assert witnesses(lake)["trades_rows"].to_list() == [None, None]
        ingest(server, lake, keys[:1], "daily", feed=feeds[1])
        assert compare(server, lake, keys, feed=feeds[0]) == keys[:1]
    first, second = witnesses(lake).iter_rows(named=True)
    assert (first["trades_table"], first["trades_different_rows"], first["trades_missing"]) == ("trades", 0, 0)
    assert first["trades_rows"] > 0
    assert second["trades_rows"] is None


@pytest.mark.requirement("D17")
def test_rest_answers_are_another_witness(tmp_path: Path) -> None:
    lake, keys, minutes = tmp_path / "lake", [exchange_day(0), exchange_day(1)], FEEDS["binance", "um", "klines_1m"]
    with exchange(tmp_path, days=2) as market:
        market.remove("um", B, 1)
        done = run(market.settings(lake), "um", *keys)
        assert done.success, failures(done)
        market.restore("um", B, 1)

        def changed(lines: list[bytes]) -> list[bytes]:
            fields = [line.split(b",") for line in lines]
            fields[5][8] = b"%d" % (int(fields[5][8]) * 2)
            return [b",".join(line) for line in fields[:-1]]

        market.edit("um", B, 1, changed)
        compare(market.files, lake, keys, feed=minutes)
        first, second = witnesses(lake).filter(symbol=B).iter_rows(named=True)
        assert first["rest_rows"] is None
        # The last of 1,440 rows is only in REST; a count of trades is twice that of REST: (2 n - n) / (2 n).
        assert (second["rest_rows"], second["rest_only"], second["rest_different_rows"]) == (1440, 1, 1)
        assert (second["rest_column"], second["rest_largest"]) == ("trade_count", 0.5)
        assert second["rest_time"].strftime("%Y-%m-%d %H:%M") == f"{keys[1]} 00:05"
        assert compare(market.files, lake, keys, feed=minutes) == []


@needs_real_archive
@pytest.mark.requirement("D17", "D8")
def test_the_command_compares_two_real_months(tmp_path: Path) -> None:
    kind = Path("data/futures/um/monthly/klines/FILUSDT/1m")
    archive = tmp_path / "archive"
    for path in (ARCHIVE / "data/futures/um").glob("*/klines/FILUSDT/1m/*"):
        copy = archive / path.relative_to(ARCHIVE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with WatchedServer(archive) as server:
        more = {"LAKEHOUSE_TABLES": "klines_1m", "DAGSTER_HOME": str(tmp_path / "home")}

        def command() -> str:
            words = ["compare", "--market", "um", "--symbols", "FILUSDT", "--from", "2023-08", "--to", "2023-09"]
            environment = variables(server, tmp_path / "lake") | more
            ended = subprocess.run(
                [*COMMAND, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        assert "61 days of 1 symbol: agree 61" in command()
        changed = 0

        def one_row(lines: list[str]) -> Iterator[str]:
            nonlocal changed
            for line in lines:
                fields = line.split(",")
                if fields[0] == hour("2023-09-10", 12):
                    changed += 1
                    fields[2] = f"{float(fields[2]) * 1.25:.3f}"
                yield ",".join(fields)

        edit(archive / kind / "FILUSDT-1m-2023-09.zip", one_row)
        assert changed == 1
        text = command()
    assert "61 days of 1 symbol: agree 60, values_differ 1" in text
    assert verdicts(tmp_path / "lake") == {("FILUSDT", "2023-09-10"): "values_differ"}
    (wrong,) = witnesses(tmp_path / "lake").filter(pl.col("verdict") == "values_differ").iter_rows(named=True)
    # 1.25 h against h: 0.25 / 1.25.
    assert wrong["monthly_largest"] == pytest.approx(0.2, abs=1e-3)
    assert wrong["monthly_column"] == "high"
