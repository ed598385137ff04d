"""Suggestions for a misspelt name: similar names, never dozens of names in a line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import find_market
from crypto_lakehouse.catalog.near import near, unknown_name
from crypto_lakehouse.lake.storage.describe import tables_called
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.schemas import LAYERS
from crypto_lakehouse.settings import Settings

SYMBOLS = ["1000SHIBUSDT", "BTCUSDC", "BTCUSDT", "BTCUSD_PERP", "ETHUSDT", "币安人生USDT"]


@pytest.mark.requirement("F1.4")
@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("btcusdt", ["BTCUSDT"]),
        ("BTC-USDT", ["BTCUSDT"]),
        ("btcusdperp", ["BTCUSD_PERP"]),
        ("ETHUSTD", ["ETHUSDT"]),
        ("ETH", ["ETHUSDT"]),
        ("币安", ["币安人生USDT"]),
        ("XRPEUR", []),
        ("--", []),
    ],
)
def test_near_names(name: str, suggested: list[str]) -> None:
    assert near(name, SYMBOLS) == suggested


@pytest.mark.requirement("F1.4")
def test_equally_similar_names_are_suggested_in_the_order_of_the_catalogue() -> None:
    assert near("klins", ["klines_1m", "klines_3m", "klines_8h", "trades"]) == ["klines_1m", "klines_3m", "klines_8h"]


@pytest.mark.requirement("F1.4")
def test_many_names_are_never_all_listed() -> None:
    tables = [f"{kind}_{interval}" for kind in ("klines", "mark_klines") for interval in ("1m", "5m", "1h")]
    assert unknown_name("table", "book", tables) == "no table 'book'; there are klines_*, mark_klines_*"
    many = [*tables, *"abcdefgh"]
    assert unknown_name("table", "klines_7m", many, scope="x/y").startswith("no table 'klines_7m' in x/y; did you mean")
    assert "there" not in unknown_name("table", "klines_7m", many)


@pytest.mark.requirement("F1.4")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("usdm", "um"),
        ("USD-M", "um"),
        ("UM", "um"),
        ("coinm", "cm"),
        ("COIN-M", "cm"),
        ("futures", "um or cm"),
        ("perp", "um or cm"),
        ("options", "option"),
        ("SPOT", "spot"),
    ],
)
def test_other_names_of_markets_are_understood(name: str, meant: str) -> None:
    with pytest.raises(KeyError, match=rf"no market '{name}'; did you mean {meant}\?"):
        find_market("binance", name)


def _planned(market: str, table: str, exchange: str = "binance") -> None:
    day = date(2024, 1, 1)
    plan(exchange, market, table, day, day, Settings.load(), date(2024, 6, 1))


@pytest.mark.requirement("F1.4", "F7.3")
@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        (lambda lake: _planned("um", "klins_1m"), "no table 'klins_1m' in binance/um; did you mean klines_1m"),
        (lambda lake: _planned("um", "bars1h"), "no table 'bars1h' in binance/um; did you mean bars_1h?"),
        (lambda lake: _planned("um", "fundingRate"), "no table 'fundingRate' in binance/um; did you mean funding_rat"),
        (lambda lake: _planned("um", "metrics"), "no table 'metrics' in binance/um; did you mean open_interest?"),
        (lambda lake: _planned("spot", "funding_rates"), "no table 'funding_rates' in binance/spot, only in um, cm"),
        (lambda lake: _planned("option", "bars_1h"), "no table 'bars_1h' in binance/option; there are volatility_ind"),
        (lambda lake: _planned("usdm", "klines_1m"), "no market 'usdm'; did you mean um?"),
        (lambda lake: _planned("um", "klines_1m", "Binance"), "no exchange 'Binance'; did you mean binance?"),
        (lambda lake: _planned("um", "ticks"), "no table 'ticks' in binance/um; there are klines_*, agg_trades, trad"),
        (lambda lake: tables_called("gold.klines_1m", LAYERS), "no table 'gold.klines_1m'; did you mean bronze.kli"),
        (lambda lake: tables_called("klins_1m", ["silver"]), "no table 'klins_1m'; did you mean klines_1m"),
        (lambda lake: lake.describe("gold.klines_1m"), "no table gold.klines_1m; did you mean bronze.klines_1m or si"),
        (lambda lake: lake.describe("silver.bars_1h"), "no table silver.bars_1h; did you mean gold.bars_1h?"),
        (lambda lake: lake.describe("silvr.trades"), "no layer 'silvr'; did you mean silver?"),
        (lambda lake: lake.describe("gold.bar_1h"), "no table 'bar_1h' in layer gold; did you mean bars_1h"),
        (lambda lake: lake.describe("bars_1h"), "'bars_1h' does not name its layer; try gold.bars_1h"),
        (lambda lake: lake.describe("klins_1m"), "'klins_1m' does not name its layer; try bronze.klines_1m"),
        (lambda lake: lake.sql("SELECT * FROM gold.klines_1m"), "no table gold.klines_1m; did you mean bronze.klines"),
        (lambda lake: lake.sql("SELECT * FROM klines_1m"), "'klines_1m' does not name its layer; try bronze.kl"),
        (lambda lake: lake.read("gold.bars_1h", market="coinm"), "no market 'coinm'; did you mean cm?"),
    ],
)
def test_unknown_tables_and_markets_lead_to_near_names(
    lake: Lakehouse, refuse: Callable[[Lakehouse], object], message: str
) -> None:
    with pytest.raises((KeyError, ValueError)) as refused:
        refuse(lake)
    text = str(refused.value.args[0])
    assert message in text
    assert len(text) < 500
