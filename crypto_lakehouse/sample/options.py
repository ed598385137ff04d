"""The options market of the sample archive: rows and quirks of the volatility index and hourly summaries of contracts.

Prices of the underlying coins are those of the other markets.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from math import exp

import numpy as np

from crypto_lakehouse.catalog import Feed, Market
from crypto_lakehouse.sample.coins import Coin
from crypto_lakehouse.sample.days import CoinDay
from crypto_lakehouse.sample.format import header, time
from crypto_lakehouse.sample.text import constant, decimal, lines

_INDEX, _SUMMARIES = 50, 51  # purposes of random numbers
_SECOND, _DAY = 1_000_000, 86_400
_INDEXED = ("BTC", "ETH")
_UNDERLYING = ("BTC", "ETH", "BNB", "XRP", "DOGE")
_STRIKES = (-0.1, -0.05, 0.0, 0.05, 0.1)
_EXPIRIES = (1, 7, 30)  # days ahead


def index_symbol(coin: Coin, _: Market) -> str | None:
    """``BTCBVOLUSDT``; only Bitcoin and Ether have a volatility index."""
    return f"{coin.name}BVOLUSDT" if coin.name in _INDEXED and coin.symbols is None else None


def underlying(coin: Coin, _: Market) -> str | None:
    """``BTCUSDT``, the folder of a coin's contracts; only some coins have any."""
    return f"{coin.name}USDT" if coin.name in _UNDERLYING and coin.symbols is None else None


def volatility_index(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of the index, one row a second of the whole day."""
    steps = day.random(_INDEX).integers(-40, 41, _DAY)
    values = 550_000 + np.cumsum(steps)  # four decimals, in percent a year
    yield header(feed, day.date)
    yield lines(
        time(feed, day.date, (day.midnight + np.arange(_DAY)) * _SECOND),
        constant(index_symbol(day.coin, day.market) or ""),
        constant(f"{day.coin.name}BVOL"),
        constant("USDT"),
        decimal(values, 4),
    )


def summaries(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of every contract at each hour; fields are blank where nothing was traded or quoted."""
    random = day.random(_SUMMARIES)
    contracts = [
        (expiry, _strike(float(day.prices[0]), distance), kind)
        for expiry in _expiries(day.date)
        for distance in _STRIKES
        for kind in ("C", "P")
    ]
    yield header(feed, day.date)
    for hour in range(24):
        spot = float(day.prices[hour * 60])
        rows = (_summary(day, hour, spot, contract, random) for contract in contracts)
        yield "".join(f"{row}\n" for row in rows).encode()


def _expiries(day: date) -> list[date]:
    return [day + timedelta(days=ahead) for ahead in _EXPIRIES]


def _strike(price: float, distance: float) -> float:
    """Round to two significant digits, as strikes are."""
    return float(f"{price * (1 + distance):.2g}")


def _summary(
    day: CoinDay, hour: int, spot: float, contract: tuple[date, float, str], random: np.random.Generator
) -> str:
    expiry, strike, kind = contract
    volatility = 0.55 + abs(strike / spot - 1)
    years = max((expiry - day.date).days - hour / 24, 1 / 24) / 365
    width = spot * volatility * years**0.5
    # A logistic curve approximates the normal one well enough for invented prices.
    chance = 1 / (1 + exp(-1.7 * (spot - strike) / width))
    delta = chance if kind == "C" else chance - 1
    inner = max(spot - strike, 0.0) if kind == "C" else max(strike - spot, 0.0)
    mark = inner + 0.4 * width * 4 * chance * (1 - chance)
    traded, bid, asked = (random.random(3) < (0.3, 0.8, 0.9)).tolist()
    name = f"{day.coin.name}-{expiry:%y%m%d}-{strike:.15g}-{kind}"

    def shown(is_shown: bool, *values: float) -> list[str]:
        return [f"{value:.4f}" if is_shown else "" for value in values]

    lots = round(float(random.exponential(3.0)), 2) + 0.01
    sizes = random.exponential(5.0, 2).round(2).tolist()
    fields = [
        f"{day.date}",
        f"{hour}",
        name,
        underlying(day.coin, day.market) or "",
        kind,
        f"{strike:.15g}",
        *shown(traded, mark, mark * 1.02, mark * 0.98, mark * 1.01),
        *shown(traded, lots, lots * mark),
        *shown(bid, mark * 0.97),
        *shown(asked, mark * 1.03),
        *shown(bid, sizes[0]),
        *shown(asked, sizes[1]),
        *shown(bid, volatility - 0.02),
        *shown(asked, volatility + 0.02),
        *shown(True, mark, volatility, delta),
        f"{chance * (1 - chance) * 1.7 / width:.8f}",
        *shown(True, spot * years**0.5 * chance * (1 - chance), -mark / (years * 365) / 2),
        *shown(traded, lots * 10, lots * 10 * spot),
    ]
    return ",".join(fields)
