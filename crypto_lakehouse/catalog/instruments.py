"""Facts in the name of a symbol, by the rules of its exchange, and filters by these facts.

The rules are in the exchange's own module (``binance_names.py``). What the archive lists, and when, is in
``transforms/gold/universe.py``; renames and relistings, which names do not show, are in ``listings.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crypto_lakehouse.catalog.exchanges import EXCHANGES
from crypto_lakehouse.catalog.model import Market
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.catalog.symbol_facts import ContractType, SymbolFacts
from crypto_lakehouse.catalog.symbols import SymbolFilter

QUOTE_ASSETS: frozenset[str] = frozenset(
    name for exchange in EXCHANGES.values() for name, asset in exchange.assets.items() if asset.is_quote
)


def parse_symbol(market: Market, symbol: str) -> SymbolFacts:
    """The facts in a symbol's name; never raises for a name that ``check_symbol`` accepts.

    >>> from crypto_lakehouse.catalog import find_market
    >>> parse_symbol(find_market("binance", "um"), "BTCUSDT_210326").delivery_date
    datetime.date(2021, 3, 26)
    """
    return EXCHANGES[market.exchange].parse_symbol(market, symbol)


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
            names = ", ".join(with_near(name, sorted(QUOTE_ASSETS)) for name in unknown)
            raise ValueError(f"no pairs are quoted in {names}; pass a quote asset such as USDT")

    def select(self, market: Market, symbols: Iterable[str]) -> list[str]:
        """The ``symbols`` that the filter keeps, sorted.

        >>> from crypto_lakehouse.catalog import find_market
        >>> spot = find_market("binance", "spot")
        >>> InstrumentFilter(quotes=("USDT",)).select(spot, ["BTCUSDT", "ETHBTC", "BTCUPUSDT", "JUPUSDT"])
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


__all__ = ["QUOTE_ASSETS", "ContractType", "InstrumentFilter", "SymbolFacts", "parse_symbol"]
