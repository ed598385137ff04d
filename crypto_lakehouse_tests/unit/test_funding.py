"""Bronze funding rates to silver: the exact time and its hour, each rule, one row per hour."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.clean import Cleaned
from crypto_lakehouse.transforms.silver.funding import clean_funding_rates

UM = feed("binance", "um", "funding_rates")
FIRST, END = date(2026, 4, 1), date(2026, 5, 1)
T0 = 1775088000000  # 2026-04-02 00:00 UTC in ms: 20545 days * 86_400_000
HOUR = 3_600_000


def bronze(*rows: tuple[int, int, object]) -> pl.DataFrame:
    parsed = parse_csv("".join(",".join(map(str, row)) + "\n" for row in rows).encode(), UM.file_format)
    assert not parsed.rejected
    return parsed.rows.with_columns(symbol=pl.lit("BTCUSDT"), source_key=pl.lit("k"), source_sha256=pl.lit("s"))


def clean(frame: pl.DataFrame) -> Cleaned:
    return clean_funding_rates(frame, UM, FIRST, END)


@pytest.mark.requirement("D1", "F3.2")
@pytest.mark.parametrize(
    ("time", "hour"),
    [
        (1775088000000, datetime(2026, 4, 2, 0, tzinfo=UTC)),
        (1775088000003, datetime(2026, 4, 2, 0, tzinfo=UTC)),
        (1775116799999, datetime(2026, 4, 2, 7, tzinfo=UTC)),
        (1775116800000, datetime(2026, 4, 2, 8, tzinfo=UTC)),
        (1775088000003000, datetime(2026, 4, 2, 0, tzinfo=UTC)),
    ],
)
def test_the_hour_is_the_floor_of_the_exact_time(time: int, hour: datetime) -> None:
    row = clean(bronze((time, 8, "-0.00003449"))).rows.row(0, named=True)
    assert row["funding_hour"] == hour
    assert int(row["funding_time"].timestamp() * 1000 + 0.5) == (time if time < 10**13 else time // 1000)
    assert (row["interval_hours"], row["funding_rate"]) == (8, -3.449e-05)
    assert (row["mark_price"], row["source"]) == (None, "archive_monthly")


@pytest.mark.requirement("F3.2")
def test_columns_and_types_are_those_of_the_schema() -> None:
    expected = pl.from_arrow(silver_schema(UM).arrow.empty_table())
    assert isinstance(expected, pl.DataFrame)
    assert clean(bronze((T0, 8, 0.0001))).rows.schema == expected.schema


@pytest.mark.requirement("F3.2", "D1")
@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("bad_time", (T0 // 1000, 8, 0.0001)),
        ("outside_partition", (1775001599999, 8, 0.0001)),  # 1 ms before 2026-04-01
        ("outside_partition", (1777593600000, 8, 0.0001)),  # 2026-05-01 00:00
        ("not_finite", (T0 + HOUR, 8, "nan")),
        ("not_finite", (T0 + HOUR, 8, "inf")),
        ("bad_interval", (T0 + HOUR, 0, 0.0001)),
        ("bad_interval", (T0 + HOUR, 25, 0.0001)),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_and_the_others_kept(reason: str, row: tuple[int, int, object]) -> None:
    cleaned = clean(bronze((T0, 8, 0.0001), row, (T0 + 8 * HOUR, 8, 0)))
    assert cleaned.rows["funding_rate"].to_list() == [0.0001, 0.0]
    [rejected] = cleaned.rejected.to_dicts()
    assert (rejected["reason"], rejected["source_line"]) == (reason, 2)
    assert rejected["detail"]


@pytest.mark.requirement("D2")
def test_the_earliest_of_an_hour_survives_and_at_one_instant_the_last_line() -> None:
    frame = bronze((T0 + 9, 8, 0.1), (T0 + 3, 8, 0.2), (T0 + 3, 8, 0.3), (T0 + 3, 8, 0.3))
    cleaned = clean(frame)
    assert cleaned.rows["funding_rate"].to_list() == [0.3]
    assert cleaned.rejected.sort("source_line").select("source_line", "reason").rows() == [
        (1, "duplicate_conflict"),
        (2, "duplicate_conflict"),
        (3, "duplicate"),
    ]


@pytest.mark.requirement("D2")
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.1, 0.2])), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_silver_does_not_depend_on_the_order_of_rows(rows: list[tuple[int, int, float]], random) -> None:  # type: ignore[no-untyped-def]
    frame = bronze(*((T0 + hour * HOUR + ms, 8, rate) for hour, ms, rate in rows))
    order = list(range(frame.height))
    random.shuffle(order)
    one, other = clean(frame), clean(frame[order])
    assert_frame_equal(one.rows, other.rows)
    assert_frame_equal(one.rejected, other.rejected, check_row_order=False)
    assert one.rows["funding_hour"].is_sorted()
    assert one.rows.height == len({hour for hour, _, _ in rows})
    assert one.rows.height + one.rejected.height == len(rows)
