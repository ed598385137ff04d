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
    rows: MinuteRows, bounds: Ints, length: int, floor: float, lead: int, begins: Ints, ends: Ints, blocks: Blocks
) -> int:
    """Fill ``blocks`` with blocks of ``length`` minutes, as many as fit. Returns how many are needed.

    Symbol ``n`` has the rows [``bounds[n]``, ``bounds[n + 1]``). Its blocks go to [``begins[n]``, ``ends[n]``), which
    this function fills, after ``lead`` free positions. Rates of at most ``floor`` in size are not paid. Volumes and
    funding are summed in order of time, with Kahan's compensation.
    """
    has_contracts = len(rows.contracts) > 0
    position = 0
    for symbol in range(len(bounds) - 1):
        row, end = bounds[symbol], bounds[symbol + 1]
        position += lead
        begins[symbol] = position
        while row < end:
            begin, segment = row, rows.segment[row]
            closes = (rows.minute[row] // length + 1) * length
            high, low = rows.high[row], rows.low[row]
            base = quote = taker_base = taker_quote = funding = 0.0
            lost_base = lost_quote = lost_taker_base = lost_taker_quote = lost_funding = 0.0
            trades = filled = archived = events = 0
            contracts = 0 if has_contracts else -1
            traded_first = traded_last = funding_time = -1
            funding_rate = funding_price = 0.0
            while row < end and rows.minute[row] < closes and rows.segment[row] == segment:
                # Conditional expressions on loaded values: max() and min() compile to branches that mispredict.
                its_high, its_low = rows.high[row], rows.low[row]
                high = its_high if its_high > high else high
                low = its_low if its_low < low else low
                term, before = rows.base_volume[row] - lost_base, base
                base = before + term
                lost_base = (base - before) - term
                term, before = rows.quote_volume[row] - lost_quote, quote
                quote = before + term
                lost_quote = (quote - before) - term
                term, before = rows.taker_buy_base_volume[row] - lost_taker_base, taker_base
                taker_base = before + term
                lost_taker_base = (taker_base - before) - term
                term, before = rows.taker_buy_quote_volume[row] - lost_taker_quote, taker_quote
                taker_quote = before + term
                lost_taker_quote = (taker_quote - before) - term
                trades += rows.trade_count[row]
                if has_contracts:
                    contracts = contracts + rows.contracts[row] if min(contracts, rows.contracts[row]) >= 0 else -1
                archived += rows.in_archive[row]
                if rows.is_filled[row]:
                    filled += 1
                else:
                    traded_last = rows.minute[row]
                    if traded_first < 0:
                        traded_first = traded_last
                # Adding 0 changes nothing, unless a compensation is left.
                if rows.funding_rate[row] != 0.0 or lost_funding != 0.0:
                    term, before = rows.funding_rate[row] - lost_funding, funding
                    funding = before + term
                    lost_funding = (funding - before) - term
                    if funding_time < 0 and abs(rows.funding_rate[row]) > floor:
                        funding_time, funding_rate = rows.minute[row], rows.funding_rate[row]
                        funding_price = rows.open[row]
                events += rows.has_funding[row]
                row += 1
            if position < len(blocks.minute):
                blocks.segment[position], blocks.minute[position] = segment, rows.minute[begin]
                blocks.open[position], blocks.high[position], blocks.low[position] = rows.open[begin], high, low
                blocks.close[position] = rows.close[row - 1]
                blocks.base_volume[position], blocks.quote_volume[position] = base, quote
                blocks.taker_buy_base_volume[position], blocks.taker_buy_quote_volume[position] = (
                    taker_base,
                    taker_quote,
                )
                blocks.trade_count[position], blocks.contracts[position] = trades, contracts
                blocks.n_minutes[position], blocks.n_filled[position], blocks.n_archived[position] = (
                    row - begin,
                    filled,
                    archived,
                )
                blocks.first_minute[position], blocks.last_minute[position] = traded_first, traded_last
                blocks.funding_rate[position], blocks.funding_price[position] = funding_rate, funding_price
                blocks.funding_time[position], blocks.funding_sum[position], blocks.funding_count[position] = (
                    funding_time,
                    funding,
                    events,
                )
            position += 1
        ends[symbol] = position
    return position
