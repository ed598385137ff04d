"""Ids of trades and rebuilt klines through real runs over silver partitions: days in any order, and the checks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse.catalog import INTERVALS, MARKETS
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.orchestration.runs import Outcome, run_chunks
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform
from crypto_lakehouse_tests.unit.reference_gold import frame
from crypto_lakehouse_tests.unit.reference_trades import trade

pytestmark = pytest.mark.slow

TABLES = ("trades_continuity", "trades_missing_ids")
SETTINGS = {"tables": "trades,klines_1m"}
# 103 and 104 are missing within the first day, 107 between it and the second; 110 comes on both later days.
IDS = {DAYS[0]: (101, 102, 105, 106), DAYS[1]: (108, 109, 110), DAYS[2]: (110, 111)}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """An empty lake; nothing here asks the archive."""
    return Platform(tmp_path / "lake", tmp_path / "archive", "http://127.0.0.1:1", "http://127.0.0.1:1")


def silver(day: str) -> pl.DataFrame:
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    times = [begin + timedelta(seconds=40 * i) for i in range(len(IDS[day]))]
    rows = [trade(n, at, 100.0 + n, symbol="BTCUSDT") for n, at in zip(IDS[day], times, strict=True)]
    return frame("silver", "trades", [*rows, trade(1000 + DAYS.index(day), begin, symbol="ETHUSDT")])


def store(platform: Platform, *days: str) -> None:
    for day in days:
        write_partition(platform.store, TableSlice("silver", "binance", "um", "trades").partition(day), silver(day))


def run(platform: Platform, days: Sequence[str]) -> list[Outcome]:
    """A backfill of the continuity table, as the command line starts it."""
    defs = platform.defs(**SETTINGS)
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    wish = plan("binance", "um", "trades_continuity", first, last, _environment(), date(2026, 1, 1))
    assert [key.path for key in wish.assets] == [["gold", "binance", "um", table] for table in TABLES]
    return list(run_chunks(wish, [days], defs, platform.instance, ""))


def _environment(tables: str = SETTINGS["tables"]) -> Settings:
    return Settings.load(env="test", tables=tables)


def gold(platform: Platform) -> dict[str, str]:
    parts = sorted((platform.lake / "gold").rglob("*.parquet"))
    return {str(p.relative_to(platform.lake)): hashlib.sha256(p.read_bytes()).hexdigest() for p in parts}


@pytest.mark.requirement("F4.8", "D13")
def test_days_in_any_order_give_the_tables_of_one_range_and_the_check_names_what_is_missing(
    platform: Platform, tmp_path: Path
) -> None:
    store(platform, *DAYS)
    [outcome] = run(platform, DAYS)
    assert outcome.error == ""
    assert outcome.errors == []
    assert outcome.warnings == [
        "id_continuity of gold/binance/um/trades_continuity: 3 findings:"
        f" {DAYS[0]} BTCUSDT 2 ids are missing in 1 ranges;"
        f" {DAYS[1]} BTCUSDT 1 ids are missing in 1 ranges;"
        f" {DAYS[2]} BTCUSDT 1 ids are not above 110, the last id of the day before"
    ]
    place = ("binance", "um")
    missing = [read_partition(platform.store, TableSlice("gold", *place, TABLES[1]).partition(day)) for day in DAYS]
    ranges = [rows.select("symbol", "first_missing_id", "last_missing_id").rows() for rows in missing]
    assert ranges == [[("BTCUSDT", 103, 104)], [("BTCUSDT", 107, 107)], []]
    other = Platform(tmp_path / "other", platform.archive, platform.url, platform.listing_url)
    for day in (DAYS[2], DAYS[0], DAYS[1]):
        store(other, day)
        assert run(other, [day])[0].error == ""
    assert gold(other) == gold(platform)
    assert len(gold(platform)) == 2 * len(DAYS)
    # The day after the one that was made last is recorded again, with its own partition.
    records = other.instance.fetch_materializations(dg.AssetKey(["gold", "binance", "um", TABLES[0]]), limit=10).records
    assert [record.partition_key for record in records] == [DAYS[2], DAYS[1], DAYS[0], DAYS[2]]


@pytest.mark.requirement("F4.8", "F4.9", "F5.4")
def test_checks_name_symbols_days_ids_and_klines_that_differ(platform: Platform) -> None:
    store(platform, *DAYS)
    run(platform, DAYS)
    klines = klines_from_trades(silver(DAYS[1]), INTERVALS["1m"], MARKETS["binance", "um"])
    wrong = klines.with_columns(trade_count=pl.when(symbol="BTCUSDT").then(7).otherwise("trade_count"))
    write_partition(platform.store, TableSlice("silver", "binance", "um", "klines_1m").partition(DAYS[1]), wrong)
    job = platform.defs(**SETTINGS).resolve_job_def("reconciliation")
    result = job.execute_in_process(instance=platform.instance, raise_on_error=False)
    tables = {
        (check.asset_key.path[3], check.check_name): str(check.metadata["table"].value).split("\n")[2:]
        for check in result.get_asset_check_evaluations()
        if not check.passed and "table" in check.metadata
    }
    assert tables[TABLES[0], "id_continuity"] == [
        f"| {DAYS[0]} | BTCUSDT | 2 ids are missing in 1 ranges |",
        f"| {DAYS[1]} | BTCUSDT | 1 ids are missing in 1 ranges |",
        f"| {DAYS[2]} | BTCUSDT | 1 ids are not above 110, the last id of the day before |",
    ]
    # Trades at 0, 40 and 80 s: two in the first minute, one in the next.
    assert tables["trades", "klines_from_trades"] == [
        f"| {DAYS[1]} | BTCUSDT | trade_count differs in 2 of 2 klines, first {DAYS[1]} 00:00: archive 7, trades 2 |"
    ]


@pytest.mark.requirement("F4.8")
def test_a_day_left_out_of_line_is_named_and_mended_by_the_next_run(platform: Platform) -> None:
    store(platform, *DAYS)
    run(platform, DAYS)
    sound = gold(platform)
    place = TableSlice("gold", "binance", "um", TABLES[0]).partition(DAYS[2])
    stored = read_partition(platform.store, place)
    write_partition(platform.store, place, stored.with_columns(before_id=pl.lit(5, pl.Int64)))
    assert gold(platform) != sound
    job = platform.defs(**SETTINGS).resolve_job_def("reconciliation")
    result = job.execute_in_process(instance=platform.instance, raise_on_error=False)
    [check] = [c for c in result.get_asset_check_evaluations() if c.check_name == "id_continuity" and not c.passed]
    text = str(check.metadata["table"].value)
    assert f"| {DAYS[2]} |  | compared with ids that the day before no longer has. Rebuild it with: " in text
    (command,) = recommended(text.replace(" |", ""))
    run(platform, [str(parsed(command)["first"])])
    assert gold(platform) == sound


@pytest.mark.requirement("F4.8")
def test_a_day_that_silver_lacks_fails_without_retry(platform: Platform) -> None:
    [outcome] = run(platform, [DAYS[0]])
    assert f"silver.trades of binance/um has no partition {DAYS[0]}. Build it first: " in outcome.error


@pytest.mark.requirement("F4.8", "F7.3")
def test_a_backfill_of_trades_makes_all_layers() -> None:
    day, today = date(2024, 12, 30), date(2026, 1, 1)
    wish = plan("binance", "cm", "agg_trades", day, day, _environment("agg_trades,klines_1m"), today)
    layers = ["bronze/agg_trades", "silver/agg_trades", "gold/agg_trades_continuity", "gold/agg_trades_missing_ids"]
    assert [f"{key.path[0]}/{key.path[3]}" for key in wish.assets] == layers
    minutes = plan("binance", "cm", "klines_1m", day, day, _environment(), today)
    assert not any("trades" in key.path[3] for key in minutes.assets)
    with pytest.raises(ValueError, match="table agg_trades is not enabled; add it to LAKEHOUSE_TABLES"):
        plan("binance", "cm", "agg_trades_missing_ids", day, day, _environment(), today)


@pytest.mark.requirement("F5.1", "F4.8")
def test_the_id_tables_are_made_where_trades_are() -> None:
    platform = Platform(Path("lake"), Path("archive"), "http://127.0.0.1:1", "http://127.0.0.1:1")
    specs = {spec.key.to_user_string(): spec for spec in platform.defs(tables="agg_trades").resolve_all_asset_specs()}
    markets = ("spot", "um", "cm")
    tables = (
        "bronze/{}/agg_trades",
        "silver/{}/agg_trades",
        "gold/{}/agg_trades_continuity",
        "gold/{}/agg_trades_missing_ids",
    )
    assert set(specs) == {table.format(f"binance/{market}") for market in markets for table in tables}
    for market in markets:
        spec = specs[f"gold/binance/{market}/agg_trades_missing_ids"]
        assert [dep.asset_key.path for dep in spec.deps] == [["silver", "binance", market, "agg_trades"]]
    job = platform.defs(**SETTINGS).get_repository_def().get_job("update_binance_um_daily")
    made = {key.path[3] for key in job.asset_layer.executable_asset_keys if key.path[0] == "gold"}
    assert made >= {*TABLES, "continuous_1m"}
