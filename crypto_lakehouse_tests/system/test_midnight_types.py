"""Every data type with rows at midnight: a row one step outside its file's day is stored in the day of its time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Feed, feed, feeds
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES
from crypto_lakehouse_tests.system.runs import digests, read
from crypto_lakehouse_tests.system.test_midnight import NOW, ingest, put
from crypto_lakehouse_tests.unit.tables import SYMBOLS, csv, row

pytestmark = pytest.mark.requirement("D15")

DAYS = ["2023-07-01", "2023-07-02", "2023-07-03"]
TIMES = {"open_interest": "label_time", "book_ticker": "transaction_time"}
STEPS = {"open_interest": timedelta(minutes=5), "option_summaries": timedelta(hours=1)}
TOUCHING = [one for one in feeds() if one.schema in EDGE_RULES]
TICKER = feed("binance", "um", "book_ticker")


def at(of: Feed, time: datetime, number: int) -> dict[str, Any]:
    """A good row of a time, with the number as its id or as the hour's strike."""
    ms = int(time.timestamp()) * 1000
    change = {
        "open_interest": {"create_time": f"{time:%Y-%m-%d %H:%M:%S}"},
        "book_depth": {"timestamp": f"{time:%Y-%m-%d %H:%M:%S}"},
        "book_ticker": {"transaction_time": ms, "event_time": ms + 1, "update_id": number},
        "liquidations": {"time": ms},
        "volatility_index": {"calc_time": ms},
        "option_summaries": {"date": f"{time:%Y-%m-%d}", "hour": time.hour},
    }
    return {**row(of, 0), **change[of.schema]}


@pytest.mark.parametrize("of", TOUCHING, ids=lambda of: of.name)
def test_a_row_one_step_outside_is_in_the_day_of_its_time_in_any_order(of: Feed, tmp_path: Path) -> None:
    symbol, step = SYMBOLS[of.market.name], STEPS.get(of.schema, timedelta(seconds=1))
    noon = [datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(hours=12) for day in DAYS]
    half = timedelta(hours=12)
    for number, (day, middle) in enumerate(zip(DAYS, noon, strict=True)):
        # The last step of the day before, the day's own noon, the first one of the day after, and one too far.
        times = [middle - half - step, middle, middle + half, middle + half + 3 * timedelta(hours=1)]
        lines = csv(of, [at(of, time, 10 * number + n) for n, time in enumerate(times)]).decode().splitlines()
        put(tmp_path / "archive", of, symbol, day, lines)
    # Each day has its noon, what the day before has of its start, and what the day after has of its end.
    expected = {day: [noon[n] - half, noon[n], noon[n] + half - step][n == 0 :] for n, day in enumerate(DAYS)}
    expected[DAYS[-1]].pop()
    made = []
    with ArchiveServer(tmp_path / "archive") as server:
        for order in permutations(DAYS):
            lake = tmp_path / "-".join(order)
            for day in order:
                ingest(server, lake, of, [day])
            made.append(digests(lake))
    assert all(one == made[0] for one in made)
    rows = read(Lakehouse(lake), f"silver.{of.table}", market=of.market.name)
    times = rows.select(pl.col(TIMES.get(of.schema, "time"))).to_series().sort().to_list()
    assert times == [time for day in DAYS for time in expected[day]]
    for day in DAYS:
        [path] = lake.glob(f"silver/{of.table}/*/*/date={day}/*.parquet")
        assert pl.read_parquet(path, hive_partitioning=False).height == len(expected[day])
    # Only those too far outside are refused, in their own file's day.
    rejected = read(Lakehouse(lake), "quarantine.rejected")
    assert rejected.select("period", "reason", "source_line").sort("period").rows() == [
        (day, "outside_partition", 5) for day in DAYS
    ]


def test_rows_from_neighbouring_files_are_sorted_into_the_pieces_of_a_large_symbol(tmp_path: Path) -> None:
    """A symbol of several row groups, cut between ids: rows from the neighbouring files are sorted into their place."""
    store, place = LakeStore.open(str(tmp_path)), (TICKER.exchange, TICKER.market.name, TICKER.table)
    midnight = datetime(2023, 7, 2, tzinfo=UTC)
    count, day = 450_000, timedelta(days=1)

    def bronze(key: str, symbol: str, ids: pl.Series, times: pl.Series) -> pl.DataFrame:
        ms = times.dt.epoch("ms")
        values = {**row(TICKER, 0), "symbol": symbol, "source_key": f"{symbol}-{key}.zip", "source_sha256": "s"}
        known = {
            "update_id": ids,
            "transaction_time": ms,
            "event_time": ms,
            "source_line": pl.int_range(len(ids), eager=True),
        }
        return pl.DataFrame({**values, **known}).select(bronze_schema(TICKER).column_names)

    own = pl.datetime_range(midnight, midnight + day, interval="190ms", closed="left", eager=True)[:count]
    even = pl.int_range(0, 2 * count, 2, eager=True)
    odd = pl.Series([1, 2 * 150_001 + 1, 2 * count + 1])
    early = pl.Series([midnight + timedelta(milliseconds=n) for n in range(3)])
    before = [("BUSDT", odd, early), ("AUSDT", odd, early), ("CUSDT", odd, early)]
    frames = {
        "2023-07-01": pl.concat(bronze("1", *one) for one in sorted(before, key=lambda one: one[0])),
        "2023-07-02": bronze("2", "BUSDT", even, own),
        "2023-07-03": bronze("3", "BUSDT", odd + 2, early + day - timedelta(seconds=5)),
    }
    for key, rows in frames.items():
        write_partition(store, TableSlice("bronze", *place).partition(key), rows)
    part = silver_partition(TICKER, "2023-07-02", store, NOW)
    write_partition(store, TableSlice("silver", *place).partition("2023-07-02"), part.rows, part.provenance)
    made = pl.read_parquet(next(tmp_path.glob("silver/**/date=2023-07-02/*.parquet")), hive_partitioning=False)
    ids = {"AUSDT": odd, "BUSDT": pl.concat([even, odd, odd + 2]).unique(), "CUSDT": odd}
    assert made.select("symbol", "update_id").rows() == [
        (symbol, number) for symbol in sorted(ids) for number in sorted(ids[symbol])
    ]
    assert part.provenance().facts["rows_from_neighbours"] == 12
    assert part.reasons == {}
