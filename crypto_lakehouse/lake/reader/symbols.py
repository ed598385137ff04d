"""Symbols that a read selects: names, patterns and exclusions, as a condition on rows.

The syntax is that of the settings (``catalog/symbols.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import polars as pl

from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.reader.arguments import check_listed

# Greater than any letter of a symbol.
_AFTER_ALL = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class SymbolChoice:
    """The symbols of a read. Without any entry it selects no symbol."""

    filter: SymbolFilter

    @classmethod
    def parse(cls, symbols: str | Sequence[str] | None) -> SymbolChoice | None:
        """Return the choice; None, which means all symbols, stays None. Raises ValueError on a malformed symbol.

        >>> SymbolChoice.parse(["BTC*,!BTCDOMUSDT", "ETHUSDT"]).filter.wanted
        ('BTC*', 'ETHUSDT')
        """
        entries = check_listed("symbols", symbols)
        if entries is None:
            return None
        for entry in entries:
            if not isinstance(entry, str) or not entry.strip(" ,"):
                raise ValueError(f"symbols must be text such as 'BTCUSDT', not {entry!r}")
        try:
            return cls(SymbolFilter.parse(",".join(entries)))
        except ValueError as error:
            # Other libraries write BTC/USDT or BTC/USDT:USDT.
            similar = [re.sub(r":.*|[/ ]", "", entry) for entry in entries]
            if all(map(str.isalnum, similar)):
                raise ValueError(f"{error}; did you mean {', '.join(similar)}?") from None
            raise

    @property
    def names(self) -> list[str] | None:
        """The symbols if all are named, without patterns and exclusions; None otherwise."""
        entries = [*self.filter.wanted, *(f"!{entry}" for entry in self.filter.unwanted)]
        return None if any("*" in entry or "!" in entry for entry in entries) else entries

    @property
    def is_empty(self) -> bool:
        """Whether it is an empty list, which selects no symbol."""
        return not self.filter.wanted and not self.filter.unwanted

    @property
    def is_narrow(self) -> bool:
        """Whether the order of symbols in a file shows which parts of it can be skipped."""
        return not (self.filter.unwanted and not self.filter.wanted) and not any(
            entry.startswith("*") for entry in self.filter.wanted
        )

    @property
    def may_be_several(self) -> bool:
        """Whether it can select more than one symbol."""
        wanted = set(self.filter.wanted)
        return len(wanted) != 1 or any("*" in entry for entry in wanted)

    @property
    def condition(self) -> pl.Expr:
        """The condition on the column ``symbol``."""
        wanted = _any_of(self.filter.wanted)
        if not self.filter.unwanted:
            return wanted
        unwanted = ~_any_of(self.filter.unwanted)
        return wanted & unwanted if self.filter.wanted else unwanted

    def select(self, available: Iterable[str]) -> list[str]:
        """Return the chosen symbols of ``available``, sorted."""
        return [] if self.is_empty else self.filter.select(available)

    def absent(self, present: Iterable[str]) -> list[str]:
        """Return the names and patterns that select nothing of ``present``, sorted."""
        return sorted(set(self.filter.unknown(present)))


def _any_of(entries: Sequence[str]) -> pl.Expr:
    names = [entry for entry in entries if "*" not in entry]
    conditions = [_matches(entry) for entry in entries if "*" in entry]
    if names or not conditions:
        conditions.append(pl.col("symbol").is_in(names))
    return reduce(or_, conditions)


def _matches(pattern: str) -> pl.Expr:
    symbol = pl.col("symbol")
    texts = pattern.split("*")
    matches = symbol.str.contains(f"^{'.*'.join(map(re.escape, texts))}$")
    # Statistics of a row group can exclude a range of symbols, but not a pattern.
    return symbol.is_between(pl.lit(texts[0]), pl.lit(texts[0] + _AFTER_ALL)) & matches if texts[0] else matches
