"""A made-up exchange for tests: its catalogue, entered in the registry of this process.

Its market has the name of one of Binance's, and its table as well.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from crypto_lakehouse.catalog import EXCHANGES, FEEDS, MARKETS, Market, feed
from crypto_lakehouse.catalog.model import Exchange
from crypto_lakehouse.catalog.symbol_facts import Asset, ContractType, SymbolFacts

MARKET = Market("toy", "spot", "Toy spot", "spot", date(2024, 1, 1))
FEED = replace(feed("binance", "spot", "klines_1m"), market=MARKET, first_date=MARKET.first_date, compacted=False)


def parse_symbol(market: Market, symbol: str) -> SymbolFacts:
    """``BTC-USDT`` needs no table of quotes."""
    base, _, quote = symbol.partition("-")
    return SymbolFacts(symbol, base, quote, ContractType.SPOT)


TOY = Exchange(
    name="toy",
    archive_url="http://toy.invalid",
    listing_url="http://toy.invalid/listing",
    folders="{market}/{symbol}/",
    markets=(MARKET,),
    feeds=(FEED,),
    assets={"USDT": Asset(is_quote=True, is_stable=True), "TOY": Asset(is_quote=True, is_stable=False)},
    parse_symbol=parse_symbol,
    max_concurrency=8,
)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter the exchange in the registry until the end of the test."""
    monkeypatch.setitem(EXCHANGES, TOY.name, TOY)
    monkeypatch.setitem(MARKETS, (TOY.name, MARKET.name), MARKET)
    monkeypatch.setitem(FEEDS, (TOY.name, MARKET.name, FEED.table), FEED)
