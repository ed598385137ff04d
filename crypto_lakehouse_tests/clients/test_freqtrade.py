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


# There are no real files of mark prices.
@pytest.mark.parametrize("desk", ["sample"], indirect=True)
def test_freqtrade_loads_funding_rates_and_mark_prices_and_joins_them(desk: Desk) -> None:
    desk.shell(desk.section("freqtrade").commands[0])
    code = """
from pathlib import Path
from freqtrade.data.history import load_pair_history
from freqtrade.enums import CandleType
from freqtrade.exchange import Exchange

folder = Path("user_data/data/binance")
load = lambda kind: load_pair_history("BTC/USDT:USDT", "1h", folder, candle_type=kind, fill_up_missing=False)
rates, marks = load(CandleType.FUNDING_RATE), load(CandleType.MARK)
joined = Exchange.combine_funding_and_mark(rates, marks)
"""
    values = {
        "dates": "[int(date.timestamp()) for date in joined['date']]",
        "rates": "joined['open_fund'].tolist()",
        "marks": "joined['open_mark'].tolist()",
    }
    found = facts("freqtrade", desk.folder, code, **values, hours="len(marks)")
    rates: Any = desk.lake.funding("BTCUSDT", market="um", start="2024-12-28", end="2025-01-02", format="polars")
    marks: Any = desk.lake.read("silver.mark_klines_1m", market="um", symbols="BTCUSDT", format="polars")
    opens = dict(zip(marks["open_time"], marks["open"], strict=True))
    assert found == {
        "dates": rates["funding_hour"].dt.epoch("s").to_list(),
        "rates": rates["funding_rate"].to_list(),
        "marks": [opens[hour] for hour in rates["funding_hour"]],
        "hours": 5 * 24,
    }
    assert len(found["dates"]) == 5 * 3


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_freqtrade_loads_spot(desk: Desk, timeframe: str) -> None:
    desk.shell(f"crypto-lakehouse export freqtrade --market spot --timeframe {timeframe} --out user_data/data/binance")
    code = f"""
from pathlib import Path
from freqtrade.data.history import load_pair_history
candles = load_pair_history("BTC/USDT", "{timeframe}", Path("user_data/data/binance"))
"""
    assert facts("freqtrade", desk.folder, code, **VALUES) == expected(desk, "spot", "BTCUSDT", timeframe)
