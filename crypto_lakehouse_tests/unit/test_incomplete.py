"""A range that goes beyond the stored partitions is named, with the command that builds the rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.lake.reader.incomplete import unbuilt
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F6.2")

TABLE = "gold.bars_1h"
BARS, RATES = TableSlice("gold", "binance", "um", "bars_1h"), TableSlice("silver", "binance", "um", "funding_rates")
TODAY = date(2024, 1, 10)
STORED = ["2024-01-05", "2024-01-06", "2024-01-07"]


def days(first: int, last: int) -> list[str]:
    return [f"2024-01-{day:02}" for day in range(first, last + 1)]


@pytest.mark.parametrize(
    ("start", "end", "missing"),
    [
        (datetime(2024, 1, 3), None, days(3, 4)),
        (datetime(2024, 1, 4, 12), None, days(4, 4)),
        (datetime(2024, 1, 5), datetime(2024, 1, 8), []),
        (None, datetime(2024, 1, 8, 1), days(8, 8)),
        # The day that is not over, and later ones, are not missing.
        (None, datetime(2024, 1, 10), days(8, 9)),
        (None, datetime(2024, 1, 10, 5), days(8, 9)),
        (None, datetime(9999, 12, 31, 23), days(8, 9)),
        (datetime(2024, 1, 4), datetime(2024, 1, 9), [*days(4, 4), *days(8, 8)]),
        (datetime(2024, 1, 1), datetime(2024, 1, 3), days(1, 2)),
        (datetime(2024, 1, 9), datetime(2024, 1, 12), days(9, 9)),
        # Without start or end the caller asks for what there is.
        (None, None, []),
        (datetime(2024, 1, 9), None, []),
    ],
)
def test_days_beyond_the_stored_ones_are_missing_if_they_are_over(
    start: datetime | None, end: datetime | None, missing: list[str]
) -> None:
    start, end = (moment and moment.replace(tzinfo=UTC) for moment in (start, end))
    assert unbuilt(BARS, STORED, start, end, TODAY) == missing


def test_a_newest_partition_of_yesterday_is_complete() -> None:
    end = datetime(2024, 1, 20, tzinfo=UTC)
    assert unbuilt(BARS, STORED, None, end, date(2024, 1, 8)) == []
    assert unbuilt(RATES, ["2024-01"], None, end, date(2024, 2, 20)) == []


def test_days_before_the_archive_has_any_are_not_missing() -> None:
    early = datetime(2000, 1, 1, tzinfo=UTC)
    before = unbuilt(BARS, STORED, early, None, TODAY)
    assert (before[0], before[-1]) == (f"{RATES.feed.market.first_date}", "2024-01-04")
    months = unbuilt(RATES, ["2020-03"], early, None, TODAY)
    assert months == ["2020-01", "2020-02"]
    ended = TableSlice("silver", "binance", "um", "book_ticker")
    assert unbuilt(ended, ["2024-03-29"], None, datetime(2024, 6, 1, tzinfo=UTC), date(2024, 7, 1)) == ["2024-03-30"]


def test_a_month_that_is_not_over_is_not_missing() -> None:
    assert unbuilt(RATES, ["2023-10"], None, datetime(2024, 1, 9, tzinfo=UTC), TODAY) == ["2023-11", "2023-12"]


@pytest.mark.parametrize("name", ["instruments", "symbol_states"])
def test_a_partition_of_states_stands_for_all_days(name: str) -> None:
    states = TableSlice("gold", "binance", "um", name)
    assert unbuilt(states, STORED, datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC), TODAY) == []


READS: dict[str, Callable[..., object]] = {
    "read": lambda lake, **times: lake.read(TABLE, market="um", **times),
    "scan": lambda lake, **times: lake.scan(TABLE, market="um", **times),
    "bars": lambda lake, **times: lake.bars("BTCUSDT", "1h", market="um", **times),
    "panel": lambda lake, **times: lake.panel("close", interval="1h", market="um", **times),
    "align": lambda lake, **times: lake.align("BTCUSDT", "1h", market="um", include=[], **times),
    "iter_days": lambda lake, **times: list(lake.iter_days(TABLE, market="um", **times)),
    "record_batches": lambda lake, **times: lake.record_batches(TABLE, market="um", **times).read_all(),
}


@pytest.mark.parametrize("times", [{"last": "10d"}, {"start": "2023-12-25"}, {"end": "2024-01-13", "start": DAYS[0]}])
@pytest.mark.parametrize("name", READS)
def test_each_read_says_which_days_are_not_stored(lake: Lakehouse, name: str, times: dict[str, object]) -> None:
    with pytest.warns(LakeWarning, match="has partitions from 2024-01-01 to 2024-01-03, and the range is") as caught:
        READS[name](lake, **times)
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    (command,) = recommended(str(caught[0].message))
    built = parsed(command)["first"], parsed(command)["last"]
    expected = (date(2024, 1, 4), date(2024, 1, 12)) if "end" in times else (date(2023, 12, 25), date(2023, 12, 31))
    assert built == expected


@pytest.mark.parametrize("name", READS)
def test_a_read_of_the_stored_days_is_quiet(lake: Lakehouse, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for times in ({}, {"last": "3d"}, {"last": "5h"}, {"start": DAYS[0], "end": DAYS[2] + timedelta(days=1)}):
            READS[name](lake, **times)


@pytest.mark.parametrize("name", READS)
def test_a_lake_that_is_up_to_date_may_be_read_to_the_future(tmp_path: Path, name: str) -> None:
    today = datetime.now(UTC).date()
    # Two days more, in case midnight passes during the test.
    for day in (today + timedelta(days=number) for number in range(-2, 2)):
        put(day_of_bars(day, ["BTCUSDT"]), part_path(tmp_path, "um", f"{day}"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        READS[name](Lakehouse(tmp_path), start=today - timedelta(days=2), end=today + timedelta(days=30))


def test_a_market_that_is_not_named_counts_if_it_is_in_the_range(lake: Lakehouse) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lake.read(TABLE, start=DAYS[1], end=DAYS[2])
    with pytest.warns(LakeWarning, match=r"binance/spot .* rows of 2024-01-02 are missing") as caught:
        lake.read(TABLE, start=DAYS[0], end=DAYS[2])
    assert len(caught) == 1


def test_the_first_rows_of_a_range_are_those_of_its_first_day(lake: Lakehouse) -> None:
    with pytest.warns(LakeWarning, match="rows of 2023-12-25 to 2023-12-31 are missing"):
        lake.read(TABLE, market="um", start="2023-12-25", end="2024-01-13", limit=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lake.read(TABLE, market="um", start=DAYS[0], end="2024-01-13", limit=1)


def test_bars_without_their_minutes_take_the_newest_ones(lake: Lakehouse) -> None:
    assert len(lake.bars("BTCUSDT", "1h", market="um", last="5h")) == 5
