"""Facts in the name of a symbol: its assets, its kind of contract, delivery, leverage.

This module has the classes. Each exchange parses its own names (``binance_names.py``); filters by these facts are in
``instruments.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Asset:
    """Properties of an asset: whether pairs were quoted in it, and whether it is stable."""

    is_quote: bool
    is_stable: bool


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
