"""Gaps in the ids of events, and the time of a gap that no answer has settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing events of a symbol in [``start``, ``end``), UTC; ``first_id`` is the first missing id, if it is known.

    ``start`` is the time of the event before, and ``end`` that of the event after: both may share it with missing ones.
    """

    first_id: int | None
    start: datetime
    end: datetime


def gaps_between(rows: pl.DataFrame) -> Iterator[tuple[str, Gap]]:
    """The gaps between rows of each symbol; ``rows`` have symbol, id and time, and are in order of symbol and id."""
    symbol, event_id, time = rows.columns
    before = rows.with_columns(
        pl.col(event_id).shift().over(symbol).alias("id before"), pl.col(time).shift().over(symbol).alias("time before")
    )
    for row in before.filter(pl.col(event_id) - pl.col("id before") > 1).iter_rows(named=True):
        yield row[symbol], Gap(row["id before"] + 1, row["time before"], row[time])


def uncovered(gap: Gap, settled: Iterable[tuple[datetime, datetime]]) -> datetime | None:
    """The first time of a gap that no span [start, end) covers; None if they cover all of it.

    >>> hours = [datetime(2024, 5, 1, hour) for hour in range(4)]
    >>> gap = Gap(None, hours[0], hours[3])
    >>> uncovered(gap, [(hours[1], hours[2]), (hours[0], hours[1])]) == hours[2]
    True
    >>> uncovered(gap, [(hours[0], hours[3])]) is None
    True
    """
    since = gap.start
    for start, end in sorted(settled):
        if start <= since < end:
            since = end
    return since if since < gap.end else None
