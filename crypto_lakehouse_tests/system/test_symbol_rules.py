"""Settings that choose symbols by the facts in their names, through real runs, the reconciliation and a dry run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.reconcile import compare
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.monthly import put, text_of
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, failures, read, run, settings, variables

pytestmark = pytest.mark.requirement("F1.8")

FIRST, LAST = "2024-01-01", "2024-01-02"
HOURS = FEEDS["binance", "spot", "klines_1h"]
NAMES = ("BTCUPUSDT", "BTCTRY", "USDCUSDT", "JUPUSDT")
COMMAND = [sys.executable, "-c", "from crypto_lakehouse.cli import app; app()"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    """An archive with BTCUSDT under four more names."""
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, 1, 2, date(2024, 1, 1), tables=["klines_1h"], markets=["spot"])
    for path in list(folder.rglob("BTCUSDT-1h-*.zip")):
        for name in NAMES:
            put(folder / f"data/spot/daily/klines/{name}/1h/{path.name.replace('BTCUSDT', name)}", text_of(path))
    with WatchedServer(folder) as running:
        yield running


def fill(server: WatchedServer, lake: Path, **more: Any) -> None:
    done = run(settings(server, lake, tables="klines_1h", markets="spot", **more), "spot", FIRST, LAST)
    assert done.success, failures(done)


def symbols(lake: Path) -> list[str]:
    return read(Lakehouse(lake), "silver.klines_1h")["symbol"].unique().sort().to_list()


def test_runs_with_different_rules_give_the_same_lake_in_any_order(server: WatchedServer, tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"quotes": "USDT", "leveraged_tokens": False, "stable_pairs": False},
        {"quotes": "TRY"},
        {"quotes": "TRY", "symbols": "BTCUPUSDT"},
    ]
    fill(server, tmp_path / "one", **rules[0])
    assert symbols(tmp_path / "one") == ["BTCUSDT", "JUPUSDT"]
    for lake, order in (("there", rules), ("back", rules[::-1])):
        for each in order:
            fill(server, tmp_path / lake, **each)
        assert symbols(tmp_path / lake) == ["BTCTRY", "BTCUPUSDT", "BTCUSDT", "JUPUSDT"]
    there, back = (
        {path: digest for path, digest in digests(tmp_path / lake).items() if path.startswith(("bronze", "silver"))}
        for lake in ("there", "back")
    )
    assert there == back
    stored = stored_partition(
        LakeStore.open(str(tmp_path / "there")), TableSlice.of_feed("silver", HOURS).partition(FIRST)
    )
    assert stored is not None
    assert stored.provenance.facts["chosen_symbols"] == [
        "*,?binance/spot:quotes=TRY",
        "*,?binance/spot:quotes=USDT:stable_pairs=no:leveraged_tokens=no",
        "BTCUPUSDT",
    ]


def test_the_comparison_with_the_archive_and_a_dry_run_choose_the_same_symbols(
    server: WatchedServer, tmp_path: Path
) -> None:
    rules = {"quotes": "USDT", "leveraged_tokens": False}
    fill(server, tmp_path / "lake", quotes="TRY")
    chosen = settings(server, tmp_path / "lake", tables="klines_1h", **rules).symbols_of(HOURS.market)
    source = BinanceArchive(server.url, server.listing_url, attempts=1)
    store = LakeStore.open(str(tmp_path / "lake"))
    different = compare(HOURS, source, store, chosen, date(2024, 1, 1), date(2024, 1, 2))
    assert [each.symbol for each in different] == ["BTCUSDT", "JUPUSDT", "USDCUSDT"]
    more = {"LAKEHOUSE_TABLES": "klines_1h", "LAKEHOUSE_QUOTES": "USDT", "LAKEHOUSE_LEVERAGED_TOKENS": "no"}
    environment = variables(server, tmp_path / "lake") | more | {"DAGSTER_HOME": str(tmp_path / "home")}
    words = ["backfill", "--market", "spot", "--table", "klines_1h", "--from", FIRST, "--to", LAST, "--dry-run"]

    def command(*arguments: str, code: int = 0) -> str:
        ended = subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    assert "6 files to download" in command(*words)
    assert "2 files to download" in command(*words, "--symbols", "BTCUPUSDT")
    assert "symbols that runs build: LAKEHOUSE_QUOTES=USDT LAKEHOUSE_LEVERAGED_TOKENS=False" in command("status")
    assert "the archive has no symbol JUPUSD" in command(*words, "--symbols", "JUPUSD", code=2)
    environment["LAKEHOUSE_QUOTES"] = "EUR"
    assert "quotes=EUR, leveraged_tokens=no selects no symbol of binance/spot/klines_1h" in command(*words, code=2)
