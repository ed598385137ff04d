"""Invented trading for the sample archive: price paths, and bars as scaled integers.

Everything here is a pure function of the seed, the coin and the day, so a longer or wider sample agrees
with a shorter one. The trades within a bar are in ``fills.py``; ``klines.py``
writes bars as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from crypto_lakehouse.catalog import Market
from crypto_lakehouse.sample.coins import (
    HALT_DAY,
    HALT_MINUTES,
    LATE,
    LATE_DAY,
    LATE_MINUTE,
    QUIET,
    QUIET_DAY,
    QUIET_MINUTES,
    Coin,
)
from crypto_lakehouse.sample.text import Ints

MINUTES = 1440
BASE_DECIMALS = 8  # COIN-M states base coin with eight decimals
LEAST_TRADES = 7  # in a minute with any: sample_fills.py needs as many

BASIS = {"spot": 1.0, "um": 1.0002, "cm": 0.9998}
_TURNOVER = {"spot": 1.0, "um": 4.0, "cm": 0.5}


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one symbol and day as integers, one array element a bar.

    ``minute`` is the minute of the UTC day at which a bar opens, or its second where bars are that short. Prices
    are in 10**-``price_decimals`` USD; ``volume`` and ``taker`` in 10**-``volume_decimals`` coins (or whole
    contracts), ``quote`` and ``taker_quote`` in 10**-``quote_decimals`` USD (COIN-M: coins), so sums over bars
    are exact.
    """

    minute: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote: Ints
    count: Ints
    taker: Ints
    taker_quote: Ints
    price_decimals: int
    volume_decimals: int
    quote_decimals: int

    def resample(self, minutes: int) -> Bars:
        """Bars of ``minutes`` length; a bar in which nothing was published does not exist."""
        return self.grouped(self.minute // minutes * minutes)

    def grouped(self, opening: Ints) -> Bars:
        """Longer bars: ``opening`` is, for each bar, the minute at which the longer bar that contains it opens."""
        opened, first = np.unique(opening, return_index=True)
        last = np.append(first[1:], len(self.minute)) - 1

        def total(values: Ints) -> Ints:
            return np.add.reduceat(values, first)

        return Bars(
            minute=opened,
            open=self.open[first],
            high=np.maximum.reduceat(self.high, first),
            low=np.minimum.reduceat(self.low, first),
            close=self.close[last],
            volume=total(self.volume),
            quote=total(self.quote),
            count=total(self.count),
            taker=total(self.taker),
            taker_quote=total(self.taker_quote),
            price_decimals=self.price_decimals,
            volume_decimals=self.volume_decimals,
            quote_decimals=self.quote_decimals,
        )

    def where(self, wanted: npt.NDArray[np.bool_]) -> Bars:
        """The wanted bars."""
        return Bars.from_columns([values[wanted] for values in self.columns], self.decimals)

    @classmethod
    def from_columns(cls, columns: Sequence[Ints], decimals: tuple[int, int, int]) -> Bars:
        """Bars from the values of the properties ``columns`` and ``decimals``."""
        minute, opened, high, low, close, volume, quote, count, taker, taker_quote = columns
        return cls(minute, opened, high, low, close, volume, quote, count, taker, taker_quote, *decimals)

    @property
    def columns(self) -> list[Ints]:
        """All arrays, in the order of the fields."""
        prices = [self.open, self.high, self.low, self.close]
        return [self.minute, *prices, self.volume, self.quote, self.count, self.taker, self.taker_quote]

    @property
    def decimals(self) -> tuple[int, int, int]:
        """Decimals of prices, volumes and quote volumes."""
        return self.price_decimals, self.volume_decimals, self.quote_decimals


def joined(parts: Sequence[Bars]) -> Bars:
    """Bars of one symbol, one part after the other."""
    columns = zip(*(part.columns for part in parts), strict=True)
    return Bars.from_columns([np.concatenate(values) for values in columns], parts[0].decimals)


def log_path(seed: int, coin: Coin, day: int, start: date) -> npt.NDArray[np.float64]:
    """Log return since the start of the day at the end of each minute; the same in all markets."""
    random = generator(seed, coin, start + timedelta(days=day), 0)
    steps = random.normal(0.0, 0.0006 * coin.volatility, MINUTES)
    if (coin.index, day) == (QUIET, QUIET_DAY):
        steps[QUIET_MINUTES] = 0.0
    path: npt.NDArray[np.float64] = np.cumsum(steps)
    return path


def minute_bars(
    market: Market,
    coin: Coin,
    day: int,
    start: date,
    seed: int,
    level: float,
    path: npt.NDArray[np.float64],
    trades: int | None = None,
) -> Bars:
    """One-minute bars of a day that opens at log price ``level`` above the coin's first price.

    ``trades`` sets the day's number of trades, which otherwise follows from its turnover. Raises ValueError if it is
    too small for the day's minutes.
    """
    random = generator(seed, coin, start + timedelta(days=day), 1 + list(BASIS).index(market.name))
    scale = 10**coin.price_decimals
    levels = np.concatenate(([level], level + path))
    ticks = np.rint(coin.price * BASIS[market.name] * np.exp(levels) * scale).astype(np.int64)
    ticks = np.maximum(ticks, 100)
    opened, close = ticks[:-1], ticks[1:]
    reach = np.maximum(ticks[1:] // 3000, 2)
    # At least a tick of range leaves room for the mean price between low and high.
    high = np.maximum(opened, close) + 1 + random.integers(0, reach)
    low = np.minimum(opened, close) - 1 - random.integers(0, reach)
    mean = (opened + close) // 2
    usd = 20_000.0 * _TURNOVER[market.name] * random.lognormal(0.0, 0.8, MINUTES) * (12 / (3 + coin.index))
    usd = np.maximum(usd, 2_000.0)
    share = random.uniform(0.2, 0.8, MINUTES)
    count = 1 + (usd / 300.0).astype(np.int64)

    quiet, has_bar = np.zeros(MINUTES, dtype=bool), np.ones(MINUTES, dtype=bool)
    if (coin.index, day) == (QUIET, QUIET_DAY):
        quiet[QUIET_MINUTES] = True
    if market.name == "spot" and day == HALT_DAY:
        has_bar[HALT_MINUTES] = False
    if (coin.index, day) == (LATE, LATE_DAY):
        has_bar[:LATE_MINUTE] = False
    if trades is not None:
        count[has_bar & ~quiet] = _spread(trades, count[has_bar & ~quiet])

    if market.inverse:
        size = int(market.contract_size(coin.symbol(market) or ""))
        volume = (usd / size).astype(np.int64) + 1
        if trades is not None:
            # Contracts cannot be split, so there must be enough of them for the trades.
            volume = np.maximum(volume, 3 * count)
        taker = (volume * share).astype(np.int64)
        quote, taker_quote = (base_coin(amount, size * scale, mean) for amount in (volume, taker))
        decimals = (coin.price_decimals, 0, BASE_DECIMALS)
    else:
        volume = (usd / (mean / scale) * 10**coin.lot_decimals).astype(np.int64) + 1
        taker = (volume * share).astype(np.int64)
        quote, taker_quote = volume * mean, taker * mean
        decimals = (coin.price_decimals, coin.lot_decimals, coin.price_decimals + coin.lot_decimals)

    for prices in (high, low):
        prices[quiet] = close[quiet]
    for amounts in (volume, quote, count, taker, taker_quote):
        amounts[quiet] = 0
    minute = np.arange(MINUTES, dtype=np.int64)
    bars = Bars(minute, opened, high, low, close, volume, quote, count, taker, taker_quote, *decimals)
    return bars.where(has_bar)


def base_coin(contracts: Ints, value: int, price: Ints) -> Ints:
    """``contracts`` of ``value`` price ticks each, in 10**-8 base coins, rounded down."""
    # Multiply whole and rest separately: the product of the sum would not always fit into 64 bits.
    whole, rest = np.divmod(value * 10**BASE_DECIMALS, price)
    coins: Ints = contracts * whole + contracts * rest // price
    return coins


def _spread(trades: int, count: Ints) -> Ints:
    """``trades`` over minutes in proportion to ``count``, at least LEAST_TRADES in each."""
    extra = trades - LEAST_TRADES * len(count)
    if extra < 0:
        raise ValueError(f"{trades} trades a day are too few: a minute has at least {LEAST_TRADES}")
    until = np.floor(np.cumsum(count) / max(count.sum(), 1) * extra).astype(np.int64)
    return LEAST_TRADES + np.diff(until, prepend=0)


def generator(seed: int, coin: Coin, day: date, *purpose: int) -> np.random.Generator:
    """Random numbers for one purpose, independent of what else is generated."""
    return np.random.default_rng([seed, coin.index, day.toordinal(), *purpose])
