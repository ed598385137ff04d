"""The rows of a monthly file by day: each row and each refused line is in exactly one day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.transforms.months import days_of_rows, refused_by_day
from crypto_lakehouse.transforms.parse import RejectedRow

FIRST, END = date(2024, 2, 1), date(2024, 3, 1)
MIDNIGHT = datetime(2024, 2, 1, tzinfo=UTC)


def ms(hours: float) -> int:
    return int((MIDNIGHT + timedelta(hours=hours)).timestamp() * 1000)


def days(*times: int) -> list[int | None]:
    return days_of_rows(pl.Series(times, dtype=pl.Int64), FIRST, END).dt.day().to_list()


def test_the_edges_of_days_and_of_the_month() -> None:
    assert days(ms(0), ms(24) - 1, ms(24), ms(29 * 24) - 1) == [1, 1, 2, 29]
    # Microseconds.
    assert days(ms(0) * 1000, ms(24) * 1000 - 1, ms(24) * 1000) == [1, 1, 2]


def test_a_row_of_another_month_or_without_a_time_stays_with_the_row_before_it() -> None:
    assert days(ms(-1), ms(0), ms(48), ms(29 * 24), -5, ms(72)) == [1, 1, 3, 3, 3, 4]
    assert days(ms(-1), ms(29 * 24)) == [None, None]


@given(st.lists(st.integers(-40, 800), min_size=1, max_size=60), st.sets(st.integers(1, 70), max_size=8))
def test_each_row_and_each_refused_line_is_in_one_day(hours: list[int], bad: set[int]) -> None:
    lines = [line for line in range(1, 140) if line not in bad][: len(hours)]
    of_rows = days_of_rows(pl.Series([ms(hour) for hour in hours]), FIRST, END)
    inside = [0 <= hour < 29 * 24 for hour in hours]
    assert (of_rows.null_count() == 0) == any(inside)
    if not any(inside):
        return
    for hour, is_inside, day in zip(hours, inside, of_rows, strict=True):
        assert not is_inside or day == FIRST + timedelta(hours=hour)
    refused = [RejectedRow(line, "not_a_number", "", "") for line in sorted(bad)]
    by_day = refused_by_day(refused, pl.Series(lines), of_rows)
    assert sorted(row.line for rows in by_day.values() for row in rows) == sorted(bad)
    assert set(by_day) <= set(of_rows)
    for day, rows in by_day.items():
        for row in rows:
            before = [known for line, known in zip(lines, of_rows, strict=True) if line < row.line]
            assert day == (before[-1] if before else of_rows[0])
