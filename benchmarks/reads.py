"""Reads of one symbol over two years, and of many symbols over a day, next to plain Parquet files.

One lake holds two years of minutes of ``SYMBOLS`` symbols, and their month files. The baseline of one symbol is a
Parquet file of its own with the same columns, read by Polars; that of a day is a plain Polars scan of the same file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import compaction
from benchmarks.arctic import against_arctic
from benchmarks.compaction import MINUTES, SLICE, TABLE
from benchmarks.matrices import daily_closes
from benchmarks.measure import Result, interleaved
from benchmarks.reads_s3 import requests
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.arguments import Format
from crypto_lakehouse.lake.storage.compaction import MONTH_ROWS, compact_month
from crypto_lakehouse.lake.storage.parquet import encode
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.revisions import REVISIONS, folder_of, stamp
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state

DAYS, SYMBOLS, WIDE_SYMBOLS = 731, 20, 200
FIRST, SYMBOL = compaction.FIRST, "S007USDT"
_SIX = ["open_time", "open", "high", "low", "close", "base_volume"]
_SUMMED = [*_SIX, "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume"]
_LAST = FIRST + timedelta(DAYS)
_DAY = FIRST + timedelta(400)


def run() -> Iterator[Result]:
    """Yield the ratios of reads to plain files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_lake(folder / "lake")
        yield from _one_symbol(folder)
        yield _sql(Lakehouse(folder / "lake"))
        yield from earlier(folder)
        yield from _bars(folder)
        yield from _arctic(folder)
        yield from _one_day(folder / "wide")
        yield daily_closes(folder / "matrix")
        yield from requests(folder / "lake", SYMBOL, FIRST, DAYS, _DAY, folder / "bucket")


def make_lake(folder: Path) -> None:
    """Write the day files and the month files of the minutes."""
    compaction.make_minutes(folder, SYMBOLS, DAYS)


def own_file(folder: Path, symbol: str = SYMBOL) -> Path:
    """Write the rows of one symbol to a Parquet file of its own; return its path."""
    schema = replace(schema_of("silver", "klines_1m"), row_group_rows=MONTH_ROWS)
    rows = Lakehouse(folder / "lake").scan(TABLE, market="um", symbols=symbol, start=FIRST, end=_LAST)
    path = folder / "own.parquet"
    frame = rows.select(schema.column_names).sort("open_time").collect()
    assert frame.height == DAYS * MINUTES
    path.write_bytes(encode(frame.to_arrow().cast(schema.arrow), schema))
    return path


def _reads(lake: Lakehouse) -> dict[str, Callable[[], object]]:
    def read(
        columns: list[str] | None, format: Format, first: date = FIRST, last: date = _LAST
    ) -> Callable[[], object]:
        arguments: dict[str, Any] = {"columns": columns, "format": format}
        return lambda: lake.read(TABLE, market="um", symbols=SYMBOL, start=first, end=last, **arguments)

    return {
        "all": read(schema_of("silver", "klines_1m").column_names, "pandas"),
        "six": read(_SIX, "polars"),
        "day": read(None, "pandas", _DAY, _DAY + timedelta(1)),
    }


def _one_symbol(folder: Path) -> Iterator[Result]:
    own = own_file(folder)
    seconds = interleaved(
        {
            **_reads(Lakehouse(folder / "lake")),
            "own, all": lambda: pl.read_parquet(own).to_pandas(),
            "own, six": lambda: pl.read_parquet(own, columns=_SIX),
        },
        rounds=11,
    )
    ratios = (("all columns to pandas", "all"), ("6 columns to Polars", "six"))
    for words, way in ratios:
        detail = f"{1000 * seconds[way]:.0f} ms, own file {1000 * seconds[f'own, {way}']:.0f} ms"
        yield Result(
            f"reads: two years of one symbol, {words}, over a file of its own",
            seconds[way] / seconds[f"own, {way}"],
            1.1,
            at_most=True,
            detail=detail,
        )
    yield Result("reads: one day of one symbol", 1000 * seconds["day"], 10, at_most=True, unit="ms", guarded=False)


def _sql(lake: Lakehouse) -> Result:
    # A query uses month files if it compares the symbol by = or IN. DuckDB skips row groups by both conditions.
    query = f"SELECT {', '.join(_SIX)} FROM {TABLE} WHERE symbol {{}} '{SYMBOL}' ORDER BY open_time"
    months, days = (pl.DataFrame(lake.sql(query.format(sign), format="polars")) for sign in ("=", "LIKE"))
    assert months.height == DAYS * MINUTES
    assert months.equals(days)
    seconds = interleaved(
        {
            "months": lambda: lake.sql(query.format("="), format="polars"),
            "days": lambda: lake.sql(query.format("LIKE"), format="polars"),
        },
        rounds=11,
    )
    return Result(
        "reads: SQL, two years of one symbol, month files over day files",
        seconds["days"] / seconds["months"],
        2,
        detail=f"6 columns, {1000 * seconds['months']:.0f} ms, day files {1000 * seconds['days']:.0f} ms",
    )


def earlier(folder: Path) -> Iterator[Result]:
    """Reads of a lake with a replaced version of each day, of the present and of an earlier time."""
    shutil.copytree(folder / "lake", folder / "replaced", copy_function=os.link)
    store, until = LakeStore.open(f"{folder / 'replaced'}"), datetime(2020, 1, 2, tzinfo=UTC)
    for file in store.list(SLICE.folder):
        name = f"{stamp(until - timedelta(1))}_{stamp(until)}.parquet"
        store.copy(file.path, f"{REVISIONS}/{folder_of(file.path)}/{name}")
    lake, without = Lakehouse(folder / "replaced"), Lakehouse(folder / "lake")
    asked: dict[str, Any] = {"market": "um", "symbols": SYMBOL, "start": FIRST, "end": _LAST, "format": "polars"}
    then = lake.at(datetime.now(UTC))
    assert pl.DataFrame(then.read(TABLE, **asked)).equals(pl.DataFrame(without.read(TABLE, **asked)))
    seconds = interleaved(
        {
            "without": lambda: without.read(TABLE, **asked),
            "with": lambda: lake.read(TABLE, **asked),
            "as of": lambda: then.read(TABLE, **asked),
        },
        rounds=11,
    )
    words = "reads: two years of one symbol"
    for way, other, how, goal in (
        ("with", "without", "a lake that keeps versions over one without", 1.1),
        ("as of", "with", "as of an earlier time over the present", 3.0),
    ):
        detail = f"{1000 * seconds[way]:.0f} ms, {1000 * seconds[other]:.0f} ms"
        yield Result(f"{words}, {how}", seconds[way] / seconds[other], goal, at_most=True, detail=detail)


def _bars(folder: Path) -> Iterator[Result]:
    """Bars of four hours that no table holds, from month files of continuous minutes."""
    store = LakeStore.open(f"{folder / 'lake'}")
    make_continuous(store)
    lake, own = Lakehouse(folder / "lake"), folder / "own-minutes.parquet"
    asked: dict[str, Any] = {"market": "um", "start": FIRST, "end": _LAST, "format": "polars"}
    rows = lake.scan("gold.continuous_1m", market="um", symbols=SYMBOL, columns=_SUMMED).collect()
    rows.write_parquet(own)

    def ours() -> Any:
        return lake.bars(SYMBOL, "4h", **asked)

    def resampled() -> pl.DataFrame:
        first, last = pl.col("open").first(), pl.col("close").last()
        sums = pl.col("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
        grouped = pl.read_parquet(own).group_by_dynamic("open_time", every="4h")
        return grouped.agg(first, pl.col("high").max(), pl.col("low").min(), last, sums.sum())

    assert ours().select("open_time", "open", "close").equals(resampled().select("open_time", "open", "close"))
    seconds = interleaved({"ours": ours, "own": resampled}, rounds=11)
    yield Result(
        "reads: bars of four hours over two years, over resampling a file of its own",
        seconds["ours"] / seconds["own"],
        1.5,
        at_most=True,
        detail=f"{1000 * seconds['ours']:.0f} ms, own file {1000 * seconds['own']:.0f} ms",
    )


def make_continuous(store: LakeStore) -> None:
    """Write continuous minutes from the silver minutes of a lake: a file for each day and each month."""
    minutes, state, rule = TableSlice("gold", "binance", "um", "continuous_1m"), no_state(), GapRule()
    for day in (FIRST + timedelta(number) for number in range(DAYS)):
        begin = datetime.combine(day, time(), UTC)
        rows = read_partition(store, SLICE.partition(f"{day}"))
        done = continuous_minutes(rows, None, state, (begin, begin + timedelta(1)), rule)
        state = done.state
        write_partition(store, minutes.partition(f"{day}"), done.rows)
    for month in sorted({f"{FIRST + timedelta(number):%Y-%m}" for number in range(DAYS)}):
        compact_month(store, minutes, month)


def _arctic(folder: Path) -> Iterator[Result]:
    rows = pl.read_parquet(own_file(folder))
    day = datetime.combine(_DAY, time(), UTC)
    yield from against_arctic(rows, _SIX, day, _reads(Lakehouse(folder / "lake")), folder / "arctic")


def _one_day(folder: Path) -> Iterator[Result]:
    compaction.make_minutes(folder, WIDE_SYMBOLS, 2)
    lake, path = Lakehouse(folder), folder / SLICE.partition(FIRST.isoformat()).path
    seconds = interleaved(
        {
            "read": lambda: lake.read(TABLE, market="um", start=FIRST, end=FIRST + timedelta(1), format="polars"),
            "plain": lambda: pl.scan_parquet(path).collect(),
        },
        rounds=11,
    )
    yield Result(
        "reads: one day of all symbols over a plain scan",
        seconds["read"] / seconds["plain"],
        1.2,
        at_most=True,
        detail=f"{WIDE_SYMBOLS} symbols, {1000 * seconds['read']:.0f} ms, plain {1000 * seconds['plain']:.0f} ms",
    )
