"""Completion from the exchange's REST API: what the archive does not have is requested, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.sample.api_server import ApiCall
from crypto_lakehouse_tests.system.exchange import Exchange, day, exchange, silver_of, without_source
from crypto_lakehouse_tests.system.runs import digests, failures, run, variables
from crypto_lakehouse_tests.system.test_cli import UM
from crypto_lakehouse_tests.system.test_cli import run as cli

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.15")]

SYMBOLS = {"spot": "BTCUSDT", "um": "BTCUSDT", "cm": "BTCUSD_PERP"}
SECOND = {"spot": "ETHUSDT", "um": "ETHUSDT", "cm": "ETHUSD_PERP"}
HOURS = slice(180, 300)


def truth(market: Exchange, folder: Path, name: str) -> pl.DataFrame:
    """The silver rows of a lake that is built from all files."""
    for path in market.truth.rglob("*.zip*"):
        copy = market.archive / path.relative_to(market.truth)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            copy.write_bytes(path.read_bytes())
    done = run(market.settings(folder / "true", completion=False), name, day(0), day(3))
    assert done.success, failures(done)
    return silver_of(folder / "true", name)


@pytest.mark.parametrize("name", ["um", "spot", "cm"])
def test_missing_days_hours_and_the_newest_day_are_filled_with_what_the_exchange_has(name: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name]) as market:
        market.remove(name, SYMBOLS[name], 1)
        market.edit(name, SECOND[name], 1, lambda lines: [*lines[: HOURS.start], *lines[HOURS.stop :]])
        market.remove(name, SYMBOLS[name], 3)
        market.remove(name, SECOND[name], 3)
        done = run(market.settings(tmp_path / "lake"), name, day(0), day(3))
        assert done.success, failures(done)
        silver = silver_of(tmp_path / "lake", name)
        expected = truth(market, tmp_path, name)
    assert without_source(silver).equals(without_source(expected))
    rest = silver.filter(pl.col("source") == "rest")
    assert Counter(rest["symbol"]) == {SYMBOLS[name]: 2 * 1440, SECOND[name]: 120 + 1440}
    asked = [call for call in market.api.calls if call.path.endswith("klines")]
    assert {call.status for call in asked} == {200}


def test_the_command_completes_and_says_afterwards_that_all_is_up_to_date(tmp_path: Path) -> None:
    with exchange(tmp_path) as market:
        market.remove("um", "BTCUSDT", 1)
        urls = dict.fromkeys(("spot", "um", "cm"), market.api.url)
        own = {
            "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": market.files.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": market.files.listing_url,
            "LAKEHOUSE_REST_URLS": ",".join(f"{role}={url}" for role, url in urls.items()),
            "LAKEHOUSE_REST_SHARE": "1",
        }
        command = (*UM, "klines_1m", "--from", day(0), "--to", day(3))
        plain = cli(tmp_path, *command, **own)
        assert plain.returncode == 0, plain.stdout + plain.stderr
        assert not market.api.calls
        silver = digests(tmp_path / "lake")
        # Only the day that is not complete is built again.
        own["LAKEHOUSE_COMPLETION"] = "true"
        done = cli(tmp_path, *command, **own)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "bronze.klines_1m_rest 1,440" in done.stdout
        assert "every bronze partition of binance/um/klines_1m is empty" not in done.stdout
        now = digests(tmp_path / "lake")
        assert any(path.startswith("bronze/klines_1m_rest/") for path in now)
        assert {path for path in silver if path.startswith("silver/klines_1m") and now[path] != silver[path]} == {
            path for path in silver if path.startswith("silver/klines_1m") and day(1) in path
        }
        calls = len(market.api.calls)
        again = cli(tmp_path, *command, **own)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "binance/um/klines_1m: 4 partitions are up to date" in again.stdout
        assert len(market.api.calls) == calls
    assert set(silver_of(tmp_path / "lake", "um")["source"]) == {"archive_daily", "rest"}


def test_a_killed_run_repeats_few_requests(tmp_path: Path) -> None:
    with exchange(tmp_path, symbols=12) as market:
        for path in market.archive.rglob(f"*-{day(1)}.zip*"):
            path.unlink()
        for path in market.archive.rglob(f"*-{day(2)}.zip*"):
            path.unlink()
        environment = {
            **variables(market.files, tmp_path / "killed"),
            "LAKEHOUSE_COMPLETION": "true",
            "LAKEHOUSE_TABLES": "klines_1m",
            "LAKEHOUSE_REST_URLS": ",".join(f"{role}={market.api.url}" for role in ("spot", "um", "cm")),
            "LAKEHOUSE_REST_SHARE": "1",
        }
        command = [sys.executable, "-m", "crypto_lakehouse_tests.system.runs", "um", day(0), day(3)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None and len(_klines(market)) < 30:
                time.sleep(0.001)
        finally:
            process.kill()
            process.wait()
        before = len(_klines(market))
        done = run(market.settings(tmp_path / "killed"), "um", day(0), day(3))
        assert done.success, failures(done)
        of_both = len(_klines(market))
        whole = run(market.settings(tmp_path / "whole"), "um", day(0), day(3))
        assert whole.success, failures(whole)
        of_one = len(_klines(market)) - of_both
    assert before < of_one < of_both <= of_one + 64 + 16
    assert silver_of(tmp_path / "killed", "um").equals(silver_of(tmp_path / "whole", "um"))


def _klines(market: Exchange) -> list[ApiCall]:
    return [call for call in market.api.calls if call.path.endswith("klines")]
