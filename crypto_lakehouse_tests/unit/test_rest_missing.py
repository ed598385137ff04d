"""What is missing of a day of bars, and the requests for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.transforms.rest.missing import Settled, Times, missing_times, open_times, request_spans

pytestmark = pytest.mark.requirement("F2.15")

DAY = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRID = open_times(DAY, DAY + timedelta(days=1), MINUTE)
LATER = DAY + timedelta(days=2)


def minutes(*numbers: int) -> Times:
    return GRID[list(numbers)]


def times_within(start: datetime, end: datetime) -> set[int]:
    return set(open_times(start, end, MINUTE).tolist())


@given(st.sets(st.integers(0, 1439)), st.integers(1, 1500))
def test_requests_cover_every_missing_minute_once_and_never_ask_for_more_than_fits(absent: set[int], most: int) -> None:
    present = np.delete(GRID, sorted(absent))
    missing = missing_times(GRID, present, [], LATER)
    spans = list(request_spans(missing, MINUTE, most))
    asked = [times_within(*span) for span in spans]
    assert all(0 < len(each) <= most for each in asked)
    assert sum(map(len, asked)) == len(set().union(*asked))
    assert set(missing.tolist()) <= set().union(*asked)
    # A request starts and ends with a missing minute.
    assert all({min(each), max(each)} <= set(missing.tolist()) for each in asked)


def test_minutes_of_an_answer_are_asked_again_only_after_a_day_or_a_month() -> None:
    for asked_at, again in ((LATER, timedelta(days=1)), (DAY + timedelta(days=400), timedelta(days=30))):
        settled = [Settled(DAY, DAY + timedelta(hours=1), asked_at)]
        soon = missing_times(GRID, minutes(), settled, asked_at + again - MINUTE)
        assert soon.tolist() == GRID[60:].tolist()
        assert missing_times(GRID, minutes(), settled, asked_at + again).tolist() == GRID.tolist()


def test_a_full_day_misses_nothing() -> None:
    assert list(request_spans(missing_times(GRID, GRID, [], LATER), MINUTE, 499)) == []
