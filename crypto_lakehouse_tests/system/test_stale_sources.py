"""Partitions whose sources are replaced before, during or after the build: none keeps rows of the old sources."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import MARKETS
from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.bars_days import bars_days, stale_bars
from crypto_lakehouse.pipeline.gold.continuous import ContinuousMinutes
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.runs import WatchedServer, digests
from crypto_lakehouse_tests.system.test_bad_input import GOOD, line, put
from crypto_lakehouse_tests.system.test_ledger_order import DAYS, ingest, partitions, write

UM = MARKETS["binance", "um"]
PLACE = (UM.exchange, UM.name)
FIRST, SECOND, THIRD, FOURTH = (f"2024-03-0{day}" for day in range(1, 5))
BARS = parse_bars("1h:5m")


@pytest.fixture
def store(tmp_path: Path) -> LakeStore:
    return LakeStore.open(str(tmp_path / "lake"))


def silver(store: LakeStore, day: str, minutes: Sequence[int], price: float, source: str, volume: float = 1.0) -> None:
    """One symbol's minutes at one price; another ``source`` gives another input fingerprint."""
    begin = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    times = pl.Series([begin + timedelta(minutes=minute) for minute in minutes], dtype=pl.Datetime("us", "UTC"))
    known = {
        "symbol": "AUSDT",
        "open_time": times,
        "close_time": times + timedelta(seconds=59, milliseconds=999),
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "base_volume": volume,
        "quote_volume": volume * price,
        "taker_buy_base_volume": 0.0,
        "taker_buy_quote_volume": 0.0,
        "trade_count": 1,
        "contracts": None,
        "source": "archive_daily",
    }
    schema = schema_of("silver", "klines_1m")
    frame = pl.DataFrame({name: known[name] for name in schema.column_names}, schema_overrides={"contracts": pl.Int64})
    write_partition(store, TableSlice("silver", *PLACE, "klines_1m").partition(day), frame, Provenance(source))


def gold(store: LakeStore, days: Sequence[str], rule: GapRule | None = None) -> None:
    for part in ContinuousMinutes(store, UM, rule or GapRule()).days(days):
        for table, rows in (("continuous_1m", part.rows), ("gaps", part.gaps), ("symbol_states", part.states)):
            if table not in part.unchanged:
                write_partition(
                    store, TableSlice("gold", *PLACE, table).partition(part.key), rows, part.provenances[table]
                )


def bars(store: LakeStore, days: Sequence[str]) -> None:
    todo = [day for day in bars_days(store, UM, BARS, days) if day.unchanged is None]
    maker = DayBars(store, UM, [BARS], [day.key for day in todo])
    for day in todo:
        made: pa.Table = maker.make(day.key)[BARS.table]
        write_partition(
            store, TableSlice("gold", *PLACE, BARS.table).partition(day.key), made, Provenance(day.input_fingerprint)
        )
    maker.close()


def bar_of(store: LakeStore) -> tuple[object, ...]:
    """The bar from 23:05 of the first day to 0:05 of the second."""
    rows = read_partition(store, TableSlice("gold", *PLACE, BARS.table).partition(SECOND))
    opened = datetime(2024, 3, 1, 23, 5, tzinfo=UTC)
    return rows.filter(pl.col("open_time") == opened).select("open", "base_volume", "n_minutes", "complete").row(0)


@pytest.mark.requirement("D6", "D9")
def test_bars_on_offsets_of_less_than_a_day_follow_the_day_before(store: LakeStore) -> None:
    whole = range(1440)
    silver(store, FIRST, whole, 100.0, "1")
    silver(store, SECOND, whole, 100.0, "2")
    # The second day alone: five minutes of the bar are there.
    gold(store, [SECOND])
    bars(store, [SECOND])
    assert bar_of(store) == (100.0, 5.0, 5, False)
    gold(store, [FIRST])
    assert stale_bars(store, UM, BARS, [FIRST], GapRule()) == [SECOND]
    bars(store, [FIRST, SECOND])
    assert bar_of(store) == (100.0, 60.0, 60, True)
    # The first day is replaced; it ends as before, so that the minutes of the second one stay as they are.
    silver(store, FIRST, whole, 100.0, "3", volume=7.0)
    gold(store, [FIRST, SECOND])
    assert stale_bars(store, UM, BARS, [FIRST], GapRule()) == [SECOND]
    bars(store, [SECOND])
    assert bar_of(store) == (100.0, 55 * 7.0 + 5, 60, True)


@pytest.mark.requirement("D6", "D9")
def test_minutes_replaced_during_a_read_do_not_get_the_new_fingerprint(store: LakeStore) -> None:
    for day in (FIRST, SECOND):
        silver(store, day, range(60), 100.0, day)
    making = ContinuousMinutes(store, UM, GapRule()).days([FIRST, SECOND])
    next(making)
    # The second day is read meanwhile, and then replaced before it is made.
    time.sleep(0.5)
    silver(store, SECOND, range(60), 200.0, "new")
    part = next(making)
    for table, rows in (("continuous_1m", part.rows), ("gaps", part.gaps), ("symbol_states", part.states)):
        write_partition(store, TableSlice("gold", *PLACE, table).partition(part.key), rows, part.provenances[table])
    making.close()  # type: ignore[attr-defined]
    gold(store, [SECOND])
    rows = read_partition(store, TableSlice("gold", *PLACE, "continuous_1m").partition(SECOND))
    assert rows.filter(~pl.col("is_filled"))["close"].unique().to_list() == [200.0]


@pytest.mark.requirement("D6", "D9")
def test_states_of_another_gap_rule_are_not_reused(store: LakeStore, tmp_path: Path) -> None:
    alone = LakeStore.open(str(tmp_path / "alone"))
    for lake in (store, alone):
        silver(lake, FIRST, range(1440), 100.0, "1")
        silver(lake, SECOND, range(60), 100.0, "2")
        silver(lake, THIRD, range(120, 1440), 150.0, "3")
        silver(lake, FOURTH, range(1440), 150.0, "4")
    strict, patient = GapRule.of_days(1, 0.1), GapRule.of_days(3, 0.1)
    gold(store, [FIRST, SECOND, THIRD], strict)
    gold(store, [FOURTH], patient)
    gold(alone, [FIRST, SECOND, THIRD, FOURTH], patient)
    theirs, ours = (
        read_partition(lake, TableSlice("gold", *PLACE, "continuous_1m").partition(FOURTH)) for lake in (alone, store)
    )
    assert ours.equals(theirs)


@pytest.mark.requirement("D6", "D9")
def test_states_of_a_version_with_other_columns_are_not_reused(store: LakeStore, tmp_path: Path) -> None:
    alone = LakeStore.open(str(tmp_path / "alone"))
    for lake in (store, alone):
        silver(lake, FIRST, range(1440), 100.0, "1")
        silver(lake, SECOND, range(60), 100.0, "2")
    gold(store, [FIRST])
    (path,) = Path(store.root).glob(f"gold/symbol_states/**/date={FIRST}/*.parquet")
    path.write_bytes(earlier_states(pq.read_table(path)))
    gold(store, [SECOND])
    gold(alone, [SECOND])
    for table in ("continuous_1m", "symbol_states"):
        theirs, ours = (
            read_partition(lake, TableSlice("gold", *PLACE, table).partition(SECOND)) for lake in (alone, store)
        )
        assert ours.equals(theirs)
    # A reader of the older partitions alone has no ends in them.
    (path,) = Path(store.root).glob(f"gold/symbol_states/**/date={SECOND}/*.parquet")
    path.write_bytes(earlier_states(pq.read_table(path)))
    assert Lakehouse(store.uri).scan("gold.continuous_1m", market="um").collect().height == 2 * 1440


def earlier_states(states: pa.Table) -> bytes:
    """A partition in the layout before states had ended segments."""
    sink = pa.BufferOutputStream()
    columns = states.select(["symbol", "last_time", "last_close", "segment", "prior"])
    pq.write_table(columns.replace_schema_metadata(None), sink)
    return bytes(sink.getvalue())


@pytest.mark.requirement("D6")
def test_rows_of_a_settled_file_that_another_run_replaces_are_kept(tmp_path: Path, store: LakeStore) -> None:
    folder = tmp_path / "archive"
    for day in DAYS:
        for symbol in ("AUSDT", "BUSDT"):
            put(folder, symbol, day, GOOD)
    held, other = threading.Event(), "".join(line(minute, DAYS[0], close="11.5") for minute in range(4))

    async def hold_the_first(request: web.Request) -> None:
        nonlocal holding
        if holding and "AUSDT" in request.path:
            holding = False
            while not held.is_set():
                await asyncio.sleep(0.01)

    holding = False
    with WatchedServer(folder, hold_the_first) as server:
        source = BinanceArchive(server.url, server.listing_url)
        ingest(source, store)
        put(folder, "AUSDT", DAYS[0], other)
        holding, asked = True, len(server.listings)
        slow: Iterator[object] = partitions(source, store)
        part = next(slow)
        while holding or not any("BUSDT" in query for query in server.listings[asked:]):
            time.sleep(0.01)
        # The listing of B is answered.
        time.sleep(0.5)
        # B is settled for the slow run, which waits for A; meanwhile another run stores a new B.
        put(folder, "BUSDT", DAYS[0], other)
        ingest(source, store)
        server.fault = None
        held.set()
        with pytest.raises(LakeError, match="another run"):
            write(store, part)  # type: ignore[arg-type]
        slow.close()  # type: ignore[attr-defined]
        ingest(source, store)
        alone = LakeStore.open(str(tmp_path / "alone"))
        ingest(source, alone)
    assert digests(tmp_path / "lake") == digests(tmp_path / "alone")
