"""Which neighbouring bronze partitions hold rows of a partition, and these rows between its own.

Bronze stays one to one with the files, so a row one step outside of its file's day is stored with that file; silver
takes it into the day that it belongs to. Here belong finding such rows, cheaply where there are none, and joining them
to a partition's pieces. Which rows they are is in ``transforms/edges.py``; cleaning them and when a partition is
rebuilt is in ``silver.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition, partition_key
from crypto_lakehouse.lake.origin import StoredPartition, stored_partition
from crypto_lakehouse.lake.partitions import partition_exists
from crypto_lakehouse.lake.pieces import column_spans, read_pieces
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.edges import EDGE_RULES, EdgeRule, own_rows, visiting_rows

SIDES = (-1, 1)
"""Where neighbours are, in the order of their keys."""


def neighbour_keys(feed: Feed, key: str) -> list[str]:
    """The partitions before and after one whose files may hold rows of it; none for types that keep to their days."""
    if feed.schema not in EDGE_RULES:
        return []
    start, end = parse_partition(key, feed.cadence)
    return [partition_key(day, feed.cadence) for day in (start - timedelta(days=1), end)]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored bronze partition before (``offset`` -1) or after (1) another one of which it may hold rows.

    ``stored`` is None where its footer cannot be read; ``groups`` are the row groups that may hold them.
    """

    key: str
    offset: int
    stored: StoredPartition | None
    groups: frozenset[int]


@dataclass(slots=True)
class Neighbourhood:
    """A partition of a feed with those neighbours whose files may hold rows of it.

    ``taken`` counts rows that came from neighbours' files, ``left`` those of its own files that belong to a neighbour;
    both are right at the end of ``pieces``.
    """

    feed: Feed
    key: str
    neighbours: list[Neighbour]
    taken: int = field(default=0, init=False)
    left: int = field(default=0, init=False)

    @classmethod
    def of(cls, feed: Feed, key: str, store: LakeStore) -> Neighbourhood:
        """The neighbourhood of a partition as it is stored. Raises DamagedFile on a neighbour that cannot be read."""
        rule = EDGE_RULES.get(feed.schema)
        found: list[Neighbour] = []
        if rule is not None:
            start, end = parse_partition(key, feed.cadence)
            for offset, other in zip(SIDES, neighbour_keys(feed, key), strict=True):
                place = ("bronze", feed.table, feed.exchange, feed.market.name, other)
                stored = stored_partition(store, *place)
                if stored is None and not partition_exists(store, *place):
                    continue
                spans = column_spans(store, *place, rule.column)
                times = rule.visiting(start, end, offset)
                groups = frozenset(n for n, span in enumerate(spans) if rule.may_have(span, *times))
                if groups:
                    found.append(Neighbour(other, offset, stored, groups))
        return cls(feed, key, found)

    def pieces(self, store: LakeStore) -> Iterator[pl.DataFrame]:
        """Bronze rows of the partition in pieces (``read_pieces``): those of its own files without what belongs to a
        neighbour, and with what lies in neighbours' files.

        Raises MissingPartition if there is no bronze partition.
        """
        rule, order = EDGE_RULES.get(self.feed.schema), bronze_schema(self.feed).id_column
        own = read_pieces(store, *self._place(self.key), order=order)
        if rule is None or not (self.neighbours or self._leaves(rule, store)):
            yield from own
            return
        start, end = parse_partition(self.key, self.feed.cadence)
        visitors = self._visitors(rule, store, start, end)
        for piece in own:
            stay = own_rows(piece, rule, start, end)
            self.left += piece.height - stay.height
            if visitors is None:
                yield stay
                continue
            here = _up_to(piece, order)
            yield pl.concat([stay, visitors.filter(here)])
            visitors = visitors.filter(~here)
        if visitors is not None and visitors.height:
            yield visitors

    def _leaves(self, rule: EdgeRule, store: LakeStore) -> bool:
        """Whether the partition's own files may hold rows of a neighbour."""
        spans = column_spans(store, *self._place(self.key), rule.column)
        times = rule.leaving(*parse_partition(self.key, self.feed.cadence))
        return any(rule.may_have(span, *one) for span in spans for one in times)

    def _visitors(self, rule: EdgeRule, store: LakeStore, start: date, end: date) -> pl.DataFrame | None:
        """The rows of the partition in its neighbours' files; None where there are none."""
        found = []
        order = bronze_schema(self.feed).id_column
        for one in self.neighbours:
            # Facts of a file need the whole of it.
            groups = None if rule.with_facts else one.groups
            for piece in read_pieces(store, *self._place(one.key), order=order, groups=groups):
                rows = visiting_rows(piece, rule, start, end, one.offset)
                if rows.height:
                    found.append(rows)
        if not found:
            return None
        visitors = pl.concat(found)
        self.taken = visitors.height
        return visitors

    def _place(self, key: str) -> tuple[str, str, str, str, str]:
        return "bronze", self.feed.table, self.feed.exchange, self.feed.market.name, key


def _up_to(piece: pl.DataFrame, order: str | None) -> pl.Expr:
    """Rows that belong before or into a piece, by symbol and, where symbols are cut, by the order within them."""
    symbol = piece["symbol"][-1]
    if order is None:
        return pl.col("symbol") <= symbol
    last = piece.filter(pl.col("symbol") == symbol)[order].max()
    return (pl.col("symbol") < symbol) | ((pl.col("symbol") == symbol) & (pl.col(order) <= last).fill_null(True))
