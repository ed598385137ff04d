"""Rules that choose the symbols of a market by the facts in their names, as settings and footers hold them.

The facts are in ``symbol_facts.py``; names and patterns are in ``symbols.py``, which applies these rules to patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_lakehouse.catalog.exchanges import EXCHANGES
from crypto_lakehouse.catalog.model import Market
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.catalog.symbol_facts import ContractType

FUTURES = (ContractType.PERPETUAL, ContractType.DELIVERY)
"""The contract types between which rules choose: other markets have one type only."""


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What is kept of one market. Empty ``quotes`` and ``contract_types`` keep all.

    ``quotes`` and ``contract_types`` are sorted, and empty where they would keep everything.
    """

    exchange: str
    market: str
    quotes: tuple[str, ...] = ()
    contract_types: tuple[ContractType, ...] = ()
    stable_pairs: bool = True
    leveraged_tokens: bool = True

    @classmethod
    def of_market(
        cls,
        market: Market,
        quotes: Sequence[str],
        contract_types: Sequence[ContractType],
        stable_pairs: bool,
        leveraged_tokens: bool,
    ) -> SymbolRules | None:
        """The rules of a market; None if they keep everything that it can have.

        Contracts on COIN-M are all quoted in USD, and only futures have contract types: ``quotes`` and
        ``contract_types`` apply to the other markets and to futures.
        """
        is_futures = market.name in _FUTURES_MARKETS
        rules = cls(
            market.exchange,
            market.name,
            () if market.inverse else tuple(sorted(set(quotes))),
            tuple(sorted(set(contract_types))) if is_futures and len(set(contract_types)) < len(FUTURES) else (),
            stable_pairs or market.inverse,
            leveraged_tokens or is_futures,
        )
        return None if rules == cls(market.exchange, market.name) else rules

    def passes(self, symbol: str) -> bool:
        """Whether a symbol is kept.

        >>> SymbolRules("binance", "spot", quotes=("USDT",), leveraged_tokens=False).passes("BTCUPUSDT")
        False
        """
        market = next(each for each in EXCHANGES[self.exchange].markets if each.name == self.market)
        facts = EXCHANGES[self.exchange].parse_symbol(market, symbol)
        return (
            (not self.quotes or facts.quote_asset in self.quotes)
            and (not self.contract_types or facts.contract_type in self.contract_types)
            and (self.stable_pairs or not facts.is_stable_pair)
            and (self.leveraged_tokens or not facts.is_leveraged)
        )

    @property
    def text(self) -> str:
        """The rules as a footer holds them; equal rules have equal texts.

        >>> SymbolRules("binance", "um", quotes=("USDC", "USDT"), contract_types=FUTURES[:1]).text
        'binance/um:quotes=USDC+USDT:contract_types=perpetual'
        """
        facts = [f"{self.exchange}/{self.market}"]
        facts += [f"quotes={'+'.join(self.quotes)}"] if self.quotes else []
        facts += [f"contract_types={'+'.join(self.contract_types)}"] if self.contract_types else []
        facts += [] if self.stable_pairs else ["stable_pairs=no"]
        facts += [] if self.leveraged_tokens else ["leveraged_tokens=no"]
        return ":".join(facts)

    @classmethod
    def parse(cls, text: str) -> SymbolRules:
        """Read ``text``.

        >>> rules = SymbolRules("binance", "spot", quotes=("EUR",), stable_pairs=False)
        >>> SymbolRules.parse(rules.text) == rules
        True
        """
        place, *facts = text.split(":")
        values = dict(fact.split("=") for fact in facts)
        exchange, market = place.split("/")
        return cls(
            exchange,
            market,
            tuple(values["quotes"].split("+")) if "quotes" in values else (),
            tuple(map(ContractType, values["contract_types"].split("+"))) if "contract_types" in values else (),
            "stable_pairs" not in values,
            "leveraged_tokens" not in values,
        )


def parse_quotes(text: str, exchanges: Sequence[str]) -> tuple[str, ...]:
    """The quote assets of a comma-separated list. Raises ValueError for one that no pair of the exchanges has."""
    quotes = [part.strip() for part in text.split(",") if part.strip()]
    known = {name for each in exchanges for name, asset in EXCHANGES[each].assets.items() if asset.is_quote}
    if unknown := [name for name in quotes if name not in known]:
        raise ValueError(f"no pairs are quoted in {', '.join(with_near(name, sorted(known)) for name in unknown)}")
    return tuple(dict.fromkeys(quotes))


def parse_contract_types(text: str) -> tuple[ContractType, ...]:
    """The contract types of a comma-separated list. Raises ValueError for one that futures do not have."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in names if name not in FUTURES]:
        raise ValueError(f"no contract type {', '.join(map(repr, unknown))}; there are {', '.join(FUTURES)}")
    return tuple(map(ContractType, dict.fromkeys(names)))


_FUTURES_MARKETS = ("um", "cm")
