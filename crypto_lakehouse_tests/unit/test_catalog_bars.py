"""Names of bars: accepted settings, the table of each kind, and the kind of each table."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS
from crypto_lakehouse.catalog.bars import (
    ACTIVITIES,
    BAR_INTERVALS,
    ActivityBars,
    Bars,
    TimeBars,
    bars_of_table,
    offset_name,
    parse_bars,
    parse_bars_list,
    parse_offset,
)

MINUTE = timedelta(minutes=1)


@st.composite
def time_kinds(draw: st.DrawFn) -> TimeBars:
    interval = INTERVALS[draw(st.sampled_from(BAR_INTERVALS))]
    if interval.length is None or draw(st.booleans()):
        return TimeBars(interval)
    return TimeBars(interval, draw(st.integers(1, min(9999, interval.length // MINUTE - 1))) * MINUTE)


KINDS = time_kinds() | st.builds(ActivityBars, st.sampled_from(ACTIVITIES), st.integers(1, 10**15 - 1))


@pytest.mark.requirement("F4.1", "F4.4")
@given(KINDS)
def test_names_and_tables_lead_back_to_the_kind(kind: Bars) -> None:
    assert parse_bars(kind.name) == kind
    assert bars_of_table(kind.table) == kind


@pytest.mark.requirement("F4.1", "F4.4")
@given(st.text(alphabet="0123456789mhdwo_:byars", max_size=12).map("bars_".__add__) | st.text())
def test_a_table_of_bars_has_one_name(text: str) -> None:
    kind = bars_of_table(text)
    assert kind is None or kind.table == text


@pytest.mark.requirement("F4.1", "F4.4")
@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("1h", "1h", "bars_1h"),
        ("1h:5m", "1h:5m", "bars_1h_by_5m"),
        (" 8h:60m ", "8h:60m", "bars_8h_by_60m"),
        ("1d:1h", "1d:60m", "bars_1d_by_60m"),
        ("1mo", "1mo", "bars_1mo"),
        ("dollar:1000000", "dollar:1000000", "bars_dollar_1000000"),
        ("volume:1", "volume:1", "bars_volume_1"),
        ("tick:500", "tick:500", "bars_tick_500"),
    ],
)
def test_names_as_settings_write_them(text: str, name: str, table: str) -> None:
    kind = parse_bars(text)
    assert (kind.name, kind.table) == (name, table)


@pytest.mark.requirement("F4.1")
def test_every_interval_of_the_exchange_beyond_a_minute_makes_bars() -> None:
    assert BAR_INTERVALS == ("3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1mo")


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("1h", [0]),
        ("1mo", [0]),
        ("1h:5m", list(range(0, 60, 5))),  # 60 // 5 = 12 variants
        ("8h:1h", list(range(0, 480, 60))),  # 8
        ("1h:7m", [0, 7, 14, 21, 28, 35, 42, 49]),  # 60 // 7 = 8: the contract's I // b
        ("3m:2m", [0]),  # 3 // 2 = 1
    ],
)
def test_offsets(text: str, offsets: list[int]) -> None:
    kind = parse_bars(text)
    assert isinstance(kind, TimeBars)
    assert [offset // MINUTE for offset in kind.offsets] == offsets


@pytest.mark.requirement("F4.1", "F4.4")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7m", r"no bars '7m'; there are 3m, 5m, .*1mo, dollar, volume, tick"),
        ("1m", "no bars '1m'"),
        ("", "no bars ''"),
        ("1M", "no bars '1M'"),
        ("1h:1h", r"step of the offsets must be shorter than the interval, such as 1h:5m"),
        ("1h:0m", "must be shorter"),
        ("1mo:5m", "must be shorter"),
        ("1h:", "'' is not an offset such as 5m or 1h"),
        ("1h:5", "'5' is not an offset"),
        ("1h:05m", "'05m' is not an offset"),
        ("1h:5m:5m", "'5m:5m' is not an offset"),
        ("dollar", r"'dollar': dollar bars need a threshold, a whole number, such as dollar:1000000"),
        ("dollar:", "need a threshold"),
        ("dollar:0", "need a threshold"),
        ("volume:1.5", "need a threshold"),
        ("tick:-5", "need a threshold"),
        ("tick:1e6", "need a threshold"),
    ],
)
def test_errors_name_the_fault(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_bars(text)


@pytest.mark.requirement("F4.1", "F4.4")
def test_lists_keep_their_order_and_each_kind_once() -> None:
    kinds = parse_bars_list(" 1d, 1h:5m,,dollar:1000,1h:5m, 2h:1h,2h:60m ")
    assert [kind.name for kind in kinds] == ["1d", "1h:5m", "dollar:1000", "2h:60m"]
    assert parse_bars_list(" ") == ()
    with pytest.raises(ValueError, match="no bars '7m'"):
        parse_bars_list("1h,7m")


@pytest.mark.requirement("F4.1", "F4.4")
@pytest.mark.parametrize(
    "table",
    [
        "continuous_1m",
        "bars_",
        "bars_7m",
        "bars_1m",
        "bars_1h_by_2h",
        "bars_1h_by_05m",
        "bars_2h_by_1h",  # is written bars_2h_by_60m
        "bars_1mo_by_5m",
        "bars_dollar",
        "bars_dollar_0",
        "bars_dollar_01",
        "bars_1h ",
        "bars_1h\n",
        "../bars_1h",
    ],
)
def test_names_that_are_not_tables_of_bars(table: str) -> None:
    assert bars_of_table(table) is None


@pytest.mark.requirement("F4.1")
@given(st.integers(0, 9999).map(lambda n: n * MINUTE))
def test_offsets_are_written_in_minutes(offset: timedelta) -> None:
    assert parse_offset(offset_name(offset)) == offset


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize("text", ["0m", "0h"])
def test_no_offset_has_either_unit(text: str) -> None:
    assert parse_offset(text) == timedelta(0)


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5s", "1d", "1.5h", "05m", "00h", "5m\n", "99999m"])
def test_texts_that_are_not_offsets(text: str) -> None:
    with pytest.raises(ValueError, match="is not an offset such as 5m or 1h"):
        parse_offset(text)
