"""The settings that choose symbols: by names and patterns, and by the facts in their names.

They are part of ``Settings`` (``settings.py``). The rules are in ``catalog/symbol_rules.py``.
"""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from crypto_lakehouse.catalog import EXCHANGES, Market
from crypto_lakehouse.catalog.symbol_rules import SymbolRules, parse_contract_types, parse_quotes
from crypto_lakehouse.catalog.symbols import SymbolFilter


class SymbolSettings(BaseSettings):
    """Which symbols of the archive are built. A symbol that ``symbols`` names is built whatever the others say."""

    symbols: str = Field("", description="names, patterns and exclusions: BTCUSDT,*USDC,!USDCUSDT; empty: all")
    quotes: str = Field("", description="quote assets of the symbols: USDT,USDC; empty: all; COIN-M has USD alone")
    contract_types: str = Field("", description="contracts of futures: perpetual, delivery; empty: both")
    stable_pairs: bool = Field(True, description="keep pairs of two stable or fiat assets, such as USDCUSDT")
    leveraged_tokens: bool = Field(True, description="keep leveraged tokens of spot, such as BTCUPUSDT")

    @field_validator("symbols")
    @classmethod
    def _check_symbols(cls, value: str) -> str:
        SymbolFilter.parse(value)
        return value

    @field_validator("quotes")
    @classmethod
    def _check_quotes(cls, value: str) -> str:
        parse_quotes(value, list(EXCHANGES))
        return value

    @field_validator("contract_types")
    @classmethod
    def _check_contract_types(cls, value: str) -> str:
        parse_contract_types(value)
        return value

    @cached_property
    def symbol_filter(self) -> SymbolFilter:
        """``symbols``, parsed."""
        return SymbolFilter.parse(self.symbols)

    @property
    def symbol_words(self) -> str:
        """The variables that choose symbols, with their values; empty if all symbols are built."""
        prefix = str(self.model_config.get("env_prefix", ""))
        names = [name for name, field in SymbolSettings.model_fields.items() if getattr(self, name) != field.default]
        return " ".join(f"{prefix}{name.upper()}={getattr(self, name)}" for name in names)

    def symbols_of(self, market: Market, symbols: str = "") -> SymbolFilter:
        """The symbols to build of a market: those of a run or, if it names none, of the settings."""
        chosen = SymbolFilter.parse(symbols) if symbols else self.symbol_filter
        rules = SymbolRules.of_market(
            market,
            parse_quotes(self.quotes, list(EXCHANGES)),
            parse_contract_types(self.contract_types),
            self.stable_pairs,
            self.leveraged_tokens,
        )
        return SymbolFilter(chosen.wanted, chosen.unwanted, rules)
