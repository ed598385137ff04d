"""Days of ids in a real lake on disk: the same tables for any order of days and any batch size."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS, Feed, feed
from crypto_lakehouse.lake.storage.partitions import MissingPartition, list_keys, read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.trade_ids import IdsPartition, TradeIds, check_klines, id_tables
from crypto_lakehouse.schemas import bronze_schema, schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades
from crypto_lakehouse_tests.unit.reference_gold import Row, empty, frame
from crypto_lakehouse_tests.unit.reference_trades import DAY, START, aggregate, trade

TRADES = feed("binance", "um", "trades")
AGGREGATES = feed("binance", "um", "agg_trades")
KEYS = [f"{START + n * DAY:%Y-%m-%d}" for n in range(5)]
Days = dict[str, list[Row]]


def store_silver(store: LakeStore, days: Mapping[str, Iterable[Row]], table: str = "trades") -> None:
    for key, rows in days.items():
        write_partition(
            store, TableSlice("silver", "binance", "um", table).partition(key), frame("silver", table, list(rows))
        )


def run(store: LakeStore, keys: list[str], batch_rows: int = 3) -> list[str]:
    """Store the results of a run for ``keys``, as the asset does. Returns the keys in order of writing."""
    maker = TradeIds(store, TRADES, batch_rows)
    made: list[IdsPartition] = []
    written = []
    for part in maker.days(keys):
        made.append(part)
        written.append(store_gold(store, part))
    return written + [store_gold(store, part) for part in maker.stale_successors(made)]


def store_gold(store: LakeStore, part: IdsPartition) -> str:
    for table, rows in zip(id_tables("trades"), (part.continuity, part.missing), strict=True):
        write_partition(store, TableSlice("gold", "binance", "um", table).partition(part.key), rows)
    return part.key


def gold(store: LakeStore) -> dict[tuple[str, str], bytes]:
    return {
        (table, key): store.read_bytes(f"gold/{table}/exchange=binance/market=um/date={key}/part-0.parquet")
        for table in id_tables("trades")
        for key in list_keys(store, TableSlice("gold", "binance", "um", table))
    }


def day(number: int, *ids: int, symbol: str = "A") -> list[Row]:
    return [trade(n, START + number * DAY + timedelta(seconds=i), symbol=symbol) for i, n in enumerate(ids)]


@st.composite
def days(draw: st.DrawFn) -> Days:
    """Ids of two symbols that go on from day to day, with holes and repetitions; some days are not there."""
    made: Days = {}
    reached = {"A": 10, "B": 20}
    for number in sorted(draw(st.sets(st.sampled_from(range(5)), min_size=1))):
        rows: list[Row] = []
        for symbol in reached:
            begin = reached[symbol] + draw(st.sampled_from([-2, 0, 1, 1, 1, 3]))
            steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), max_size=5))
            ids = [begin + sum(steps[:i]) for i in range(len(steps))]
            rows += day(number, *ids, symbol=symbol)
            reached[symbol] = max([reached[symbol], *ids])
        made[KEYS[number]] = rows
    return made


@pytest.mark.requirement("D13", "F4.8", "D6")
@settings(max_examples=12, deadline=None)
@given(days(), st.data(), st.integers(1, 8))
def test_any_order_and_cut_of_days_gives_the_same_stored_tables(made: Days, data: st.DataObject, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at_once, one_by_one = (LakeStore.open(f"{folder}/{name}") for name in ("a", "b"))
        store_silver(at_once, made)
        run(at_once, list(made))
        # Silver also arrives day by day, and days may be rebuilt.
        for key in [*data.draw(st.permutations(list(made))), *data.draw(st.lists(st.sampled_from(list(made))))]:
            store_silver(one_by_one, {key: made[key]})
            run(one_by_one, [key], size)
        assert gold(one_by_one) == gold(at_once)


@pytest.mark.requirement("D13", "F4.8")
def test_ids_missing_or_repeated_between_two_days_are_reported_on_the_later_day(store: LakeStore) -> None:
    rows = {KEYS[0]: day(0, 1, 2, 4), KEYS[1]: day(1, 7, 8), KEYS[2]: day(2, 8, 9)}
    written = []
    for key in reversed(rows):
        store_silver(store, {key: rows[key]})
        written.append(run(store, [key]))
    # Each run finds that the next day started without last ids, and rebuilds it.
    assert written == [[KEYS[2]], KEYS[1:3], KEYS[:2]]
    missing = [
        read_partition(store, TableSlice("gold", "binance", "um", "trades_missing_ids").partition(key))
        for key in KEYS[:3]
    ]
    assert [rows.select("first_missing_id", "last_missing_id").rows() for rows in missing] == [[(3, 3)], [(5, 6)], []]
    continuity = [
        read_partition(store, TableSlice("gold", "binance", "um", "trades_continuity").partition(key))
        for key in KEYS[:3]
    ]
    assert [rows.select("before_id", "missing_ids", "repeated_ids").row(0) for rows in continuity] == [
        (None, 1, 0),
        (4, 2, 0),
        (8, 0, 1),
    ]


@pytest.mark.requirement("D13")
def test_a_day_rebuilt_from_other_rows_rebuilds_only_the_next_day(store: LakeStore) -> None:
    made = {key: day(n, 10 * n + 1, 10 * n + 2) for n, key in enumerate(KEYS)}
    store_silver(store, made)
    assert run(store, KEYS) == KEYS
    assert run(store, KEYS[1:3]) == KEYS[1:3]
    store_silver(store, {KEYS[1]: day(1, 11, 12, 13)})
    assert TradeIds(store, TRADES).out_of_line(_stored(store, KEYS[2]), KEYS[2]) is False
    assert run(store, [KEYS[1]]) == KEYS[1:3]
    assert _stored(store, KEYS[2])["before_id"].to_list() == [13]
    # A day that was left as it was is named.
    write_partition(
        store,
        TableSlice("gold", "binance", "um", "trades_continuity").partition(KEYS[2]),
        _stored(store, KEYS[2]).with_columns(before_id=12),
    )
    assert TradeIds(store, TRADES).out_of_line(_stored(store, KEYS[2]), KEYS[2]) is True
    assert TradeIds(store, TRADES).out_of_line(_stored(store, KEYS[0]), KEYS[0]) is False


def _stored(store: LakeStore, key: str) -> pl.DataFrame:
    return read_partition(store, TableSlice("gold", "binance", "um", "trades_continuity").partition(key))


@pytest.mark.requirement("D6", "F7.10")
def test_a_day_that_another_run_has_stored_in_part_is_left_to_it(store: LakeStore) -> None:
    store_silver(store, {KEYS[0]: day(0, 1, 2), KEYS[1]: day(1, 3, 4)})
    assert run(store, KEYS[1:2]) == KEYS[1:2]
    continuity, missing = (TableSlice("gold", "binance", "um", table) for table in id_tables("trades"))
    expected = gold(store)
    # The other run stores the table of missing ids after that of continuity.
    store.delete(missing.partition(KEYS[1]).path)
    assert run(store, KEYS[:1]) == KEYS[:1]
    assert set(list_keys(store, continuity)) == set(KEYS[:2])
    assert run(store, KEYS[1:2]) == KEYS[1:2]
    assert gold(store).items() >= expected.items()


@pytest.mark.requirement("D13", "F4.8")
def test_removed_rows_are_bronze_rows_that_silver_does_not_have(store: LakeStore) -> None:
    spot = feed("binance", "spot", "trades")
    silver = frame("silver", "trades", [*day(0, 1, 2, 3), *day(0, 7, symbol="B")])
    write_partition(store, TableSlice("silver", "binance", "spot", "trades").partition(KEYS[0]), silver)
    [before] = TradeIds(store, spot).days([KEYS[0]])
    assert before.continuity["removed_rows"].to_list() == [None, None]
    line = {"id": 1, "price": 1.0, "qty": 1.0, "quote_qty": 1.0, "time": 1, "is_buyer_maker": "", "is_best_match": ""}
    source = {"source_key": "key", "source_sha256": "0"}
    rows = [
        {**line, **source, "symbol": symbol, "source_line": n}
        for symbol, n in [*(("A", n) for n in range(5)), ("B", 0)]
    ]
    bronze = pl.DataFrame(rows, schema=empty(bronze_schema(spot)).schema)
    write_partition(store, TableSlice("bronze", "binance", "spot", "trades").partition(KEYS[0]), bronze)
    [part] = TradeIds(store, spot).days([KEYS[0]])
    assert part.continuity.select("symbol", "removed_rows").rows() == [("A", 2), ("B", 0)]


@pytest.mark.requirement("F4.8")
def test_a_day_missing_from_silver_is_an_error_that_names_the_command(store: LakeStore) -> None:
    expected = f"has no partition {KEYS[1]}. Build it first: .*--table trades --from {KEYS[1]}"
    with pytest.raises(MissingPartition, match=expected):
        run(store, [KEYS[1]])
    store_silver(store, {KEYS[1]: []})
    assert run(store, [KEYS[1]]) == [KEYS[1]]
    assert _stored(store, KEYS[1]).equals(empty(schema_of("gold", "trades_continuity")))


@pytest.mark.requirement("F4.9")
@pytest.mark.parametrize("of", [TRADES, AGGREGATES])
@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_stored_trades_are_compared_with_stored_klines_in_batches(store: LakeStore, of: Feed, size: int) -> None:
    table = of.table
    values = [
        (n, START + n * timedelta(seconds=10), {"symbol": s, "price": 10.0 + n % 5}) for s in "ABC" for n in range(13)
    ]
    rows = [aggregate(n, at, (n, n), **v) if of is AGGREGATES else trade(n, at, **v) for n, at, v in values]
    store_silver(store, {KEYS[0]: rows}, table)
    assert check_klines(store, of, KEYS[0], size) == []
    klines = klines_from_trades(frame("silver", table, rows), INTERVALS["1m"], TRADES.market)
    # C has no klines, and D, which has no trades, is of no interest either.
    there = klines.filter(pl.col("symbol") != "C")
    there = pl.concat([there, there.filter(symbol="A").with_columns(symbol=pl.lit("D"))])
    write_partition(store, TableSlice("silver", "binance", "um", "klines_1m").partition(KEYS[0]), there)
    assert check_klines(store, of, KEYS[0], size) == []
    wrong = there.with_columns(high=pl.when(symbol="B").then(99.0).otherwise("high"))
    write_partition(store, TableSlice("silver", "binance", "um", "klines_1m").partition(KEYS[0]), wrong)
    # 13 trades, six a minute: three minutes.
    assert check_klines(store, of, KEYS[0], size) == [
        ("B", "high differs in 3 of 3 klines, first 2024-12-31 00:00: archive 99.0, trades 14.0")
    ]
