"""Candles, funding events, minutes, bars and klines for the tests of the gold checks, and ways to spoil them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import INTERVALS
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse_tests.unit.reference_gold import MINUTE, Row, frame

# Two days across the end of a month, so that funding is of two months.
START = datetime(2024, 1, 31, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + 2 * DAY
RULE = GapRule(after=timedelta(minutes=45), change=0.05)
ZERO, FIVE = timedelta(0), timedelta(minutes=5)
VOLUMES = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
PRICES = ("open", "high", "low", "close")
# Minutes without candles, after which the price is twice as high. AAA is quiet for two minutes in which funding
# takes place, BBB begins late and within an hour, CCC has a gap of two hours.
QUIET = {"AAA": range(8 * 60, 8 * 60 + 2), "BBB": range(7 * 60 + 25), "CCC": range(10 * 60 + 20, 12 * 60 + 20)}


@cache
def candles(inverse: bool = False) -> pl.DataFrame:
    """silver.klines_1m of three symbols; a tenth of the minutes has no trades, some of these no candle."""
    dice, rows = random.Random(20240131), []
    for symbol, quiet in QUIET.items():
        price = 100.0
        for number in range(2 * 1440):
            chance, units = dice.random(), dice.randint(1, 10**6)
            if number == quiet.stop:
                chance, price = 1.0, 2 * price
            if number in quiet or chance < 0.04:
                continue
            rows.append(candle(symbol, number, price, 0 if chance < 0.1 else units, inverse))
            price = rows[-1]["close"]
    return frame("silver", "klines_1m", rows)


def candle(symbol: str, number: int, price: float, units: int, inverse: bool = False) -> Row:
    """A candle that goes up by one cent and down again by half of it; ``units`` are hundredths of the base asset."""
    high = round(price + 0.01, 3) if units else price
    close = round(price + 0.005 * (-1) ** units, 3) if units else price
    base = units / 100
    return {
        "symbol": symbol,
        "open_time": START + number * MINUTE,
        "close_time": START + (number + 1) * MINUTE - timedelta(milliseconds=1),
        "open": price,
        "high": high,
        "low": min(price, close),
        "close": close,
        "base_volume": base,
        "quote_volume": base * (price + close) / 2,
        "trade_count": units,
        "taker_buy_base_volume": base / 4,
        "taker_buy_quote_volume": base * close / 4,
        "contracts": units if inverse else None,
        "source": "archive_daily",
    }


@cache
def events(symbols: tuple[str, ...] = tuple(QUIET)) -> pl.DataFrame:
    """silver.funding_rates every eight hours, some ms late, of both signs."""
    rows = [
        {
            "symbol": symbol,
            "funding_time": START + n * 8 * HOUR + timedelta(milliseconds=7),
            "funding_hour": START + n * 8 * HOUR,
            "interval_hours": 8,
            "funding_rate": [0.0001, -0.0001, 0.00037513, 0.0, -0.00002, 0.0075][n] * (1 + symbols.index(symbol)),
            "mark_price": None,
            "source": "archive_monthly",
        }
        for symbol in symbols
        for n in range(6)
    ]
    return frame("silver", "funding_rates", rows)


@cache
def minutes(inverse: bool = False) -> pl.DataFrame:
    return continuous_minutes(candles(inverse), events(), no_state(), (START, END), RULE, inverse=inverse).rows


def bars(interval: str = "1h", *offsets: timedelta, of: pl.DataFrame | None = None) -> pl.DataFrame:
    rows = minutes() if of is None else of
    return time_bars(rows, INTERVALS[interval], offsets or (ZERO,), START, END + 40 * DAY)


@cache
def klines(inverse: bool = False) -> pl.DataFrame:
    """silver.klines_1h as an exchange makes them from its trades: quiet minutes leave no trace."""
    hours: dict[tuple[str, datetime], list[Row]] = {}
    for row in candles(inverse).sort("symbol", "open_time").to_dicts():
        if row["base_volume"] > 0:
            hours.setdefault((row["symbol"], row["open_time"].replace(minute=0)), []).append(row)
    rows = []
    for (symbol, open_time), part in hours.items():
        sums = {name: sum(r[name] for r in reversed(part)) for name in (*VOLUMES, "trade_count")}
        rows.append(
            {
                "symbol": symbol,
                "open_time": open_time,
                "close_time": open_time + HOUR - timedelta(milliseconds=1),
                "open": part[0]["open"],
                "high": max(r["high"] for r in part),
                "low": min(r["low"] for r in part),
                "close": part[-1]["close"],
                **sums,
                "contracts": sum(r["contracts"] for r in part) if inverse else None,
                "source": "archive_daily",
            }
        )
    return frame("silver", "klines_1h", rows)


def full() -> pl.DataFrame:
    """Minutes of which the archive has every candle, so that every whole bar is complete."""
    return minutes().with_columns(in_archive=True)


def spoilt(rows: pl.DataFrame, where: pl.Expr, **values: Any) -> pl.DataFrame:
    """``rows`` with ``values`` (expressions or constants) where ``where`` holds, in another order."""
    changed = {
        name: pl.when(where)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value, rows.schema[name]))
        .otherwise(pl.col(name))
        for name, value in values.items()
    }
    assert rows.filter(where).height
    return rows.with_columns(**changed).reverse()


def at(hour: float) -> pl.Expr:
    return pl.col("open_time") == START + hour * HOUR


def bar_at(rows: pl.DataFrame, symbol: str, hour: float) -> Row:
    [bar] = rows.filter(pl.col("symbol") == symbol, at(hour)).to_dicts()
    return bar


A, B, C = (pl.col("symbol") == name for name in QUIET)
GREW = 1 + 2e-9
