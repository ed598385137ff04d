"""Reads of one symbol over two years, and of many symbols over a day, next to plain Parquet files.

One lake holds two years of minutes of ``SYMBOLS`` symbols, and their month files. The baseline of one symbol is a
Parquet file of its own with the same columns, read by Polars; that of a day is a plain Polars scan of the same file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import compaction
from benchmarks.compaction import MINUTES, SLICE, TABLE
from benchmarks.measure import Result, interleaved
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.reader.arguments import Format
from crypto_lakehouse.lake.storage.compaction import MONTH_ROWS
from crypto_lakehouse.lake.storage.parquet import encode
from crypto_lakehouse.schemas import schema_of

DAYS, SYMBOLS, WIDE_SYMBOLS = 731, 20, 200
FIRST, SYMBOL = compaction.FIRST, "S007USDT"
_SIX = ["open_time", "open", "high", "low", "close", "base_volume"]
_LAST = FIRST + timedelta(DAYS)


def run() -> Iterator[Result]:
    """Yield the ratios of reads to plain files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_lake(folder / "lake")
        yield from _one_symbol(folder)
        yield _sql(Lakehouse(folder / "lake"))
        yield from _one_day(folder / "wide")


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


def _one_symbol(folder: Path) -> Iterator[Result]:
    lake, own = Lakehouse(folder / "lake"), own_file(folder)

    def read(
        columns: list[str] | None, format: Format, first: date = FIRST, last: date = _LAST
    ) -> Callable[[], object]:
        arguments: dict[str, Any] = {"columns": columns, "format": format}
        return lambda: lake.read(TABLE, market="um", symbols=SYMBOL, start=first, end=last, **arguments)

    columns = schema_of("silver", "klines_1m").column_names
    day = FIRST + timedelta(400)
    seconds = interleaved(
        {
            "all": read(columns, "pandas"),
            "own, all": lambda: pl.read_parquet(own).to_pandas(),
            "six": read(_SIX, "polars"),
            "own, six": lambda: pl.read_parquet(own, columns=_SIX),
            "day": read(None, "pandas", day, day + timedelta(1)),
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
