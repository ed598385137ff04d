"""Minutes to blocks of some minutes each, as a loop over rows.

What a block says, and how blocks are added up to longer ones, is in ``blocks.py``. Its summing is repeated here on
purpose: to bring minutes into the wider layout of blocks first would cost more than it saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crypto_lakehouse.transforms.arrays import Array, Floats, Ints
from crypto_lakehouse.transforms.compiled import compiled

if TYPE_CHECKING:
    from crypto_lakehouse.transforms.blocks import Blocks


class MinuteRows(NamedTuple):
    """Columns of gold.continuous_1m in order of symbol and time; ``minute`` is that since 1970-01-01.

    ``contracts`` is -1 where it is null, and has no row where it always is. ``funding_rate`` is NaN where it is null.
    Flags are 0 and 1, null ones 0.
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


@compiled
def fill_blocks(
    of: MinuteRows, bounds: Ints, length: int, floor: float, lead: int, begins: Ints, ends: Ints, made: Blocks
) -> int:
    """Fill ``made`` with the blocks of ``length`` minutes, as far as there is room, and give how much they need.

    The rows of symbol ``n`` are [``bounds[n]``, ``bounds[n + 1]``), its blocks come to be [``begins[n]``, ``ends[n]``),
    and the ``lead`` places before them are left free. A funding rate is one beyond ``floor``. Volumes and funding are
    summed in order of time, with Kahan's compensation.
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
                # Chosen between what is loaded: max() and min() become branches that nobody can foretell.
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
                # Adding 0 changes nothing, unless something lost is still to be added.
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
