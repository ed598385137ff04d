"""Backfills and updates of several tables and markets in one command, and dry runs, as users run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.system.runs import WatchedServer, digests
from crypto_lakehouse_tests.system.test_cli import run

pytestmark = pytest.mark.requirement("F7.3", "F7.7")

BOTH = ("--market", "um", "--market", "spot", "--table", "klines_1m", "--table", "funding_rates")
DAYS = ("--from", "2024-12-30", "--to", "2025-01-01")


class Archive:
    """A served archive with the settings of an empty lake."""

    def __init__(self, folder: Path, server: WatchedServer) -> None:
        self.folder, self.server = folder, server
        self.settings = {
            "LAKEHOUSE_LAKE_URI": str(folder / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_MARKETS": "spot,um,cm",
        }

    def run(self, *arguments: str, code: int = 0, **settings: str) -> str:
        done = run(self.folder, *arguments, **{**self.settings, **settings})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def serve(folder: Path, start: date, days: int) -> Iterator[Archive]:
    make_sample(folder / "archive", symbols=1, days=days, start=start, tables=("klines_1m", "funding_rates"))
    with WatchedServer(folder / "archive") as server:
        yield Archive(folder, server)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """The last days of a year and the first of the next."""
    yield from serve(tmp_path, date(2024, 12, 30), 3)


@pytest.fixture
def recent(tmp_path: Path) -> Iterator[Archive]:
    """Three days, the last of which is yesterday."""
    yield from serve(tmp_path, datetime.now(UTC).date() - timedelta(days=3), 3)


def built(text: str) -> list[str]:
    """The tables of the runs, in order."""
    return re.findall(r": \d+ partitions? of binance/(\S+) in \d+ runs?", text)


def test_funding_is_built_first_and_nothing_is_built_twice(archive: Archive) -> None:
    text = archive.run("backfill", *BOTH, *DAYS)
    assert built(text) == ["um/funding_rates", "spot/klines_1m", "um/klines_1m"] or built(text) == [
        "um/funding_rates",
        "um/klines_1m",
        "spot/klines_1m",
    ]
    assert "rebuild" not in text
    assert "null" not in text
    bars = Lakehouse(archive.folder / "lake").read("gold.bars_1d", market="um", format="polars")
    assert bars["funding_count"].to_list() == [3, 3, 3]
    stored = digests(archive.folder / "lake")
    again = archive.run("backfill", *BOTH, *DAYS)
    assert built(again) == []
    assert digests(archive.folder / "lake") == stored


def test_a_dry_run_lists_what_a_run_downloads_and_builds_nothing(archive: Archive) -> None:
    text = archive.run("backfill", *BOTH, *DAYS, "--dry-run")
    assert not (archive.folder / "lake").exists()
    assert not (archive.folder / ".dagster").exists()
    assert archive.server.zips() == []
    assert "binance/um/klines_1m: 3 of 3 partitions to build: 2024-12-30 to 2025-01-01" in text
    assert "binance/um/funding_rates: 2 of 2 partitions to build: 2024-12 to 2025-01" in text
    zips = [*(archive.folder / "archive").rglob("*.zip")]
    of_um = [path for path in zips if "/um/" in str(path) and "klines" in str(path)]
    (klines,) = re.findall(r"binance/um/klines_1m: (\d+) files to download, (\S+ \S+)", text)
    assert int(klines[0]) == len(of_um)
    (total,) = re.findall(r"in all (\d+) files", text)

    archive.run("backfill", *BOTH, *DAYS)
    assert len(archive.server.zips()) == int(total)
    after = archive.run("backfill", *BOTH, *DAYS, "--dry-run")
    assert "binance/um/klines_1m: 0 of 3 partitions to build" in after
    assert "in all 0 files, 0 bytes" in after

    elsewhere = archive.folder / "elsewhere"
    away = archive.run("backfill", *BOTH, *DAYS, "--dry-run", DAGSTER_HOME=str(elsewhere))
    assert "binance/um/klines_1m: 3 of 3 partitions to build" in away
    assert "binance/um/klines_1m: 3 of them are up to date in the lake, but not in Dagster's records in" in away
    assert f"DAGSTER_HOME={elsewhere}: runs keep their rows, and only record them" in away
    assert not elsewhere.exists()


def test_an_update_continues_each_table_to_yesterday(recent: Archive) -> None:
    today = datetime.now(UTC).date()
    nothing = recent.run("update", code=1)
    assert f"there is no lake at {recent.folder / 'lake'}" in nothing
    assert "skipped" not in nothing

    before = str(today - timedelta(days=2))
    first = recent.run(
        "backfill", "--market", "um", "--market", "spot", "--table", "klines_1m", "--days", "2", "--to", before
    )
    assert first.count("2 partitions of binance/") == 2
    waiting = recent.run("update", "--dry-run")
    assert f"binance/um/klines_1m: 1 of 2 partitions to build: {today - timedelta(days=1)}" in waiting
    text = recent.run("update")
    assert {"um/klines_1m", "spot/klines_1m"} <= set(built(text))
    assert text.count("1 partition of binance/um/klines_1m in 1 run") == 1
    assert "skipped silver.klines_1m of binance/cm: nothing is stored" in text
    assert "to leave out the markets of which nothing is stored, set LAKEHOUSE_MARKETS=spot,um" in text
    commands = [parsed(command) for command in recommended(text) if " backfill " in command]
    assert {command["market"] for command in commands} >= {"cm"}
    assert "to leave out the markets of which nothing is stored, set LAKEHOUSE_MARKETS=spot,um" in text
    commands = [parsed(command) for command in recommended(text) if " backfill " in command]
    assert {command["market"] for command in commands} >= {"cm"}
    listed = Lakehouse(recent.folder / "lake").tables().filter(layer="gold", table="bars_1h")
    assert listed["last"].to_list() == [str(today - timedelta(days=1))] * 2
    assert built(recent.run("update", "--market", "um", "--table", "klines_1m")) == []


def test_a_market_without_any_symbol_of_the_settings_is_skipped(archive: Archive) -> None:
    markets = ("--market", "um", "--market", "cm", "--table", "klines_1m", "--table", "funding_rates")
    text = archive.run("backfill", *markets, *DAYS, "--dry-run", LAKEHOUSE_SYMBOLS="BTCUSDT")
    assert "skipped binance/cm/klines_1m: LAKEHOUSE_SYMBOLS=BTCUSDT selects none of its symbols" in text
    assert "binance/um/klines_1m: 3 of 3 partitions to build" in text
    assert "binance/um/funding_rates: 2 of 2 partitions to build" in text
    assert "binance/cm/" not in text.replace("skipped binance/cm/klines_1m", "")
    nothing = archive.run("backfill", *markets, *DAYS, code=2, LAKEHOUSE_SYMBOLS="XRP*")
    assert "error: LAKEHOUSE_SYMBOLS=XRP* selects no symbol of any of these tables" in nothing
    assert not (archive.folder / "lake").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("backfill", "--market", "um", "--table", "klines_1m"),
            "choose where the range starts: --from 2024-01-01, or",
        ),
        (
            ("backfill", "--market", "um", "--table", "klines_1m", "--days", "3", "--from", "2024-01-01"),
            "leave out one",
        ),
        (("backfill", "--market", "um", "--table", "klines_1m", "--days", "0"), "use 1 or more"),
        (("update", "--table", "bars_1h"), "no table 'bars_1h' in what the settings enable"),
        (("update", "--market", "umm"), "did you mean um"),
    ],
)
def test_wrong_usage_is_explained(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
