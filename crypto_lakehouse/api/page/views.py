"""The range of time of a view, and the ranges next to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from crypto_lakehouse.catalog import Cadence, parse_partition

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Day:
    """A view of a day or month: the ones before and after it, and the week and month around it as (start, end)."""

    before: str
    after: str
    week: tuple[str, str]
    month: tuple[str, str]

    @classmethod
    def around(cls, day: str, first: date, last: date) -> Self:
        """The views around ``day`` or, without one, around the bars from ``first`` until ``last``."""
        start, end = days_of(day) if day else (first, last)
        # A day leads to a day, a month to a month.
        length = len(day) or len("2024-12-31")
        monday, month = start - start.weekday() * _DAY, start.replace(day=1)
        return cls(
            str(start - _DAY)[:length],
            str(end)[:length],
            (str(monday), str(monday + 7 * _DAY)),
            (str(month), str((month + 32 * _DAY).replace(day=1))),
        )


def days_of(text: str) -> tuple[date, date]:
    """The UTC days [start, end) of a day or month. Raises ValueError.

    >>> days_of("2024-02")
    (datetime.date(2024, 2, 1), datetime.date(2024, 3, 1))
    """
    return parse_partition(text, Cadence.MONTHLY if len(text) == 7 else Cadence.DAILY)


def next_days(text: str) -> tuple[str, str]:
    """The days before and after a day. Raises ValueError."""
    start, end = days_of(text)
    return str(start - _DAY), str(end)


def symbol_range(asked: dict[str, str]) -> tuple[str | None, str | None]:
    """Start and end of the bars of a view; ``day`` wins over ``start`` and ``end``."""
    if asked["day"]:
        start, end = days_of(asked["day"])
        return str(start), str(end)
    return asked["start"] or None, asked["end"] or None
