"""Facts in the name of a symbol (assets, kind of contract, delivery, leverage), and filters by these facts.

Contains the tables of assets and the naming rules, as data with their sources. What the archive lists, and when, is in
``transforms/gold/universe.py``; renames and relistings, which names do not show, are in ``listings.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import chain

from crypto_lakehouse.catalog.model import Market
from crypto_lakehouse.catalog.symbols import SymbolFilter


@dataclass(frozen=True, slots=True)
class Asset:
    """Properties of an asset: whether pairs were quoted in it, and whether it is stable."""

    is_quote: bool
    is_stable: bool


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


class ContractType(StrEnum):
    """The kind of instrument of a symbol; ``option`` symbols are underlyings and volatility indices."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    DELIVERY = "delivery"
    OPTION = "option"

    @classmethod
    def parse(cls, text: str) -> ContractType:
        """The contract type of this name. Raises ValueError, which lists the names."""
        try:
            return cls(text)
        except ValueError:
            raise ValueError(f"no contract type {text!r}; there are {', '.join(cls)}") from None


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """The facts in the name of a symbol.

    ``base_asset`` and ``quote_asset`` are None if the quote is unknown. ``delivery_date`` is the UTC day in the name.
    ``settled_of`` is the name under which a settled contract was traded. ``contract_size`` is the USD value of one
    contract in an inverse market, None elsewhere.
    """

    symbol: str
    base_asset: str | None
    quote_asset: str | None
    contract_type: ContractType
    delivery_date: date | None = None
    is_settled: bool = False
    settled_of: str | None = None
    is_leveraged: bool = False
    is_stable_pair: bool = False
    contract_size: float | None = None


def parse_symbol(market: Market, symbol: str) -> SymbolFacts:
    """The facts in a symbol's name; never raises for a name that ``check_symbol`` accepts.

    >>> from crypto_lakehouse.catalog.binance import SPOT, UM
    >>> parse_symbol(SPOT, "BTCFDUSD").quote_asset
    'FDUSD'
    >>> parse_symbol(UM, "BTCUSDT_210326").delivery_date
    datetime.date(2021, 3, 26)
    """
    match = _SETTLED.fullmatch(symbol)
    name = traded_as = match[1] + (match[2] or "") if match else symbol
    split, contract_type = _NAMES[market.exchange, market.name]
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
_NAMES: dict[tuple[str, str], tuple[Callable[[str], tuple[str | None, str | None]], ContractType]] = {
    ("binance", "spot"): (_split, ContractType.SPOT),
    ("binance", "um"): (_split, ContractType.PERPETUAL),
    ("binance", "cm"): (_split_underlying, ContractType.PERPETUAL),
    ("binance", "option"): (_split, ContractType.OPTION),
}


@dataclass(frozen=True, slots=True)
class InstrumentFilter:
    """Selects symbols of a market by the facts in their names.

    Parameters
    ----------
    quotes, contract_types
        Quote assets and contract types to keep; empty keeps all.
    stable_pairs, leveraged, settled
        Whether to keep stable pairs, leveraged tokens and settled contracts.
    symbols
        Names, patterns and exclusions, as in the settings. A plain name is kept whatever the rest of the filter
        says; an exclusion never is.

    Raises
    ------
    ValueError
        For a quote that no pair has.
    """

    quotes: tuple[str, ...] = ()
    contract_types: tuple[ContractType, ...] = ()
    stable_pairs: bool = True
    leveraged: bool = False
    settled: bool = True
    symbols: SymbolFilter = field(default_factory=SymbolFilter)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.quotes) - QUOTE_ASSETS):
            known = ", ".join(sorted(QUOTE_ASSETS))
            raise ValueError(f"no pairs are quoted in {', '.join(unknown)}; quotes are {known}")

    def select(self, market: Market, symbols: Iterable[str]) -> list[str]:
        """The ``symbols`` that the filter keeps, sorted.

        >>> from crypto_lakehouse.catalog.binance import SPOT
        >>> InstrumentFilter(quotes=("USDT",)).select(SPOT, ["BTCUSDT", "ETHBTC", "BTCUPUSDT", "JUPUSDT"])
        ['BTCUSDT', 'JUPUSDT']
        """
        named = {name for name in self.symbols.wanted if "*" not in name}
        return [
            symbol
            for symbol in self.symbols.select(symbols)
            if symbol in named or self.passes(parse_symbol(market, symbol))
        ]

    def passes(self, facts: SymbolFacts) -> bool:
        """Whether the filter keeps a symbol of these facts, apart from ``symbols``."""
        return (
            (not self.quotes or facts.quote_asset in self.quotes)
            and (not self.contract_types or facts.contract_type in self.contract_types)
            and (self.stable_pairs or not facts.is_stable_pair)
            and (self.leveraged or not facts.is_leveraged)
            and (self.settled or not facts.is_settled)
        )

    def unknown(self, available: Iterable[str]) -> list[str]:
        """Names and patterns that match nothing in ``available``; report them, do not drop them silently."""
        return self.symbols.unknown(available)
