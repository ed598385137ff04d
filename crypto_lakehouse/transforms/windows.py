"""Windows of time bars: where they begin and end, in whole minutes since 1970-01-01 00:00 UTC.

Here belongs the calendar of intervals and offsets. What is summed over a window is in ``bars.py``.
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
    """``count`` windows of ``length`` minutes on the grid of ``offset``, one behind the other from ``begin``."""

    offset: timedelta
    begin: int
    length: int
    count: int

    @property
    def end(self) -> int:
        """End of the last one, exclusive."""
        return self.begin + self.length * self.count


def windows(interval: Interval, offset: timedelta, first: datetime, end: datetime) -> Iterator[Windows]:
    """The windows that close within (first, end]: all together, or one by one where months differ in length."""
    opens = earliest_open(interval, [offset], first)
    if interval.length is None:
        while (closes := _month_after(opens - offset) + offset) <= end:
            yield Windows(offset, minute_number(opens), (closes - opens) // MINUTE, 1)
            opens = closes
    elif (count := (end - opens) // interval.length) > 0:
        yield Windows(offset, minute_number(opens), interval.length // MINUTE, count)


def earliest_open(interval: Interval, offsets: Iterable[timedelta], first: datetime) -> datetime:
    """Begin of the earliest window that closes after ``first``: where its minutes begin."""
    return min(_open_of(first, interval, offset) for offset in offsets)


def minute_number(time: datetime) -> int:
    """Minutes since 1970-01-01 00:00 UTC."""
    return (time - EPOCH) // MINUTE


def _open_of(time: datetime, interval: Interval, offset: timedelta) -> datetime:
    """Begin of the window that ``time`` is in."""
    if interval.length is None:
        at = time - offset
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + offset
    origin = EPOCH + (timedelta(minutes=_MONDAY) if interval.name == "1w" else timedelta()) + offset
    return origin + (time - origin) // interval.length * interval.length


def _month_after(begin: datetime) -> datetime:
    following = date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
    return datetime.combine(following, begin.timetz())
