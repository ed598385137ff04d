"""Times that the reader accepts, and the range of a read.

Every time becomes a datetime in UTC here. Which partitions a range needs is decided in ``scan.py``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias, Union

from crypto_lakehouse.catalog.names import too_late

if TYPE_CHECKING:
    import numpy as np

Time: TypeAlias = Union[str, date, datetime, "np.datetime64"]
"""Text (``2024-12-31``, ``2024-12-31T12:00``, ``2024-12``), a date, a datetime, or a time of NumPy or pandas."""
Length: TypeAlias = Union[str, timedelta, "np.timedelta64"]
"""Text such as ``30d``, ``12h``, ``90m`` or ``4w``, or a difference of times of Python, NumPy or pandas."""

_MICROSECOND = timedelta(microseconds=1)
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_LENGTH = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range [start, end) in UTC, None where open. With ``last``, the start is so long before the end."""

    start: datetime | None
    end: datetime | None
    last: timedelta | None = None

    def within(self, stored_ends: Iterable[date]) -> tuple[datetime | None, datetime | None]:
        """Return start and end; ``last`` counts back from ``end`` or, without it, from the newest stored partition.

        ``stored_ends`` are the days after the last days of stored partitions.
        """
        if self.last is None:
            return self.start, self.end
        if self.end is not None:
            return self.end - self.last, self.end
        newest = max(stored_ends, default=None)
        return (None if newest is None else datetime.combine(newest, time.min, UTC) - self.last), None


def time_range(start: Time | None, end: Time | None, last: Length | None = None) -> TimeRange:
    """Return the range in UTC.

    Raises ValueError if a value is not a time, ``end`` is before ``start``, or ``start`` and ``last`` are both given.

    >>> time_range("2024-12", "2025-01").start
    datetime.datetime(2024, 12, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    first, stop = utc("start", start), utc("end", end)
    if first is not None and stop is not None and stop < first:
        raise ValueError(f"end {stop} is before start {first}: pass an end after the start; end is exclusive")
    if last is None:
        return TimeRange(first, stop)
    if first is not None:
        raise ValueError("start and last both say where the range starts: pass one of them")
    return TimeRange(None, stop, length("last", last))


def utc(argument: str, value: Time | None) -> datetime | None:
    """Return a time in UTC; a naive time is taken as UTC, None stays None. Raises ValueError if it is not a time.

    A time between two microseconds becomes the later one, so ranges that it starts or ends have the same rows.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _parsed(argument, value)
    # Only NaN and NaT differ from themselves; NaT is an instance of datetime.
    if value != value:
        raise ValueError(f"{argument} is {value}, which is not a time: omit {argument} or pass a time")
    # A value of NumPy exists only if NumPy is loaded.
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.datetime64):
        whole = value.astype("datetime64[us]")
        value = whole.item() + (_MICROSECOND if whole < value else timedelta(0))
    elif getattr(value, "nanosecond", 0):
        value = value.to_pydatetime(warn=False) + _MICROSECOND  # type: ignore[union-attr]
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    hint = "; for a count of milliseconds since 1970 pass pandas.to_datetime(count, unit='ms')"
    raise ValueError(
        f"{argument} must be text, a date or a datetime, not {value!r}{hint if isinstance(value, int) else ''}"
    )


def _parsed(argument: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
    except ValueError:
        if late := too_late(text):
            raise ValueError(f"{argument} {text!r} is not a time: {late}") from None
        hint = f"; for the newest rows pass last={text!r}" if _LENGTH.fullmatch(text) else ""
        raise ValueError(
            f"{argument} {text!r} is not an ISO 8601 time such as 2024-01-31, 2024-01-31T12:00 or 2024-01{hint}"
        ) from None


def length(argument: str, value: Length) -> timedelta:
    """Return a length of time. Raises ValueError if it is none, or not positive.

    >>> length("last", "36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(value, str):
        match = _LENGTH.fullmatch(value.strip())
        if not match:
            raise ValueError(
                f"{argument} {value!r} is not a length such as 30d, 12h, 90m or 4w (days, hours, minutes, weeks)"
            )
        return int(match[1]) * _UNITS[match[2]]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.timedelta64) and value == value:
        value = value.astype("timedelta64[us]").item()
    if not isinstance(value, timedelta) or value != value or value <= timedelta(0):
        raise ValueError(f"{argument} must be a length such as '30d' or timedelta(days=30), not {value!r}")
    return value
