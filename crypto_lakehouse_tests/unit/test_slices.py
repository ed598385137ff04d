"""Slices of tables and their partitions: paths, cadence, schema, asset key, and the commands that build them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, feed, feeds, partition_key
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.schemas import bronze_schema, schema_of, silver_schema
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse_tests.commands import parsed

MINUTES = TableSlice("silver", "binance", "um", "klines_1m")
FUNDING = TableSlice("silver", "binance", "cm", "funding_rates")

PATHS = [
    (MINUTES, "2024-01-01", "silver/klines_1m/exchange=binance/market=um/date=2024-01-01"),
    (FUNDING, "2024-02", "silver/funding_rates/exchange=binance/market=cm/month=2024-02"),
    (
        TableSlice("bronze", "binance", "spot", "klines_1mo"),
        "2024-12",
        "bronze/klines_1mo/exchange=binance/market=spot/month=2024-12",
    ),
    (
        TableSlice("gold", "binance", "um", "bars_1h_by_5m"),
        "2024-02-29",
        "gold/bars_1h_by_5m/exchange=binance/market=um/date=2024-02-29",
    ),
    (
        TableSlice("gold", "binance", "option", "instruments"),
        "2024-01-01",
        "gold/instruments/exchange=binance/market=option/date=2024-01-01",
    ),
]


@pytest.mark.requirement("T7", "D7")
@pytest.mark.parametrize(("table_slice", "key", "folder"), PATHS)
def test_a_partition_has_the_folder_in_which_every_lake_stores_it(
    table_slice: TableSlice, key: str, folder: str
) -> None:
    partition = table_slice.partition(key)
    assert partition.folder == folder
    assert partition.path == f"{folder}/part-0.parquet"
    assert folder.startswith(f"{table_slice.folder}/")


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("own", feeds(), ids=lambda own: own.name)
def test_the_cadence_and_schema_of_a_slice_are_those_of_its_own_feed(own: Feed) -> None:
    bronze, silver = (TableSlice.of_feed(layer, own) for layer in ("bronze", "silver"))
    assert bronze.feed is silver.feed is own
    assert bronze.cadence is silver.cadence is own.cadence
    assert bronze.schema == bronze_schema(own)
    assert silver.schema == silver_schema(own)
    partition = silver.partition(partition_key(own.first_date, own.cadence))
    assert partition.start <= own.first_date < partition.end


@pytest.mark.requirement("T1")
def test_the_cadence_comes_from_the_market_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monthly = replace(feed("binance", "cm", "klines_1m"), cadence=Cadence.MONTHLY)
    monkeypatch.setitem(FEEDS, ("binance", "cm", "klines_1m"), monthly)
    assert replace(MINUTES, market="cm").cadence is Cadence.MONTHLY
    assert MINUTES.cadence is Cadence.DAILY


@pytest.mark.requirement("T1")
def test_gold_tables_have_days_and_the_schema_of_their_kind() -> None:
    for table in ("continuous_1m", "bars_1h", "bars_dollar_1000000", "trades_continuity", "instruments"):
        gold = TableSlice("gold", "binance", "um", table)
        assert gold.cadence is Cadence.DAILY
        assert gold.schema is schema_of("gold", table)
        assert gold.feed is None


@pytest.mark.requirement("T1")
def test_a_table_has_days_or_months_in_all_markets_because_readers_return_one_column() -> None:
    cadences: dict[tuple[str, str], set[Cadence]] = {}
    for of_market in feeds():
        cadences.setdefault((of_market.exchange, of_market.table), set()).add(of_market.cadence)
    assert all(len(of_table) == 1 for of_table in cadences.values())


def test_the_asset_key_and_the_name_have_the_order_of_the_graph() -> None:
    assert MINUTES.asset_key == ("silver", "binance", "um", "klines_1m")
    assert MINUTES.name == "silver/binance/um/klines_1m"
    assert TableSlice(*MINUTES.asset_key) == MINUTES


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("bad", ["../x", "..", "a/b", "", "a b", "A", "a\n", "a=b", "ü"])
def test_unsafe_names_never_become_slices(bad: str) -> None:
    for names in ((bad, "um", "klines_1m"), ("binance", bad, "klines_1m"), ("binance", "um", bad)):
        with pytest.raises(ValueError):
            TableSlice("silver", *names)
    with pytest.raises(ValueError, match="is not a layer"):
        TableSlice(bad, "binance", "um", "klines_1m")
    for key in (bad, "2024-1-1", "2024-01", "2024-02-30", "2024-01-01/.."):
        with pytest.raises(ValueError):
            MINUTES.partition(key)
    for key in (bad, "2024-1", "2024-01-01", "2024-13"):
        with pytest.raises(ValueError):
            FUNDING.partition(key)


@pytest.mark.requirement("T7")
def test_an_unknown_table_has_no_partition_and_the_error_lists_tables() -> None:
    with pytest.raises(KeyError, match="no table"):
        TableSlice("silver", "binance", "um", "nothing").partition("2024-01-01")


@pytest.mark.parametrize(
    ("partition", "start", "end"),
    [
        (MINUTES.partition("2024-02-29"), date(2024, 2, 29), date(2024, 3, 1)),
        (FUNDING.partition("2024-02"), date(2024, 2, 1), date(2024, 3, 1)),
    ],
    ids=str,
)
def test_the_days_of_a_partition_end_with_the_day_after_its_last(partition: Partition, start: date, end: date) -> None:
    assert (partition.start, partition.end) == (start, end)


@pytest.mark.requirement("F5.2", "F7.3")
@pytest.mark.parametrize("partition", [table_slice.partition(key) for table_slice, key, _ in PATHS], ids=str)
def test_the_command_line_accepts_the_command_that_builds_a_partition(partition: Partition) -> None:
    for force in (False, True):
        arguments = parsed(partition.backfill_command(force))
        names = (arguments["exchange"], arguments["market"], arguments["table"])
        assert names == partition.slice.asset_key[1:]
        assert (arguments["first"], arguments["last"]) == (partition.start, partition.end - timedelta(days=1))
        assert arguments["force"] is force


@pytest.mark.requirement("F5.2")
def test_the_command_for_several_partitions_names_the_first_and_the_last() -> None:
    command = FUNDING.backfill_command("2024-01", "2024-03")
    assert command == "crypto-lakehouse backfill --market cm --table funding_rates --from 2024-01 --to 2024-03"
    arguments = parsed(command)
    assert (arguments["first"], arguments["last"]) == (date(2024, 1, 1), date(2024, 3, 31))


@pytest.mark.requirement("F5.2")
def test_the_command_line_accepts_the_command_that_compacts_a_month() -> None:
    arguments = parsed(MINUTES.compact_command("2024-01"))
    assert (arguments["market"], arguments["table"]) == ("um", "klines_1m")
    assert (arguments["first"], arguments["last"]) == ("2024-01", "2024-01")


def test_the_exchange_is_named_where_it_is_not_the_default() -> None:
    other = TableSlice("gold", "kraken", "spot", "bars_1h")
    assert other.backfill_command("2024-01-01", "2024-01-02") == (
        "crypto-lakehouse backfill --exchange kraken --market spot --table bars_1h --from 2024-01-01 --to 2024-01-02"
    )
    assert parsed(other.backfill_command("2024-01-01", "2024-01-02"))["exchange"] == "kraken"


def test_a_command_is_quoted_for_a_shell() -> None:
    command = command_line("archive", "symbols", options={"market": "um", "table": "klines_1m", "symbols": "BTC*,!X"})
    assert "'BTC*,!X'" in command
    assert parsed(command)["market"] == "um"


@pytest.mark.parametrize("words", [("status",), ("verify",), ("demo",), ("config",)])
def test_commands_without_a_partition_are_those_of_the_command_line(words: tuple[str, ...]) -> None:
    parsed(command_line(*words))
