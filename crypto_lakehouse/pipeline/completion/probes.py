"""Probes: one cheap request each that shows on which of many missing days an exchange has rows of a symbol.

Without them a symbol that was listed later, or no longer trades, would cost a request for each of its days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from crypto_lakehouse.catalog.rest import Overflow, RestEndpoint
from crypto_lakehouse.pipeline.completion.wanted import Day
from crypto_lakehouse.rest.requests import RestRequest


@dataclass(frozen=True, slots=True)
class Probe:
    """A request for one row of a stretch of days, of which nothing is known."""

    request: RestRequest
    days: tuple[Day, ...]

    def settles(self, row: datetime | None) -> Iterator[tuple[Day, datetime, datetime]]:
        """The spans [start, end) of its days that the answer settles; ``row`` is the time of the one row, if any.

        An exchange answers the oldest row of the range, or the newest, so nothing lies before or after it.
        """
        endpoint = self.request.endpoint
        assert endpoint.step is not None
        for day in self.days:
            start, end = day.start, day.end
            if row is not None:
                after = row + endpoint.step
                if endpoint.overflow is not Overflow.NEWEST:
                    end = min(end, after)
                if endpoint.overflow is not Overflow.OLDEST:
                    start = max(start, row)
            if start < end:
                yield day, start, end


def first_request(endpoint: RestEndpoint, symbol: str, since: datetime) -> RestRequest | None:
    """The request for the first row of a symbol since a time; None where an exchange answers the newest rows."""
    return RestRequest(endpoint, symbol, start=since, limit=1) if endpoint.overflow is Overflow.OLDEST else None


def probes(symbols: Sequence[str], days: Sequence[Day]) -> Iterator[Probe]:
    """Probes of the stretches of days of which nothing is known."""
    for symbol in symbols:
        for stretch in _stretches(symbol, days):
            for part in _parts(stretch):
                # A single day that fits into one answer is requested at once.
                if len(part) > 1 or part[0].grid.size > part[0].endpoint.best_limit:
                    request = RestRequest(part[0].endpoint, symbol, part[0].since, part[-1].end, limit=1)
                    yield Probe(request, tuple(part))


def _stretches(symbol: str, days: Sequence[Day]) -> Iterator[list[Day]]:
    stretch: list[Day] = []
    for day in days:
        is_open = day.is_whole(symbol)
        if stretch and not (is_open and stretch[-1].end == day.start):
            yield stretch
            stretch = []
        if is_open:
            stretch.append(day)
    if stretch:
        yield stretch


def _parts(stretch: Sequence[Day]) -> Iterator[list[Day]]:
    """Cut a stretch where a request would be longer than the exchange allows."""
    longest = stretch[0].endpoint.max_span or timedelta.max
    part: list[Day] = []
    for day in stretch:
        if part and day.end - part[0].start > longest:
            yield part
            part = []
        part.append(day)
    yield part
