"""Schemas: every table has one, complete with units and descriptions, and empty frames keep its types."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from crypto_lakehouse.catalog import Cadence, Feed, feeds
from crypto_lakehouse.schemas import (
    LAYERS,
    Schema,
    bronze_schema,
    cadence_of,
    schema_of,
    silver_schema,
    table_names,
)
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS, BARS
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.silver.clean import REJECTED_COLUMNS, Cleaned
from crypto_lakehouse.transforms.silver.cleaners import CLEANERS


def empty(schema: Schema) -> pl.DataFrame:
    frame = pl.from_arrow(schema.arrow.empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def clean(feed: Feed, bronze: pl.DataFrame) -> Cleaned:
    return CLEANERS[feed.schema](bronze, feed, feed.first_date, feed.first_date + timedelta(days=1))


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(("layer", "table"), table_names())
def test_every_table_is_described(layer: str, table: str) -> None:
    schema = schema_of(layer, table)
    assert layer in LAYERS
    assert schema.doc
    assert all(column.doc and column.unit for column in schema.columns)
    assert len(set(schema.column_names)) == len(schema.columns)
    assert {*schema.primary_key, schema.time_column} <= set(schema.column_names)
    assert schema.arrow.names == schema.column_names


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("feed", feeds(), ids=lambda feed: feed.name)
def test_every_feed_has_its_schemas(feed: Feed) -> None:
    assert bronze_schema(feed).column_names == [
        *feed.file_format.column_names,
        "symbol",
        "source_key",
        "source_sha256",
        "source_line",
    ]
    assert TableSlice.of_feed("bronze", feed).schema == bronze_schema(feed)
    assert set(bronze_schema(feed).columns) <= set(schema_of("bronze", feed.table).columns)
    assert schema_of("silver", feed.table) is silver_schema(feed)
    assert cadence_of("silver", feed.table) is feed.cadence


@pytest.mark.requirement("T1", "T7")
def test_unknown_tables_name_what_exists() -> None:
    with pytest.raises(KeyError, match=r"there are continuous_1m, gaps, symbol_states, .*bars_\*"):
        schema_of("gold", "nothing")
    with pytest.raises(KeyError, match=r"no layer '\.\./bronze'; did you mean bronze"):
        schema_of("../bronze", "klines_1m")
    assert cadence_of("gold", "bars_1h") is Cadence.DAILY


@pytest.mark.requirement("D2")
def test_primary_keys() -> None:
    assert schema_of("silver", "klines_1m").primary_key == ("symbol", "open_time")
    assert schema_of("silver", "funding_rates").primary_key == ("symbol", "funding_hour")
    assert schema_of("gold", "continuous_1m").primary_key == ("symbol", "open_time")
    assert schema_of("gold", "gaps").primary_key == ("symbol", "gap_end")
    assert schema_of("gold", "bars_1h").primary_key == ("symbol", "offset", "open_time", "segment")


@pytest.mark.requirement("F3.2")
@pytest.mark.parametrize("feed", feeds(), ids=lambda feed: feed.name)
def test_no_bronze_rows_give_silver_of_the_right_types(feed: Feed) -> None:
    cleaned = clean(feed, empty(bronze_schema(feed)))
    assert cleaned.rows.height == 0
    assert cleaned.rows.schema == empty(silver_schema(feed)).schema
    assert cleaned.rejected.height == 0
    assert cleaned.rejected.schema == {
        name: pl.Int64 if name == "source_line" else pl.String for name in REJECTED_COLUMNS
    }


@pytest.mark.requirement("F4.1", "F4.4", "T1")
def test_bars_of_any_grid_and_threshold_have_a_schema() -> None:
    assert schema_of("gold", "bars_1h_by_5m") is schema_of("gold", "bars_1mo") is BARS
    assert schema_of("gold", "bars_dollar_1000000") is schema_of("gold", "bars_tick_1") is ACTIVITY_BARS
    assert cadence_of("gold", "bars_1h_by_5m") is Cadence.DAILY


@pytest.mark.requirement("T1")
def test_first_dates_are_days_of_the_past_for_all_feeds() -> None:
    assert all(date(2017, 1, 1) < feed.first_date < date(2026, 1, 1) for feed in feeds())
