"""Rows of REST answers fill the keys that the archive does not have, however the archive's rows are cut into pieces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.transforms.rest.merge import RestRows
from crypto_lakehouse.transforms.silver.clean import REJECTED_TYPES, Cleaned

pytestmark = pytest.mark.requirement("F2.15")

MIDNIGHT = datetime(2024, 5, 1, tzinfo=UTC)
Key = tuple[str, int]
keys = st.sets(st.tuples(st.sampled_from("ABC"), st.integers(0, 5)))


def rows(of: set[Key], close: float, source: str) -> pl.DataFrame:
    empty = pl.DataFrame(KLINES.empty())
    filled = [
        {
            **dict.fromkeys(empty.columns, 1),
            "symbol": symbol,
            "open_time": MIDNIGHT + timedelta(minutes=minute),
            "close_time": MIDNIGHT + timedelta(minutes=minute + 1),
            "close": close,
            "contracts": None,
            "source": source,
        }
        for symbol, minute in sorted(of)
    ]
    return pl.DataFrame(filled, schema=empty.schema)


def rest(of: set[Key], close: float = 1.0) -> RestRows:
    bars = rows(of, close, "archive_daily")
    sources = bars.select(
        pl.lit("/path?query").alias("source_key"),
        pl.lit("00").alias("source_sha256"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("source_line"),
    )
    return RestRows(Cleaned(bars, pl.DataFrame(schema=REJECTED_TYPES), sources, {}), KLINES, {})


@given(keys, keys, st.lists(st.integers(0, 18), max_size=3))
def test_the_merged_rows_do_not_depend_on_the_pieces(archive: set[Key], answers: set[Key], cuts: list[int]) -> None:
    whole, filler = rows(archive, 1.0, "archive_daily"), rest(answers)
    ends = [0, *sorted(min(cut, whole.height) for cut in cuts), whole.height]
    pieces = [filler.merged(whole[start:end]) for start, end in pairwise(ends)]
    others = filler.others()
    merged = pl.concat(pieces if others is None else [*pieces, others])
    assert (
        merged.select("symbol", "open_time").rows()
        == whole.select("symbol", "open_time")
        .vstack(rows(answers - archive, 1.0, "rest").select("symbol", "open_time"))
        .sort("symbol", "open_time")
        .rows()
    )
    assert merged.filter(source="rest").height == filler.filled == len(answers - archive)
    assert filler.differing.is_empty()


def test_a_row_with_other_values_than_the_archives_is_reported_and_not_used() -> None:
    filler = rest({("A", 0), ("A", 1)}, close=26.4)
    merged = filler.merged(rows({("A", 0)}, 34.9, "archive_daily"))
    assert merged["close"].to_list() == [34.9]
    (found,) = filler.differing.to_dicts()
    assert (found["symbol"], found["reason"], found["source_line"]) == ("A", "archive_differs", 1)
    assert found["detail"] == (
        "open_time 2024-05-01 00:00:00+00:00: close is 26.4 by REST and 34.9 in the archive, whose row is used"
    )
