"""What silver is missing of a partition after archive and stored answers: by symbol, as times and as requests.

Nothing here sends a request. ``partitions.py`` sends them; the arithmetic is in ``transforms/rest/missing.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.catalog.rest import RestEndpoint
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.completion.answered import Answers, partition_span
from crypto_lakehouse.pipeline.neighbours import Neighbourhood
from crypto_lakehouse.rest.requests import RestRequest, windows
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.transforms.rest.funding import covered_hours
from crypto_lakehouse.transforms.rest.missing import (
    MARGIN,
    Settled,
    Times,
    from_microseconds,
    microseconds,
    missing_times,
    open_times,
    request_spans,
)
from crypto_lakehouse.transforms.silver.clean import within
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of

WITHIN_REACH = timedelta(hours=1)
"""How much less than the reach of an endpoint is requested: clocks may differ, and requests wait for their turn."""

_NONE: Times = np.array([], dtype=np.int64)


@dataclass(slots=True)
class Day:
    """One partition: the times at which its symbols need a row, the times at which they have one, and what is settled.

    ``present`` has the times of rows that silver takes from the archive, ``answered`` those of answers, where they are
    asked again, in microseconds since the epoch. ``first`` maps symbols to the first row that the exchange has of them,
    where that is known; days share it. ``grid`` has the times that can be requested.
    """

    feed: Feed
    key: str
    endpoint: RestEndpoint
    start: datetime
    end: datetime
    grid: Times
    present: dict[str, Times]
    answers: Answers
    settled: dict[str, list[Settled]]
    first: dict[str, datetime]
    now: datetime
    answered: dict[str, Times] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        answers: Answers,
        endpoint: RestEndpoint,
        present: dict[str, Times],
        store: LakeStore,
        first: dict[str, datetime],
        now: datetime,
    ) -> Day:
        """The state of the partition of ``answers``, whose archive rows are ``present``."""
        assert endpoint.step is not None
        feed, key = answers.feed, answers.key
        start, end = partition_span(feed, key)
        grid = open_times(start, complete_until(start, end, endpoint.step, now), endpoint.step)
        if endpoint.reach is not None:
            grid = grid[grid >= microseconds(now - endpoint.reach + WITHIN_REACH)]
        settled = answers.settled(endpoint)
        day = cls(feed, key, endpoint, start, end, grid, present, answers, settled, first, now)
        if partly := [symbol for symbol in settled if any(each.is_due(now) for each in settled[symbol])]:
            # Of what is asked again, rows that answers have already are not asked for.
            rows = answers.rows(store, partly).filter(pl.col("source_key").str.starts_with(f"{endpoint.path}?"))
            step = endpoint.step // timedelta(microseconds=1)
            day.answered = _by_symbol(rows.select("symbol", pl.col(endpoint.time_column) * 1000 // step * step))
        return day

    def missing(self, symbol: str, now: datetime) -> Times:
        """The times of a symbol that neither the archive nor an answer has, and that are to be requested now."""
        present, first = self.present.get(symbol, _NONE), self.first.get(symbol, self.start)
        is_full = self.endpoint.reach is None and present.size >= self.grid.size
        if is_full or not self.grid.size or first >= self.end:
            return _NONE
        settled = [Settled(self.start, first, now), *self.settled.get(symbol, ())]
        return missing_times(self.grid, np.union1d(present, self.answered.get(symbol, _NONE)), settled, now)

    @property
    def since(self) -> datetime:
        """The first time that can be requested; ``end`` if there is none."""
        return from_microseconds(self.grid[0]) if self.grid.size else self.end

    def is_whole(self, symbol: str) -> bool:
        """Whether nothing at all is known of a symbol on this day, and it may have had rows."""
        is_settled = any(not each.is_due(self.now) for each in self.settled.get(symbol, ()))
        is_known = is_settled or symbol in self.present or symbol in self.answered
        return bool(self.grid.size) and not is_known and self.first.get(symbol, self.start) < self.end

    def settle(self, symbol: str, span: Settled) -> None:
        """Add a span that an answer has settled just now."""
        self.settled.setdefault(symbol, []).append(span)

    def requests(self, symbols: Sequence[str], now: datetime) -> Iterator[RestRequest]:
        """The requests for the missing times of symbols, in order."""
        step = self.endpoint.step
        assert step is not None
        for symbol in symbols:
            for start, end in request_spans(self.missing(symbol, now), step, self.endpoint.best_limit):
                yield from windows(self.endpoint, symbol, start, end)


def archive_times(feed: Feed, key: str, store: LakeStore) -> dict[str, Times]:
    """The times at which silver has a row of the archive's files, by symbol, in microseconds since the epoch.

    Of funding rates, the hours around events are added, in which there are no others.
    """
    first, end = parse_partition(key, feed.cadence)
    frames = [
        cleaner_of(feed)(piece, feed, first, end).rows.with_columns(pl.col("symbol").cast(pl.String))
        for piece in Neighbourhood.find(feed, key, store).pieces(store)
    ]
    if not frames:
        return {}
    rows = pl.concat(frames)
    if feed.schema == FUNDING_RATES.name:
        times = covered_hours(rows)
    else:
        times = rows.select("symbol", silver_schema(feed).primary_key[-1])
    return _by_symbol(times.filter(within(pl.last(), first, end)).select("symbol", pl.last().dt.epoch("us")))


def complete_until(start: datetime, end: datetime, step: timedelta, now: datetime) -> datetime:
    """The end of the last whole step of [start, end) that was over some time before ``now``; at least ``start``."""
    steps = (min(end, now - MARGIN) - start) // step
    return start + max(steps, 0) * step


def _by_symbol(rows: pl.DataFrame) -> dict[str, Times]:
    """The times of each symbol, in order, from the columns symbol and time."""
    # Most symbols have the same times, so that a run of many days needs little memory.
    shared: dict[bytes, Times] = {}
    times = {}
    for (symbol,), of_symbol in rows.partition_by("symbol", as_dict=True).items():
        each = of_symbol.to_series(1).unique().sort().to_numpy()
        times[str(symbol)] = shared.setdefault(each.tobytes(), each)
    return times
