"""Which listed files belong to bronze partitions, and which symbols to list for them.

``days.py`` decides what to do with each file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.symbols import SymbolFilter

States: TypeAlias = Mapping[str, dict[str, Any]]
"""The ledger rows of partitions: partition key -> file key -> row."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The files that partitions use: those of the selected symbols, and of symbols that the ledger knows for them.

    ``symbols`` are the symbols to list, for days from ``start`` to before ``end``.
    """

    symbols: list[str]
    start: date
    end: date
    _selected: set[str]
    _known: Mapping[str, set[str]]

    @classmethod
    def of(
        cls, feed: Feed, symbols: SymbolFilter, available: Sequence[str], states: States, keys: Iterable[str]
    ) -> Selection:
        """The selection for the partitions ``keys``. ``available`` are the symbols that the archive lists."""
        known = {key: {row["symbol"] for row in states[key].values()} for key in keys}
        selected = set(symbols.select(available))
        to_list = selected | (set(available) & set().union(*known.values()))
        spans = [parse_partition(key, feed.cadence) for key in known]
        start, end = min(span[0] for span in spans), max(span[1] for span in spans)
        return cls(sorted(to_list), start, end, selected, known)

    def includes(self, file: ArchiveFile) -> bool:
        """Whether a partition uses a listed file."""
        known = self._known.get(file.period)
        return known is not None and (file.symbol in self._selected or file.symbol in known)
