"""mplfinance, TA-Lib, vectorbt and backtesting.py take our frames, and compute what a plain loop computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from crypto_lakehouse_tests.clients.conftest import Desk
from crypto_lakehouse_tests.clients.environments import facts

pytestmark = [pytest.mark.clients, pytest.mark.requirement("F6.18")]

ENVIRONMENT = "libraries"
FEE = 0.0005


def hours(desk: Desk) -> pd.DataFrame:
    bars: Any = desk.lake.bars(desk.symbol, "1h", market="um", index="open_time")
    assert len(bars) == (31 if desk.is_real else 5) * 24
    return bars


def crossings(close: pd.Series, start: int) -> Iterator[tuple[int, bool]]:
    """(bar, whether upwards) where the mean of 6 bars crosses that of 24; the first ``start`` bars do not count."""
    above = (close.rolling(6).mean() > close.rolling(24).mean()).tolist()
    for bar, (before, now) in enumerate(pairwise(above), start=1):
        if bar >= start and before != now:
            yield bar, now


def test_mplfinance_draws_our_klines(desk: Desk) -> None:
    code = desk.section("mplfinance").python
    found = facts(ENVIRONMENT, desk.folder, code, rows="len(candles)", last="str(candles.index[-1])")
    assert found["rows"] == 4 * 60
    assert found["last"] == ("2023-08-31 23:59:00+00:00" if desk.is_real else "2025-01-01 23:59:00+00:00")
    picture = desk.folder / "candles.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    look = """
import matplotlib.image, numpy
pixels = matplotlib.image.imread("candles.png")
ink = (pixels[:, :, :3].max(axis=2) < 0.2)
"""
    seen = facts(ENVIRONMENT, desk.folder, look, size="pixels.shape[:2]", columns="int(ink.any(axis=0).sum())")
    # Candles cover most of the width, and each has black lines.
    assert seen["size"][0] > 400
    assert seen["columns"] > 0.5 * seen["size"][1]


def test_talib_computes_from_our_columns(desk: Desk) -> None:
    code = desk.section("TA-Lib").python
    found = facts(ENVIRONMENT, desk.folder, code, rsi="bars['rsi'].tolist()", index="str(bars.index.dtype)")
    close = hours(desk)["close"].tolist()
    steps = [after - before for before, after in pairwise(close)]
    gain, loss = (sum(max(sign * step, 0) for step in steps[:14]) / 14 for sign in (1, -1))
    expected = [100 * gain / (gain + loss)]
    for step in steps[14:]:
        gain, loss = ((mean * 13 + max(sign * step, 0)) / 14 for mean, sign in ((gain, 1), (loss, -1)))
        expected.append(100 * gain / (gain + loss))
    assert found["rsi"][14:] == pytest.approx(expected, rel=1e-9)
    assert all(math.isnan(value) for value in found["rsi"][:14])
    assert found["index"] == "datetime64[us, UTC]"


def test_vectorbt_trades_on_our_closes(desk: Desk) -> None:
    code = desk.section("vectorbt").python
    # The panel that the page names: a portfolio of each symbol.
    held = """
closes = lake.panel("close", "*USDT", "1h", market="um")
held = vbt.Portfolio.from_holding(closes, init_cash=100, freq="1h").total_return()
"""
    found = facts(
        ENVIRONMENT,
        desk.folder,
        code + held,
        held="held.to_dict()",
        bars="len(portfolio.value())",
        value="float(portfolio.final_value())",
        trades="int(portfolio.trades.count())",
    )
    close = hours(desk)["close"]
    cash, coins, trades = 10_000.0, 0.0, 0
    for bar, upwards in crossings(close, 24):
        price = float(close.iloc[bar])
        if upwards and not coins:
            coins, cash, trades = cash / (price * (1 + FEE)), 0.0, trades + 1
        elif not upwards and coins:
            cash, coins = coins * price * (1 - FEE), 0.0
    assert trades > 1
    assert (found["bars"], found["trades"]) == (len(close), trades)
    assert found["value"] == pytest.approx(cash + coins * float(close.iloc[-1]), rel=1e-9)
    panel: Any = desk.lake.panel("close", "*USDT", "1h", market="um")
    assert panel.shape[1] == 2
    assert found["held"] == pytest.approx({name: panel[name].iloc[-1] / panel[name].iloc[0] - 1 for name in panel})


def test_backtesting_trades_on_our_bars(desk: Desk) -> None:
    code = desk.section("backtesting.py").python
    found = facts(
        ENVIRONMENT,
        desk.folder,
        code,
        bars="len(stats['_equity_curve'])",
        equity="float(stats['Equity Final [$]'])",
        trades="int(stats['# Trades'])",
    )
    bars = hours(desk)
    cash, entry, trades = 1_000_000.0, 0.0, 0
    # An order is filled at the open of the next bar.
    for bar, upwards in crossings(bars["close"], 24):
        if bar + 1 == len(bars):
            break
        price = float(bars["open"].iloc[bar + 1])
        if upwards and not entry:
            entry, trades = price, trades + 1
        elif not upwards and entry:
            cash, entry = cash + price - entry - FEE * (price + entry), 0.0
    if entry:
        # It closes what is open at the end as an order that is filled in the last bar.
        price = float(bars["open"].iloc[-1])
        cash += price - entry - FEE * (price + entry)
    assert trades > 1
    assert (found["bars"], found["trades"]) == (len(bars), trades)
    assert found["equity"] == pytest.approx(cash, rel=1e-9)
