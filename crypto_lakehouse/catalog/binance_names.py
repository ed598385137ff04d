"""The names of Binance's symbols: the tables of assets and the naming rules, as data with their sources.

The classes of what a name says are in ``symbol_facts.py``; renames and relistings, which names do not show, are in
``binance_listings.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import chain

from crypto_lakehouse.catalog.model import Market
from crypto_lakehouse.catalog.symbol_facts import Asset, ContractType, SymbolFacts


def _assets(*names: str, quote: bool, stable: bool) -> Iterator[tuple[str, Asset]]:
    return ((name, Asset(quote, stable)) for name in names)


# Each asset that is a quote or stable, once. Quotes are those of pairs in the archive's listing and in
# https://github.com/BittyTax/BittyTax/blob/main/src/bittytax/conv/parsers/binance.py. Stable are all coins pegged to a
# currency, and those that binance_datatool (https://github.com/lostleaf/binance_datatool, branch legacy_main) counts
# as stable: EUR, GBP and gold. Pairs of other currencies are not stable pairs: USDTTRY has lost most of its value.
ASSETS: dict[str, Asset] = dict(
    chain(
        _assets("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "PAX", "USDS", "USDSOLD", quote=True, stable=True),
        _assets("USD1", "USDE", "RLUSD", "U", "DAI", "VAI", quote=True, stable=True),
        _assets("AEUR", "EURI", "BIDR", "BKRW", "BVND", "IDRT", "GYEN", quote=True, stable=True),
        _assets("USD", "EUR", "GBP", quote=True, stable=True),
        # Terra's UST has not been worth a dollar since 2022-05.
        _assets("UST", quote=True, stable=False),
        _assets("AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", quote=True, stable=False),
        _assets("JPY", "MXN", "COP", "CZK", "IDR", quote=True, stable=False),
        _assets("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "XMR", quote=True, stable=False),
        _assets("USBP", "SUSD", "USDSB", "XUSD", "BFUSD", "PAXG", "XAUT", quote=False, stable=True),
    )
)
QUOTE_ASSETS: frozenset[str] = frozenset(name for name, asset in ASSETS.items() if asset.is_quote)
STABLE_ASSETS: frozenset[str] = frozenset(name for name, asset in ASSETS.items() if asset.is_stable)
_BY_LENGTH = tuple(sorted(QUOTE_ASSETS, key=lambda quote: (-len(quote), quote)))

# Pairs in which the longest known quote is not the quote: ADAEUR is ADA in EUR, not AD in AEUR (same source).
QUOTE_EXCEPTIONS: dict[str, str] = {
    "ADAEUR": "EUR",
    "ENAEUR": "EUR",
    "GALAEUR": "EUR",
    "LUNAEUR": "EUR",
    "THETAEUR": "EUR",
    "ARBIDR": "IDR",
    "BNBIDR": "IDR",
    "BNBUSD": "USD",
}

# Assets that had leveraged tokens: Binance's own (UP, DOWN; 2020-05 to 2024-04, discontinued, so the list is
# closed) and FTX's (BULL, BEAR; 2020). Other names with these endings are plain coins: JUP, SYRUP, SUP, PUP, UP, BULL.
LEVERAGED_SUFFIXES: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("UP", "DOWN"),
        frozenset(
            {
                *("1INCH", "AAVE", "ADA", "BCH", "BNB", "BTC", "DOT", "EOS", "ETH", "FIL", "LINK", "LTC", "SUSHI"),
                *("SXP", "TRX", "UNI", "XLM", "XRP", "XTZ", "YFI"),
            }
        ),
    ),
    **dict.fromkeys(("BULL", "BEAR"), frozenset({"BNB", "BTC", "EOS", "ETH", "XRP"})),
}

# ICPUSDT_SETTLED, BNXUSDTSETTLED, and AERGOUSDTSETTLEDSETTLED for one that was settled twice.
# A delivery date may come before or after the suffix.
_SETTLED = re.compile(r"(.+?)(?:_?SETTLED[0-9]{0,2})+(_[0-9]{6})?")
_DELIVERY = re.compile(r"[0-9]{6}")


def parse_symbol(market: Market, symbol: str) -> SymbolFacts:
    """The facts in a symbol's name; never raises for a name that ``check_symbol`` accepts.

    >>> from crypto_lakehouse.catalog import find_market
    >>> parse_symbol(find_market("binance", "spot"), "BTCFDUSD").quote_asset
    'FDUSD'
    >>> parse_symbol(find_market("binance", "um"), "BTCUSDT_210326").delivery_date
    datetime.date(2021, 3, 26)
    """
    match = _SETTLED.fullmatch(symbol)
    name = traded_as = match[1] + (match[2] or "") if match else symbol
    split, contract_type = _NAMES[market.name]
    delivery = None
    if contract_type is ContractType.PERPETUAL:
        name, *suffixes = name.split("_")
        delivery = _delivery_date(suffixes)
    base, quote = split(name)
    return SymbolFacts(
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        contract_type=ContractType.DELIVERY if delivery else contract_type,
        delivery_date=delivery,
        is_settled=match is not None,
        settled_of=traded_as if match else None,
        is_leveraged=contract_type is ContractType.SPOT and _leveraged(base),
        is_stable_pair=base in STABLE_ASSETS and quote in STABLE_ASSETS,
        contract_size=None if market.contract_size_default is None else market.contract_size(name),
    )


def _split(pair: str) -> tuple[str | None, str | None]:
    """Base and quote of a pair, by the longest quote that leaves a base."""
    if quote := QUOTE_EXCEPTIONS.get(pair):
        return pair.removesuffix(quote), quote
    for quote in _BY_LENGTH:
        if pair.endswith(quote) and pair != quote:
            return pair.removesuffix(quote), quote
    return None, None


def _split_underlying(pair: str) -> tuple[str | None, str | None]:
    """Base and quote of the underlying of an inverse contract: ``BTCUSD``."""
    return (pair[:-3], "USD") if pair.endswith("USD") and len(pair) > 3 else (None, None)


def _delivery_date(suffixes: list[str]) -> date | None:
    """The day of the first suffix of the form YYMMDD that exists in the calendar."""
    for text in suffixes:
        if _DELIVERY.fullmatch(text):
            try:
                return date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]))
            except ValueError:
                continue
    return None


def _leveraged(base: str | None) -> bool:
    return base is not None and any(
        base.endswith(suffix) and base.removesuffix(suffix) in assets for suffix, assets in LEVERAGED_SUFFIXES.items()
    )


# How the names of a market are split, and its contract type; a future with a date in its name is a delivery.
_NAMES: dict[str, tuple[Callable[[str], tuple[str | None, str | None]], ContractType]] = {
    "spot": (_split, ContractType.SPOT),
    "um": (_split, ContractType.PERPETUAL),
    "cm": (_split_underlying, ContractType.PERPETUAL),
    "option": (_split, ContractType.OPTION),
}
