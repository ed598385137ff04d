"""freqtrade lists and loads the candles of ``export freqtrade`` with its own data handler."""

from __future__ import annotations

import re
from typing import Any

import pytest

from crypto_lakehouse_tests.clients.conftest import Desk
from crypto_lakehouse_tests.clients.environments import facts, run

pytestmark = [pytest.mark.clients, pytest.mark.requirement("F7.9")]

VALUES = {
    "dates": "[int(date.timestamp()) for date in candles['date']]",
    **{name: f"candles['{name}'].tolist()" for name in ("open", "high", "low", "close", "volume")},
}


def expected(desk: Desk, market: str, symbol: str, timeframe: str) -> dict[str, list[float]]:
    bars: Any = desk.lake.bars(symbol, timeframe, market=market, format="polars")
    assert bars.height > 2
    values = {name: bars[name].to_list() for name in ("open", "high", "low", "close")}
    return {"dates": bars["open_time"].dt.epoch("s").to_list(), **values, "volume": bars["base_volume"].to_list()}


def test_freqtrade_lists_and_loads_futures(desk: Desk) -> None:
    page = desk.section("freqtrade")
    export, listing = page.commands
    desk.shell(export)
    output = run("freqtrade", desk.folder, *listing.split())
    coin, rows = desk.symbol.removesuffix("USDT"), (31 if desk.is_real else 5) * 24
    assert re.search(rf"{coin}/USDT:USDT\W+1h\W+futures\W.* {rows} ", output), output
    assert facts("freqtrade", desk.folder, page.python, **VALUES) == expected(desk, "um", desk.symbol, "1h")


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_freqtrade_loads_spot(desk: Desk, timeframe: str) -> None:
    desk.shell(f"crypto-lakehouse export freqtrade --market spot --timeframe {timeframe} --out user_data/data/binance")
    code = f"""
from pathlib import Path
from freqtrade.data.history import load_pair_history
candles = load_pair_history("BTC/USDT", "{timeframe}", Path("user_data/data/binance"))
"""
    assert facts("freqtrade", desk.folder, code, **VALUES) == expected(desk, "spot", "BTCUSDT", timeframe)
