"""Windows of time bars: their starts and ends, in whole minutes since 1970-01-01 00:00 UTC.

This module is the calendar of intervals and offsets. ``bars.py`` computes the bar of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from crypto_lakehouse.catalog import Interval

MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 1440
_MONDAY = 4 * _DAY  # 1970-01-05


@dataclass(frozen=True, slots=True)
class Windows:
    """``count`` consecutive windows of ``length`` minutes from ``begin`` on, on the grid of ``offset``."""

    offset: timedelta
    begin: int
    length: int
    count: int

    @property
    def end(self) -> int:
        """The end of the last window, exclusive."""
        return self.begin + self.length * self.count


def windows(interval: Interval, offset: timedelta, first: datetime, end: datetime) -> Iterator[Windows]:
    """The windows that close within (first, end]: in one item, or one item per window if months differ in length."""
    opens = earliest_open(interval, [offset], first)
    if interval.length is None:
        while (closes := _month_after(opens - offset) + offset) <= end:
            yield Windows(offset, minute_number(opens), (closes - opens) // MINUTE, 1)
            opens = closes
    elif (count := (end - opens) // interval.length) > 0:
        yield Windows(offset, minute_number(opens), interval.length // MINUTE, count)


def earliest_open(interval: Interval, offsets: Iterable[timedelta], first: datetime) -> datetime:
    """The start of the earliest window that closes after ``first``, which is the first minute to read."""
    return min(_open_of(first, interval, offset) for offset in offsets)


def minute_number(time: datetime) -> int:
    """Minutes since 1970-01-01 00:00 UTC."""
    return (time - EPOCH) // MINUTE


def _open_of(time: datetime, interval: Interval, offset: timedelta) -> datetime:
    """The start of the window that contains ``time``."""
    if interval.length is None:
        at = time - offset
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + offset
    origin = EPOCH + (timedelta(minutes=_MONDAY) if interval.name == "1w" else timedelta()) + offset
    return origin + (time - origin) // interval.length * interval.length


def _month_after(begin: datetime) -> datetime:
    following = date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
    return datetime.combine(following, begin.timetz())
