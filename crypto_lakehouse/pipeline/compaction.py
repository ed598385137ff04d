"""Choose the months of a table that are complete and have no up-to-date month file.

``lake/storage/compaction.py`` defines and writes month files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from crypto_lakehouse.catalog import Cadence, Feed, parse_partition, partition_keys
from crypto_lakehouse.lake.storage.compaction import MonthInfo, compact_month
from crypto_lakehouse.lake.storage.describe import list_slice_files
from crypto_lakehouse.lake.storage.months import current_months, month_of
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

_NAMED = 5


class IncompleteMonth(LakeError):
    """A month is not over, or days of it are missing. The text names them, with the command that builds the days."""


@dataclass(frozen=True, slots=True)
class MonthState:
    """A month with at least one day: its ``missing`` days, and whether its month file is ``current``."""

    month: str
    slice: TableSlice
    missing: tuple[str, ...]
    current: bool

    @property
    def missing_text(self) -> str:
        """The first missing days, with the command that builds all of them."""
        days = ", ".join(self.missing[:_NAMED]) + (", ..." if len(self.missing) > _NAMED else "")
        return f"missing {days}; build them with: {self.slice.backfill_command(self.missing[0], self.missing[-1])}"


def month_states(table_slice: TableSlice, feed: Feed, store: LakeStore, today: date) -> list[MonthState]:
    """Every month that ended before the UTC day ``today``, that the feed covers and that has a stored day, in order.

    Costs two listings. ``feed`` is the one that the table is made from: a month is complete when the slice has every
    day that it covers, empty days included.
    """
    stored = list_slice_files(store, table_slice)
    days = {file.key for file in stored}
    current = current_months(store, table_slice, stored)
    states = []
    for month in sorted({month_of(day) for day in days}):
        first, end = parse_partition(month, Cadence.MONTHLY)
        if end <= today:
            wanted = [day for day in partition_keys(first, end, Cadence.DAILY) if feed.covers(date.fromisoformat(day))]
            if wanted:
                missing = tuple(day for day in wanted if day not in days)
                states.append(MonthState(month, table_slice, missing, month in current))
    return states


def compact_months(
    table_slice: TableSlice, feed: Feed, months: Iterable[str], store: LakeStore, today: date
) -> Iterator[MonthInfo]:
    """Write the month files of complete months; files that are up to date are not rewritten.

    Raises IncompleteMonth after all other months if some are not complete, and LakeError like ``compact_month``.
    """
    states = {state.month: state for state in month_states(table_slice, feed, store, today)}
    incomplete: list[str] = []
    for month in months:
        state = states.get(month)
        if state is None:
            incomplete.append(f"{month} is not over or has no days")
        elif state.missing:
            incomplete.append(f"{month} is {state.missing_text}")
        else:
            yield compact_month(store, table_slice, month)
    if incomplete:
        raise IncompleteMonth(f"{table_slice.place} cannot be compacted: {'; '.join(incomplete)}")
