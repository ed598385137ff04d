"""Differences between two versions of a partition: by rows that a plain loop over dictionaries confirms."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse.lake.storage import pieces
from crypto_lakehouse.lake.storage.as_of import AsOfStore
from crypto_lakehouse.lake.storage.changes import partition_changes, price_columns
from crypto_lakehouse.lake.storage.partitions import write_partition, write_rows
from crypto_lakehouse.lake.storage.revisions import Version, keep
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.checks.changes import changes, totals
from crypto_lakehouse_tests.unit.lake_rows import klines

pytestmark = pytest.mark.requirement("F6.19")

TRADES = TableSlice("silver", "binance", "um", "agg_trades").partition("2024-01-01")
KLINES = TableSlice("silver", "binance", "um", "klines_1m").partition("2024-01-01")
# Symbol and number to price: a version of a table.
VERSIONS = st.dictionaries(
    st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(0, 9)), st.sampled_from([1.0, 2.0, 4.0]), max_size=12
)
Rows = dict[tuple[str, int], float]


def trades(rows: Rows) -> pl.DataFrame:
    empty = pl.DataFrame(schema_of("silver", "agg_trades").empty())
    time = pl.lit(date(2024, 1, 1)).cast(pl.Datetime("us", "UTC"))
    keys = pl.DataFrame([(*key, price) for key, price in rows.items()], ["symbol", "trade_id", "price"], orient="row")
    keys = keys.cast({"symbol": pl.String, "trade_id": pl.Int64, "price": pl.Float64})
    values = {
        name: time if name == "time" else pl.lit(0).cast(kind)
        for name, kind in empty.schema.items()
        if name not in keys.columns
    }
    return keys.with_columns(**values).select(empty.columns)


def minutes(rows: Rows) -> pl.DataFrame:
    number = pl.col("open_time").dt.minute().cast(pl.Int64)
    every = klines(["A", "B", "C"], date(2024, 1, 1), 10).with_columns(number=number)
    types = {"symbol": pl.String, "number": pl.Int64, "close": pl.Float64}
    prices = pl.DataFrame([(*key, price) for key, price in rows.items()], types, orient="row")
    joined = every.drop("close").join(prices, on=["symbol", "number"])
    return joined.select(schema_of("silver", "klines_1m").column_names)


def expected(old: Rows, new: Rows) -> list[tuple[Any, ...]]:
    result = []
    for symbol in sorted({name for name, _ in (*old, *new)}):
        was, now = ({key for key in rows if key[0] == symbol} for rows in (old, new))
        changed = [abs(new[key] / old[key] - 1) for key in was & now if old[key] != new[key]]
        if was != now or changed:
            result.append((symbol, len(now - was), len(was - now), len(changed), max(changed, default=None)))
    return result


def write_small_groups(store: LakeStore, partition: Partition, rows: pl.DataFrame) -> Version | None:
    """Replace a partition; its row groups have a few rows, so that it is read in several pieces."""
    schema = replace(partition.slice.schema, row_group_rows=3)
    info = write_rows(
        store, partition.path, schema, rows, before_publishing=lambda draft: keep(store, partition, draft)
    )
    return info.replaced


@hypothesis_settings(max_examples=60)
@given(old=VERSIONS, new=VERSIONS)
def test_changes_are_those_of_a_plain_loop(old: Rows, new: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # Two rows a piece.
        patch.setattr(pieces.read_pieces, "__defaults__", (None, 2, None, None, None))
        store = LakeStore.open(folder)
        for partition, rows in ((TRADES, trades), (KLINES, minutes)):
            write_small_groups(store, partition, rows(old))
            replaced = write_small_groups(store, partition, rows(new))
            if replaced is None:
                assert old == new
                continue
            before = AsOfStore.at(store, replaced.known_from)
            assert partition_changes(before, store, partition).rows() == expected(old, new)


def test_a_version_that_is_missing_has_no_rows(store: LakeStore) -> None:
    write_partition(store, KLINES, minutes({("A", 1): 2.0}))
    (info,) = store.list("silver")
    before = AsOfStore.at(store, info.modified.replace(year=2001))
    assert partition_changes(before, store, KLINES).rows() == [("A", 1, 0, 0, None)]
    assert partition_changes(store, before, KLINES).rows() == [("A", 0, 1, 0, None)]


def test_prices_are_the_columns_with_that_unit() -> None:
    assert price_columns(schema_of("silver", "klines_1m")) == ["open", "high", "low", "close"]
    assert price_columns(schema_of("silver", "agg_trades")) == ["price"]


def test_nulls_and_nan_are_equal_to_themselves_and_a_price_of_zero_has_no_move() -> None:
    key, nan = ["symbol", "at"], float("nan")
    old = pl.DataFrame({"symbol": ["A"] * 3, "at": [1, 2, 3], "close": [None, nan, 0.0], "other": ["x", None, "y"]})
    new = old.with_columns(close=pl.Series([None, nan, 5.0]))
    assert changes(old, old, key, ["close"]).is_empty()
    assert changes(old, new, key, ["close"]).rows() == [("A", 0, 0, 1, None)]
    assert totals(changes(old, new, key, ["close"])) == {
        "added": 0,
        "removed": 0,
        "changed": 1,
        "largest_price_move": None,
    }
