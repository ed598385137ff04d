"""Find the rows of a partition in neighbouring bronze partitions, and join them to its own rows.

A bronze partition holds exactly the rows of its files, so a row one step outside of its file's day is stored with that
file; silver puts it into the day that it belongs to. This module finds such rows, at little cost if none exist, and
joins them to a partition's pieces. ``transforms/silver/edges.py`` defines them; ``silver.py`` cleans them and decides
when to rebuild a partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition, partition_key
from crypto_lakehouse.lake.storage.partitions import partition_exists
from crypto_lakehouse.lake.storage.pieces import column_spans, read_pieces
from crypto_lakehouse.lake.storage.provenance import StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES, EdgeRule, own_rows, visiting_rows

SIDES = (-1, 1)
"""Offsets of the neighbours, in the order of their keys."""


def has_edges(feed: Feed) -> bool:
    """Whether rows of a partition may lie in the files of its neighbours."""
    return feed.schema in EDGE_RULES


def neighbour_keys(feed: Feed, key: str) -> list[str]:
    """The partitions before and after ``key``, whose files may hold rows of it.

    Returns none for archive types whose rows never lie outside their file's day.
    """
    if not has_edges(feed):
        return []
    start, end = parse_partition(key, feed.cadence)
    return [partition_key(day, feed.cadence) for day in (start - timedelta(days=1), end)]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored bronze partition before (``offset`` -1) or after (1) another, with row groups that may hold its rows.

    ``stored`` is None if the footer cannot be read; ``groups`` are the numbers of these row groups.
    """

    key: str
    offset: int
    stored: StoredPartition | None
    groups: frozenset[int]


@dataclass(slots=True)
class Neighbourhood:
    """A partition of a feed with the neighbours whose files may hold rows of it.

    ``received`` counts rows from neighbours' files, ``handed_over`` rows of its own files that belong to a neighbour.
    Both are complete at the end of ``pieces``.
    """

    feed: Feed
    key: str
    neighbours: list[Neighbour]
    received: int = field(default=0, init=False)
    handed_over: int = field(default=0, init=False)

    @classmethod
    def find(cls, feed: Feed, key: str, store: LakeStore) -> Neighbourhood:
        """Find the neighbours of a stored partition. Raises DamagedFile if a neighbour cannot be read."""
        rule = EDGE_RULES.get(feed.schema)
        neighbours: list[Neighbour] = []
        if rule is not None:
            start, end = parse_partition(key, feed.cadence)
            for offset, other in zip(SIDES, neighbour_keys(feed, key), strict=True):
                partition = TableSlice.of_feed("bronze", feed).partition(other)
                stored = stored_partition(store, partition)
                if stored is None and not partition_exists(store, partition):
                    continue
                spans = column_spans(store, partition, rule.column)
                times = rule.visiting(start, end, offset)
                groups = frozenset(n for n, span in enumerate(spans) if rule.may_have(span, *times))
                if groups:
                    neighbours.append(Neighbour(other, offset, stored, groups))
        return cls(feed, key, neighbours)

    def pieces(self, store: LakeStore) -> Iterator[pl.DataFrame]:
        """Bronze rows of the partition in pieces (``read_pieces``).

        These are the rows of its own files that do not belong to a neighbour, and its rows in neighbours' files. Raises
        MissingPartition if the bronze partition is missing.
        """
        rule, order = EDGE_RULES.get(self.feed.schema), bronze_schema(self.feed).id_column
        own = read_pieces(store, self._bronze(self.key), order=order)
        if rule is None or not (self.neighbours or self._leaves(rule, store)):
            yield from own
            return
        start, end = parse_partition(self.key, self.feed.cadence)
        visitors = self._visitors(rule, store, start, end)
        for piece in own:
            stay = own_rows(piece, rule, start, end)
            self.handed_over += piece.height - stay.height
            if visitors is None:
                yield stay
                continue
            in_piece = _up_to(piece, order)
            yield pl.concat([stay, visitors.filter(in_piece)])
            visitors = visitors.filter(~in_piece)
        if visitors is not None and visitors.height:
            yield visitors

    def _leaves(self, rule: EdgeRule, store: LakeStore) -> bool:
        """Whether the partition's own files may hold rows of a neighbour."""
        spans = column_spans(store, self._bronze(self.key), rule.column)
        times = rule.leaving(*parse_partition(self.key, self.feed.cadence))
        return any(rule.may_have(span, *period) for span in spans for period in times)

    def _visitors(self, rule: EdgeRule, store: LakeStore, start: date, end: date) -> pl.DataFrame | None:
        """The rows of the partition in its neighbours' files; None if they have no such row."""
        frames = []
        order = bronze_schema(self.feed).id_column
        for neighbour in self.neighbours:
            # Facts about a file need all its rows.
            groups = None if rule.with_facts else neighbour.groups
            for piece in read_pieces(store, self._bronze(neighbour.key), order=order, groups=groups):
                rows = visiting_rows(piece, rule, start, end, neighbour.offset)
                if rows.height:
                    frames.append(rows)
        if not frames:
            return None
        visitors = pl.concat(frames)
        self.received = visitors.height
        return visitors

    def _bronze(self, key: str) -> Partition:
        return TableSlice.of_feed("bronze", self.feed).partition(key)


def _up_to(piece: pl.DataFrame, order: str | None) -> pl.Expr:
    """Rows that belong before or into a piece: by symbol, and within a symbol by ``order`` if pieces cut symbols."""
    symbol = piece["symbol"][-1]
    if order is None:
        return pl.col("symbol") <= symbol
    last = piece.filter(pl.col("symbol") == symbol)[order].max()
    return (pl.col("symbol") < symbol) | ((pl.col("symbol") == symbol) & (pl.col(order) <= last).fill_null(True))
