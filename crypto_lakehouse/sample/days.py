"""One coin's day in one market, which is the input of the modules of each archive type, and the walk over all days.

Contains the state that a day takes from the days before it: its price level and its trade ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crypto_lakehouse.catalog import Market
from crypto_lakehouse.sample.bars import BASIS, MINUTES, Bars, generator, log_path, minute_bars
from crypto_lakehouse.sample.coins import Coin
from crypto_lakehouse.sample.fills import order_count

FIRST_TRADE_ID, FIRST_ORDER_ID = 4_000_000_000, 3_000_000_000
"""Ids of the first trade and aggregate of each symbol: ten digits, as in current real files."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Properties common to all coins of a sample: first UTC day, seed, and trades per day, if set."""

    start: date
    seed: int
    trades_per_day: int | None = None


@dataclass(frozen=True)
class CoinDay:
    """A coin's UTC day ``number`` (from 0) in a market; ``level`` is its log price at midnight, from its first.

    ``path`` is the log return since midnight at the end of each minute; ``trade_id`` and ``order_id`` are
    the ids of the day's first trade and aggregate. ``yesterday`` is None on the first day it trades.
    """

    sample: Sample
    market: Market
    coin: Coin
    number: int
    level: float
    path: npt.NDArray[np.float64]
    trade_id: int = FIRST_TRADE_ID
    order_id: int = FIRST_ORDER_ID
    yesterday: CoinDay | None = None

    @property
    def date(self) -> date:
        """The UTC day."""
        return self.sample.start + timedelta(days=self.number)

    @property
    def midnight(self) -> int:
        """Start of the day in seconds since the Unix epoch."""
        return int(datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC).timestamp())

    @property
    def prices(self) -> npt.NDArray[np.float64]:
        """The market's price in USD at the start of each minute, and at the end of the last."""
        levels = np.concatenate(([self.level], self.level + self.path))
        prices: npt.NDArray[np.float64] = self.coin.price * BASIS.get(self.market.name, 1.0) * np.exp(levels)
        return prices

    @cached_property
    def bars(self) -> Bars:
        """One-minute bars of the day's trades."""
        sample = self.sample
        trades = sample.trades_per_day
        return minute_bars(
            self.market, self.coin, self.number, sample.start, sample.seed, self.level, self.path, trades
        )

    @property
    def first_minute(self) -> int:
        """The minute of the day from which the coin trades."""
        return int(self.bars.minute[0]) if len(self.bars.minute) else MINUTES

    @property
    def symbol(self) -> str:
        """The coin's symbol in the market; empty where it has none."""
        return self.coin.symbol(self.market) or ""

    def random(self, purpose: int, part: int = 0) -> np.random.Generator:
        """Random numbers for one purpose and part of the day, independent of what else is generated."""
        return generator(self.sample.seed, self.coin, self.date, purpose, _market_number(self.market), part)


def _market_number(market: Market) -> int:
    return list(BASIS).index(market.name) if market.name in BASIS else len(BASIS)


def walk(coin: Coin, markets: Sequence[Market], sample: Sample, days: int) -> Iterator[CoinDay]:
    """Every day on which the coin trades in a market, by date."""
    level = 0.0
    last: dict[str, CoinDay] = {}
    for number in range(days):
        path = log_path(sample.seed, coin, number, sample.start)
        for market in markets if coin.listed(number) else ():
            if market.name in BASIS and coin.symbol(market) is None:
                continue
            day = CoinDay(sample, market, coin, number, level, path)
            if (yesterday := last.get(market.name)) is not None:
                day = _after(yesterday, day)
            yield day
            last[market.name] = day
        level += float(path[-1])


def _after(yesterday: CoinDay, day: CoinDay) -> CoinDay:
    trade_id, order_id = yesterday.trade_id, yesterday.order_id
    if day.market.name in BASIS:
        trade_id += int(yesterday.bars.count.sum())
        order_id += order_count(yesterday.bars, day.market.inverse)
    # Drop the reference to the day before yesterday: a chain would keep all days in memory.
    return replace(day, trade_id=trade_id, order_id=order_id, yesterday=replace(yesterday, yesterday=None))
