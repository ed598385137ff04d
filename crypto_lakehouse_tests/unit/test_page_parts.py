"""The parts of the page that need no server: the bytes of a heatmap, marks, ranges and addresses."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from crypto_lakehouse.api.page.candles import chart_data, marks_of
from crypto_lakehouse.api.page.coverage import encode_coverage
from crypto_lakehouse.api.page.entry import is_same_origin, local_path
from crypto_lakehouse.api.page.views import Day
from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.lake.pictures.candles import Candles
from crypto_lakehouse.lake.pictures.coverage import STATES, Coverage

pytestmark = pytest.mark.requirement("F9.5")

START = datetime(2024, 1, 1, tzinfo=UTC)
CELLS = st.dictionaries(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 40)), st.sampled_from(STATES), min_size=1, max_size=60
)


def decoded(data: bytes) -> tuple[dict[str, object], np.ndarray]:
    size = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + size])
    assert size % 4 == 0
    lengths = np.frombuffer(data, "<u4", head["runs"], 4 + size)
    states = np.frombuffer(data, "u1", head["runs"], 4 + size + 4 * head["runs"])
    assert len(data) == 4 + size + 5 * head["runs"]
    return head, np.repeat(states, lengths).reshape(len(head["symbols"]), head["columns"])


@given(CELLS, st.sampled_from([Cadence.DAILY, Cadence.MONTHLY]))
def test_the_bytes_of_a_heatmap_have_every_cell(cells: dict[tuple[str, int], str], cadence: Cadence) -> None:
    def first_day(column: int) -> date:
        return (
            START.date() + timedelta(column)
            if cadence is Cadence.DAILY
            else date(2020 + column // 12, column % 12 + 1, 1)
        )

    rows = [(symbol, first_day(column), state) for (symbol, column), state in cells.items()]
    types = {"symbol": pl.String, "date": pl.Date, "state": pl.Enum(STATES)}
    head, matrix = decoded(encode_coverage(Coverage("title", pl.DataFrame(rows, types, orient="row"), cadence)))
    offset = min(column for _, column in cells)
    expected = np.zeros_like(matrix)
    names: list[str] = list(head["symbols"])  # type: ignore[call-overload]
    for (symbol, column), state in cells.items():
        expected[names.index(symbol), column - offset] = list(head["states"]).index(state)  # type: ignore[call-overload]
    assert (matrix == expected).all()
    assert head["first"] == str(first_day(offset))


def candles(hours: list[int], filled: set[int] = frozenset()) -> Candles:  # type: ignore[assignment]
    rows = [
        {
            "open_time": START + timedelta(hours=hour),
            "close_time": START + timedelta(hours=hour + 1, microseconds=-1),
            "first_minute": START + timedelta(hours=hour),
            "segment": 1,
            "n_minutes": 60,
            "n_filled": 60 if hour in filled else 0,
            **dict.fromkeys(("open", "high", "low", "close", "base_volume"), 1.0),
        }
        for hour in hours
    ]
    times = [START + timedelta(hours=hour, milliseconds=3) for hour in (0, 8, 16)]
    funding = pl.DataFrame({"funding_time": times, "funding_rate": [1e-4, 2e-4, 3e-4]})
    return Candles("title", pl.DataFrame(rows), funding.cast({"funding_time": pl.Datetime("us", "UTC")}), "BTC")


def test_marks_are_filled_stretches_pauses_and_replaced_days() -> None:
    revisions = pl.DataFrame(
        {
            "table": ["klines_1m"] * 3,
            "period": ["2023-12-31", "2024-01-01", "2024-01"],
            "added": [0] * 3,
            "removed": [0] * 3,
            "changed": [5] * 3,
            "known_to": [START] * 3,
        }
    )
    picture = candles([0, 1, 2, 6, 7], {1, 2})
    marks = marks_of(picture, revisions)
    hour = timedelta(hours=1)
    shown = [(mark.kind, (mark.start - START) / hour, round((mark.end - START) / hour)) for mark in marks]
    assert shown == [("revised", 0, 8), ("revised", 0, 8), ("filled", 1, 3), ("no bars", 3, 6)]
    data = json.loads(chart_data(picture, marks))
    assert [time - data["time"][0] for time in data["time"]] == [0, 3600, 7200, 21600, 25200]
    assert len(data["marks"]) == 4
    # Funding of 08:00 and 16:00 is in no bar.
    assert data["funding"] == [[data["time"][0], 1e-4]]
    assert "<" not in chart_data(Candles("</script>", picture.data, picture.funding, ""), marks)


def test_the_days_around_a_view() -> None:
    day = Day.around("2024-12-31", date.min, date.min)
    assert (day.before, day.after) == ("2024-12-30", "2025-01-01")
    assert day.week == ("2024-12-30", "2025-01-06")
    assert day.month == ("2024-12-01", "2025-01-01")
    month = Day.around("2024-12", date.min, date.min)
    assert (month.before, month.after) == ("2024-11", "2025-01")
    with pytest.raises(ValueError):
        Day.around("yesterday", date.min, date.min)


@pytest.mark.parametrize(
    "text", ["https://a.example", "//a.example", "/\\a.example", "/\n/a", "", "page", "javascript:x"]
)
def test_the_login_leads_to_no_other_site(text: str) -> None:
    assert local_path(text) == "/"


def test_a_form_is_of_this_server_only_with_its_origin() -> None:
    for origin, is_own in (
        ("http://a:1", True),
        ("https://A:1", True),
        ("http://a:2", False),
        ("null", False),
        ("", False),
    ):
        assert is_same_origin(Headers({"host": "a:1", "origin": origin})) is is_own
    assert not is_same_origin(Headers({}))
