"""Aggregate minutes to blocks of several minutes, as a loop over rows.

``blocks.py`` adds them up to longer ones. This module repeats its summation on purpose: converting
minutes to the wider layout of blocks first would cost more than it saves.
"""

from __future__ import annotations

from typing import NamedTuple

from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Floats, Ints
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled


class MinuteRows(NamedTuple):
    """Columns of gold.continuous_1m in order of symbol and time; ``minute`` counts minutes since 1970-01-01 UTC.

    ``contracts`` is -1 for null, and empty if all are null. ``funding_rate`` is NaN for null. Flags are 0 or 1, and 0
    for null.
    """

    minute: Ints
    segment: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    base_volume: Floats
    quote_volume: Floats
    taker_buy_base_volume: Floats
    taker_buy_quote_volume: Floats
    trade_count: Ints
    contracts: Ints
    is_filled: Array
    in_archive: Array
    funding_rate: Floats
    has_funding: Array


class Blocks(NamedTuple):
    """Columns of blocks; the blocks of a symbol are in order of time. A block lies within one segment of one symbol.

    Times are in minutes since 1970-01-01 UTC; ``minute`` is the first minute. ``contracts`` is -1 if a minute has none.
    ``funding_sum`` is NaN if the funding of a minute is unknown; ``funding_count`` is undefined then. ``n_archived``
    counts minutes that the archive has. ``first_minute`` and ``last_minute`` are the first and last traded minute,
    undefined if all are filled. ``funding_rate``, ``funding_price`` and ``funding_time`` belong to the first rate whose
    size exceeds the floor; they are undefined if no rate does.
    """

    segment: Ints
    minute: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    base_volume: Floats
    quote_volume: Floats
    taker_buy_base_volume: Floats
    taker_buy_quote_volume: Floats
    trade_count: Ints
    contracts: Ints
    n_minutes: Ints
    n_filled: Ints
    n_archived: Ints
    first_minute: Ints
    last_minute: Ints
    funding_rate: Floats
    funding_price: Floats
    funding_time: Ints
    funding_sum: Floats
    funding_count: Ints


@compiled
def fill_blocks(
    of: MinuteRows, bounds: Ints, length: int, floor: float, lead: int, begins: Ints, ends: Ints, made: Blocks
) -> int:
    """Fill ``made`` with the blocks of ``length`` minutes, as far as it has room. Returns the room that they need.

    Symbol ``n`` has the rows [``bounds[n]``, ``bounds[n + 1]``). Its blocks go to [``begins[n]``, ``ends[n]``), which
    this function fills, after ``lead`` free positions. Rates of at most ``floor`` in size are not paid. Volumes and
    funding are summed in order of time, with Kahan's compensation.
    """
    has_contracts = len(of.contracts) > 0
    place = 0
    for symbol in range(len(bounds) - 1):
        row, end = bounds[symbol], bounds[symbol + 1]
        place += lead
        begins[symbol] = place
        while row < end:
            begin, segment = row, of.segment[row]
            closes = (of.minute[row] // length + 1) * length
            high, low = of.high[row], of.low[row]
            base = quote = taker_base = taker_quote = funding = 0.0
            lost_base = lost_quote = lost_taker_base = lost_taker_quote = lost_funding = 0.0
            trades = filled = archived = events = 0
            contracts = 0 if has_contracts else -1
            traded_first = traded_last = funding_time = -1
            funding_rate = funding_price = 0.0
            while row < end and of.minute[row] < closes and of.segment[row] == segment:
                # Conditional expressions on loaded values: max() and min() compile to branches that mispredict.
                its_high, its_low = of.high[row], of.low[row]
                high = its_high if its_high > high else high
                low = its_low if its_low < low else low
                term, before = of.base_volume[row] - lost_base, base
                base = before + term
                lost_base = (base - before) - term
                term, before = of.quote_volume[row] - lost_quote, quote
                quote = before + term
                lost_quote = (quote - before) - term
                term, before = of.taker_buy_base_volume[row] - lost_taker_base, taker_base
                taker_base = before + term
                lost_taker_base = (taker_base - before) - term
                term, before = of.taker_buy_quote_volume[row] - lost_taker_quote, taker_quote
                taker_quote = before + term
                lost_taker_quote = (taker_quote - before) - term
                trades += of.trade_count[row]
                if has_contracts:
                    contracts = contracts + of.contracts[row] if min(contracts, of.contracts[row]) >= 0 else -1
                archived += of.in_archive[row]
                if of.is_filled[row]:
                    filled += 1
                else:
                    traded_last = of.minute[row]
                    if traded_first < 0:
                        traded_first = traded_last
                # Adding 0 changes nothing, unless a compensation is left.
                if of.funding_rate[row] != 0.0 or lost_funding != 0.0:
                    term, before = of.funding_rate[row] - lost_funding, funding
                    funding = before + term
                    lost_funding = (funding - before) - term
                    if funding_time < 0 and abs(of.funding_rate[row]) > floor:
                        funding_time, funding_rate = of.minute[row], of.funding_rate[row]
                        funding_price = of.open[row]
                events += of.has_funding[row]
                row += 1
            if place < len(made.minute):
                made.segment[place], made.minute[place] = segment, of.minute[begin]
                made.open[place], made.high[place], made.low[place] = of.open[begin], high, low
                made.close[place] = of.close[row - 1]
                made.base_volume[place], made.quote_volume[place] = base, quote
                made.taker_buy_base_volume[place], made.taker_buy_quote_volume[place] = taker_base, taker_quote
                made.trade_count[place], made.contracts[place] = trades, contracts
                made.n_minutes[place], made.n_filled[place], made.n_archived[place] = row - begin, filled, archived
                made.first_minute[place], made.last_minute[place] = traded_first, traded_last
                made.funding_rate[place], made.funding_price[place] = funding_rate, funding_price
                made.funding_time[place], made.funding_sum[place], made.funding_count[place] = (
                    funding_time,
                    funding,
                    events,
                )
            place += 1
        ends[symbol] = place
    return place
