"""ccxt and the official connectors read the exchange-compatible endpoints of a server: exactly the lake's rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.clients.environments import facts
from crypto_lakehouse_tests.clients.page import PAGE
from crypto_lakehouse_tests.system.exchange_lake import build_exchange_lake
from crypto_lakehouse_tests.system.served import Served

pytestmark = [pytest.mark.clients, pytest.mark.requirement("F9.4")]

ENVIRONMENT = "exchange"
START, END = datetime(2024, 12, 30, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
SINCE = round(START.timestamp() * 1000)
MARKETS = {"spot": ("BTC/USDT", "BTCUSDT"), "um": ("BTC/USDT:USDT", "BTCUSDT"), "cm": ("BTC/USD:BTC", "BTCUSD_PERP")}
PRICES = ("open", "high", "low", "close")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    build_exchange_lake(folder)
    return folder


@pytest.fixture(scope="module")
def lake(folder: Path) -> Lakehouse:
    return Lakehouse(folder / "lake")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with Served(folder / "lake", folder / "server", "--binance") as running:
        yield running


@pytest.fixture
def snippet(server: Served) -> str:
    """The Python of the page, at the server of the test."""
    page = (PAGE.parents[1] / "api" / "exchange-compatible.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "http://127.0.0.1:8000" in code
    return str(code).replace("http://127.0.0.1:8000", server.url)


def klines(lake: Lakehouse, market: str, interval: str) -> pl.DataFrame:
    symbol = MARKETS[market][1]
    if interval == "1m":
        rows = lake.read("silver.klines_1m", market=market, symbols=[symbol], start=START, end=END, format="polars")
    else:
        rows = lake.bars(symbol, interval, market=market, start=START, end=END, format="polars")
        # The exchange has no bar of a time without trades, such as the halt of spot in the sample.
        rows = pl.DataFrame(rows).filter(pl.col("n_filled") < pl.col("n_minutes"))
    return pl.DataFrame(rows)


def milliseconds(times: pl.Series) -> list[int]:
    return (times.dt.epoch("us") // 1000).to_list()


def candles(rows: pl.DataFrame, volume: str = "base_volume") -> list[list[float]]:
    """Rows as ccxt returns them, which takes the volume of COIN-M in the base asset."""
    columns = [milliseconds(rows["open_time"]), *(rows[name].to_list() for name in (*PRICES, volume))]
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("market", ["spot", "um", "cm"])
@pytest.mark.parametrize("interval", ["1m", "1h", "4h"])
def test_ccxt_fetches_the_candles_of_the_lake(
    snippet: str, folder: Path, lake: Lakehouse, market: str, interval: str
) -> None:
    symbol = MARKETS[market][0]
    loop = f"""
found, since = [], {SINCE}
while page := exchange.fetch_ohlcv({symbol!r}, {interval!r}, since=since, limit=1000):
    found += page
    since = page[-1][0] + 1
"""
    read = facts(ENVIRONMENT, folder, snippet + loop, found="found")["found"]
    expected = candles(klines(lake, market, interval))
    assert len(expected) >= 17
    assert read == expected


@pytest.mark.parametrize("market", ["um", "cm"])
def test_ccxt_fetches_the_funding_of_the_lake(snippet: str, folder: Path, lake: Lakehouse, market: str) -> None:
    symbol, name = MARKETS[market]
    call = f"\nfound = exchange.fetch_funding_rate_history({symbol!r}, since={SINCE}, limit=1000)"
    read = facts(ENVIRONMENT, folder, snippet + call, found="[[r['timestamp'], r['fundingRate']] for r in found]")[
        "found"
    ]
    rows: Any = lake.read("silver.funding_rates", market=market, symbols=[name], start=START, format="polars")
    assert [row[0] for row in read] == milliseconds(rows["funding_time"])
    assert [row[1] for row in read] == rows["funding_rate"].to_list()
    assert len(read) > 9


def test_ccxt_lists_the_markets_with_steps_and_sends_a_token(snippet: str, folder: Path, lake: Lakehouse) -> None:
    values = {
        "markets": "{name: [each['id'], each['type'], each['active']] for name, each in exchange.markets.items()}"
    }
    found = facts(ENVIRONMENT, folder, snippet, **values, precision="exchange.markets['BTC/USDT:USDT']['precision']")
    assert found["markets"]["BTC/USD:BTC"] == ["BTCUSD_PERP", "swap", True]
    assert {each[0] for each in found["markets"].values()} == {
        symbol for market in MARKETS for symbol in lake.symbols(market)
    }
    assert found["precision"]["price"] == 0.1
    with Served(folder / "lake", folder / "closed", "--binance") as closed:
        secret = closed.token("bot")["Authorization"].partition(" ")[2]
        start = snippet.index('server = "') + len('server = "')
        code = snippet[:start] + closed.url + snippet[snippet.index("/binance", start) :]
        head, _, calls = code.partition("bars = ")
        asked = """
try:
    exchange.fetch_time()
    refused = ""
except ccxt.AuthenticationError as error:
    refused = type(error).__name__
"""
        with_token = f"\nexchange.headers = {{'X-MBX-APIKEY': {secret!r}}}\nbars = {calls}"
        found = facts(ENVIRONMENT, folder, head + asked + with_token, refused="refused", bars="len(bars)")
        assert found["refused"]
        assert found["bars"] == 18


def test_the_official_connectors_read_the_rows_of_the_lake(server: Served, folder: Path, lake: Lakehouse) -> None:
    code = f"""
from binance.cm_futures import CMFutures
from binance.spot import Spot
from binance.um_futures import UMFutures

base = "{server.url}/binance"
clients = {{"spot": Spot(base_url=base), "um": UMFutures(base_url=base), "cm": CMFutures(base_url=base)}}
names = {{market: name for market, (_, name) in {MARKETS!r}.items()}}
found = {{
    market: client.klines(names[market], "1h", startTime={SINCE}, endTime={SINCE} + 3 * 86400000, limit=1000)
    for market, client in clients.items()
}}
rates = clients["um"].funding_rate("BTCUSDT", startTime={SINCE}, limit=1000)
trades = {{
    market: client.agg_trades(names[market], fromId=0, limit=1000)[0]["a"] for market, client in clients.items()
}}
"""
    read = facts(ENVIRONMENT, folder, code, found="found", rates="rates", trades="trades")
    for market, rows in read["found"].items():
        kept = [[row[0], *map(float, row[1:6])] for row in rows]
        assert kept == candles(klines(lake, market, "1h"), "contracts" if market == "cm" else "base_volume")
        trades: Any = lake.read(
            "silver.agg_trades", market=market, symbols=[MARKETS[market][1]], limit=1, format="polars"
        )
        assert read["trades"][market] == trades["trade_id"][0]
    rates: Any = lake.read("silver.funding_rates", market="um", symbols=["BTCUSDT"], start=START, format="polars")
    assert [float(row["fundingRate"]) for row in read["rates"]] == rates["funding_rate"].to_list()
