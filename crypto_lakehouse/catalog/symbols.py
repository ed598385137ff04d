"""Selection of symbols by names, patterns and exclusions, as settings and the command line accept them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from crypto_lakehouse.catalog.names import check_digits, check_symbol


@dataclass(frozen=True, slots=True)
class SymbolFilter:
    """Names (``BTCUSDT``), patterns (``*USDT``, ``BTCUSD_*``) and exclusions (``!*DOWNUSDT``).

    A symbol is wanted if it matches a name or pattern and no exclusion. Without any name or pattern, every symbol
    that matches no exclusion is wanted.
    """

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

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
        return sorted(
            symbol
            for symbol in available
            if (not self.wanted or any(fnmatchcase(symbol, p) for p in self.wanted))
            and not any(fnmatchcase(symbol, p) for p in self.unwanted)
        )

    def unknown(self, available: Iterable[str]) -> list[str]:
        """Names and patterns that match nothing in ``available``; report them, do not drop them silently."""
        known = list(available)
        return [p for p in self.wanted if not any(fnmatchcase(symbol, p) for symbol in known)]
