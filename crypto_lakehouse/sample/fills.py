"""The trades within minute bars of the sample archive: orders and their fills that add up to each bar exactly.

Contains only the arithmetic. A bar states prices, volume V, taker volume and quote volume = V * mean, with
mean = (open + close) // 2 in ticks, separately for each side (takers that bought, and takers that sold). So on
either side the deviations of the orders' prices from the mean, weighted by quantity, must add up to zero:

- *Five special orders*, all on the side with more volume: one each at open (the first of its minute), high, low
  and close (the last), of equal quantity, and one that compensates the sum D of their deviations: D times the
  quantity at a tick from the mean, on the other side of it.
- *Pairs*: two orders of equal quantity, as far above the mean as below.
- *The rest* of a side's volume, one order at the mean itself.

An order has one or more fills, the trades, at one price and time. On linear markets quantities are in a fraction of
the lot, so that this works for any bar. COIN-M volume is in whole contracts, and its base volume is not linear in the
price: there pairs stay near the mean and special orders are one contract each, so that base volume computed from
contracts and prices is correct to about 1e-8 of a bar's (1e-5 at worst, in bars of very few contracts); the trades'
own base quantities, rounded by ``base_quantities``, add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crypto_lakehouse.sample.bars import Bars, base_coin
from crypto_lakehouse.sample.text import Ints

Flags = npt.NDArray[np.bool_]

SPECIAL = 5
MINUTE_US = 60_000_000
_OPENING_US, _CLOSING_US = 5_000, MINUTE_US - 10_000
_NEAR = 40_000  # COIN-M: pairs deviate by at most this part of the price


@dataclass(frozen=True, slots=True)
class Orders:
    """Taker orders in time order: prices in ticks, quantities in 10**-``decimals`` coins or whole contracts.

    ``time`` is in microseconds of the UTC day, ``sold`` is true if the seller was the taker, ``fills`` is the number
    of trades in the order.
    """

    time: Ints
    price: Ints
    quantity: Ints
    sold: Flags
    fills: Ints

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True)
class _Side:
    """Number of trades of a side in each minute, and number of orders in pairs."""

    volume: Ints
    trades: Ints
    pairs: Ints
    extra: Ints

    @classmethod
    def split(cls, volume: Ints, trades: Ints, special: int) -> _Side:
        ordinary = np.maximum(trades - special - 1, 0)
        pairs = np.minimum((3 * ordinary + 9) // 10, ordinary // 2)
        return cls(volume, trades, pairs, ordinary - 2 * pairs)


def fine_decimals(bars: Bars, inverse: bool) -> int:
    """Decimals of trade quantities: such that quantity times price has eight; COIN-M has whole contracts."""
    return 0 if inverse else 8 - bars.price_decimals


def order_count(bars: Bars, inverse: bool) -> int:
    """Number of orders of the trades of ``bars``, which does not depend on the random numbers."""
    main, other, _ = _sides(bars, inverse)
    traded = (bars.count > 0).sum()
    return int((SPECIAL + 1) * traded + 2 * (main.pairs + other.pairs).sum() + (other.trades > 0).sum())


def orders_of(bars: Bars, inverse: bool, random: np.random.Generator) -> Orders:
    """Orders that add up to ``bars``; every bar must have trades."""
    main, other, main_sold = _sides(bars, inverse)
    mean = (bars.open + bars.close) // 2
    minutes = np.arange(len(mean))
    special_price, special_quantity = _special(bars, mean, main, inverse)
    nearest = np.minimum(bars.high - mean, mean - bars.low)
    reach = np.minimum(nearest, mean // _NEAR) if inverse else nearest

    parts = [(np.repeat(minutes, SPECIAL), special_price.ravel(), special_quantity.ravel(), main_sold)]
    fills = [np.ones(SPECIAL * len(mean), dtype=np.int64)]
    for side, taken, sold in ((main, special_quantity.sum(axis=1), main_sold), (other, 0 * mean, ~main_sold)):
        index, deviation, quantity, pair_fills = _pairs(side, side.volume - taken, reach, random)
        spent = np.bincount(index, quantity, len(mean)).astype(np.int64)
        has_rest = side.trades > 0
        rest = (side.volume - taken - spent)[has_rest]
        parts += [(index, mean[index] + deviation, quantity, sold), (minutes[has_rest], mean[has_rest], rest, sold)]
        fills += [pair_fills, np.where(side.pairs > 0, 1, 1 + side.extra)[has_rest]]

    minute = np.concatenate([index for index, *_ in parts])
    within = random.integers(_OPENING_US, _CLOSING_US, len(minute))
    # The first and the fourth special order of each minute are its first and its last trade.
    within[: SPECIAL * len(mean) : SPECIAL] = random.integers(0, _OPENING_US, len(mean))
    within[3 : SPECIAL * len(mean) : SPECIAL] = random.integers(_CLOSING_US, MINUTE_US, len(mean))
    time = bars.minute[minute] * MINUTE_US + within
    order = np.argsort(time, kind="stable")
    return Orders(
        time=time[order],
        price=np.concatenate([price for _, price, _, _ in parts])[order],
        quantity=np.concatenate([quantity for _, _, quantity, _ in parts])[order],
        sold=np.concatenate([sold[index] for index, _, _, sold in parts])[order],
        fills=np.concatenate(fills)[order],
    )


def fills_of(orders: Orders) -> tuple[Ints, Ints]:
    """For each trade: the index of its order, and its quantity; the first trade of an order takes the remainder."""
    order = np.repeat(np.arange(len(orders)), orders.fills)
    first = np.cumsum(orders.fills) - orders.fills
    each = orders.quantity // orders.fills
    quantity = each[order]
    quantity[first] += orders.quantity - each * orders.fills
    return order, quantity


def base_quantities(bars: Bars, minute: Ints, price: Ints, contracts: Ints, sold: Flags, value: int) -> Ints:
    """Base coin of COIN-M trades in 10**-8: rounded up or down, so that each bar's sums are exact on both sides.

    ``minute`` is the minute of the day of each trade, in order; ``value`` is that of a contract in price ticks.
    """
    base = base_coin(contracts, value, price)
    group = np.searchsorted(bars.minute, minute) * 2 + sold
    order = np.argsort(group, kind="stable")
    groups, first, size = np.unique(group[order], return_index=True, return_counts=True)
    totals = np.stack([bars.taker_quote, bars.quote - bars.taker_quote], axis=1).ravel()[groups]
    missing = np.repeat(totals - np.add.reduceat(base[order], first), size)
    position, count = np.arange(len(base)) - np.repeat(first, size), np.repeat(size, size)
    # Spread the difference evenly: mostly zero or one unit per trade.
    base[order] += missing * (position + 1) // count - missing * position // count
    return base


def _sides(bars: Bars, inverse: bool) -> tuple[_Side, _Side, Flags]:
    """The side with more volume, the other, and whether the former sold."""
    finer = 10 ** (fine_decimals(bars, inverse) - bars.volume_decimals)
    bought, sold = bars.taker * finer, (bars.volume - bars.taker) * finer
    main_sold = sold > bought
    main, other = np.maximum(bought, sold), np.minimum(bought, sold)
    share = bars.count * other // np.maximum(main + other, 1)
    other_trades = np.where(other > 0, np.clip(share, 1, np.maximum(bars.count - SPECIAL - 1, 1)), 0)
    return _Side.split(main, bars.count - other_trades, SPECIAL), _Side.split(other, other_trades, 0), main_sold


def _special(bars: Bars, mean: Ints, main: _Side, inverse: bool) -> tuple[Ints, Ints]:
    """Prices and quantities of the special orders, one row a minute."""
    prices = np.stack([bars.open, bars.high, bars.low, bars.close], axis=1)
    total = (prices - mean[:, None]).sum(axis=1)
    size, sign = np.abs(total), np.sign(total)
    room = main.volume - 2 - 4 * main.pairs
    if inverse:
        each, room = np.ones_like(mean), room - 4
        nearest = np.minimum(bars.high - mean, mean - bars.low)
        # With too few contracts for one tick each, use as many ticks as the bar has contracts.
        many = np.where(size <= room, np.maximum(size, 1), np.minimum(-(-size // nearest), room))
        step = np.where(size <= room, sign, sign * np.minimum(size // np.maximum(many, 1), nearest))
        balance = np.maximum(many, 1)
    else:
        each = np.maximum(room // (8 * (4 + size)), 1)
        step, balance = sign, each * np.maximum(size, 1)
    quantities = np.stack([each, each, each, each, balance], axis=1)
    return np.concatenate([prices, (mean - step)[:, None]], axis=1), quantities


def _pairs(side: _Side, volume: Ints, reach: Ints, random: np.random.Generator) -> tuple[Ints, Ints, Ints, Ints]:
    """Orders in pairs from ``volume``: the index of their minute, deviation, quantity and fills."""
    index = np.repeat(np.arange(len(volume)), side.pairs)
    weight = random.standard_exponential(len(index))
    total = np.bincount(index, weight, len(volume))
    # Two fills need a quantity of two; something is left for the rest.
    budget = volume - 2 - 4 * side.pairs
    quantity = 2 + (0.45 * budget[index] * weight / total[index]).astype(np.int64)
    deviation = (random.random(len(index)) * (reach[index] + 1)).astype(np.int64)
    position = 2 * (np.arange(len(index)) - np.repeat(np.cumsum(side.pairs) - side.pairs, side.pairs))
    extra, slots = side.extra[index], 2 * side.pairs[index]
    fills = [1 + (p + 1) * extra // slots - p * extra // slots for p in (position, position + 1)]
    return (
        np.concatenate([index, index]),
        np.concatenate([deviation, -deviation]),
        np.concatenate([quantity, quantity]),
        np.concatenate(fills),
    )
