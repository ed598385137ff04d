"""The matrix of daily closes of many symbols over a year, next to a plain Polars scan and pivot of the same files.

It is an area of ``reads.py``. The lake has what readers of bars look at besides them: the states of its symbols.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measure import Result, interleaved
from crypto_lakehouse import Lakehouse
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice

SYMBOLS, DAYS = 200, 365
FIRST = date(2023, 1, 1)
_BARS, _STATES = (TableSlice("gold", "binance", "um", table) for table in ("bars_1d", "symbol_states"))


def daily_closes(folder: Path) -> Result:
    """Write the bars, and return the time of ``lake.panel`` over that of the scan."""
    store, lake = LakeStore.open(f"{folder}"), Lakehouse(folder)
    days = [FIRST + timedelta(number) for number in range(DAYS)]
    random = np.random.default_rng(7)
    for day in days:
        write_partition(store, _BARS.partition(f"{day}"), _bars(random, day))
    write_partition(store, _STATES.partition(f"{days[-1]}"), _states(days[-1]))
    files = [folder / _BARS.partition(f"{day}").path for day in days]
    end = FIRST + timedelta(DAYS)

    def ours() -> pl.DataFrame:
        return pl.DataFrame(lake.panel("close", interval="1d", market="um", start=FIRST, end=end, format="polars"))

    def plain() -> pl.DataFrame:
        rows = pl.scan_parquet(files).select("symbol", "open_time", "close").collect()
        return rows.pivot("symbol", index="open_time", values="close", sort_columns=True).sort("open_time")

    assert ours().equals(plain())
    seconds = interleaved({"ours": ours, "plain": plain}, rounds=11)
    return Result(
        "reads: daily closes of all symbols over a year over a plain scan and pivot",
        seconds["ours"] / seconds["plain"],
        1.2,
        at_most=True,
        detail=f"{SYMBOLS} symbols, {1000 * seconds['ours']:.0f} ms, plain {1000 * seconds['plain']:.0f} ms",
    )


def _bars(random: np.random.Generator, day: date) -> pl.DataFrame:
    midnight = datetime.combine(day, time(), UTC)
    close = random.uniform(0.01, 500, SYMBOLS)
    values = dict.fromkeys(("open", "high", "low", "close", "vwap"), close)
    volumes = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
    values |= dict.fromkeys(volumes, random.lognormal(3, 1.5, SYMBOLS))
    times = {"open_time": midnight, "close_time": midnight + timedelta(days=1, microseconds=-1)}
    times |= {"first_minute": midnight, "last_minute": midnight + timedelta(minutes=1439)}
    same = {**times, "segment": 0, "offset": 0, "trade_count": 7, "n_minutes": 1440, "n_filled": 0, "complete": True}
    return _rows("bars_1d", {"symbol": _names(), **values, **{name: [value] * SYMBOLS for name, value in same.items()}})


def _states(day: date) -> pl.DataFrame:
    last = datetime.combine(day, time(23, 59), UTC)
    same = {"segment": 0, "first_time": last, "last_time": last, "last_close": 1.0, "missing_days": 0, "prior": ""}
    values = {name: [value] * SYMBOLS for name, value in (same | {"has_ended": False}).items()}
    return _rows("symbol_states", {"symbol": _names(), **values})


def _rows(table: str, values: dict[str, object]) -> pl.DataFrame:
    schema = pl.DataFrame(schema_of("gold", table).empty()).schema
    given = pl.DataFrame(values, schema_overrides={name: schema[name] for name in values})
    return given.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in values
    ).select(schema.names())


def _names() -> list[str]:
    return [f"S{number:03}USDT" for number in range(SYMBOLS)]
