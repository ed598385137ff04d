"""A wrong entry of the catalogue, of a schema or of the gold tables is an error that says what to change."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse.catalog import Cadence, FieldType, FileColumn, FileFormat, check_tables, feed, find_market
from crypto_lakehouse.catalog.epochs import Topic
from crypto_lakehouse.catalog.model import Epoch
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.pipeline.gold.days import TableDays
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.gold import GOLD_TABLES, GoldTable, check_entries, tables_after
from crypto_lakehouse.schemas.model import FLOAT, TEXT, TIME, Column, Schema
from crypto_lakehouse.settings import Settings
from crypto_lakehouse.transforms.silver.clean import clean
from crypto_lakehouse.transforms.silver.cleaners import cleaner_of
from crypto_lakehouse_tests.unit.small_lake import store_a_row

pytestmark = pytest.mark.requirement("T1", "T11")

UM = find_market("binance", "um")
OPEN_INTEREST = feed("binance", "um", "open_interest")
VALUES = Schema(
    "values",
    "One row per symbol.",
    (
        Column("symbol", TEXT, "name", "Symbol."),
        Column("open_time", TIME, "UTC", "Start of the day."),
        Column("value", FLOAT, "1", "A value."),
    ),
    ("symbol",),
    "open_time",
)
ENTRY = GoldTable("values", VALUES, "Values of {market}.", ("gold.continuous_1m", "silver.funding_rates"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": ("gold.continous_1m",)}, "unknown input gold.continous_1m: .* did you mean continuous_1m"),
        ({"inputs": ("silver.continuous_1m",)}, "no table 'continuous_1m' in layer silver"),
        ({"inputs": ("continuous_1m",)}, "'continuous_1m' is not of the form layer.table"),
        ({"inputs": ("glod.continuous_1m",)}, "'glod.continuous_1m' is not of the form layer.table"),
        ({"optional": ("silver.trades",)}, "optional inputs need a maker"),
        ({"description": "Values of {exchange}."}, "may have {market}, and no other braces"),
        ({"name": "gaps"}, "gold table gaps has several entries"),
    ],
)
def test_an_entry_of_a_gold_table_that_cannot_be_built_is_refused(change: dict[str, Any], words: str) -> None:
    check_entries([*GOLD_TABLES, ENTRY, replace(ENTRY, name="other", inputs=("gold.bars_1h", "bronze.trades"))])
    with pytest.raises(ValueError, match=words):
        check_entries([*GOLD_TABLES, replace(ENTRY, **change)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"primary_key": ("symbl",)}, "schema values: no column 'symbl'; did you mean symbol"),
        ({"time_column": "day"}, "schema values: no column 'day'"),
        ({"id_column": "id"}, "schema values: no column 'id'"),
        ({"columns": (*VALUES.columns, VALUES.columns[2])}, "schema values has the columns value more than once"),
    ],
)
def test_a_schema_names_only_columns_that_it_has(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(VALUES, **change)


def test_files_name_only_columns_that_they_have() -> None:
    columns = (FileColumn("time", FieldType.INT64), FileColumn("symbol", FieldType.STRING))
    with pytest.raises(ValueError, match="files odd have no column 'times'; there are time, symbol"):
        FileFormat("odd", columns, ("times",))
    with pytest.raises(ValueError, match=r"bronze adds a column symbol; call that of the file file_symbol"):
        FileFormat("odd", columns, ("time",))


def test_a_fact_has_only_values_of_its_topic() -> None:
    fact = ("binance", "um", "metrics", Topic.TIME_UNIT)
    with pytest.raises(ValueError, match="binance/um/metrics: time_unit is 's', but must be ms, text, us"):
        Epoch(*fact, "s", None, None, "Seconds.", "seen in files")


def test_a_table_is_the_same_in_all_markets() -> None:
    klines = feed("binance", "um", "klines_1m")
    for change in ({"cadence": Cadence.MONTHLY}, {"schema": "price_klines"}):
        other = replace(klines, market=find_market("binance", "cm"), **change)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"binance/cm/klines_1m is .* give this one another name"):
            check_tables([klines, other])


def test_a_type_without_schema_or_cleaner_says_where_to_add_it() -> None:
    unknown = replace(OPEN_INTEREST, schema="open_interests")
    with pytest.raises(KeyError, match=r"did you mean open_interest\?.*_SILVER_SCHEMAS in schemas/__init__\.py"):
        silver_schema(unknown)
    with pytest.raises(
        KeyError, match=r"no cleaner of open_interests; add it to CLEANERS in transforms/silver/cleaners\.py"
    ):
        cleaner_of(unknown)


@pytest.mark.parametrize("columns", [["open_time"], ["open_time", "value", "other"]])
def test_a_cleaner_with_other_columns_than_the_schema_names_them(columns: list[str]) -> None:
    days = (date(2024, 1, 1), date(2024, 1, 2))
    expressions = {name: pl.lit(1) for name in columns}
    schema = replace(VALUES, columns=(*VALUES.columns, Column("source", TEXT, "name", "Source.")))
    different = "value" if "value" not in columns else "other"
    with pytest.raises(ValueError, match=f"binance/um/open_interest and the schema values .*: {different} is in only"):
        clean(pl.DataFrame(), OPEN_INTEREST, schema, columns=expressions, rules=[], preferred=str(days))


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the table ``values``; tests give it ``rows``."""
    name = "crypto_lakehouse.transforms.gold.tables.values"
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_a_wrong_column_in_the_code_of_a_table_is_not_taken_for_a_damaged_file(
    tmp_path: Path, code: ModuleType
) -> None:
    store = LakeStore.open(str(tmp_path))
    for layer, table in (("gold", "continuous_1m"), ("silver", "funding_rates")):
        store_a_row(store, layer, table, "um")

    def rows(day: datetime, minutes: pl.LazyFrame, rates: pl.LazyFrame) -> pl.LazyFrame:
        return minutes.select("symbol", open_time=pl.lit(day), value=pl.col("clos"))

    code.rows = rows  # type: ignore[attr-defined]
    with pytest.raises(
        pl.exceptions.ColumnNotFoundError, match=r'unable to find column "clos"; valid columns: .*close'
    ):
        TableDays(store, UM, ENTRY).rows("2024-01-01")

    def good(day: datetime, minutes: pl.LazyFrame, rates: pl.LazyFrame) -> pl.LazyFrame:
        return minutes.join(rates, on="symbol").select("symbol", open_time=pl.lit(day), value="close")

    code.rows = good  # type: ignore[attr-defined]
    assert TableDays(store, UM, ENTRY).rows("2024-01-01").rows() == [("um", datetime(2024, 1, 1, tzinfo=UTC), 1.5)]


def test_a_missing_input_is_named_with_what_it_is_made_from(tmp_path: Path) -> None:
    store, days = LakeStore.open(str(tmp_path)), TableDays(LakeStore.open(str(tmp_path)), UM, ENTRY)
    with pytest.raises(MissingPartition, match=r"silver.klines_1m .* 2024-01-01.*--table klines_1m --from 2024-01-01"):
        days.rows("2024-01-01")
    store_a_row(store, "silver", "klines_1m", "um")
    with pytest.raises(MissingPartition, match=r"gold.continuous_1m .* 2024-01-01.*--table continuous_1m"):
        days.rows("2024-01-01")
    store_a_row(store, "gold", "continuous_1m", "um")
    with pytest.raises(
        MissingPartition, match=r"silver.funding_rates .* 2024-01\. .*--table funding_rates --from 2024-01 "
    ):
        days.rows("2024-01-01")


def test_a_table_of_monthly_files_has_days_of_its_own_backfill(monkeypatch: pytest.MonkeyPatch) -> None:
    of_rates = replace(ENTRY, inputs=("silver.funding_rates",))
    monkeypatch.setattr("crypto_lakehouse.schemas.gold.GOLD_TABLES", (*GOLD_TABLES, of_rates))
    assert of_rates.sources == ("funding_rates",)
    assert tables_after("funding_rates", ()) == []
    planned = plan("binance", "um", "values", date(2024, 1, 30), date(2024, 2, 1), Settings.load(), date(2026, 1, 1))
    assert planned.job == "update_binance_um_daily"
    assert planned.keys == ("2024-01-30", "2024-01-31", "2024-02-01")
