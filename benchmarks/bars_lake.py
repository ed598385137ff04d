"""Klines of many symbols and days for benchmarks of the gold layer: silver of a lake, and the legacy way's folders.

The klines are random but realistic: prices of four digits walk in ticks, as for most symbols; volumes are skewed, in
steps worth about a tenth to one unit of the quote asset; some minutes are quiet or missing; a few symbols pause for
days. ``bars.py`` measures with them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.legacy_bars import KLINE_COLUMNS
from crypto_lakehouse.catalog import FEEDS, Cadence, partition_keys
from crypto_lakehouse.lake.storage.partitions import scan_partitions, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

MARKET = FEEDS["binance", "um", "klines_1m"].market
FIRST = date(2024, 11, 1)
_PLACE = (MARKET.exchange, MARKET.name)
_MINUTES = 1440
_PAUSE = range(9, 13)  # days on which every fiftieth symbol is not traded
_MISSING = 0.002  # share of minutes that have no row
_SYMBOLS_AT_ONCE = 20
_DIGITS = 4  # of a price


def make_silver(store: LakeStore, symbols: int, days: int) -> list[str]:
    """Write silver.klines_1m and silver.funding_rates of um; return the keys of the days."""
    random = np.random.default_rng(7)
    keys = partition_keys(FIRST, FIRST + timedelta(days=days), Cadence.DAILY)
    prices = np.exp(random.normal(0, 3, symbols))
    for number, key in enumerate(keys):
        write_partition(
            store,
            TableSlice("silver", *_PLACE, "klines_1m").partition(key),
            _day(random, key, prices, number in _PAUSE),
        )
    make_funding(store, symbols, keys)
    return keys


def make_funding(store: LakeStore, symbols: int, keys: list[str]) -> None:
    """Write silver.funding_rates of um: three events per day and symbol."""
    random = np.random.default_rng(8)
    for month in sorted({key[:7] for key in keys}):
        events = _funding(random, symbols, [key for key in keys if key.startswith(month)])
        write_partition(store, TableSlice("silver", *_PLACE, "funding_rates").partition(month), events)


def make_legacy(store: LakeStore, keys: list[str], klines: Path, funding: Path) -> None:
    """Write the same rows for the legacy way: one Parquet file of klines and one of funding rates per symbol."""
    klines.mkdir(parents=True)
    funding.mkdir(parents=True)
    rows = scan_partitions(store, TableSlice("silver", *_PLACE, "klines_1m"), keys)
    rates = scan_partitions(store, TableSlice("silver", *_PLACE, "funding_rates"), sorted({key[:7] for key in keys}))
    events = rates.select("symbol", candle_begin_time="funding_hour", funding_rate="funding_rate").collect()
    symbols = events["symbol"].unique().sort()
    for start in range(0, len(symbols), _SYMBOLS_AT_ONCE):
        batch = symbols[start : start + _SYMBOLS_AT_ONCE]
        # A range, not a set, so that row groups of other symbols are skipped.
        chosen = rows.filter(pl.col("symbol").is_between(pl.lit(batch[0]), pl.lit(batch[-1]))).collect()
        for (symbol,), part in chosen.partition_by("symbol", as_dict=True).items():
            part.sort("open_time").select(*KLINE_COLUMNS).rename(KLINE_COLUMNS).write_parquet(
                klines / f"{symbol}.parquet"
            )
    write_funding(events, funding, ".parquet")


def write_funding(events: pl.DataFrame, folder: Path, ending: str = "") -> None:
    """Write a Parquet file of funding rates per symbol, for the legacy way."""
    for (symbol,), part in events.partition_by("symbol", as_dict=True, include_key=False).items():
        part.write_parquet(folder / f"{symbol}{ending}")


def _day(random: np.random.Generator, key: str, prices: np.ndarray, pause: bool) -> pl.DataFrame:
    """Return a day of all symbols; ``prices`` are those at its start and are updated to those at its end."""
    shape = (len(prices), _MINUTES)
    digits = np.floor(np.log10(prices))[:, None]

    def ticks(values: np.ndarray) -> np.ndarray:
        return _steps(values, digits - _DIGITS + 1)

    def lots(values: np.ndarray) -> np.ndarray:
        return _steps(values, np.clip(-digits - 1, -3, 0))

    close = ticks(prices[:, None] * np.exp(np.cumsum(random.normal(0, 5e-4, shape), axis=1)))
    opened = np.concatenate([ticks(prices[:, None]), close[:, :-1]], axis=1)
    prices[:] = close[:, -1]
    spread = np.abs(random.normal(0, 3e-4, (2, *shape)))
    trades = random.poisson(random.lognormal(3, 1.2, shape))
    quiet = trades == 0
    opened[quiet] = close[quiet]
    high = np.where(quiet, close, ticks(np.maximum(opened, close) * (1 + spread[0])))
    low = np.where(quiet, close, ticks(np.minimum(opened, close) * (1 - spread[1])))
    base = np.where(quiet, 0, lots(trades * random.lognormal(0, 1, shape) / prices[:, None] * 100))
    taken = lots(base * random.random(shape))
    present = random.random(shape) > _MISSING
    if pause:
        present[7::50] = False
    values = {
        "open": opened,
        "high": high,
        "low": low,
        "close": close,
        "base_volume": base,
        "quote_volume": np.round(base * (low + (high - low) * random.random(shape)), 5),
        "trade_count": trades,
        "taker_buy_base_volume": np.minimum(taken, base),
        "taker_buy_quote_volume": np.round(np.minimum(taken, base) * close, 5),
    }
    place, minute = np.nonzero(present)
    times = np.datetime64(key, "us") + minute * np.timedelta64(1, "m").astype("timedelta64[us]")
    return pl.DataFrame(
        {
            "symbol": _symbols(len(prices)).gather(place),
            "open_time": pl.Series(times).dt.replace_time_zone("UTC"),
            "close_time": pl.Series(times + np.timedelta64(59_999_000, "us")).dt.replace_time_zone("UTC"),
            **{name: matrix[present] for name, matrix in values.items()},
        }
    ).with_columns(contracts=pl.lit(None, pl.Int64), source=pl.lit("archive_daily"))


def _steps(values: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Round values to whole steps of 10 ** exponent, at least one step."""
    step = 10.0**exponent
    count = np.maximum(np.round(values / step), 1)
    # If the step is a fraction, divide by a whole number: this rounds like a parser of decimal text.
    return np.where(step < 1, count / np.round(1 / step), count * np.round(step))


def _symbols(count: int) -> pl.Series:
    return pl.Series("symbol", [f"S{place:04}USDT" for place in range(count)])


def _funding(random: np.random.Generator, symbols: int, keys: list[str]) -> pl.DataFrame:
    hours = [datetime.fromisoformat(key).replace(tzinfo=UTC) + timedelta(hours=h) for key in keys for h in (0, 8, 16)]
    times = pl.Series("funding_hour", hours, pl.Datetime("us", "UTC"))
    rows = pl.DataFrame(_symbols(symbols)).join(pl.DataFrame(times), how="cross")
    return rows.with_columns(
        funding_time=pl.col("funding_hour") + pl.duration(milliseconds=3),
        interval_hours=pl.lit(8, pl.Int64),
        funding_rate=pl.Series(np.round(random.normal(1e-4, 1e-4, rows.height), 8)),
        mark_price=pl.lit(None, pl.Float64),
        source=pl.lit("archive_monthly"),
    )
