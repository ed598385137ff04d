"""Invented trading for the sample archive: coins, the quirks of some of them, and bars as scaled integers.

Everything here is a pure function of the seed, the coin and the day, so a longer or wider sample agrees
with a shorter one. How bars become CSV, zip and checksum is in ``sample.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from crypto_lakehouse.catalog import Market

Ints = npt.NDArray[np.int64]

MINUTES = 1440
BASE_DECIMALS = 8  # COIN-M states base coin with eight decimals

# Which coin shows which quirk, by its place in the list, and when: days count from 0.
FOUR_HOURLY, QUIET, LATE, DELISTED = 1, 2, 3, 4
QUIET_DAY, QUIET_MINUTES = 1, slice(300, 660)
LATE_DAY, LATE_MINUTE = 3, 600
DELISTED_DAY = 6
HALT_DAY, HALT_MINUTES = 2, slice(150, 240)

# Name, price in USD, price decimals, lot decimals: price x lot never needs more than eight decimals.
_COINS = (
    ("BTC", 94_000.0, 1, 3),
    ("ETH", 3_350.0, 2, 3),
    ("LTC", 104.0, 2, 3),
    ("SOL", 188.0, 2, 2),
    ("XRP", 2.16, 4, 1),
    ("BNB", 692.0, 2, 2),
    ("DOGE", 0.3152, 5, 0),
    ("ADA", 0.8671, 4, 0),
    ("LINK", 22.31, 3, 2),
    ("AVAX", 36.42, 3, 1),
)
_BASIS = {"spot": 1.0, "um": 1.0002, "cm": 0.9998}
_TURNOVER = {"spot": 1.0, "um": 4.0, "cm": 0.5}


@dataclass(frozen=True, slots=True)
class Coin:
    """One invented coin: ``price`` in USD on the first day; decimals of its price tick and its lot."""

    index: int
    name: str
    price: float
    price_decimals: int
    lot_decimals: int

    def symbol(self, market: Market) -> str:
        """Its perpetual or spot symbol in the market."""
        return f"{self.name}USD_PERP" if market.inverse else f"{self.name}USDT"

    def listed(self, day: int) -> bool:
        """Whether it trades on the day (0 is the first of the sample)."""
        if self.index == LATE:
            return day >= LATE_DAY
        return self.index != DELISTED or day < DELISTED_DAY

    @property
    def funding_hours(self) -> int:
        """Hours between funding events."""
        return 4 if self.index == FOUR_HOURLY else 8


def coins(count: int) -> list[Coin]:
    """The first ``count`` coins: well-known names, then ``C011`` and so on."""
    known = [Coin(i, *row) for i, row in enumerate(_COINS[:count])]
    return known + [Coin(i, f"C{i + 1:03d}", 0.5 + i % 40, 4, 1) for i in range(len(known), count)]


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one symbol and day as integers, one array element a bar.

    ``minute`` is the minute of the UTC day at which a bar opens. Prices are in 10**-``price_decimals``
    USD; ``volume`` and ``taker`` in 10**-``volume_decimals`` coins (or whole contracts), ``quote`` and
    ``taker_quote`` in 10**-``quote_decimals`` USD (COIN-M: coins), so sums over bars are exact.
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
        slot, first = np.unique(self.minute // minutes, return_index=True)
        last = np.append(first[1:], len(self.minute)) - 1

        def total(values: Ints) -> Ints:
            return np.add.reduceat(values, first)

        return Bars(
            minute=slot * minutes,
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


def log_path(seed: int, coin: Coin, day: int, start: date) -> npt.NDArray[np.float64]:
    """Log return since the start of the day at the end of each minute; the same in all markets."""
    random = _random(seed, coin, start + timedelta(days=day), 0)
    steps = random.normal(0.0, 0.0006, MINUTES)
    if (coin.index, day) == (QUIET, QUIET_DAY):
        steps[QUIET_MINUTES] = 0.0
    path: npt.NDArray[np.float64] = np.cumsum(steps)
    return path


def minute_bars(
    market: Market, coin: Coin, day: int, start: date, seed: int, level: float, path: npt.NDArray[np.float64]
) -> Bars:
    """One-minute bars of a day that opens at log price ``level`` above the coin's first price."""
    random = _random(seed, coin, start + timedelta(days=day), 1 + list(_BASIS).index(market.name))
    scale = 10**coin.price_decimals
    levels = np.concatenate(([level], level + path))
    ticks = np.rint(coin.price * _BASIS[market.name] * np.exp(levels) * scale).astype(np.int64)
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

    if market.inverse:
        size = int(market.contract_size(coin.symbol(market)))
        volume = (usd / size).astype(np.int64) + 1
        unit = size * scale * 10**BASE_DECIMALS
        taker = (volume * share).astype(np.int64)
        quote, taker_quote = volume * unit // mean, taker * unit // mean
        decimals = (coin.price_decimals, 0, BASE_DECIMALS)
    else:
        volume = (usd / (mean / scale) * 10**coin.lot_decimals).astype(np.int64) + 1
        taker = (volume * share).astype(np.int64)
        quote, taker_quote = volume * mean, taker * mean
        decimals = (coin.price_decimals, coin.lot_decimals, coin.price_decimals + coin.lot_decimals)

    if (coin.index, day) == (QUIET, QUIET_DAY):
        for prices in (high, low):
            prices[QUIET_MINUTES] = close[QUIET_MINUTES]
        for amounts in (volume, quote, count, taker, taker_quote):
            amounts[QUIET_MINUTES] = 0
    there = np.ones(MINUTES, dtype=bool)
    if market.name == "spot" and day == HALT_DAY:
        there[HALT_MINUTES] = False
    if (coin.index, day) == (LATE, LATE_DAY):
        there[:LATE_MINUTE] = False
    return Bars(
        np.arange(MINUTES, dtype=np.int64)[there],
        opened[there],
        high[there],
        low[there],
        close[there],
        volume[there],
        quote[there],
        count[there],
        taker[there],
        taker_quote[there],
        *decimals,
    )


def funding(market: Market, coin: Coin, month: date, start: date, seed: int) -> list[tuple[int, float]]:
    """Funding events (ms since the epoch, rate) of the whole UTC month, as far as the coin was listed."""
    random = _random(seed, coin, month, 10 + list(_BASIS).index(market.name))
    following = (month + timedelta(days=31)).replace(day=1)
    hours = range(0, (following - month).days * 24, coin.funding_hours)
    jitter = random.integers(0, 14, len(hours)).tolist()
    rates = np.round(0.0001 + random.normal(0.0, 0.00008, len(hours)), 8).tolist()
    midnight, origin = (datetime(d.year, d.month, d.day, tzinfo=UTC) for d in (month, start))
    listing = origin + timedelta(days=LATE_DAY, minutes=LATE_MINUTE)
    events = []
    for hour, late, rate in zip(hours, jitter, rates, strict=True):
        moment = midnight + timedelta(hours=hour)
        listed = moment >= listing if coin.index == LATE else coin.listed((moment - origin).days)
        if listed:
            events.append((int(moment.timestamp()) * 1000 + late, rate))
    return events


def _random(seed: int, coin: Coin, day: date, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, coin.index, day.toordinal(), purpose])
