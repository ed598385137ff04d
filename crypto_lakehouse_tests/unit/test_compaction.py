"""Month files: the same rows as the day files, used instead of them only while they are up to date."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Cadence, feed, partition_keys
from crypto_lakehouse.lake.reader import scan
from crypto_lakehouse.lake.storage import compaction
from crypto_lakehouse.lake.storage.compaction import MonthChanged, MonthInfo, compact_month
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.months import LEAST_DAYS
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.compaction import IncompleteMonth, compact_months, month_states
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.lake_rows import UM_1M, klines, ledger_row

pytestmark = pytest.mark.requirement("P5")

UM, SPOT = (TableSlice("silver", "binance", market, "klines_1m") for market in ("um", "spot"))
FEBRUARY = partition_keys(date(2023, 2, 1), date(2023, 3, 1), Cadence.DAILY)
SYMBOLS = ["AAAUSDT", "BTCUSDT", "ÖUSDT"]
READ = {"table": "silver.klines_1m", "market": "um", "start": "2023-02-01", "end": "2023-03-01"}


def put(store: LakeStore, key: str, rows: pl.DataFrame, table_slice: TableSlice = UM) -> None:
    """Write a day file dated an hour ago, so that no test waits for it to settle."""
    write_partition(store, table_slice.partition(key), rows)
    age(store, key, table_slice)


def age(store: LakeStore, key: str, table_slice: TableSlice = UM) -> None:
    path = store.path(table_slice.partition(key).path)
    at = Path(path).stat().st_mtime - 3600
    os.utime(path, (at, at))


def day_rows(key: str, seed: int = 0) -> pl.DataFrame:
    """Few rows a day; symbols come and go, and one day has none."""
    number = date.fromisoformat(key).toordinal()
    symbols = [] if number % 19 == 3 else [s for i, s in enumerate(SYMBOLS) if (number + i) % 4]
    rows = klines(symbols, date.fromisoformat(key), 3)
    return rows.with_columns(close=pl.col("close") + number + seed)


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    """Day files of February 2023, of the days around it, and the same for spot without its month file."""
    store = LakeStore.open(str(tmp_path / "lake"))
    for key in partition_keys(date(2023, 1, 30), date(2023, 3, 4), Cadence.DAILY):
        put(store, key, day_rows(key))
        put(store, key, day_rows(key, seed=5), SPOT)
    return store


def february(store: LakeStore) -> MonthInfo:
    return compact_month(store, UM, "2023-02")


def month_files(store: LakeStore) -> list[str]:
    return [file.path for file in store.list("compacted")]


def uses_months(lake: Lakehouse, **asked: Any) -> bool:
    return "compacted" in lake.scan(**{**READ, **asked}).explain()


def from_days(store: LakeStore, symbols: list[str], table_slice: TableSlice = UM) -> pl.DataFrame:
    days = pl.concat(read_partition(store, table_slice.partition(key)) for key in FEBRUARY)
    return days.filter(pl.col("symbol").is_in(symbols))


@pytest.mark.parametrize("mode", ["live", "archive"])
def test_what_was_known_is_read_from_it_as_from_the_days(store: LakeStore, mode: str) -> None:
    for key in FEBRUARY:
        # The file of a day comes at noon of the next one.
        came = datetime.fromisoformat(key).replace(tzinfo=UTC) + timedelta(hours=36)
        rows = [ledger_row(symbol, key=f"{symbol}-{key}.zip", period=key) for symbol in SYMBOLS]
        record_files(store, UM_1M, key, rows, came)
    lake = Lakehouse(store.uri)
    asked: dict[str, Any] = {**READ, "symbols": SYMBOLS[:2], "known_by": "2023-02-15T06:00", "mode": mode}
    before = lake.read(**asked, available_at=True, format="polars")
    february(store)
    assert uses_months(lake, symbols=SYMBOLS[:2])
    after = lake.read(**asked, available_at=True, format="polars")
    assert after.equals(before)
    assert after["open_time"].max().day in ((14, 15) if mode == "live" else (13,))


def test_readers_use_it_and_see_the_rows_of_the_days_in_their_order(store: LakeStore) -> None:
    lake = Lakehouse(store.uri)
    before = lake.scan(**READ, symbols=SYMBOLS).collect()
    asked = {**READ, "symbols": SYMBOLS, "format": "polars"}
    read, tables = lake.read(**asked), lake.tables()
    info = february(store)
    assert (info.month, info.days, info.rows, info.was_up_to_date) == ("2023-02", 28, before.height, False)
    assert uses_months(lake, symbols=SYMBOLS)
    assert lake.scan(**READ, symbols=SYMBOLS).collect().equals(before)
    assert lake.read(**asked).equals(read)
    assert before.drop("exchange", "market").equals(from_days(store, SYMBOLS))
    # It is no table, and no part of one.
    assert lake.tables().equals(tables)
    assert not list(Path(store.path("silver")).glob("**/month=*"))


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, Lakehouse]:
    """The same days without and with month files."""
    lakes = []
    for name in ("days", "months"):
        store = LakeStore.open(str(tmp_path_factory.mktemp(name)))
        for table_slice, seed in ((UM, 0), (SPOT, 5)):
            for key in partition_keys(date(2023, 1, 28), date(2023, 4, 3), Cadence.DAILY):
                put(store, key, day_rows(key, seed), table_slice)
        if name == "months":
            for table_slice, month in ((UM, "2023-02"), (UM, "2023-03"), (SPOT, "2023-03")):
                compact_month(store, table_slice, month)
        lakes.append(Lakehouse(store.uri))
    return lakes[0], lakes[1]


days = st.dates(date(2023, 1, 25), date(2023, 4, 5))
asked = st.fixed_dictionaries(
    {
        "market": st.sampled_from(["um", "spot", ["um", "spot"]]),
        "symbols": st.one_of(st.none(), st.lists(st.sampled_from([*SYMBOLS, "NONEUSDT"]), max_size=3)),
        "range": st.tuples(st.none() | days, st.none() | days),
        "columns": st.sampled_from([None, ["close"], ["date", "symbol", "market"], ["open_time", "close", "date"]]),
        "minutes": st.sampled_from([0, 1, 1439]),
    }
)


@settings(max_examples=80)
@given(wish=asked)
@pytest.mark.filterwarnings("ignore::crypto_lakehouse.LakeWarning")
def test_any_request_gives_the_same_rows_in_the_same_order(
    twins: tuple[Lakehouse, Lakehouse], wish: dict[str, Any]
) -> None:
    wish = dict(wish)
    first, last = wish.pop("range")
    minutes = timedelta(minutes=wish.pop("minutes"))
    if first and last and last < first:
        first, last = last, first
    if first:
        wish["start"] = datetime(first.year, first.month, first.day) + minutes
    if last:
        wish["end"] = datetime(last.year, last.month, last.day) + minutes
    plain, compacted = (lake.scan("silver.klines_1m", **wish).collect() for lake in twins)
    assert compacted.equals(plain)
    assert compacted.schema == plain.schema


values = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0])


@settings(max_examples=10)
@given(
    draws=st.lists(
        st.tuples(
            st.sampled_from(FEBRUARY),
            st.sampled_from([*SYMBOLS, "ZUSDT"]),
            st.integers(0, 86_399_999_999),
            values,
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=60,
    ),
    group_rows=st.integers(1, 7),
)
def test_it_holds_the_rows_of_the_days_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    draws: list[tuple[str, str, int, float, int | None]],
    group_rows: int,
) -> None:
    store = LakeStore.open(str(tmp_path_factory.mktemp("bits")))
    blank = klines(["X"], date(2023, 2, 1), 1)
    rows: dict[str, list[pl.DataFrame]] = {key: [blank.clear()] for key in FEBRUARY[:9]}
    for key, symbol, microsecond, value, contracts in draws:
        at = datetime.fromisoformat(key).replace(tzinfo=UTC) + timedelta(microseconds=microsecond)
        row = blank.with_columns(
            symbol=pl.lit(symbol),
            open_time=pl.lit(at, dtype=pl.Datetime("us", "UTC")),
            open=pl.lit(value),
            contracts=pl.lit(contracts, dtype=pl.Int64),
        )
        rows.setdefault(key, []).append(row)
    for key, frames in rows.items():
        put(store, key, pl.concat(frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "MONTH_ROWS", group_rows)
        patch.setattr(compaction, "_FRAME_ROWS", 5)
        info = february(store)
    found = pl.read_parquet(info.uri, hive_partitioning=False)
    expected = pl.concat(read_partition(store, UM.partition(key)) for key in sorted(rows))
    expected = expected.sort("symbol", "open_time", maintain_order=True)
    assert found.equals(expected)
    # Equal to ``equals`` are also zeros of either sign.
    assert found["open"].to_numpy().tobytes() == expected["open"].to_numpy().tobytes()


def test_a_row_group_holds_one_symbol_of_a_full_month(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for key in FEBRUARY:
        put(store, key, klines(SYMBOLS[:2], date.fromisoformat(key), 1440))
    metadata = pq.read_metadata(february(store).uri)
    statistics = [metadata.row_group(n).column(0).statistics for n in range(metadata.num_row_groups)]
    assert [(one.min, one.max) for one in statistics] == [(symbol, symbol) for symbol in SYMBOLS[:2]]
    assert [metadata.row_group(n).num_rows for n in range(2)] == [28 * 1440] * 2


def spoil(store: LakeStore, path: str) -> None:
    """Replace the bytes but keep size and time: opening the file fails, while a listing shows no change."""
    file = Path(store.path(path))
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_long_read_opens_one_file_a_complete_month_and_the_days_around(store: LakeStore) -> None:
    expected = Lakehouse(store.uri).read("silver.klines_1m", market="um", symbols="BTCUSDT", format="polars")
    february(store)
    for key in FEBRUARY:
        spoil(store, UM.partition(key).path)
    lake = Lakehouse(store.uri)
    assert lake.read("silver.klines_1m", market="um", symbols="BTCUSDT", format="polars").equals(expected)
    plan = lake.scan("silver.klines_1m", market="um", symbols="BTCUSDT").explain()
    assert plan.count("compacted") == 1
    assert "date=2023-02" not in plan
    assert "date=2023-01-31" in plan
    # Without a symbol that is named, or for few days, day files are read: here these are broken.
    few = {"start": "2023-02-03", "end": f"2023-02-{3 + LEAST_DAYS - 1:02}"}
    for wish in ({}, {"symbols": "BTCUSDT", **few}):
        assert not uses_months(lake, **wish)
        with pytest.raises(pl.exceptions.PolarsError):
            lake.scan(**{**READ, **wish}).collect()
    assert uses_months(lake, symbols="BTCUSDT", start="2023-02-03", end=f"2023-02-{3 + LEAST_DAYS:02}")


def rewrite(store: LakeStore) -> None:
    put(store, FEBRUARY[9], day_rows(FEBRUARY[9], seed=1000))


def remove(store: LakeStore) -> None:
    store.delete(UM.partition(FEBRUARY[9]).path)


def touch(store: LakeStore) -> None:
    age(store, FEBRUARY[9])


@pytest.mark.parametrize("change", [rewrite, remove, touch])
@pytest.mark.filterwarnings("ignore:.* has no partition for:crypto_lakehouse.LakeWarning")
def test_after_a_day_changes_days_are_read_until_the_next_compaction(store: LakeStore, change: Any) -> None:
    first = february(store)
    change(store)
    lake = Lakehouse(store.uri)
    assert not uses_months(lake, symbols="BTCUSDT")
    there = [key for key in FEBRUARY if Path(store.path(UM.partition(key).path)).exists()]
    truth = pl.concat(read_partition(store, UM.partition(key)) for key in there).filter(pl.col("symbol") == "BTCUSDT")
    assert lake.scan(**READ, symbols="BTCUSDT").collect().drop("exchange", "market").equals(truth)
    second = february(store)
    assert second.uri != first.uri
    assert [store.polars_uri(path) for path in month_files(store)] == [second.uri]
    assert uses_months(lake, symbols="BTCUSDT")
    assert lake.scan(**READ, symbols="BTCUSDT").collect().drop("exchange", "market").equals(truth)


def test_a_month_file_is_not_used_after_a_day_is_added(store: LakeStore) -> None:
    late = FEBRUARY[-1]
    path = UM.partition(late).path
    rows = read_partition(store, UM.partition(late))
    store.delete(path)
    february(store)
    put(store, late, rows)
    assert not uses_months(Lakehouse(store.uri), symbols="BTCUSDT")
    assert Lakehouse(store.uri).scan(**READ, symbols=SYMBOLS).collect().height == from_days(store, SYMBOLS).height


def test_a_day_written_twice_within_the_grain_of_the_clock_is_seen(store: LakeStore) -> None:
    """Times of S3 are whole seconds: without a pause the second version could pass for the first."""

    def in_whole_seconds(rows: pl.DataFrame) -> None:
        write_partition(store, UM.partition(FEBRUARY[9]), rows)
        path = store.path(UM.partition(FEBRUARY[9]).path)
        os.utime(path, (second := int(Path(path).stat().st_mtime), second))

    rows = day_rows(FEBRUARY[9])
    others = rows.with_columns(pl.col("trade_count") + 1)
    in_whole_seconds(rows)
    size = Path(store.path(UM.partition(FEBRUARY[9]).path)).stat().st_size
    february(store)
    in_whole_seconds(others)
    assert Path(store.path(UM.partition(FEBRUARY[9]).path)).stat().st_size == size
    found = Lakehouse(store.uri).scan(**READ, symbols=SYMBOLS).collect()
    assert found.drop("exchange", "market").equals(from_days(store, SYMBOLS))


def test_a_day_written_while_a_month_is_compacted_makes_the_month_file_void(
    store: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows = compaction.write_rows

    def stale_successors(*arguments: Any) -> Any:
        info = write_rows(*arguments)
        rewrite(store)
        return info

    monkeypatch.setattr(compaction, "write_rows", stale_successors)
    with pytest.raises(MonthChanged, match="2023-02"):
        february(store)
    assert month_files(store) == []
    found = Lakehouse(store.uri).scan(**READ, symbols=SYMBOLS).collect()
    assert found.drop("exchange", "market").equals(from_days(store, SYMBOLS))


def test_days_that_are_replaced_while_a_month_is_compacted_are_read_again(
    store: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows, tries = compaction.write_rows, []

    def overtaken_once(*arguments: Any) -> Any:
        info = write_rows(*arguments)
        tries.append(info)
        if len(tries) == 1:
            rewrite(store)
        return info

    monkeypatch.setattr(compaction, "write_rows", overtaken_once)
    february(store)
    assert len(tries) == 2
    assert uses_months(Lakehouse(store.uri), symbols="BTCUSDT")
    found = Lakehouse(store.uri).scan(**READ, symbols=SYMBOLS).collect()
    assert found.drop("exchange", "market").equals(from_days(store, SYMBOLS))


def test_a_month_file_deleted_after_the_listing_is_no_error(store: LakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    february(store)
    with_months, calls = scan.with_months, []

    def overtaken_once(*arguments: Any) -> Any:
        parts = with_months(*arguments)
        calls.append(parts)
        if len(calls) == 1:
            rewrite(store)
            february(store)
        return parts

    monkeypatch.setattr(scan, "with_months", overtaken_once)
    found = Lakehouse(store.uri).read(**READ, symbols=SYMBOLS, format="polars")
    assert calls[0] != calls[-1]
    rows = from_days(store, SYMBOLS).sort("symbol", "open_time")
    assert found.drop("exchange", "market").equals(rows.drop("exchange", "market", strict=False))


def test_nothing_is_written_table_slice_it_is_up_to_date(store: LakeStore) -> None:
    february(store)
    before = {file.path: file.modified for file in store.list()}
    assert february(store).was_up_to_date
    assert {file.path: file.modified for file in store.list()} == before


def test_days_with_rows_of_other_days_are_not_compacted(store: LakeStore) -> None:
    put(store, FEBRUARY[9], day_rows(FEBRUARY[10]))
    with pytest.raises(LakeError, match="only rows of its own day"):
        february(store)
    assert month_files(store) == []
    assert not list(Path(store.root).rglob(".tmp-*"))


def test_only_months_that_are_over_and_whole_are_compacted(store: LakeStore) -> None:
    um = feed("binance", "um", "klines_1m")
    store.delete(UM.partition(FEBRUARY[3]).path)
    states = {one.month: one for one in month_states(UM, um, store, date(2023, 3, 31))}
    assert {month: len(one.missing) for month, one in states.items()} == {"2023-01": 29, "2023-02": 1}
    with pytest.raises(IncompleteMonth, match=r"2023-02 is missing 2023-02-04.*2023-03 is not over"):
        list(compact_months(UM, um, ["2023-02", "2023-03"], store, date(2023, 3, 31)))
    put(store, FEBRUARY[3], day_rows(FEBRUARY[3]))
    with pytest.raises(IncompleteMonth, match=r"2023-01 is missing 2023-01-01, .*, \.\.\.") as refused:
        list(compact_months(UM, um, ["2023-01", "2023-02"], store, date(2023, 3, 31)))
    (command,) = recommended(str(refused.value))
    assert parsed(command)["first"] == date(2023, 1, 1)
    # An incomplete month does not stop the others.
    assert [one.month for one in month_states(UM, um, store, date(2023, 3, 31)) if one.current] == ["2023-02"]


def test_the_first_month_of_a_feed_is_whole_from_its_first_day(tmp_path: Path) -> None:
    um, store = feed("binance", "um", "klines_1m"), LakeStore.open(str(tmp_path))
    assert um.first_date == date(2019, 9, 8)
    for key in partition_keys(um.first_date, date(2019, 10, 1), Cadence.DAILY):
        put(store, key, day_rows(key))
    assert [info.days for info in compact_months(UM, um, ["2019-09"], store, date(2019, 10, 1))] == [23]


def test_daily_klines_alone_have_month_files() -> None:
    compacted = {one for one in ("klines_1m", "klines_1d", "mark_klines_5m") if feed("binance", "um", one).compacted}
    assert compacted == {"klines_1m", "klines_1d", "mark_klines_5m"}
    # Monthly tables need none; trades are written once.
    assert not any(feed("binance", "um", one).compacted for one in ("klines_1w", "trades", "funding_rates"))


def test_days_in_an_older_layout_become_months_with_newer_ones(store: LakeStore) -> None:
    path = store.path(UM.partition(FEBRUARY[4]).path)
    old = pq.read_table(path, partitioning=None)
    rows = pl.DataFrame(old)
    # As day files once were: zstd, no dictionaries of prices, and no column that says that it has no nulls.
    nullable = pa.schema([field.with_nullable(True) for field in old.schema])
    pq.write_table(old.cast(nullable), path, compression="zstd", use_dictionary=["symbol"], store_schema=False)
    age(store, FEBRUARY[4])
    assert rows.height
    assert read_partition(store, UM.partition(FEBRUARY[4])).equals(rows)
    february(store)
    lake = Lakehouse(store.uri)
    assert uses_months(lake, symbols=["BTCUSDT"])
    there = lake.scan(**{**READ, "symbols": ["BTCUSDT"]}).collect()
    days = [read_partition(store, UM.partition(key)).filter(pl.col("symbol") == "BTCUSDT") for key in FEBRUARY]
    assert there.select(rows.columns).equals(pl.concat(days))
