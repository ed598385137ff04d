"""Klines of the sample archive: of trades, and of the mark, index and premium prices; of every interval.

Contains bars of computed prices, the grids of intervals, and klines as text. ``bars.py`` generates bars of
trades, ``trades.py`` those of one second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import numpy as np

from crypto_lakehouse.catalog import Feed, parse_partition
from crypto_lakehouse.sample.bars import BASIS, MINUTES, Bars, joined
from crypto_lakehouse.sample.coins import HOLED, HOLED_MINUTE
from crypto_lakehouse.sample.days import CoinDay
from crypto_lakehouse.sample.format import header, microseconds, places
from crypto_lakehouse.sample.text import Ints, constant, decimal, integer, lines
from crypto_lakehouse.sample.trades import second_bars

_PURPOSES = {"markPriceKlines": 30, "indexPriceKlines": 31, "premiumIndexKlines": 32}
_PRICE_DECIMALS = 8
_SAMPLES = 60  # prices per minute, the input of such a bar
_EPOCH = date(1970, 1, 1)
_DAY, _SECOND = 86_400, 1_000_000


def minutes_of(day: CoinDay, archive_type: str) -> Bars:
    """The one-minute bars from which all klines of the type are computed."""
    return day.bars if archive_type == "klines" else _price_bars(day, archive_type)


def daily(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of a day's klines of an interval up to one day."""
    assert feed.interval is not None
    seconds = feed.interval.microseconds // 1_000_000
    if seconds < 60:
        bars = second_bars(day)
        opening = bars.minute
    else:
        bars = minutes_of(day, feed.archive_type).resample(seconds // 60)
        opening = bars.minute * 60
    yield header(feed, day.date)
    yield _text(feed, day.date, day.midnight + opening, np.full(len(opening), seconds), bars)


def monthly(feed: Feed, days: Sequence[tuple[date, Bars]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Month and CSV of the klines of an interval above one day, computed from the minutes of ``days``.

    A bar is in the file of the month in which it opens, even if that is before the sample, and covers only days of
    the sample.
    """
    assert feed.interval is not None
    spans: dict[tuple[date, date], list[Bars]] = defaultdict(list)
    months: dict[str, dict[tuple[date, date], None]] = defaultdict(dict)
    for day, bars in days:
        first, end = _span(feed.interval.name, day)
        spans[first, end].append(bars)
        months[f"{first:%Y-%m}"][first, end] = None
    for month, windows in months.items():
        opening = np.array([(first - _EPOCH).days * _DAY for first, _ in windows])
        seconds = np.array([(end - first).days * _DAY for first, end in windows])
        bars = joined([joined(spans[span]).grouped(np.zeros(1, dtype=np.int64)) for span in windows])
        first, _ = parse_partition(month, feed.cadence)
        yield month, iter((header(feed, first), _text(feed, first, opening, seconds, bars)))


def _span(interval: str, day: date) -> tuple[date, date]:
    """First day of the bar that holds ``day``, and the day after its last."""
    if interval == "1mo":
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    days, offset = (7, day.weekday()) if interval == "1w" else (3, (day - _EPOCH).days % 3)
    first = day - timedelta(days=offset)
    return first, first + timedelta(days=days)


def _text(feed: Feed, day: date, opening: Ints, seconds: Ints, bars: Bars) -> bytes:
    """Rows of a file that starts on ``day``, with ``opening`` in seconds since the epoch, and the length of bars."""
    price, volume, quote = bars.price_decimals, bars.volume_decimals, bars.quote_decimals
    fill = places(feed)
    unit = microseconds(feed, day)
    return lines(
        integer(opening * _SECOND // unit),
        *(decimal(prices, price, fill) for prices in (bars.open, bars.high, bars.low, bars.close)),
        decimal(bars.volume, volume, fill),
        # The last instant of the bar in the unit of the file.
        integer((opening + seconds) * _SECOND // unit - 1),
        decimal(bars.quote, quote, fill),
        integer(bars.count),
        decimal(bars.taker, volume, fill),
        decimal(bars.taker_quote, quote, fill),
        constant("0"),
    )


def _price_bars(day: CoinDay, archive_type: str) -> Bars:
    random = day.random(_PURPOSES[archive_type])
    if archive_type == "premiumIndexKlines":
        values = random.normal(0.0001, 0.0002, MINUTES + 1)
    else:
        basis = BASIS[day.market.name] if archive_type == "indexPriceKlines" else 1.0
        values = day.prices / basis * (1 + random.normal(0.0, 0.00002, MINUTES + 1))
    edges = np.rint(values * 10**_PRICE_DECIMALS).astype(np.int64)
    opened, close = edges[:-1], edges[1:]
    reach = np.abs(opened) // 5000 + 2
    high = np.maximum(opened, close) + random.integers(0, reach)
    low = np.minimum(opened, close) - random.integers(0, reach)
    minute, nothing = np.arange(MINUTES), np.zeros(MINUTES, dtype=np.int64)
    count = np.full(MINUTES, _SAMPLES)
    amounts = (nothing, nothing, count, nothing, nothing)
    has_bar = minute >= day.first_minute
    if day.coin.index == HOLED:
        has_bar[HOLED_MINUTE] = False
    return Bars(minute, opened, high, low, close, *amounts, _PRICE_DECIMALS, 0, 0).where(has_bar)
