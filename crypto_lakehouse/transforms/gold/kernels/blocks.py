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
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Ints, allocate, unfilled
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
    def of_minutes(cls, minutes: Frame, length: int, lead: int = 0) -> BlockTable:
        """Blocks of ``length`` minutes, counted from 1970-01-01 00:00 UTC, of gold.continuous_1m rows in any order."""
        ordered = Ordered.sort(minutes)
        rows, bounds = _rows(ordered), np.append(ordered.begins, len(ordered.minutes))
        # Enough if all minutes of a symbol are in one segment, the usual case.
        firsts, lasts = (rows.minute[at] // length for at in (bounds[:-1], bounds[1:] - 1))
        count = min(int((lasts - firsts + 1).sum()), len(rows.minute)) + lead * len(ordered.begins)
        begins, ends = np.empty_like(ordered.begins), np.empty_like(ordered.begins)
        result = allocate(Blocks, count)
        needed = fill_blocks(rows, bounds, length, FUNDING_FLOOR, lead, begins, ends, result)
        if needed > count:
            result = allocate(Blocks, needed)
            fill_blocks(rows, bounds, length, FUNDING_FLOOR, lead, begins, ends, result)
        columns: list[Array] = [column[:needed] for column in result]
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
            begins, ends, result = last.begins - before, last.ends, last.blocks
            later.pop()
        else:
            ends = np.cumsum(counts.sum(axis=0))
            begins, result = np.append(0, ends[:-1]), allocate(Blocks, int(counts.sum()))
        places = begins + np.cumsum(counts, axis=0) - counts
        for table, number, position in zip(later, numbers, places, strict=False):
            for values, column in zip(table.blocks, result, strict=True):
                _copy(values, table.begins, table.ends, position[number], column)
        return cls(names, begins, ends, result)

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
        result = allocate(Blocks, len(first))
        paid = unfilled(len(self.blocks.minute) + 1)
        _count_paid(self.blocks, paid)
        _add_up(self.blocks, paid, first, stop, result)
        return result


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
    result = np.empty_like(begins)
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        result[number] = begin + np.searchsorted(minutes[begin:end], minute)
    return result


@compiled
def _copy(values: Array, begins: Ints, ends: Ints, places: Ints, result: Array) -> None:
    """Copy slices of ``values`` to ``places`` in ``result``."""
    for number in range(len(begins)):
        begin, end, position = begins[number], ends[number], places[number]
        result[position : position + end - begin] = values[begin:end]


@compiled
def _count_paid(blocks: Blocks, result: Ints) -> None:
    """Fill ``result`` with the number of earlier blocks that have any funding."""
    result[0] = 0
    for row in range(len(blocks.minute)):
        is_paid = (
            blocks.funding_count[row] != 0
            or blocks.funding_sum[row] != 0.0
            or abs(blocks.funding_rate[row]) > FUNDING_FLOOR
        )
        result[row + 1] = result[row] + is_paid


@compiled
def _add_up(blocks: Blocks, paid: Ints, first: Ints, stop: Ints, result: Blocks) -> None:
    """Add up each slice. One loop covers all columns, because a loop per column costs more than it does."""
    for position in range(len(first)):
        begin, end = first[position], stop[position]
        high, low = blocks.high[begin], blocks.low[begin]
        base = quote = taker_base = taker_quote = funding = 0.0
        lost_base = lost_quote = lost_taker_base = lost_taker_quote = lost_funding = 0.0
        trades = contracts = minutes = filled = archived = events = 0
        traded_first = traded_last = funding_time = -1
        funding_rate = funding_price = 0.0
        for row in range(begin, end):
            # Conditional expressions on loaded values: max() and min() compile to branches that the CPU mispredicts.
            its_high, its_low = blocks.high[row], blocks.low[row]
            high = its_high if its_high > high else high
            low = its_low if its_low < low else low
            term, before = blocks.base_volume[row] - lost_base, base
            base = before + term
            lost_base = (base - before) - term
            term, before = blocks.quote_volume[row] - lost_quote, quote
            quote = before + term
            lost_quote = (quote - before) - term
            term, before = blocks.taker_buy_base_volume[row] - lost_taker_base, taker_base
            taker_base = before + term
            lost_taker_base = (taker_base - before) - term
            term, before = blocks.taker_buy_quote_volume[row] - lost_taker_quote, taker_quote
            taker_quote = before + term
            lost_taker_quote = (taker_quote - before) - term
            trades += blocks.trade_count[row]
            contracts = contracts + blocks.contracts[row] if min(contracts, blocks.contracts[row]) >= 0 else -1
            minutes += blocks.n_minutes[row]
            filled += blocks.n_filled[row]
            archived += blocks.n_archived[row]
        # Usually the first and the last block have trades.
        head, tail = begin, end - 1
        while head < end and blocks.n_filled[head] >= blocks.n_minutes[head]:
            head += 1
        if head < end:
            while blocks.n_filled[tail] >= blocks.n_minutes[tail]:
                tail -= 1
            traded_first, traded_last = blocks.first_minute[head], blocks.last_minute[tail]
        # Usually no block has funding. If one has, also visit blocks without it: they add the compensation.
        if paid[end] != paid[begin]:
            for row in range(begin, end):
                term, before = blocks.funding_sum[row] - lost_funding, funding
                funding = before + term
                lost_funding = (funding - before) - term
                events += blocks.funding_count[row]
                if funding_time < 0 and abs(blocks.funding_rate[row]) > FUNDING_FLOOR:
                    funding_time, funding_rate = blocks.funding_time[row], blocks.funding_rate[row]
                    funding_price = blocks.funding_price[row]
        result.segment[position], result.minute[position] = blocks.segment[begin], blocks.minute[begin]
        result.open[position], result.high[position], result.low[position], result.close[position] = (
            blocks.open[begin],
            high,
            low,
            blocks.close[end - 1],
        )
        result.base_volume[position], result.quote_volume[position] = base, quote
        result.taker_buy_base_volume[position], result.taker_buy_quote_volume[position] = taker_base, taker_quote
        result.trade_count[position], result.contracts[position] = trades, contracts
        result.n_minutes[position], result.n_filled[position], result.n_archived[position] = minutes, filled, archived
        result.first_minute[position], result.last_minute[position] = traded_first, traded_last
        result.funding_rate[position], result.funding_price[position] = funding_rate, funding_price
        result.funding_time[position], result.funding_sum[position], result.funding_count[position] = (
            funding_time,
            funding,
            events,
        )
