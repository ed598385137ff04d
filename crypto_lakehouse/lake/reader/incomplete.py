"""Warnings of a read whose range goes beyond the stored partitions.

Missing partitions between the stored ones, and other reasons for missing rows, are in ``reasons.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from crypto_lakehouse.catalog import Cadence, find_market, partition_keys
from crypto_lakehouse.lake.reader.reasons import STATES, missing_partitions, outside_range
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.scan import Selection, Span
from crypto_lakehouse.lake.storage.building import source_feed, ways_to_build
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

NO_SYMBOLS = "symbols is an empty list, so the result has no rows. Leave out symbols to read all of them"

_DAY = timedelta(days=1)


def utc_today() -> date:
    """The UTC day that is not over yet."""
    return datetime.now(UTC).date()


def unbuilt(
    table_slice: TableSlice, stored: Collection[str], start: datetime | None, end: datetime | None, today: date
) -> list[str]:
    """Return the keys of [start, end) before the oldest and after the newest ``stored`` partition.

    Only those that the archive can have: no day before its first one, no day or month that is not over on ``today``. An
    open side of the range has none, and neither has a table of which one partition holds the whole state.
    """
    is_state = f"{table_slice.layer}.{table_slice.table}" in STATES
    if not stored or is_state or table_slice.layer in ("ledger", "quarantine"):
        return []
    cadence = table_slice.cadence
    oldest, newest = table_slice.partition(min(stored)), table_slice.partition(max(stored))
    first, over = _archived(table_slice, today)
    if cadence is Cadence.MONTHLY:
        over = min(over, today.replace(day=1))
    if start is not None:
        first = max(first, start.date())
    if end is not None and end.date() < over:
        over = end.date() + (_DAY if end.time() > time() else timedelta(0))
    keys = partition_keys(first, min(oldest.start, over), cadence) if start is not None else []
    return keys + (partition_keys(max(newest.end, first), over, cadence) if end is not None else [])


def beyond_stored(
    store: LakeStore, table: str, slices: Iterable[tuple[TableSlice, Collection[str], Sequence[str]]]
) -> str | None:
    """Return words on what is ``unbuilt``, given with each slice and its stored keys; None if nothing is."""
    texts, wanted = [], []
    for table_slice, stored, keys in slices:
        if not keys:
            continue
        before = sum(key < min(stored) for key in keys)
        runs = [f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0] for run in (keys[:before], keys[before:]) if run]
        texts.append(
            f"{table} of {table_slice.exchange}/{table_slice.market} in {store.uri} has partitions from {min(stored)}"
            f" to {max(stored)}, and the range is longer: rows of {' and '.join(runs)} are missing from the result"
        )
        first, last = table_slice.partition(keys[0]).start, table_slice.partition(keys[-1]).end
        wanted.append((table_slice, _midnight(first), _midnight(last)))
    return ". ".join(texts) + ways_to_build(store, wanted) if texts else None


def selected_beyond(
    store: LakeStore, request: RowRequest, selections: Sequence[Selection], span: Span, before_only: bool = False
) -> str | None:
    """Return words on the days of ``span`` beyond the stored partitions; with ``before_only``, before the oldest.

    A market that the caller did not name counts if some of its partitions are in the range.
    """
    today = store.as_of.date() if store.as_of else utc_today()
    end = None if before_only else span.end
    return beyond_stored(
        store,
        request.table,
        [
            (each.slice, each.stored, unbuilt(each.slice, each.stored, span.start, end, today))
            for each in selections
            if request.is_market_named or each.files
        ],
    )


def partition_warnings(
    store: LakeStore, request: RowRequest, span: Span, selections: Sequence[Selection]
) -> Iterator[str]:
    """Yield the warnings of a read that knows its files, but not yet its rows."""
    if request.symbols is not None and request.symbols.is_empty:
        yield NO_SYMBOLS
    yield from missing_partitions(store, request.table, request.exchange, selections, request.is_market_named)
    is_empty = not any(selection.files for selection in selections)
    outside = outside_range(store, request.table, span, selections) if is_empty else None
    if words := outside or selected_beyond(store, request, selections, span):
        yield words


def _archived(table_slice: TableSlice, today: date) -> tuple[date, date]:
    """The days [first, end) for which the archive can have what a table is built from."""
    feed = source_feed(table_slice)
    if feed is None:
        return find_market(table_slice.exchange, table_slice.market).first_date, today
    return feed.span(today)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
