"""Which months of a feed can be made into month files, and are not yet.

What a month file is, and how one is made, is told in ``lake/compaction.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from crypto_lakehouse.catalog import Cadence, Feed, parse_partition, partition_keys
from crypto_lakehouse.lake.compaction import MonthInfo, compact_month
from crypto_lakehouse.lake.describe import list_parts
from crypto_lakehouse.lake.months import current_months, month_of
from crypto_lakehouse.lake.store import LakeError, LakeStore

_NAMED = 5


class IncompleteMonth(LakeError):
    """A month that is not over or lacks days. Says which and what to do next."""


@dataclass(frozen=True, slots=True)
class MonthState:
    """A month that silver has days of: the days it lacks, and whether its month file is there and up to date."""

    month: str
    missing: tuple[str, ...]
    current: bool

    @property
    def lacks(self) -> str:
        """The missing days in words."""
        return ", ".join(self.missing[:_NAMED]) + (", ..." if len(self.missing) > _NAMED else "")


def month_states(feed: Feed, store: LakeStore, today: date) -> list[MonthState]:
    """Every month that is over before the UTC day ``today``, that the feed covers and of which silver has days, in
    order; by two listings.

    A month is complete when every day is there that the feed covers, empty ones included.
    """
    where = ("silver", feed.table, feed.exchange, feed.market.name)
    stored = list_parts(store, *where[:2], f"exchange={where[2]}/market={where[3]}")
    days = {part.key for part in stored}
    current = current_months(store, *where, stored)
    states = []
    for month in sorted({month_of(day) for day in days}):
        first, end = parse_partition(month, Cadence.MONTHLY)
        if end <= today:
            wanted = [day for day in partition_keys(first, end, Cadence.DAILY) if feed.covers(date.fromisoformat(day))]
            if wanted:
                states.append(MonthState(month, tuple(day for day in wanted if day not in days), month in current))
    return states


def compact_months(feed: Feed, months: Iterable[str], store: LakeStore, today: date) -> Iterator[MonthInfo]:
    """Make the month files of complete months; those that are up to date stay as they are.

    Raises IncompleteMonth, behind all others, if some months are not complete, LakeError like ``compact_month``.
    """
    states = {state.month: state for state in month_states(feed, store, today)}
    lacking: list[str] = []
    for month in months:
        state = states.get(month)
        if state is None:
            lacking.append(f"{month} is not over or has no days")
        elif state.missing:
            lacking.append(f"{month} lacks {state.lacks}")
        else:
            yield compact_month(store, "silver", feed.table, feed.exchange, feed.market.name, month)
    if lacking:
        raise IncompleteMonth(f"{feed.name}: {'; '.join(lacking)}. Materialize these days of silver, then compact")
