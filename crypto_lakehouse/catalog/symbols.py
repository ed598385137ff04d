"""Selection of symbols by names, patterns and exclusions, as settings, the command line and footers hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from crypto_lakehouse.catalog.names import check_digits, check_symbol
from crypto_lakehouse.catalog.symbol_rules import SymbolRules


@dataclass(frozen=True, slots=True)
class SymbolFilter:
    """Names (``BTCUSDT``), patterns (``*USDT``, ``BTCUSD_*``) and exclusions (``!*DOWNUSDT``).

    A symbol is wanted if it matches a name or pattern and no exclusion. Without any name or pattern, every symbol
    that matches no exclusion is wanted. ``rules`` also apply, but not to a symbol that is named.
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    rules: SymbolRules | None = None

    @classmethod
    def parse(cls, text: str) -> SymbolFilter:
        """Parse a comma-separated list. Raises ValueError, which quotes the bad entry.

        >>> SymbolFilter.parse("BTC*,!BTCDOMUSDT").select(["BTCUSDT", "BTCDOMUSDT", "ETHUSDT"])
        ['BTCUSDT']
        """
        wanted: list[str] = []
        unwanted: list[str] = []
        for entry in (part.strip() for part in text.split(",")):
            if not entry:
                continue
            name = entry.removeprefix("!")
            check_digits(check_symbol(name.replace("*", "X")))
            (unwanted if entry.startswith("!") else wanted).append(name)
        return cls(tuple(wanted), tuple(unwanted))

    def select(self, available: Iterable[str]) -> list[str]:
        """The wanted symbols of ``available``, sorted."""
        matching = (
            symbol
            for symbol in available
            if (not self.wanted or any(fnmatchcase(symbol, p) for p in self.wanted))
            and not any(fnmatchcase(symbol, p) for p in self.unwanted)
        )
        rules = self.rules
        if rules is None:
            return sorted(matching)
        return sorted(symbol for symbol in matching if symbol in self.wanted or rules.passes(symbol))

    @property
    def words(self) -> str:
        """The filter for people."""
        entries = ",".join([*self.wanted, *(f"!{name}" for name in self.unwanted)])
        rules = self.rules.text.partition(":")[2].replace(":", ", ") if self.rules else ""
        return " with ".join(filter(None, [entries, rules]))

    def unknown(self, available: Iterable[str]) -> list[str]:
        """Names and patterns that match nothing in ``available``; report them, do not drop them silently."""
        known = list(available)
        return [p for p in self.wanted if not any(fnmatchcase(symbol, p) for symbol in known)]


_CHOSEN = "chosen_symbols"
# Symbols have no question mark.
_RULES = ",?"


@dataclass(frozen=True, slots=True)
class ChosenSymbols:
    """The symbols that all runs of a partition have chosen: the union of their filters, the same for any order of runs.

    ``entries`` are names (``BTCUSDT``) and patterns with their exclusions (``*USDT,!BTC*``) and rules
    (``*,?binance/um:quotes=USDT``), sorted. If one entry includes another, only the wider one is kept, so ``*`` stands
    alone.
    """

    entries: tuple[str, ...] = ("*",)

    @classmethod
    def of_filter(cls, symbols: SymbolFilter) -> ChosenSymbols:
        """Return the symbols that one run chooses.

        >>> ChosenSymbols.of_filter(SymbolFilter.parse("ETHUSDT,BTC*,BTCUSDT,!BTCDOMUSDT")).entries
        ('BTC*,!BTCDOMUSDT', 'ETHUSDT')
        """
        wanted, unwanted = ({re.sub(r"\*+", "*", p) for p in entries} for entries in (symbols.wanted, symbols.unwanted))
        without = sorted(p for p in unwanted if not any(p != q and fnmatchcase(p, q) for q in unwanted))
        left = (p for p in wanted or {"*"} if not any(fnmatchcase(p, q) for q in without))
        rules = [f"?{symbols.rules.text}"] if symbols.rules else []
        more = [*(f"!{q}" for q in without), *rules]
        return cls(()) | cls(tuple(",".join([p, *more]) if "*" in p else p for p in left))

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> ChosenSymbols:
        """Read the facts of a partition. No fact means all symbols, also in a partition older than this fact."""
        return cls(tuple(facts[_CHOSEN])) if _CHOSEN in facts else cls()

    def facts(self) -> dict[str, Any]:
        """Return the facts for a partition; none if all symbols were chosen."""
        return {} if self == ChosenSymbols() else {_CHOSEN: list(self.entries)}

    def __or__(self, other: ChosenSymbols) -> ChosenSymbols:
        both = {*self.entries, *other.entries}
        patterns = [entry for entry in both if "*" in entry]
        return ChosenSymbols(tuple(sorted(e for e in both if not any(e != p and _includes(p, e) for p in patterns))))

    def select(self, symbols: Iterable[str]) -> set[str]:
        """Return those of ``symbols`` that were chosen."""
        available = set(symbols)
        patterns = (_filter_of(entry) for entry in self.entries if "*" in entry)
        return available.intersection(self.entries).union(*(pattern.select(available) for pattern in patterns))


def _filter_of(entry: str) -> SymbolFilter:
    """The filter of an entry with a pattern."""
    names, _, rules = entry.partition(_RULES)
    return replace(SymbolFilter.parse(names), rules=SymbolRules.parse(rules) if rules else None)


def _includes(pattern: str, entry: str) -> bool:
    """Return whether the texts prove that a pattern selects all that an entry selects."""
    names, _, rules = pattern.partition(_RULES)
    own_names, _, own_rules = entry.partition(_RULES)
    wide, *unwanted = names.split(",!")
    narrow, *left_out = own_names.split(",!")
    if rules and rules != own_rules and ("*" in narrow or not SymbolRules.parse(rules).passes(narrow)):
        return False
    if not fnmatchcase(narrow, wide):
        return False
    if "*" not in narrow:
        return not any(fnmatchcase(narrow, exclusion) for exclusion in unwanted)
    return all(any(fnmatchcase(exclusion, other) for other in left_out) for exclusion in unwanted)
