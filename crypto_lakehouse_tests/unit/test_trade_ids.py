"""Ids of trades: missing ranges, repetitions and summaries, by hand and for any cut of a day."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.schemas.trade_ids import ID_CONTINUITY, MISSING_IDS
from crypto_lakehouse.transforms.gold.trade_ids import (
    id_continuity,
    id_findings,
    id_summary,
    later_ids,
    mark_refused,
    merge_summaries,
    missing_ranges,
    no_ids,
    repeated_ids,
)
from crypto_lakehouse_tests.unit.reference_gold import Row, empty, frame
from crypto_lakehouse_tests.unit.reference_trades import DAY, START, Ids, gaps, trade, trades

SECOND = timedelta(seconds=1)
EVENING = START - SECOND


def of(*numbers: int, symbol: str = "A") -> pl.DataFrame:
    """Trades with these ids, one a second."""
    return frame("silver", "trades", [trade(n, START + n * SECOND, symbol=symbol) for n in numbers])


def before(**ids: int) -> pl.DataFrame:
    return pl.concat(
        [no_ids(), *(pl.DataFrame([(s, n, EVENING)], no_ids().schema, orient="row") for s, n in ids.items())]
    )


def at(number: int) -> object:
    return START + number * SECOND


@pytest.mark.requirement("F4.8")
def test_missing_ranges_by_hand() -> None:
    # 12 and 15, 16 are missing within the day; 8 and 9 between the day before, which ended with 7, and 10.
    rows = of(17, 10, 11, 14, 13)
    assert missing_ranges(rows, before(A=7, B=1)).rows() == [
        ("A", 8, 9, 2, False, EVENING, at(10)),
        ("A", 12, 12, 1, False, at(11), at(13)),
        ("A", 15, 16, 2, False, at(14), at(17)),
    ]
    assert missing_ranges(rows, no_ids()).height == 2
    assert missing_ranges(rows, before(A=9)).height == 2
    assert missing_ranges(rows, no_ids()).schema == empty(MISSING_IDS).schema


@pytest.mark.requirement("F4.8", "D13")
def test_ids_that_the_day_before_had_reached_are_repeated_and_none_is_missing_among_them() -> None:
    # The day before ended with 12: 10 and 12 come again, 11 and 9 may be there; 13 and 14 are in neither day.
    rows = of(8, 10, 12, 15)
    assert repeated_ids(rows, before(A=12)).rows() == [("A", 3)]
    assert missing_ranges(rows, before(A=12)).rows() == [("A", 13, 14, 2, False, EVENING, at(15))]
    assert repeated_ids(rows, before(A=7, B=99)).height == 0


@pytest.mark.requirement("F4.8")
def test_a_range_is_cut_where_ids_in_it_were_refused_and_marks_do_not_depend_on_earlier_ones() -> None:
    rows = pl.concat([of(1, 5, 10, 20), of(1, 9, symbol="B")])
    ranges = missing_ranges(rows, no_ids())
    refused = pl.DataFrame({"symbol": ["A"] * 7 + ["Z"], "trade_id": [6, 3, 7, 11, 19, 19, 99, 4]})
    marked = mark_refused(ranges, refused)
    assert marked.select("symbol", "first_missing_id", "last_missing_id", "missing_ids", "refused").rows() == [
        ("A", 2, 2, 1, False),
        ("A", 3, 3, 1, True),
        ("A", 4, 4, 1, False),
        ("A", 6, 7, 2, True),
        ("A", 8, 9, 2, False),
        ("A", 11, 11, 1, True),
        ("A", 12, 18, 7, False),
        ("A", 19, 19, 1, True),
        ("B", 2, 8, 7, False),
    ]
    assert marked.schema == ranges.schema
    assert mark_refused(marked, refused).equals(marked)
    assert mark_refused(marked, refused.clear()).equals(ranges)
    assert mark_refused(ranges.clear(), refused).equals(ranges.clear())


@pytest.mark.requirement("F4.8")
def test_symbols_do_not_touch_one_another() -> None:
    rows = pl.concat([of(1, 2, symbol="B"), of(5, 7)])
    assert missing_ranges(rows, before(C=0)).select("symbol", "first_missing_id").rows() == [("A", 6)]
    assert id_summary(rows).rows() == [("A", 2, 5, 7, at(5), at(7)), ("B", 2, 1, 2, at(1), at(2))]


@pytest.mark.requirement("F4.8", "D13")
def test_a_row_of_the_continuity_table_by_hand() -> None:
    rows = pl.concat([of(8, 10, 12, 15, 17), of(3, symbol="B")])
    known = before(A=12)
    bronze = pl.DataFrame({"symbol": ["A", "Z"], "len": [7, 9]})
    made = id_continuity(id_summary(rows), missing_ranges(rows, known), repeated_ids(rows, known), known, bronze)
    assert made.schema == empty(ID_CONTINUITY).schema
    # Missing are 13, 14 and 16; repeated 8, 10, 12; of seven rows in bronze silver has five.
    assert made.rows() == [
        ("A", 5, 8, 17, at(8), at(17), 3, 2, 0, 3, 2, 12, EVENING),
        ("B", 1, 3, 3, at(3), at(3), 0, 0, 0, 0, None, None, None),
    ]
    assert id_findings(made) == [
        ("A", "3 ids are missing in 2 ranges"),
        ("A", "3 ids are not above 12, the last id of the day before"),
    ]
    without = id_continuity(id_summary(rows), missing_ranges(rows, known), repeated_ids(rows, known), known, None)
    assert without["removed_rows"].to_list() == [None, None]
    assert without.schema == made.schema


@pytest.mark.requirement("F4.8")
def test_a_day_without_rows() -> None:
    rows = of()
    made = id_continuity(id_summary(rows), missing_ranges(rows, no_ids()), repeated_ids(rows, no_ids()), no_ids(), None)
    assert made.equals(empty(ID_CONTINUITY))
    assert id_findings(made) == []


@pytest.mark.requirement("F4.8")
def test_later_ids_are_the_greater_ones() -> None:
    assert later_ids(
        before(A=7, B=5, C=2), id_summary(pl.concat([of(6), of(6, symbol="B"), of(2, symbol="C")]))
    ).rows() == [
        ("A", 7, EVENING),
        ("B", 6, at(6)),
        ("C", 2, EVENING),
    ]


@pytest.mark.requirement("F4.8", "D6")
@settings(max_examples=80, deadline=None)
@given(trades(), st.dictionaries(st.sampled_from("ABZ"), st.integers(0, 40)), st.sets(st.integers(0, 60), max_size=8))
def test_ids_equal_a_plain_reading_for_any_cut(rows: list[Row], last: dict[str, int], cuts: set[int]) -> None:
    whole, known = frame("silver", "trades", rows), before(**last)
    ids: Ids = {symbol: (number, EVENING) for symbol, number in last.items()}
    found = missing_ranges(whole, known)
    assert found.select("symbol", "first_missing_id", "last_missing_id").rows() == gaps(rows, ids)
    assert all(found["missing_ids"] == found["last_missing_id"] - found["first_missing_id"] + 1)
    repeated = {s: sum(r["trade_id"] <= n for r in rows if r["symbol"] == s) for s, n in last.items()}
    assert dict(repeated_ids(whole, known).iter_rows()) == {s: n for s, n in repeated.items() if n}
    reached, summaries, missing, again = known, [], [], []
    for first, end in pairwise([0, *sorted(cuts), 10**9]):
        part = whole.filter(pl.col("trade_id").is_between(first, end, closed="left"))
        summaries.append(id_summary(part))
        missing.append(missing_ranges(part, reached))
        again.append(repeated_ids(part, known))
        reached = later_ids(reached, summaries[-1])
    assert merge_summaries(summaries).equals(id_summary(whole))
    assert pl.concat(missing).sort("symbol", "first_missing_id").equals(found)
    assert reached.equals(later_ids(known, id_summary(whole)))
    bronze = pl.DataFrame({"symbol": ["A"], "len": [99]})
    cut = id_continuity(merge_summaries(summaries), pl.concat(missing), pl.concat(again), known, bronze)
    assert cut.equals(id_continuity(id_summary(whole), found, repeated_ids(whole, known), known, bronze))


@pytest.mark.requirement("F4.8")
def test_a_day_of_the_reference_has_all_kinds() -> None:
    """The plain reading itself, by hand: 4 is between the days, 7 and 8 are in the day."""
    rows = [trade(n, START + DAY) for n in (5, 6, 9)]
    assert gaps(rows, {"A": (3, START)}) == [("A", 4, 4), ("A", 7, 8)]
    assert gaps(rows, {}) == [("A", 7, 8)]
    assert gaps(rows, {"A": (8, START)}) == []
