"""Blocks: aggregates of consecutive minutes. One minute is a block, five minutes are one, and so is a bar.

Their columns are in ``minute_blocks.py``. This module adds up blocks to longer ones; ``bar_rows.py`` finds the blocks
of each bar, and ``gold/bars.py`` computes the columns of bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from crypto_lakehouse.transforms.frames import Frame, places_of, together
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Ints, room, unfilled
from crypto_lakehouse.transforms.gold.kernels.compiled import compiled
from crypto_lakehouse.transforms.gold.kernels.minute_blocks import Blocks, MinuteRows, fill_blocks
from crypto_lakehouse.transforms.gold.runs import Ordered

# A rate of at most this size is the rounding of a rate that was not paid.
FUNDING_FLOOR = 1e-6

AS_IN_MINUTES = (
    "segment",
    "open",
    "high",
    "low",
    "close",
    "base_volume",
    "quote_volume",
    "taker_buy_base_volume",
    "taker_buy_quote_volume",
    "trade_count",
)
"""Columns with the same meaning for a minute, a block and a bar."""


@dataclass(frozen=True, slots=True)
class BlockTable:
    """Blocks of the symbols ``names``, sorted ascending: symbol ``n`` has the blocks [``begins[n]``, ``ends[n]``).

    The ``lead`` positions before them are free for the last blocks of the day before.
    """

    names: pl.Series
    begins: Ints
    ends: Ints
    blocks: Blocks
    lead: int = 0

    @classmethod
    def of(cls, minutes: Frame, length: int, lead: int = 0) -> BlockTable:
        """Blocks of ``length`` minutes, counted from 1970-01-01 00:00 UTC, of gold.continuous_1m rows in any order."""
        ordered = Ordered.of(minutes)
        rows, bounds = _rows(ordered), np.append(ordered.begins, len(ordered.minutes))
        # Enough if all minutes of a symbol are in one segment, the usual case.
        firsts, lasts = (rows.minute[at] // length for at in (bounds[:-1], bounds[1:] - 1))
        count = min(int((lasts - firsts + 1).sum()), len(rows.minute)) + lead * len(ordered.begins)
        begins, ends = np.empty_like(ordered.begins), np.empty_like(ordered.begins)
        made = room(Blocks, count)
        needed = fill_blocks(rows, bounds, length, FUNDING_FLOOR, lead, begins, ends, made)
        if needed > count:
            made = room(Blocks, needed)
            fill_blocks(rows, bounds, length, FUNDING_FLOOR, lead, begins, ends, made)
        columns: list[Array] = [column[:needed] for column in made]
        return cls(ordered.names, begins, ends, Blocks(*columns), lead)

    @classmethod
    def joined(cls, tables: Sequence[BlockTable], since: int) -> BlockTable:
        """Join the blocks that start at minute ``since`` or later, from tables in order of time.

        The blocks of the last table are not copied if the earlier blocks fit into its lead.
        """
        later = [table._since(since) for table in tables]
        names, last = together(*(table.names for table in later)), later[-1]
        numbers = [places_of(table.names, names) for table in later]
        counts = np.zeros((len(later), len(names)), np.int64)
        for table, number, count in zip(later, numbers, counts, strict=True):
            count[number] = table.ends - table.begins
        before = counts[:-1].sum(axis=0)
        if len(names) == len(last.names) and before.max(initial=0) <= last.lead:
            begins, ends, made = last.begins - before, last.ends, last.blocks
            later.pop()
        else:
            ends = np.cumsum(counts.sum(axis=0))
            begins, made = np.append(0, ends[:-1]), room(Blocks, int(counts.sum()))
        places = begins + np.cumsum(counts, axis=0) - counts
        for table, number, place in zip(later, numbers, places, strict=False):
            for values, column in zip(table.blocks, made, strict=True):
                _copy(values, table.begins, table.ends, place[number], column)
        return cls(names, begins, ends, made)

    def _since(self, minute: int) -> BlockTable:
        """The blocks that start at ``minute`` or later."""
        return replace(self, begins=_later(self.blocks.minute, self.begins, self.ends, minute))

    def added_up(self, first: Ints, stop: Ints) -> Blocks:
        """Add up each slice [``first``, ``stop``) to one block. A slice is not empty and lies in one segment.

        Volumes and funding are summed in order of time, with Kahan's compensation.
        """
        if len(first) == len(self.blocks.minute):
            alone = np.arange(len(first))
            if np.array_equal(first, alone) and np.array_equal(stop, alone + 1):
                return self.blocks
        made = room(Blocks, len(first))
        paid = unfilled(len(self.blocks.minute) + 1)
        _count_paid(self.blocks, paid)
        _add_up(self.blocks, paid, first, stop, made)
        return made


def _rows(ordered: Ordered) -> MinuteRows:
    contracts = ordered.counts("contracts")
    return MinuteRows(
        **{name: ordered[name] for name in (*AS_IN_MINUTES, "funding_rate")},
        **{name: ordered.flags(name) for name in ("is_filled", "in_archive", "has_funding")},
        minute=ordered.minutes,
        contracts=np.zeros(0, np.int64) if contracts is None else contracts,
    )


@compiled
def _later(minutes: Ints, begins: Ints, ends: Ints, minute: int) -> Ints:
    """The first position of each slice that is at ``minute`` or later, or the end of the slice."""
    made = np.empty_like(begins)
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        made[number] = begin + np.searchsorted(minutes[begin:end], minute)
    return made


@compiled
def _copy(values: Array, begins: Ints, ends: Ints, places: Ints, made: Array) -> None:
    """Copy slices of ``values`` to ``places`` in ``made``."""
    for number in range(len(begins)):
        begin, end, place = begins[number], ends[number], places[number]
        made[place : place + end - begin] = values[begin:end]


@compiled
def _count_paid(of: Blocks, made: Ints) -> None:
    """Fill ``made`` with the number of earlier blocks that have any funding."""
    made[0] = 0
    for row in range(len(of.minute)):
        is_paid = of.funding_count[row] != 0 or of.funding_sum[row] != 0.0 or abs(of.funding_rate[row]) > FUNDING_FLOOR
        made[row + 1] = made[row] + is_paid


@compiled
def _add_up(of: Blocks, paid: Ints, first: Ints, stop: Ints, made: Blocks) -> None:
    """Add up each slice. One loop covers all columns, because a loop per column costs more than it does."""
    for place in range(len(first)):
        begin, end = first[place], stop[place]
        high, low = of.high[begin], of.low[begin]
        base = quote = taker_base = taker_quote = funding = 0.0
        lost_base = lost_quote = lost_taker_base = lost_taker_quote = lost_funding = 0.0
        trades = contracts = minutes = filled = archived = events = 0
        traded_first = traded_last = funding_time = -1
        funding_rate = funding_price = 0.0
        for row in range(begin, end):
            # Conditional expressions on loaded values: max() and min() compile to branches that the CPU mispredicts.
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
            contracts = contracts + of.contracts[row] if min(contracts, of.contracts[row]) >= 0 else -1
            minutes += of.n_minutes[row]
            filled += of.n_filled[row]
            archived += of.n_archived[row]
        # Usually the first and the last block have trades.
        head, tail = begin, end - 1
        while head < end and of.n_filled[head] >= of.n_minutes[head]:
            head += 1
        if head < end:
            while of.n_filled[tail] >= of.n_minutes[tail]:
                tail -= 1
            traded_first, traded_last = of.first_minute[head], of.last_minute[tail]
        # Usually no block has funding. If one has, also visit blocks without it: they add the compensation.
        if paid[end] != paid[begin]:
            for row in range(begin, end):
                term, before = of.funding_sum[row] - lost_funding, funding
                funding = before + term
                lost_funding = (funding - before) - term
                events += of.funding_count[row]
                if funding_time < 0 and abs(of.funding_rate[row]) > FUNDING_FLOOR:
                    funding_time, funding_rate = of.funding_time[row], of.funding_rate[row]
                    funding_price = of.funding_price[row]
        made.segment[place], made.minute[place] = of.segment[begin], of.minute[begin]
        made.open[place], made.high[place], made.low[place], made.close[place] = (
            of.open[begin],
            high,
            low,
            of.close[end - 1],
        )
        made.base_volume[place], made.quote_volume[place] = base, quote
        made.taker_buy_base_volume[place], made.taker_buy_quote_volume[place] = taker_base, taker_quote
        made.trade_count[place], made.contracts[place] = trades, contracts
        made.n_minutes[place], made.n_filled[place], made.n_archived[place] = minutes, filled, archived
        made.first_minute[place], made.last_minute[place] = traded_first, traded_last
        made.funding_rate[place], made.funding_price[place] = funding_rate, funding_price
        made.funding_time[place], made.funding_sum[place], made.funding_count[place] = funding_time, funding, events
