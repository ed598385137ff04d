"""The cleaner of every table: any header and time unit, rows written and read back, any order and any cut."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from crypto_lakehouse.catalog import Feed, FieldType, feeds
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.transforms.silver.clean import text_to_time
from crypto_lakehouse.transforms.silver.cleaners import CLEANERS
from crypto_lakehouse_tests.unit.tables import (
    DAY,
    MIDNIGHT,
    ONE_OF_EACH,
    RATIOS,
    SCALES,
    T0,
    bronze,
    clean,
    cleaned,
    csv,
    meaning,
    row,
)

pytestmark = pytest.mark.requirement("D11")
each = pytest.mark.parametrize("feed", ONE_OF_EACH, ids=lambda feed: feed.name)


def test_every_table_has_a_cleaner() -> None:
    assert {feed.schema for feed in ONE_OF_EACH} <= set(CLEANERS) == {feed.schema for feed in feeds()}
    assert len(ONE_OF_EACH) >= 3 + 2 * 10 + 1 + 2


@pytest.mark.requirement("D1", "F3.2")
@pytest.mark.parametrize("unit", SCALES)
@pytest.mark.parametrize("header", [True, False], ids=["header", "none"])
@each
def test_header_and_time_unit_do_not_change_the_rows(feed: Feed, header: bool, unit: str) -> None:
    rows = [row(feed, n) for n in range(3)]
    result = clean(feed, bronze(feed, csv(feed, rows, header, SCALES[unit])))
    assert result.rejected.is_empty()
    expected = [meaning(feed, r) for r in rows]
    assert result.rows.drop("source").to_dicts() == [{c: r[c] for c in result.rows.columns[:-1]} for r in expected]
    assert set(result.rows["source"]) == {f"archive_{feed.cadence}"}


@pytest.mark.requirement("F3.2")
@each
def test_columns_types_and_nulls_are_those_of_the_schema(feed: Feed) -> None:
    schema = silver_schema(feed)
    rows = cleaned(feed, [row(feed, 0)]).rows
    expected = pl.from_arrow(schema.arrow.empty_table())
    assert isinstance(expected, pl.DataFrame)
    assert rows.schema == expected.schema
    assert not any(rows[column.name].null_count() for column in schema.columns if not column.nullable)


positive = st.floats(1e-8, 1e9)
not_negative = st.one_of(st.just(0.0), positive)
any_sign = st.floats(-1e9, 1e9)
blank = st.one_of(st.none(), not_negative)
whole = st.integers(1, 10**9).map(float)
flag = st.sampled_from(["true", "false", "True", "False"])
of_the_day = st.integers(T0, T0 + 86_399_999)


@st.composite
def file_rows(draw: st.DrawFn, feed: Feed) -> list[dict[str, Any]]:
    """Random good rows of distinct keys, in the order of the keys."""
    numbers = sorted(draw(st.sets(st.integers(0, 20), min_size=1, max_size=6)))
    return [{**row(feed, n), **draw(st.fixed_dictionaries(values(feed)))} for n in numbers]


def values(feed: Feed) -> dict[str, st.SearchStrategy[Any]]:
    """Strategies for the columns outside the key."""
    inverse = feed.market.inverse
    amount = whole if inverse else positive
    found: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "klines": {"count": st.integers(0, 2**40), "volume": amount.map(lambda v: v + 2), "close": st.floats(9, 12)},
        "price_klines": {"count": st.integers(0, 2**40), "low": st.floats(1e-8, 9), "high": st.floats(12, 1e9)},
        "agg_trades": {"price": positive, "quantity": amount, "is_buyer_maker": flag, "transact_time": of_the_day},
        "trades": {"price": positive, "qty": amount, "is_buyer_maker": flag, "time": of_the_day},
        "funding_rates": {"last_funding_rate": any_sign, "funding_interval_hours": st.integers(1, 24)},
        "open_interest": dict.fromkeys(RATIOS.values(), blank),
        "book_depth": {
            "percentage": st.sampled_from([-5, -4, -3, -2, -1, "-5.00", "-0.20", "0.20", 1, "1.00", 5]),
            "depth": not_negative,
            "notional": not_negative,
        },
        "book_ticker": {
            "best_bid_price": st.floats(1e-8, 81),
            "best_bid_qty": not_negative,
            "best_ask_price": st.floats(81, 1e9),
            "best_ask_qty": not_negative,
            "event_time": of_the_day,
        },
        "liquidations": {
            "side": st.sampled_from(["BUY", "SELL"]),
            "price": positive,
            "average_price": not_negative,
            "original_quantity": whole,
        },
        "volatility_index": {"index_value": positive},
        "option_summaries": {
            **{column: st.one_of(st.none(), any_sign) for column in ("delta", "theta", "mark_iv")},
            **dict.fromkeys(("volume_usdt", "best_bid_qty", "openinterest_usdt"), blank),
            "strike": positive,
        },
    }
    amounts = {"quote_qty": not_negative, "base_qty": not_negative, "is_best_match": flag}
    amounts = {name: amounts[name] for name in feed.file_format.column_names if name in amounts}
    return {**found[feed.schema], **amounts}


@pytest.mark.requirement("F3.1", "F3.2")
@each
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_rows_written_to_a_file_are_the_rows_of_silver(feed: Feed, data: st.DataObject) -> None:
    rows = data.draw(file_rows(feed))
    lines = data.draw(st.permutations(rows))
    text = csv(feed, lines, data.draw(st.booleans()), SCALES[data.draw(st.sampled_from(sorted(SCALES)))])
    result = clean(feed, bronze(feed, text))
    assert result.rejected.to_dicts() == []
    expected = [meaning(feed, {**r, "percentage": float(r.get("percentage", 0))}) for r in rows]
    assert result.rows.drop("source").to_dicts() == [{c: r[c] for c in result.rows.columns[:-1]} for r in expected]


def messy(feed: Feed, rows: list[tuple[int, str, float]], symbols: list[str]) -> pl.DataFrame:
    """Rows with few distinct keys; the given numbers are the first amount, and some of them are rejected."""
    amount = next(c.name for c in feed.file_format.columns if c.type is FieldType.FLOAT64)
    parts = []
    for symbol in symbols:
        mine = [{**row(feed, n, symbol), amount: value} for n, s, value in rows if s == symbol]
        if mine:
            parts.append(bronze(feed, csv(feed, mine), symbol))
    return pl.concat(parts).sort("symbol", "source_line")


@pytest.mark.requirement("D2", "D6")
@each
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_result_does_not_depend_on_row_order_or_cuts_between_keys(feed: Feed, data: st.DataObject) -> None:
    symbols = ["BTCUSD_PERP", "ETHUSD_PERP"]
    number = st.sampled_from([9.5, 10.0, 11.0, float("nan")])
    rows = data.draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(symbols), number), min_size=1, max_size=20))
    frame = messy(feed, rows, symbols)
    whole_day = clean(feed, frame)
    assert whole_day.rows.height + whole_day.rejected.height == len(rows)
    key = silver_schema(feed).primary_key
    assert whole_day.rows.select(pl.struct(key).is_unique().all()).item()
    assert_frame_equal(whole_day.rows, whole_day.rows.sort(key))

    order = list(range(frame.height))
    Random(data.draw(st.integers(0, 99))).shuffle(order)
    shuffled = clean(feed, frame[order])
    assert_frame_equal(shuffled.rows, whole_day.rows)
    assert_frame_equal(shuffled.rejected, whole_day.rejected, check_row_order=False)

    # Big symbols are cut by ranges of this column, others are whole.
    if feed.file_format.large:
        column = pl.col(feed.file_format.order_column)
        places: list[Any] = data.draw(st.lists(st.integers(500, 506), max_size=3))
    else:
        column, places = pl.col("symbol"), ["ETHUSD_PERP"]
    part = pl.sum_horizontal([pl.lit(0), *((column >= place).cast(pl.Int32) for place in places)])
    parts = [clean(feed, frame.filter(part == number)) for number in range(len(places) + 1)]
    assert_frame_equal(pl.concat([p.rows for p in parts]).sort(key), whole_day.rows)
    assert_frame_equal(pl.concat([p.rejected for p in parts]), whole_day.rejected, check_row_order=False)


@pytest.mark.requirement("D2")
@each
def test_a_file_that_holds_each_row_twice_gives_each_once(feed: Feed) -> None:
    rows = [row(feed, n) for n in (0, 1, 2)]
    result = cleaned(feed, [*rows, *rows])
    assert_frame_equal(result.rows, cleaned(feed, rows).rows)
    assert result.rejected.sort("source_line").select("source_line", "reason").rows() == [
        (line, "duplicate") for line in (1, 2, 3)
    ]


@pytest.mark.requirement("D3", "F3.3")
@each
def test_a_row_of_another_day_is_rejected(feed: Feed) -> None:
    result = cleaned(feed, [row(feed, 0)], DAY + timedelta(days=1))
    assert result.rows.is_empty()
    [rejected] = result.rejected.to_dicts()
    assert rejected["reason"] == "outside_partition"
    assert "within [2023-07-02, 2023-07-03) UTC" in rejected["detail"]
    assert len(rejected["raw"].split(",")) == len(feed.file_format.columns)


@pytest.mark.requirement("D1")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-07-01 00:00:00", MIDNIGHT),
        ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59, tzinfo=MIDNIGHT.tzinfo)),
        ("2023-02-29 00:00:00", None),
        ("2023-07-01 24:00:00", None),
        ("2023-07-01 00:00:60", None),
        ("2023-07-01 00:60:00", None),
        ("2023-7-1 00:00:00", None),
        ("2023-07-01T00:00:00", None),
        ("2023-07-01 00:00:00.5", None),
        (" 2023-07-01 00:00:00", None),
        ("2023-07-01 00:00", None),
        ("2023-07-01", None),
        ("1688169600000", None),
        ("", None),
        (None, None),
    ],
)
def test_times_as_text_have_one_form(text: str | None, expected: datetime | None) -> None:
    frame = pl.DataFrame({"t": [text]}, schema={"t": pl.String}).select(text_to_time(pl.col("t")))
    assert frame.schema == {"t": pl.Datetime("us", "UTC")}
    assert frame.item() == expected


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 86_399))
def test_any_second_written_as_text_is_read_back(day: date, second: int) -> None:
    time = datetime(day.year, day.month, day.day, tzinfo=MIDNIGHT.tzinfo) + timedelta(seconds=second)
    assert pl.select(text_to_time(pl.lit(f"{time:%Y-%m-%d %H:%M:%S}"))).item() == time
