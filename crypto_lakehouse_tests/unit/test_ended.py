"""Rows from a time in which a symbol was not traded, by the states of its minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.ended import AFTER_END, marked_after_end, of_pairs, rows_after_end, untraded_times

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.requirement("F4.6")


def states(*rows: tuple[str, int, int, int, bool]) -> pl.DataFrame:
    """symbol, segment, hour of its first trade, hour of its last one, has_ended."""
    empty = pl.DataFrame(schema_of("gold", "symbol_states").arrow.empty_table())
    known = [
        {"symbol": s, "segment": n, "first_time": START + a * HOUR, "last_time": START + b * HOUR, "has_ended": over}
        for s, n, a, b, over in rows
    ]
    return pl.concat([empty, pl.DataFrame(known, schema_overrides=empty.schema)], how="diagonal_relaxed")


def hours(*rows: tuple[str, int]) -> pl.LazyFrame:
    times = pl.Series([START + hour * HOUR for _, hour in rows], dtype=pl.Datetime("us", "UTC"))
    return pl.LazyFrame({"symbol": [symbol for symbol, _ in rows], "time": times})


TWICE = states(("A", 0, 0, 5, True), ("A", 1, 20, 30, True), ("B", 0, 0, 5, False))


def test_rows_between_two_series_and_after_the_last_are_named_with_their_range() -> None:
    rows = hours(*((symbol, hour) for hour in range(40) for symbol in "BA"))
    # The minute of the last trade and the one in which trading resumes are not of such a time.
    first, second = rows_after_end(rows, "time", untraded_times(TWICE))
    assert first[0] == second[0] == "A"
    assert first[1].startswith("14 rows from 2025-01-01 06:00 to 2025-01-01 19:00 UTC")
    assert "the last trade before was at 2025-01-01 05:00" in first[1]
    assert second[1].startswith("9 rows from 2025-01-02 07:00 to 2025-01-02 15:00 UTC")
    assert rows_after_end(hours(("A", 5), ("A", 20), ("B", 39), ("C", 39)), "time", untraded_times(TWICE)) == []


def test_a_mark_changes_neither_rows_nor_their_order() -> None:
    rows = hours(("A", 31), ("B", 31), ("C", 31), ("A", 20), ("A", 19), ("A", 5))
    marked = marked_after_end(rows, "time", untraded_times(TWICE)).collect()
    assert marked.select("symbol", "time").equals(rows.collect())
    assert marked[AFTER_END].to_list() == [True, False, False, False, True, False]
    for nothing in (untraded_times(TWICE.clear()), untraded_times(TWICE.filter(symbol="B"))):
        assert not marked_after_end(rows, "time", nothing).collect()[AFTER_END].any()
    assert marked_after_end(rows.clear(), "time", untraded_times(TWICE)).collect().is_empty()


def test_the_index_of_a_pair_goes_on_while_one_of_its_contracts_is_traded() -> None:
    contracts = [("BTCUSD_250328", 0, 0, 5, True), ("BTCUSD_PERP", 0, 0, 9, False), ("ETHUSD_250328", 0, 0, 5, True)]
    pairs = untraded_times(of_pairs(states(*contracts, ("ETHUSD_PERP", 0, 0, 9, True))))
    assert pairs.rows() == [("ETHUSD", START + 9 * HOUR, None)]
