"""Breadth and correlation, computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crypto_lakehouse.transforms.gold.cross_section import COLUMNS, breadth, correlation

pytestmark = pytest.mark.requirement("F6.17")

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def bars(**closes: list[float | None]) -> pl.DataFrame:
    """Daily bars by symbol; None is a day without a bar."""
    rows = [
        (symbol, 0, FIRST + day * DAY, FIRST + (day + 1) * DAY - timedelta(microseconds=1), close, FIRST + day * DAY)
        for symbol, values in closes.items()
        for day, close in enumerate(values)
        if close is not None
    ]
    time = pl.Datetime("us", "UTC")
    types = (pl.String, pl.Int64, time, time, pl.Float64, time)
    return pl.DataFrame(rows, schema=dict(zip(COLUMNS, types, strict=True)), orient="row")


def test_breadth_counts_who_rises_falls_and_is_above_the_average_of_two_days() -> None:
    rows = breadth(bars(A=[1.0, 2.0, 3.0], B=[3.0, 2.0, 2.0], C=[None, 5.0, 4.0]), average=2)
    # 2nd: A rises, B falls, C is new. Averages: A 1.5, B 2.5. 3rd: A rises, B stays, C falls; 2.5, 2, 4.5.
    assert rows.rows() == [
        (FIRST + DAY, 2, 1, 1, 2, 1, 1 / 2, 1 / 2),
        (FIRST + 2 * DAY, 3, 1, 1, 3, 1, 1 / 3, 1 / 3),
    ]


def test_nothing_is_compared_across_a_missing_day_a_segment_or_a_day_without_trades() -> None:
    missing = bars(A=[1.0, None, 2.0])
    assert breadth(missing, 2).is_empty()
    cut = bars(A=[1.0, 2.0]).with_columns(segment=pl.Series([0, 1]))
    assert breadth(cut, 2).is_empty()
    silent = bars(A=[1.0, 1.0, 2.0]).with_columns(
        first_minute=pl.when(pl.col("open_time") != FIRST + DAY).then("first_minute")
    )
    assert breadth(silent, 2).is_empty()


def test_a_price_that_does_not_move_is_not_above_its_average() -> None:
    rows = breadth(bars(A=[0.1] * 30), average=7)
    assert rows["averaged"].sum() == 24
    assert rows["above"].sum() == 0
    assert rows.filter(averaged=0)["above_share"].to_list() == [None] * 5


def test_correlation_of_returns_by_hand() -> None:
    # Returns: A 0.1, 0.2, 0.3; B 0.1, 0.3, 0.2: (0.01 + 0 + 0) / sqrt(0.02 * 0.02) = 1/2. C moves against A.
    a, b, c = ([1.0], [1.0], [1.0])
    for x, y in zip((0.1, 0.2, 0.3), (0.1, 0.3, 0.2), strict=True):
        a.append(a[-1] * (1 + x))
        b.append(b[-1] * (1 + y))
        c.append(c[-1] * (1 - x))
    rows = correlation(bars(A=a, B=b, C=c, D=[5.0] * 4, E=[None, *a[:3]]))
    values = {(symbol, other): (value, count) for symbol, other, value, count in rows.rows()}
    assert values["A", "B"] == values["B", "A"] == (pytest.approx(0.5), 3)
    assert values["A", "C"] == (pytest.approx(-1.0), 3)
    assert values["A", "A"] == (pytest.approx(1.0), 3)
    assert values["A", "D"] == (None, 3)
    assert values["A", "E"] == (None, 2)
    assert rows.height == 25


def test_no_bars_have_no_breadth_and_no_correlation() -> None:
    assert breadth(bars(A=[]), 2).is_empty()
    assert correlation(bars(A=[])).is_empty()
