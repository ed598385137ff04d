"""Futures data of the sample archive: rows and quirks of funding, open interest, the order book and liquidations.

Klines of mark, index and premium prices are in ``klines.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.epochs import Topic, epoch_value
from crypto_lakehouse.sample.bars import BASE_DECIMALS, BASIS, MINUTES, base_coin, generator
from crypto_lakehouse.sample.coins import LATE, LATE_DAY, LATE_MINUTE, Coin
from crypto_lakehouse.sample.days import CoinDay, Sample
from crypto_lakehouse.sample.format import header, time
from crypto_lakehouse.sample.text import Ints, clock, constant, decimal, integer, lines, word

# Purposes of random numbers; funding has a form of its own, from before the others existed.
_FUNDING, _METRICS, _DEPTH, _TICKER, _LIQUIDATIONS = 10, 40, 41, 42, 43

# Rows of each metrics file that show a quirk, by their index in the file.
BLANK, QUOTED_BLANK, ZERO = 10, 20, 30
DUPLICATED, SWAPPED, OFF_GRID = 40, 50, 60
OFF_GRID_SECONDS = 7

FROZEN_FROM = date(2026, 9, 3)
"""First day on which the innermost ask bands do not move."""

_DAY = 86_400
_DEPTH_SECONDS = 30
_TICKER_ROWS, _LIQUIDATION_ROWS = 5_000, 24


def funding(feed: Feed, coin: Coin, month: date, sample: Sample) -> bytes:
    """The CSV of the funding events of a whole UTC month while the coin was listed; empty without events."""
    random = generator(sample.seed, coin, month, _FUNDING + list(BASIS).index(feed.market.name))
    following = (month + timedelta(days=31)).replace(day=1)
    hours = range(0, (following - month).days * 24, coin.funding_hours)
    jitter = random.integers(0, 14, len(hours)).tolist()
    rates = np.round(0.0001 + random.normal(0.0, 0.00008, len(hours)), 8).tolist()
    midnight, origin = (datetime(d.year, d.month, d.day, tzinfo=UTC) for d in (month, sample.start))
    listing = origin + timedelta(days=LATE_DAY, minutes=LATE_MINUTE)
    rows = []
    for hour, late, rate in zip(hours, jitter, rates, strict=True):
        moment = midnight + timedelta(hours=hour)
        listed = moment >= listing if coin.index == LATE else coin.listed((moment - origin).days)
        if listed:
            rows.append(f"{int(moment.timestamp()) * 1000 + late},{coin.funding_hours},{rate:.8f}\n")
    return header(feed, month) + "".join(rows).encode() if rows else b""


def metrics(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of open interest and ratios: 288 periods of five minutes, and some faulty rows.

    Where the registry states that labels are period ends, files of every other coin run from 00:05 to 00:00 of the next
    day. The others run from 00:00 to 23:55, like a real file of such a day.
    """
    random, periods = day.random(_METRICS), range(MINUTES // 5)
    ends = epoch_value(feed, Topic.LABEL, day.date) == "period_end"
    late = 1 if ends and day.coin.index % 2 == 0 else 0
    ratios = np.exp(random.normal(0.0, 0.3, (len(periods), 4))).tolist()
    interest = np.cumsum(random.normal(0.0, 0.001, len(periods))) + 1.0
    rows = []
    for period in periods:
        if period * 5 < day.first_minute:
            continue
        price = float(day.prices[period * 5])
        usd = 4e8 / (3 + day.coin.index) * float(interest[period])
        amount = usd / day.market.contract_size(day.symbol) if day.market.inverse else usd / price
        value = usd / price if day.market.inverse else usd
        fields = [f"{amount:.0f}" if day.market.inverse else f"{amount:.3f}", f"{value:.8f}"]
        fields += [f"{ratio:.8f}" for ratio in ratios[period]]
        if period == BLANK:
            fields[2:4] = ["", ""]
        elif period == QUOTED_BLANK:
            fields[4] = '""'
        elif period == ZERO:
            fields[5] = "0E-8"
        moment = day.midnight + (period + late) * 300 + (OFF_GRID_SECONDS if period == OFF_GRID else 0)
        rows.append(",".join([f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}", day.symbol, *fields]))
        if period == DUPLICATED:
            rows.append(rows[-1])
        elif period == SWAPPED + 1 and len(rows) > 1:
            rows[-2:] = reversed(rows[-2:])
    yield header(feed, day.date)
    yield "".join(f"{row}\n" for row in rows).encode()


def book_depth(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of the depth within bands; on the first day of new bands the old ones apply until noon."""
    random = day.random(_DEPTH)
    seconds = np.arange(0, _DAY, _DEPTH_SECONDS) + random.integers(0, 4, _DAY // _DEPTH_SECONDS)
    seconds = seconds[seconds >= day.first_minute * 60]
    before, bands = (epoch_value(feed, Topic.BANDS, day.date + timedelta(days=n)) or "" for n in (-1, 0))
    noon = np.searchsorted(seconds, _DAY // 2) if before != bands else 0
    yield header(feed, day.date)
    for edges, part in ((before, seconds[:noon]), (bands, seconds[noon:])):
        if len(part):
            yield _depth_rows(day, edges, part, random)


def _depth_rows(day: CoinDay, bands: str, seconds: Ints, random: np.random.Generator) -> bytes:
    edges = sorted(sign * float(edge) for sign in (-1, 1) for edge in bands.split(","))
    half = len(edges) // 2
    # Before the archive had fractions of a percent, it wrote bands as whole numbers.
    words = [f"{edge:.2f}" if "." in bands else f"{edge:.0f}" for edge in edges]
    price = np.rint(day.prices[seconds // 60] * 10**day.coin.price_decimals).astype(np.int64)
    usd = 2e6 / (3 + day.coin.index)
    typical = usd / day.market.contract_size(day.symbol) if day.market.inverse else usd / day.coin.price
    decimals = 0 if day.market.inverse else day.coin.lot_decimals
    between = random.integers(1, max(int(typical * 10**decimals), 2), (len(seconds), 2 * half))
    # Depth is cumulative from the mid price: bids left of it, asks right of it.
    depth = np.concatenate(
        [np.cumsum(between[:, half - 1 :: -1], axis=1)[:, ::-1], np.cumsum(between[:, half:], axis=1)], axis=1
    )
    if day.market.inverse:
        notional, more = base_coin(depth, _contract_ticks(day), price[:, None]), BASE_DECIMALS
    else:
        notional, more = depth * price[:, None], decimals + day.coin.price_decimals
    if day.date >= FROZEN_FROM:
        depth[:, half], notional[:, half] = depth[0, half], notional[0, half]
    moment = np.repeat(seconds, 2 * half)
    return lines(
        (*constant(f"{day.date} "), *clock(moment)),
        word(np.tile(np.arange(2 * half), len(seconds)), words),
        decimal(depth.ravel(), decimals),
        decimal(notional.ravel(), more),
    )


def book_ticker(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of best bid and ask, in order of update ids, which have holes."""
    random = day.random(_TICKER)
    milliseconds = np.sort(random.integers(day.first_minute * 60_000, _DAY * 1000, _TICKER_ROWS))
    middle = np.rint(day.prices[milliseconds // 60_000] * 10**day.coin.price_decimals).astype(np.int64)
    spread = random.integers(1, 4, _TICKER_ROWS)
    decimals = 0 if day.market.inverse else day.coin.lot_decimals
    moment = (day.midnight * 1000 + milliseconds) * 1000
    yield header(feed, day.date)
    yield lines(
        integer(day.date.toordinal() * 10**8 + np.cumsum(random.integers(1, 50, _TICKER_ROWS))),
        decimal(middle - spread, day.coin.price_decimals),
        decimal(random.integers(1, 50_000, _TICKER_ROWS), decimals),
        decimal(middle + spread, day.coin.price_decimals),
        decimal(random.integers(1, 50_000, _TICKER_ROWS), decimals),
        time(feed, day.date, moment),
        time(feed, day.date, moment + 1000 * random.integers(1, 10, _TICKER_ROWS)),
    )


def liquidations(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of liquidation orders, in which each row occurs twice."""
    random = day.random(_LIQUIDATIONS)
    milliseconds = np.sort(random.integers(day.first_minute * 60_000, _DAY * 1000, _LIQUIDATION_ROWS))
    buys = random.integers(0, 2, _LIQUIDATION_ROWS)
    ticks = np.rint(day.prices[milliseconds // 60_000] * 10**day.coin.price_decimals).astype(np.int64)
    size = random.integers(1, 2_000, _LIQUIDATION_ROWS)
    last = 1 + (size - 1) * random.integers(0, 101, _LIQUIDATION_ROWS) // 100
    better = ticks // 500
    twice = np.repeat(np.arange(_LIQUIDATION_ROWS), 2)
    yield header(feed, day.date)
    yield lines(
        time(feed, day.date, (day.midnight * 1000 + milliseconds[twice]) * 1000),
        word(buys[twice], ("SELL", "BUY")),
        constant("LIMIT"),
        constant("IOC"),
        integer(size[twice]),
        decimal(ticks[twice], day.coin.price_decimals),
        decimal((ticks + np.where(buys == 1, -better, better))[twice], day.coin.price_decimals),
        constant("FILLED"),
        integer(last[twice]),
        integer(size[twice]),
    )


def _contract_ticks(day: CoinDay) -> int:
    return int(day.market.contract_size(day.symbol)) * 10**day.coin.price_decimals
