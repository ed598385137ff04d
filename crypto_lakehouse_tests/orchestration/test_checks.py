"""Asset checks on a lake that is sound, and on one that was damaged by hand: each names date and symbol."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.ledger import read_state, record_files
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.orchestration.checks import check_prices
from crypto_lakehouse.orchestration.jobs import RECONCILIATION_JOB
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import DAYS, START, Platform

pytestmark = pytest.mark.slow

UM_1M = feed("binance", "um", "klines_1m")
SILVER = TableSlice("silver", "binance", "um", "klines_1m")
GOLD = ("continuous_1m", "gaps", "symbol_states", "bars_1h", "bars_1d", "instruments", "missing_minutes", "witnesses")
FILE = "data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"

Results = dict[tuple[str, str], dg.AssetCheckEvaluation]


def _check(platform: Platform, **settings: Any) -> Results:
    """All checks, by (layer/table, name), of market um."""
    job = platform.defs(**settings).resolve_job_def(RECONCILIATION_JOB)
    result = job.execute_in_process(instance=platform.instance)
    found = [e for e in result.get_asset_check_evaluations() if e.asset_key.path[2] == "um"]
    return {(f"{e.asset_key.path[0]}/{e.asset_key.path[3]}", e.check_name): e for e in found}


def _failed(results: Results) -> set[tuple[str, str]]:
    return {name for name, evaluation in results.items() if not evaluation.passed}


def _table(results: Results, table: str, check: str) -> str:
    return str(results[table, check].metadata["table"].value)


def _raw(platform: Platform, day: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Rewrite the Parquet of a silver partition past the lake's own guards."""
    (path,) = (platform.lake / "silver" / "klines_1m").rglob(f"market=um/date={day}/part-0.parquet")
    change(pl.read_parquet(path, hive_partitioning=False)).write_parquet(path)


@pytest.mark.requirement("F5.4")
def test_a_sound_lake_passes_all_checks(filled: Platform) -> None:
    results = _check(filled)
    assert _failed(results) == set()
    assert set(results) == {
        ("bronze/klines_1m", "freshness"),
        ("bronze/klines_1m", "reconciliation"),
        ("bronze/klines_1m", "epochs"),
        ("silver/klines_1m", "schema"),
        ("silver/klines_1m", "primary_key"),
        ("silver/klines_1m", "ohlc"),
        ("silver/klines_1m", "completeness"),
        *((f"gold/{table}", name) for table in GOLD for name in ("schema", "primary_key")),
        *((f"gold/{table}", "ohlc") for table in GOLD if table.startswith(("continuous", "bars"))),
        *((f"gold/bars_{i}", "sources") for i in ("1h", "1d")),
        ("gold/symbol_states", "carry"),
        ("gold/gaps", "missing_days"),
    }


@pytest.mark.requirement("F5.4")
def test_checks_run_within_the_run_that_makes_the_partitions(empty: Platform) -> None:
    result = empty.run("update_binance_um_daily", DAYS[1], DAYS[2])
    assert result.success
    found = result.get_asset_check_evaluations()
    # Of the stored tables; what asks the archive runs in the reconciliation.
    assert len(found) == 24
    assert all(e.passed for e in found)
    silver = [e for e in found if e.asset_key.path[0] == "silver"]
    assert {e.metadata["partitions"].value for e in silver} == {f"2: {DAYS[1]} to {DAYS[2]}"}


@pytest.mark.requirement("F5.4")
def test_a_failing_day_fails_the_checks_of_later_runs_until_it_is_repaired(empty: Platform) -> None:
    path = empty.archive / FILE.format(DAYS[0])
    good = path.read_bytes()
    checksum = path.with_name(f"{path.name}.CHECKSUM")
    stated = checksum.read_text()
    path.write_bytes(b"no zip")
    checksum.write_text(f"{hashlib.sha256(b'no zip').hexdigest()}  {path.name}\n")

    def completeness(day: str) -> dg.AssetCheckEvaluation:
        result = empty.run("update_binance_um_daily", day, day)
        (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "completeness"]
        return check

    assert not completeness(DAYS[0]).passed
    later = completeness(DAYS[2])
    assert not later.passed
    assert later.metadata["failing_partitions"].value == DAYS[0]
    assert later.metadata["partitions"].value == f"2: {DAYS[0]} to {DAYS[2]}"
    path.write_bytes(good)
    checksum.write_text(stated)
    assert completeness(DAYS[0]).passed
    assert completeness(DAYS[2]).passed


@pytest.mark.requirement("F5.4")
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda rows: rows.with_columns(pl.col("trade_count").cast(pl.Int32)), "| trade_count is Int32 |"),
        (lambda rows: rows.drop("contracts"), "| columns are "),
        (lambda rows: rows.drop("contracts").clear(), "| columns are "),
        (
            lambda rows: rows.with_columns(pl.when(pl.col("symbol") != "BTCUSDT").then(pl.col("close")).alias("close")),
            "| BTCUSDT | close is null |",
        ),
    ],
)
def test_schema_names_the_date_and_the_column(
    filled: Platform, change: Callable[[pl.DataFrame], pl.DataFrame], finding: str
) -> None:
    _raw(filled, DAYS[1], change)
    results = _check(filled)
    assert ("silver/klines_1m", "schema") in _failed(results)
    table = _table(results, "silver/klines_1m", "schema")
    assert finding in table
    assert f"| {DAYS[1]} |" in table
    assert results["silver/klines_1m", "schema"].metadata["failing_partitions"].value == DAYS[1]


@pytest.mark.requirement("F5.4")
def test_primary_key_names_dates_and_symbols_of_doubled_rows(filled: Platform) -> None:
    def doubled(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, rows.filter(pl.col("symbol") == "BTCUSDT").head(3)]).sort("symbol", "open_time")

    _raw(filled, DAYS[0], doubled)
    results = _check(filled)
    assert _failed(results) == {("silver/klines_1m", "primary_key")}
    expected = f"| {DAYS[0]} | BTCUSDT | 3 keys more than once |"
    assert expected in _table(results, "silver/klines_1m", "primary_key")
    assert results["silver/klines_1m", "primary_key"].severity is dg.AssetCheckSeverity.ERROR


@pytest.mark.requirement("F5.4")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("low", pl.col("high") * 2),
        ("high", pl.col("low") / 2),
        ("taker_buy_base_volume", pl.col("base_volume") + 1),
    ],
)
def test_ohlc_names_dates_and_symbols_of_impossible_rows(filled: Platform, column: str, value: pl.Expr) -> None:
    rows = read_partition(filled.store, SILVER.partition(DAYS[2]))
    bad = rows.with_columns(pl.when(pl.col("symbol") == "ETHUSDT").then(value).otherwise(column).alias(column))
    write_partition(filled.store, SILVER.partition(DAYS[2]), bad)
    results = _check(filled)
    assert _failed(results) == {("silver/klines_1m", "ohlc")}
    expected = f"| {DAYS[2]} | ETHUSDT | 1440 rows break the price or volume rules |"
    assert expected in _table(results, "silver/klines_1m", "ohlc")


@pytest.mark.requirement("F5.4")
def test_ohlc_of_bars_looks_at_the_vwap(filled: Platform) -> None:
    where = TableSlice("gold", "binance", "um", "bars_1d")
    rows = read_partition(filled.store, where.partition(DAYS[0])).with_columns(vwap=pl.col("high") + 1)
    write_partition(filled.store, where.partition(DAYS[0]), rows)
    results = _check(filled)
    assert _failed(results) == {("gold/bars_1d", "ohlc"), ("gold/bars_1d", "sources")}
    assert f"| {DAYS[0]} | BTCUSDT |" in _table(results, "gold/bars_1d", "ohlc")


@pytest.mark.requirement("F5.4")
@pytest.mark.parametrize(("table", "market"), [("premium_klines_1m", "um"), ("option_summaries", "option")])
def test_ohlc_of_tables_without_traded_volumes_looks_at_prices(table: str, market: str) -> None:
    schema = silver_schema(feed("binance", market, table))
    prices = {
        "open": [1.0, -0.2, None],
        "high": [2.0, -0.1, None],
        "low": [1.0, -0.1, None],
        "close": [1.5, -0.1, None],
    }
    # The second row's low lies above its open; the third has no prices, as of options that were not traded.
    rows = pl.DataFrame({"symbol": ["A", "B", "C"], **prices})
    assert check_prices(rows, schema) == [("B", "1 rows break the price or volume rules")]


@pytest.mark.requirement("F5.4")
def test_ohlc_finds_volumes_in_the_wrong_unit(filled: Platform) -> None:
    rows = read_partition(filled.store, SILVER.partition(DAYS[1]))
    write_partition(
        filled.store, SILVER.partition(DAYS[1]), rows.with_columns(quote_volume=pl.col("quote_volume") * 1000)
    )
    assert ("silver/klines_1m", "ohlc") in _failed(_check(filled))


@pytest.mark.requirement("F5.4")
def test_completeness_names_a_file_without_rows_in_silver(filled: Platform) -> None:
    rows = read_partition(filled.store, SILVER.partition(DAYS[1]))
    write_partition(filled.store, SILVER.partition(DAYS[1]), rows.filter(pl.col("symbol") != "ETHUSDT"))
    results = _check(filled)
    # Gold still has the rows that silver lost.
    assert _failed(results) == {("silver/klines_1m", "completeness"), ("gold/symbol_states", "carry")}
    expected = f"| {DAYS[1]} | ETHUSDT | the file is ingested, but silver has no row of it |"
    assert expected in _table(results, "silver/klines_1m", "completeness")


@pytest.mark.requirement("F5.4")
def test_completeness_names_a_failed_file(empty: Platform) -> None:
    path = empty.archive / FILE.format(DAYS[1])
    path.write_bytes(path.read_bytes()[:-50])
    assert empty.run("update_binance_um_daily", DAYS[0], DAYS[2]).success
    results = _check(empty)
    assert _failed(results) == {("silver/klines_1m", "completeness"), ("bronze/klines_1m", "reconciliation")}
    assert f"| {DAYS[1]} | BTCUSDT | failed: " in _table(results, "silver/klines_1m", "completeness")
    assert f"| {DAYS[1]} | BTCUSDT | failed: " in _table(results, "bronze/klines_1m", "reconciliation")


@pytest.mark.requirement("F5.4", "F5.6")
def test_freshness_names_the_newest_date_that_is_missing(filled: Platform) -> None:
    make_sample(filled.archive, symbols=2, days=5, start=START)
    results = _check(filled)
    assert _failed(results) == {("bronze/klines_1m", "freshness")}
    table = _table(results, "bronze/klines_1m", "freshness")
    assert "| 2025-01-02 |" in table
    assert "| 2025-01-03 |" in table
    assert results["bronze/klines_1m", "freshness"].severity is dg.AssetCheckSeverity.WARN


@pytest.mark.requirement("F5.6")
def test_reconciliation_names_a_hole(filled: Platform) -> None:
    shutil.rmtree(filled.lake / "bronze/klines_1m/exchange=binance/market=um" / f"date={DAYS[1]}")
    results = _check(filled)
    assert _failed(results) == {("bronze/klines_1m", "reconciliation")}
    table = _table(results, "bronze/klines_1m", "reconciliation")
    assert f"| {DAYS[1]} |  | the partition was never built. Build it with: crypto-lakehouse backfill" in table
    assert results["bronze/klines_1m", "reconciliation"].metadata["findings"].value == 1


@pytest.mark.requirement("F5.6")
def test_reconciliation_names_new_replaced_and_failed_files(
    filled: Platform, replace_file: Callable[[Path, str], None]
) -> None:
    replace_file(filled.archive, FILE.format(DAYS[0]))
    state = read_state(filled.store, UM_1M, DAYS[2])[FILE.format(DAYS[2])]
    failed = {**state, "status": "failed", "reason": "timeout", "detail": "no answer in 30 s"}
    record_files(filled.store, UM_1M, DAYS[2], [failed], datetime.now(UTC))
    make_sample(filled.archive.parent / "more", symbols=3, days=3, start=START)
    listed = f"data/futures/um/daily/klines/{_third(filled)}/1m"
    shutil.copytree(filled.archive.parent / "more" / listed, filled.archive / listed)
    results = _check(filled)
    table = _table(results, "bronze/klines_1m", "reconciliation")
    assert f"| {DAYS[0]} | BTCUSDT | replaced: " in table
    assert f"| {DAYS[2]} | BTCUSDT | failed: no answer in 30 s |" in table
    for day in DAYS:
        assert f"| {day} | {_third(filled)} | new: {listed}" in table


def _third(platform: Platform) -> str:
    names = {p.name for p in (platform.archive.parent / "more/data/futures/um/daily/klines").iterdir()}
    (third,) = names - {"BTCUSDT", "ETHUSDT"}
    return third


@pytest.mark.requirement("F5.6")
def test_dates_before_a_feed_begins_are_not_holes(filled: Platform) -> None:
    months = filled.defs(tables="funding_rates").resolve_job_def("update_binance_um_monthly")
    # The market begins in 2019-09, its funding rates in 2020-01: the empty months are made and no findings.
    tags = {"dagster/asset_partition_range_start": "2019-09", "dagster/asset_partition_range_end": "2020-01"}
    assert months.execute_in_process(instance=filled.instance, tags=tags).success
    results = _check(filled, tables="funding_rates")
    assert not results["bronze/funding_rates", "reconciliation"].metadata.get("table")
    assert ("bronze/funding_rates", "reconciliation") not in _failed(results)


@pytest.mark.requirement("F5.6")
def test_checks_of_an_archive_that_is_down_say_so(filled: Platform) -> None:
    down = {"archive_url": "http://127.0.0.1:1", "archive_listing_url": "http://127.0.0.1:1", "retries": 1}
    results = _check(filled, **down)
    assert _failed(results) == {("bronze/klines_1m", "freshness"), ("bronze/klines_1m", "reconciliation")}
    assert "could not be checked" in (results["bronze/klines_1m", "freshness"].description or "")
