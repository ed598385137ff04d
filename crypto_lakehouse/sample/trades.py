"""Files of trades and aggTrades of the sample archive, and the one-second bars of its trades.

Contains rows and their quirks; ``fills.py`` splits bars into orders and fills.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.binance import SPOT
from crypto_lakehouse.sample.bars import Bars, joined
from crypto_lakehouse.sample.coins import (
    DOUBLED_ROWS,
    MISSING,
    MISSING_DAY,
    MISSING_MINUTES,
    REPEATED,
    REPEATED_ROWS,
)
from crypto_lakehouse.sample.days import CoinDay
from crypto_lakehouse.sample.fills import (
    Flags,
    base_quantities,
    fills_of,
    fine_decimals,
    order_count,
    orders_of,
)
from crypto_lakehouse.sample.format import header, places, time
from crypto_lakehouse.sample.text import Column, Ints, constant, decimal, integer, lines, word

_ORDERS = 20  # purpose of random numbers
_BLOCK = 150_000  # trades, so that a day of any size needs little memory
_SECOND, _MINUTE = 1_000_000, 60_000_000  # in microseconds
_WORST_MATCH = 97  # one in this many spot trades is not the best match


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file: ``more`` is the amount of trades, and the first and last trade id of aggregates.

    ``time`` is in microseconds since the epoch. Amounts are quote asset, or base coin on COIN-M, with eight
    decimals.
    """

    id: Ints
    time: Ints
    price: Ints
    quantity: Ints
    sold: Flags
    more: tuple[Ints, ...]

    def take(self, places: Ints) -> Rows:
        """The rows at these indices."""
        more = tuple(values[places] for values in self.more)
        return Rows(
            self.id[places], self.time[places], self.price[places], self.quantity[places], self.sold[places], more
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Some minutes of a day: the trades that add up to its bars, and their aggregates."""

    trades: Rows
    aggregates: Rows


def trades(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of the day's trades, in pieces."""
    inverse, decimals = day.market.inverse, fine_decimals(day.bars, day.market.inverse)
    yield header(feed, day.date)
    for number, block in enumerate(blocks(day)):
        repeated = [last.trades for last in _repeated(day)] if not number else []
        for rows in (*repeated, _with_quirks(day, number, block.trades)):
            match = (word((rows.id % _WORST_MATCH == 0).astype(np.int64), ("True", "False")),)
            yield lines(
                integer(rows.id),
                decimal(rows.price, day.bars.price_decimals, places(feed)),
                decimal(rows.quantity, decimals, 0 if inverse else places(feed)),
                decimal(rows.more[0], 8),
                time(feed, day.date, rows.time),
                _flag(feed, rows.sold),
                *(match if feed.market is SPOT else ()),
            )


def aggregates(day: CoinDay, feed: Feed) -> Iterator[bytes]:
    """The CSV of the day's aggTrades, in pieces."""
    inverse, decimals = day.market.inverse, fine_decimals(day.bars, day.market.inverse)
    yield header(feed, day.date)
    for number, block in enumerate(blocks(day)):
        repeated = [last.aggregates for last in _repeated(day)] if not number else []
        for rows in (*repeated, _with_quirks(day, number, block.aggregates)):
            yield lines(
                integer(rows.id),
                decimal(rows.price, day.bars.price_decimals, places(feed)),
                # These files write contracts as 542.0.
                decimal(rows.quantity, decimals, 1 if inverse else places(feed)),
                *(integer(ids) for ids in rows.more),
                time(feed, day.date, rows.time),
                _flag(feed, rows.sold),
                *((constant("True"),) if feed.market is SPOT else ()),
            )


def second_bars(day: CoinDay) -> Bars:
    """One-second bars, whose ``minute`` is the second of the day; a bar without trades repeats the last price."""
    decimals = (day.bars.price_decimals, fine_decimals(day.bars, inverse=False), 8)
    parts = []
    for block in blocks(day):
        rows = block.trades
        second, price, bought = rows.time // _SECOND - day.midnight, rows.price, ~rows.sold
        sums = [rows.quantity, rows.more[0], np.ones_like(rows.id), rows.quantity * bought, rows.more[0] * bought]
        parts.append(Bars.from_columns([second, price, price, price, price, *sums], decimals).grouped(second))
    traded = joined(parts)
    seconds = (day.bars.minute[:, None] * 60 + np.arange(60)).ravel()
    # Minutes with trades have one in their first second, so a previous price always exists.
    before = np.searchsorted(traded.minute, seconds, side="right") - 1
    is_traded, last = traded.minute[before] == seconds, traded.close[before]
    _, *values = traded.columns
    filled = [last] * 4 + [np.zeros_like(last)] * 5
    return Bars.from_columns(
        [seconds, *(np.where(is_traded, v[before], f) for v, f in zip(values, filled, strict=True))], decimals
    )


def blocks(day: CoinDay, last_only: bool = False) -> Iterator[Block]:
    """The day's trades in blocks of whole minutes, or only the last block, without the quirks of files."""
    traded = day.bars.where(day.bars.count > 0)
    trade_id, order_id = day.trade_id, day.order_id
    block = (np.cumsum(traded.count) - traded.count) // _BLOCK
    numbers = np.unique(block).tolist()
    for number in numbers:
        part = traded.where(block == number)
        if not last_only or number == numbers[-1]:
            yield _block(day, part, number, trade_id, order_id)
        trade_id += int(part.count.sum())
        order_id += order_count(part, day.market.inverse)


def _block(day: CoinDay, bars: Bars, number: int, trade_id: int, order_id: int) -> Block:
    orders = orders_of(bars, day.market.inverse, day.random(_ORDERS, number))
    of, quantity = fills_of(orders)
    price, sold = orders.price[of], orders.sold[of]
    if day.market.inverse:
        value = int(day.market.contract_size(day.symbol)) * 10**bars.price_decimals
        amount = base_quantities(bars, orders.time[of] // _MINUTE, price, quantity, sold, value)
    else:
        amount = price * quantity
    since = orders.time + day.midnight * _SECOND
    first = trade_id + np.cumsum(orders.fills) - orders.fills
    ids, order_ids = trade_id + np.arange(len(of)), order_id + np.arange(len(orders))
    return Block(
        Rows(ids, since[of], price, quantity, sold, (amount,)),
        Rows(order_ids, since, orders.price, orders.quantity, orders.sold, (first, first + orders.fills - 1)),
    )


def _repeated(day: CoinDay) -> Iterator[Block]:
    """The last rows of the day before, for the coin whose files start with them."""
    if day.coin.index != REPEATED or day.yesterday is None:
        return
    last = np.arange(-REPEATED_ROWS, 0)
    for block in blocks(day.yesterday, last_only=True):
        yield Block(block.trades.take(last), block.aggregates.take(last))


def _with_quirks(day: CoinDay, number: int, rows: Rows) -> Rows:
    places = np.arange(len(rows.id))
    if day.coin.index == REPEATED and not number:
        return rows.take(np.insert(places, DOUBLED_ROWS.stop, places[DOUBLED_ROWS]))
    if (day.coin.index, day.number) == (MISSING, MISSING_DAY):
        minute = rows.time // _MINUTE - day.midnight // 60
        return rows.take(places[(minute < MISSING_MINUTES.start) | (minute >= MISSING_MINUTES.stop)])
    return rows


def _flag(feed: Feed, values: Flags) -> Column:
    return word(values.astype(np.int64), ("False", "True") if feed.market is SPOT else ("false", "true"))
