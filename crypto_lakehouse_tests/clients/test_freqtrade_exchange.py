"""freqtrade downloads from the exchange-compatible endpoints and runs a backtest on them, without the internet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.clients.environments import facts, run
from crypto_lakehouse_tests.clients.page import PAGE
from crypto_lakehouse_tests.system.exchange_lake import build_exchange_lake
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.clients, pytest.mark.requirement("F9.4")]

RANGE = "20241230-20250102"
START, END = datetime(2024, 12, 30, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
STRATEGY = """
from freqtrade.strategy import IStrategy

class Cross(IStrategy):
    timeframe = "5m"
    minimal_roi = {"0": 0.01}
    stoploss = -0.05
    startup_candle_count = 20

    def populate_indicators(self, frame, metadata):
        return frame.assign(fast=frame["close"].rolling(5).mean(), slow=frame["close"].rolling(20).mean())

    def populate_entry_trend(self, frame, metadata):
        frame.loc[frame["fast"] > frame["slow"], "enter_long"] = 1
        return frame

    def populate_exit_trend(self, frame, metadata):
        frame.loc[frame["fast"] < frame["slow"], "exit_long"] = 1
        return frame
"""
# Every other address is refused, and looking one up fails.
OFFLINE = """
import sys

def only_here(event, values):
    host = values[0] if event == "socket.getaddrinfo" else None
    if event == "socket.connect" and isinstance(values[1], tuple):
        host = values[1][0]
    if host not in (None, "127.0.0.1", "localhost"):
        raise OSError(f"the test is offline: {host}")

sys.addaudithook(only_here)
from freqtrade.main import main
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("freqtrade")
    build_exchange_lake(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with Served(folder / "lake", folder / "server", "--binance") as running:
        yield running


def exchange_of_the_page(server: Served) -> dict[str, Any]:
    page = (PAGE.parents[1] / "api" / "exchange-compatible.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "http://127.0.0.1:8000" in text
    return dict(json.loads(text.replace("http://127.0.0.1:8000", server.url)))


@pytest.mark.parametrize("mode", ["spot", "futures"])
def test_freqtrade_downloads_and_backtests_without_the_internet(server: Served, folder: Path, mode: str) -> None:
    pair, market = ("BTC/USDT:USDT", "um") if mode == "futures" else ("BTC/USDT", "spot")
    home = folder / mode
    (home / "strategies").mkdir(parents=True)
    (home / "strategies" / "cross.py").write_text(STRATEGY, encoding="utf-8")
    config = {
        **exchange_of_the_page(server),
        "trading_mode": mode,
        "margin_mode": "isolated" if mode == "futures" else "",
        "stake_currency": "USDT",
        "stake_amount": 100,
        "dry_run": True,
        "max_open_trades": 1,
        "entry_pricing": {"price_side": "other", "use_order_book": True},
        "exit_pricing": {"price_side": "other", "use_order_book": True},
        "pairlists": [{"method": "StaticPairList"}],
    }
    config["exchange"]["pair_whitelist"] = [pair]
    (home / "config.json").write_text(json.dumps(config), encoding="utf-8")
    common = ["--config", "config.json", "--userdir", ".", "--datadir", "data", "--timerange", RANGE]
    download = ["download-data", "--timeframes", "5m", "1h", *common]
    run("freqtrade", home, "python", "-c", f"{OFFLINE}\nmain({download!r})")
    code = f"""
from pathlib import Path
from freqtrade.data.history import load_pair_history
from freqtrade.enums import CandleType
kind = CandleType.get_default({mode!r})
candles = load_pair_history({pair!r}, "5m", Path("data"), fill_up_missing=False, candle_type=kind)
"""
    names = ("open", "high", "low", "close", "volume")
    values = {name: f"candles['{name}'].tolist()" for name in names}
    found = facts("freqtrade", home, code, dates="[int(date.timestamp()) for date in candles['date']]", **values)
    bars: Any = Lakehouse(folder / "lake").bars("BTCUSDT", "5m", market=market, start=START, end=END, format="polars")
    # freqtrade drops the last candle that it downloads, which could be forming.
    traded = pl.DataFrame(bars).filter(pl.col("n_filled") < pl.col("n_minutes")).rename({"base_volume": "volume"})[:-1]
    assert traded.height > 800
    assert found.pop("dates") == traded["open_time"].dt.epoch("s").to_list()
    assert found == {name: traded[name].to_list() for name in names}
    backtest = ["backtesting", "--strategy", "Cross", "--cache", "none", *common]
    output = run("freqtrade", home, "python", "-c", f"{OFFLINE}\nmain({backtest!r})")
    trades = re.search(r"\bCross\W+(\d+) ", output.rpartition("STRATEGY SUMMARY")[2])
    assert trades is not None, output
    assert int(trades[1]) > 10
