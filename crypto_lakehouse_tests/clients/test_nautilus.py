"""nautilus_trader opens the catalog of ``export nautilus``, and runs a backtest on it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crypto_lakehouse_tests.clients.conftest import Desk
from crypto_lakehouse_tests.clients.environments import facts
from crypto_lakehouse_tests.system.realdata import csv_rows, klines_key

pytestmark = [pytest.mark.clients, pytest.mark.requirement("F7.9")]

ENVIRONMENT = "nautilus_trader"
PRICES = ("open", "high", "low", "close")
BARS = "[[str(bar.open), str(bar.high), str(bar.low), str(bar.close), str(bar.volume), bar.ts_event] for bar in bars]"
INSTRUMENTS = "{i.id.value: [i.price_precision, i.size_precision, str(i.taker_fee)] for i in instruments}"
BACKTEST = """
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.strategy import Strategy

class BuyAndHold(Strategy):
    seen = 0

    def on_start(self):
        self.subscribe_bars(bars[0].bar_type)

    def on_bar(self, bar):
        self.seen += 1
        if self.seen == 1:
            instrument = self.cache.instrument(bar.bar_type.instrument_id)
            order = self.order_factory.market(instrument.id, OrderSide.BUY, instrument.make_qty(1))
            self.submit_order(order)

engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
venue = Venue("BINANCE")
engine.add_venue(venue, OmsType.NETTING, AccountType.MARGIN, starting_balances=[Money(1_000_000, USDT)])
for instrument in instruments:
    engine.add_instrument(instrument)
engine.add_data(bars)
strategy = BuyAndHold()
engine.add_strategy(strategy)
engine.run()
fills = engine.cache.orders()
balance = engine.cache.account_for_venue(venue).balance_total(USDT).as_decimal()
"""


def test_nautilus_trader_opens_the_catalog_and_reads_the_bars_and_instruments(desk: Desk) -> None:
    page = desk.section("nautilus_trader")
    desk.shell(page.commands[0])
    found = facts(ENVIRONMENT, desk.folder, page.python, bars=BARS, instruments=INSTRUMENTS)
    bars: Any = desk.lake.bars(desk.symbol, "1h", market="um", format="polars")
    id = f"{desk.symbol}-PERP.BINANCE"
    price, size, fee = found["instruments"][id]
    assert (price, size) == ((3, 1) if desk.is_real else (1, 3))
    assert fee == "0.0005"
    assert len(found["instruments"]) == 2
    ends = (bars["open_time"] + timedelta(hours=1)).dt.epoch("ns").to_list()
    assert [bar[5] for bar in found["bars"]] == ends
    for number, name in enumerate(PRICES):
        assert [Decimal(bar[number]) for bar in found["bars"]] == [Decimal(repr(value)) for value in bars[name]]
    volumes = [round(Decimal(repr(value)), size) for value in bars["base_volume"]]
    assert [Decimal(bar[4]) for bar in found["bars"]] == volumes


def test_nautilus_trader_runs_a_backtest_on_the_catalog(desk: Desk) -> None:
    page = desk.section("nautilus_trader")
    desk.shell(page.commands[0])
    found = facts(
        ENVIRONMENT,
        desk.folder,
        page.python + BACKTEST,
        seen="strategy.seen",
        fills="[str(order.avg_px) for order in fills]",
        balance="str(balance)",
    )
    bars: Any = desk.lake.bars(desk.symbol, "1h", market="um", format="polars")
    assert found["seen"] == bars.height
    # The order is filled at the close of the bar that has just ended, and the fee is that of the export.
    assert [float(price) for price in found["fills"]] == [bars["close"][0]]
    assert float(found["balance"]) == pytest.approx(1_000_000 - 0.0005 * bars["close"][0], abs=1e-6)


@pytest.mark.parametrize("desk", ["real"], indirect=True)
def test_minutes_have_the_digits_of_the_files_of_the_archive(desk: Desk) -> None:
    desk.shell("crypto-lakehouse export nautilus --market spot --timeframe 1m --out minutes")
    code = desk.section("nautilus_trader").python.replace('"catalog"', '"minutes"')
    code = code.replace("FILUSDT-PERP.BINANCE-1-HOUR", "BTCUSDT.BINANCE-1-MINUTE")
    found = facts(ENVIRONMENT, desk.folder, code, bars=BARS)["bars"]
    days = ("2020-01-01", "2020-01-02", "2020-01-03")
    rows = [row for day in days for row in csv_rows(klines_key("spot", "BTCUSDT", day))]
    assert len(found) == len(rows) == 3 * 1440
    for bar, row in zip(found, rows, strict=True):
        assert [Decimal(text) for text in bar[:5]] == [Decimal(text) for text in row[1:6]]
        assert bar[5] == (int(row[0]) + 60_000) * 1_000_000
