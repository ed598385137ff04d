"""What is missing of a series of bars, when to ask for it again, and the spans of the requests for it.

Times are microseconds since the epoch in arrays, UTC datetimes elsewhere; spans are [start, end), end exclusive. What
the lake holds and what was asked before is read in ``pipeline/completion``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.int64]
Span: TypeAlias = tuple[datetime, datetime]

MARGIN = timedelta(seconds=10)
"""A bar counts as complete this long after its end, by the clock of the exchange: late trades may still change it."""

RECENT = timedelta(days=30)
ASK_RECENT_AGAIN, ASK_OLD_AGAIN = timedelta(days=1), timedelta(days=30)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Settled:
    """A span of time that an answer at ``asked_at`` settled: the exchange has no other rows of it than the answer's."""

    start: datetime
    end: datetime
    asked_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether times without a row are to be asked again: an exchange may publish recent rows late.

        The time is asked again after a day if it was at most 30 days old when it was asked, else after 30 days.

        >>> day = datetime(2024, 5, 1, tzinfo=UTC)
        >>> asked = Settled(day, day + timedelta(days=1), day + timedelta(days=2))
        >>> asked.is_due(day + timedelta(days=2, hours=23)), asked.is_due(day + timedelta(days=3))
        (False, True)
        """
        is_recent = self.asked_at - self.end <= RECENT
        return now - self.asked_at >= (ASK_RECENT_AGAIN if is_recent else ASK_OLD_AGAIN)


def open_times(start: datetime, end: datetime, step: timedelta) -> Times:
    """The starts of the bars within [start, end); ``start`` is one of them.

    >>> open_times(_EPOCH, _EPOCH + timedelta(minutes=2), timedelta(minutes=1)).tolist()
    [0, 60000000]
    """
    return np.arange(microseconds(start), microseconds(end), step // _MICROSECOND, dtype=np.int64)


def missing_times(grid: Times, present: Times, settled: Iterable[Settled], now: datetime) -> Times:
    """Those times of the grid that are neither present nor settled, in order."""
    missing = np.setdiff1d(grid, present, assume_unique=False)
    for each in settled:
        if missing.size and not each.is_due(now):
            missing = missing[(missing < microseconds(each.start)) | (missing >= microseconds(each.end))]
    return missing


def request_spans(missing: Times, step: timedelta, most: int) -> Iterator[Span]:
    """Spans that cover the missing times, each of at most ``most`` steps, from one missing time to another.

    So an answer never has more rows than fit, and it does not matter which end of a longer one an exchange cuts off.

    >>> minute = timedelta(minutes=1)
    >>> spans = request_spans(np.array([0, 60, 600]) * 1_000_000, minute, 5)
    >>> [(start.strftime("%H:%M"), end.strftime("%H:%M")) for start, end in spans]
    [('00:00', '00:02'), ('00:10', '00:11')]
    """
    width = (step // _MICROSECOND) * most
    while missing.size:
        inside = missing[missing < missing[0] + width]
        yield from_microseconds(inside[0]), from_microseconds(inside[-1]) + step
        missing = missing[inside.size :]


def microseconds(time: datetime) -> int:
    """Microseconds since the epoch."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(micros: np.int64) -> datetime:
    """The UTC time at that many microseconds since the epoch."""
    return _EPOCH + int(micros) * _MICROSECOND
