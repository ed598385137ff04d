"""A second exchange, added to a copy of the package by the steps of docs/contributing.md, with an archive of its own.

Its market has the name of one of Binance's, and its table as well.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.contributing_page import (
    commands,
    copy_of_project,
    failed_checks,
    output,
    run,
    served,
)

pytestmark = [pytest.mark.requirement("F1.7", "T11")]

DAYS = ("2024-01-31", "2024-02-01")
SYMBOLS = ("BTC-USDT", "ETH-USDT")
DAMAGED = "spot/candles/OLD-USDT/2024-02/OLD-USDT_1m_20240201.csv.gz"
BINANCE_COMMAND = f"crypto-lakehouse backfill --market spot --table klines_1m --from {DAYS[0]} --to {DAYS[1]}"
SERVE, EXPORT, LIST, COMMAND, READ = commands("Add an exchange")


def candles(day: str, price: float) -> bytes:
    start = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    lines = ["start,end,open,close,high,low,volume,turnover,trades,taker_buy_volume,taker_buy_quote_volume"]
    for minute in range(1440):
        at = int((start + timedelta(minutes=minute)).timestamp()) * 1000
        lines.append(f"{at},{at + 59_999},{price},{price + 1},{price + 2},{price - 1},2.5,{2.5 * price},7,1,{price}")
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def key(symbol: str, day: str) -> str:
    return f"spot/candles/{symbol}/{day[:7]}/{symbol}_1m_{day.replace('-', '')}.csv.gz"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_project(tmp_path_factory.mktemp("copy"), "Add an exchange")
    make_sample(folder / "binance", symbols=2, days=2, start=date.fromisoformat(DAYS[0]), tables=["klines_1m"])
    for price, symbol in enumerate(SYMBOLS, 100):
        for day in DAYS:
            path = folder / "acme" / key(symbol, day)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(candles(day, price))
    damaged = folder / "acme" / DAMAGED
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(candles(DAYS[1], 5)[:-100])
    return folder


@pytest.fixture(scope="module")
def settings(copy: Path) -> Iterator[dict[str, str]]:
    with ArchiveServer(copy / "binance") as binance, served(copy, SERVE) as acme:
        yield {
            "LAKEHOUSE_ENV": "test",
            "LAKEHOUSE_LAKE_URI": str(copy / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": binance.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": binance.listing_url,
            **acme,
            "LAKEHOUSE_TABLES": "klines_1m",
            "LAKEHOUSE_RETRIES": "1",
        }


def refused(copy: Path, settings: dict[str, str], command: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    words = [sys.executable, "-m", "crypto_lakehouse", *command.split()[1:]]
    done = subprocess.run(
        words, cwd=copy, env={**kept, "COLUMNS": "200", **settings}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def names_of_definitions(copy: Path, settings: dict[str, str]) -> set[str]:
    code = """
import json
from crypto_lakehouse.definitions import build_defs
defs = build_defs().get_repository_def()
assets = ["/".join(key.path) for key in defs.asset_graph.get_all_asset_keys()]
print("names", json.dumps(assets + [one.name for one in [*defs.get_all_jobs(), *defs.sensor_defs]]))
"""
    text = output(copy, settings, [sys.executable, "-c", code])
    (line,) = [line for line in text.splitlines() if line.startswith("names ")]
    return set(json.loads(line.removeprefix("names ")))


def files(lake: Path) -> dict[str, int]:
    return {path.relative_to(lake).as_posix(): path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}


def read(copy: Path, settings: dict[str, str], exchange: str) -> pl.DataFrame:
    code = f"""
from crypto_lakehouse import Lakehouse
rows = Lakehouse().read("silver.klines_1m", exchange="{exchange}", market="spot", start="{DAYS[0]}", end="2024-02-02",
    format="polars")
rows.write_parquet("rows.parquet")
"""
    output(copy, settings, [sys.executable, "-c", code])
    return pl.read_parquet(copy / "rows.parquet")


def test_it_is_active_only_for_who_enables_it(copy: Path, settings: dict[str, str]) -> None:
    default = names_of_definitions(copy, settings)
    assert not [name for name in default if "acme" in name]
    both = names_of_definitions(copy, {**settings, "LAKEHOUSE_EXCHANGES": "binance,acme"})
    assert default < both
    new = both - default
    assert all("acme" in name for name in new)
    assert {"silver/acme/spot/klines_1m", "gold/acme/spot/continuous_1m", "update_acme_spot_daily"} <= new
    words = refused(copy, settings, COMMAND)
    assert "exchange acme is not enabled; add it to LAKEHOUSE_EXCHANGES (now: binance)" in words
    only = {**settings, "LAKEHOUSE_EXCHANGES": "binance,acme", "LAKEHOUSE_MARKETS": "acme/spot"}
    assert "market spot is not enabled" in refused(copy, only, BINANCE_COMMAND)


def test_it_is_in_the_documentation_of_the_formats(copy: Path, settings: dict[str, str]) -> None:
    output(copy, settings, [sys.executable, "-m", "crypto_lakehouse.cli.document"])
    text = (copy / "docs/api/data-formats.md").read_text(encoding="utf-8")
    assert "LAKEHOUSE_ACME_ARCHIVE_URL" in (copy / "docs/api/settings.md").read_text(encoding="utf-8")
    assert "### Market acme/spot" in text
    assert "Acme spot: `spot/{type}/{symbol}/{month}/`" in text
    assert "### Files acme candles" in text


def test_its_files_become_rows_next_to_those_of_the_other_market(copy: Path, settings: dict[str, str]) -> None:
    assert EXPORT == "export LAKEHOUSE_EXCHANGES=binance,acme"
    both = {**settings, "LAKEHOUSE_EXCHANGES": "binance,acme"}
    listed = [line.split() for line in run(copy, both, LIST).splitlines()]
    assert [*SYMBOLS[:1], *DAYS, "2", "0"] in listed
    run(copy, settings, BINANCE_COMMAND)
    binance = files(copy / "lake")
    assert not [path for path in binance if "exchange=acme" in path]
    text = run(copy, both, COMMAND)
    assert "update_acme_spot_daily: 2 partitions of acme/spot/klines_1m" in text
    new = files(copy / "lake").keys() - binance.keys()
    assert all("exchange=acme/market=spot" in path for path in new)
    assert {f"silver/klines_1m/exchange=acme/market=spot/date={day}/part-0.parquet" for day in DAYS} <= new
    assert {path: at for path, at in files(copy / "lake").items() if path in binance} == binance

    rows = read(copy, both, "acme")
    assert rows.group_by("symbol").len().sort("symbol").rows() == [(symbol, 2 * 1440) for symbol in SYMBOLS]
    first = rows.sort("symbol", "open_time").row(0, named=True)
    assert (first["open_time"], first["close_time"]) == (
        datetime(2024, 1, 31, tzinfo=UTC),
        datetime(2024, 1, 31, 0, 0, 59, 999_000, UTC),
    )
    prices = [first[name] for name in ("open", "high", "low", "close", "base_volume", "quote_volume")]
    assert prices == [100, 102, 99, 101, 2.5, 250]
    assert set(read(copy, both, "binance")["symbol"]).isdisjoint(SYMBOLS)
    assert SYMBOLS[0] in run(copy, both, READ)

    # A file without checksum that has lost its end has the listed size; its container shows the loss.
    status = json.loads(run(copy, both, "crypto-lakehouse status --table bronze.klines_1m --json"))
    (acme,) = [one for one in status if one["exchange"] == "acme"]
    assert [fault.split(":")[0] for fault in acme["quarantined"]] == [f"{DAYS[1]} OLD-USDT"]
    assert "corrupt" in acme["quarantined"][0]
    silver = "silver/acme/spot/klines_1m"
    assert failed_checks(copy, both, silver, {"schema", "primary_key"}) == ""
    assert "OLD-USDT | quarantined: corrupt" in failed_checks(copy, both, silver, {"completeness"})
    assert failed_checks(copy, both, "bronze/acme/spot/klines_1m", {"epochs"}) == ""

    stored = files(copy / "lake")
    run(copy, both, COMMAND)
    assert files(copy / "lake") == stored
