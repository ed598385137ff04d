"""What the answers of an exchange need from a source of rows: an archive's folder or a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from crypto_lakehouse.catalog import Feed

Row = dict[str, Any]
"""A row under the names of the archive's format: times are integers in milliseconds, other fields the exchange's text.

``microseconds`` are those of the time of a trade, if the source knows them.
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A symbol: when it was traded, [start, end) in UTC, and the decimals of its prices and quantities, if known."""

    start: datetime
    end: datetime
    price_decimals: int | None = None
    quantity_decimals: int | None = None


class RowSource(Protocol):
    """Rows by symbol and time. Times are in milliseconds since the epoch; bounds are inclusive."""

    def knows(self, market: str, symbol: str) -> bool:
        """Whether the market has the symbol, or the pair of an index."""
        ...

    def forward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows in [start, end], the oldest first; with no symbol those of all, which have ``symbol``."""
        ...

    def backward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows in [start, end], the newest first; with no symbol those of all, which have ``symbol``."""
        ...

    def from_id(self, feed: Feed, symbol: str, first: int) -> Iterator[Row]:
        """Rows with the id ``first`` or a greater one, in the order of ids."""
        ...

    def newest(self, feed: Feed, end: int) -> Iterable[Row]:
        """The newest row of each symbol up to ``end``, by symbol, with ``symbol``."""
        ...

    def mark_prices(self, market: str, symbol: str, times: list[int]) -> Mapping[int, str]:
        """The mark price at the start of minutes, where it is known."""
        ...

    def listed(self, market: str) -> Mapping[str, Listed]:
        """The symbols of a market."""
        ...
