"""Keys of days as times, and the days around a day. No I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from crypto_lakehouse.catalog import Cadence, parse_partition, partition_key, partition_keys
from crypto_lakehouse.transforms.gold.continuous import GapRule


def day_span(key: str) -> tuple[datetime, datetime]:
    """[first, end) of a daily partition, UTC."""
    first, end = parse_partition(key, Cadence.DAILY)
    return datetime.combine(first, time(), UTC), datetime.combine(end, time(), UTC)


def date_of(key: str) -> date:
    """The date of a daily partition, UTC."""
    return parse_partition(key, Cadence.DAILY)[0]


def month_of(key: str) -> str:
    """The key of the month of a daily partition."""
    return partition_key(parse_partition(key, Cadence.DAILY)[0], Cadence.MONTHLY)


def days_between(days: Sequence[str], after: str, before: str) -> Sequence[str]:
    """Those of the sorted ``days`` that lie between two days, without these."""
    return days[bisect_right(days, after) : bisect_left(days, before)]


def days_of_patience(rule: GapRule) -> int:
    """The patience of the rule in days, rounded up."""
    return -(-rule.patience // timedelta(days=1))


def days_near(key: str, count: int) -> list[str]:
    """The ``count`` days after a day, or before it where that is negative."""
    day, step = date_of(key), timedelta(days=1)
    first, end = (day + step, day + (count + 1) * step) if count > 0 else (day + count * step, day)
    return partition_keys(first, end, Cadence.DAILY)
