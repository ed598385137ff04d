"""Blocks: what minutes in a row say together. A minute is one, so are five of them, and a bar.

Here belongs how blocks are added up to longer ones. Which blocks a bar is made of is in ``bar_rows.py``, what bars tell
in ``bars.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from crypto_lakehouse.transforms.arrays import Array, Floats, Ints, room
from crypto_lakehouse.transforms.compiled import compiled
from crypto_lakehouse.transforms.frames import Frame, places_of, together
from crypto_lakehouse.transforms.minute_blocks import MinuteRows, fill_blocks
from crypto_lakehouse.transforms.runs import Ordered, numbered

# Beyond this a funding rate is one; smaller ones are rounding of a rate that was not paid.
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
"""Columns that mean the same of a minute, of a block and of a bar."""


class Blocks(NamedTuple):
    """Blocks in order of symbol and time, one value each. A block lies within one segment of one symbol.

    ``symbol`` is the place of its name. Times are in minutes since 1970-01-01, ``minute`` is the first one.
    ``contracts`` is -1 and ``funding_sum`` NaN where a minute does not know them, ``funding_count`` means nothing then.
    ``n_archived`` minutes are in the archive. ``first_minute`` and ``last_minute`` are of the traded ones, and mean
    nothing where all are filled. ``funding_rate``, ``funding_price`` and ``funding_time`` are of the first rate beyond
    FUNDING_FLOOR, and mean nothing where ``funding_rate`` is not beyond it.
    """

    symbol: Ints
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


@dataclass(frozen=True, slots=True)
class BlockTable:
    """Blocks and the names of their symbols, ascending."""

    names: pl.Series
    blocks: Blocks

    @classmethod
    def of(cls, minutes: Frame, length: int) -> BlockTable:
        """Blocks of ``length`` minutes, counted from 1970-01-01 00:00 UTC, of gold.continuous_1m rows in any order."""
        ordered = Ordered.of(minutes)
        rows, bounds = _rows(ordered), np.append(ordered.begins, len(ordered.minutes))
        # As many as there are where all minutes of a symbol are in one segment, as is usual.
        begins, ends = (rows.minute[at] // length for at in (bounds[:-1], bounds[1:] - 1))
        made = room(Blocks, min(int((ends - begins + 1).sum()), len(rows.minute)))
        count = fill_blocks(rows, bounds, length, FUNDING_FLOOR, made)
        if count > len(made.minute):
            made = room(Blocks, count)
            fill_blocks(rows, bounds, length, FUNDING_FLOOR, made)
        columns: list[Array] = [column[:count] for column in made]
        return cls(ordered.names, Blocks(*columns))

    @classmethod
    def joined(cls, tables: Sequence[BlockTable], since: int) -> BlockTable:
        """The blocks that begin at minute ``since`` or later of tables that follow each other in time."""
        if len(tables) == 1 and (not len(tables[0].blocks.minute) or tables[0].blocks.minute.min() >= since):
            return tables[0]
        names = together(*(table.names for table in tables))
        counts = np.zeros((len(tables), len(names)), np.int64)
        begins, numbers = [], []
        for table, count in zip(tables, counts, strict=True):
            begin, stop = table._since(since)
            number = places_of(table.names, names)
            count[number] = stop - begin
            begins.append(begin)
            numbers.append(number)
        # Symbol by symbol, of each the tables in their order.
        ends = np.cumsum(counts.T.ravel()).reshape(counts.T.shape).T
        made = room(Blocks, int(counts.sum()))
        for table, begin, number, count, end in zip(tables, begins, numbers, counts, ends, strict=True):
            for values, column in zip(table.blocks, made, strict=True):
                _copy(values, begin, count[number], (end - count)[number], column)
        symbol = numbered(np.append(0, ends[-1][:-1]), len(made.symbol))
        return cls(names, made._replace(symbol=symbol))

    def _since(self, minute: int) -> tuple[Ints, Ints]:
        """The first block of each symbol that begins at ``minute`` or later, and the end of its blocks."""
        bounds = np.searchsorted(self.blocks.symbol, np.arange(len(self.names) + 1))
        return _later(self.blocks.minute, bounds, minute), bounds[1:]

    def added_up(self, first: Ints, stop: Ints) -> Blocks:
        """One block of each slice [``first``, ``stop``), which holds one at least and lies in one segment.

        Volumes and funding are summed in order of time, with Kahan's compensation.
        """
        if len(first) == len(self.blocks.minute):
            alone = np.arange(len(first))
            if np.array_equal(first, alone) and np.array_equal(stop, alone + 1):
                return self.blocks
        made = room(Blocks, len(first))
        _add_up(self.blocks, first, stop, made)
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
def _later(minutes: Ints, bounds: Ints, minute: int) -> Ints:
    """The first place within [``bounds[n]``, ``bounds[n + 1]``) that is at ``minute`` or later; its end, if none is."""
    made = np.empty(len(bounds) - 1, np.int64)
    for number in range(len(made)):
        made[number] = bounds[number] + np.searchsorted(minutes[bounds[number] : bounds[number + 1]], minute)
    return made


@compiled
def _copy(values: Array, begins: Ints, counts: Ints, places: Ints, made: Array) -> None:
    """Slices of ``values`` to their places."""
    for number in range(len(begins)):
        begin, count, place = begins[number], counts[number], places[number]
        made[place : place + count] = values[begin : begin + count]


@compiled
def _add_up(of: Blocks, first: Ints, stop: Ints, made: Blocks) -> None:
    """One loop for all columns, because a column alone is over before it pays to have begun."""
    for place in range(len(first)):
        begin, end = first[place], stop[place]
        high, low = of.high[begin], of.low[begin]
        base = quote = taker_base = taker_quote = funding = 0.0
        lost_base = lost_quote = lost_taker_base = lost_taker_quote = lost_funding = 0.0
        trades = contracts = minutes = filled = archived = events = 0
        traded_first = traded_last = funding_time = -1
        funding_rate = funding_price = 0.0
        for row in range(begin, end):
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
            contracts = contracts + of.contracts[row] if min(contracts, of.contracts[row]) >= 0 else -1
            minutes += of.n_minutes[row]
            filled += of.n_filled[row]
            archived += of.n_archived[row]
            events += of.funding_count[row]
            if of.n_filled[row] < of.n_minutes[row]:
                traded_last = of.last_minute[row]
                if traded_first < 0:
                    traded_first = of.first_minute[row]
            # Adding 0 changes nothing, unless something lost is still to be added.
            if of.funding_sum[row] != 0.0 or lost_funding != 0.0:
                term, before = of.funding_sum[row] - lost_funding, funding
                funding = before + term
                lost_funding = (funding - before) - term
            if funding_time < 0 and abs(of.funding_rate[row]) > FUNDING_FLOOR:
                funding_time, funding_rate = of.funding_time[row], of.funding_rate[row]
                funding_price = of.funding_price[row]
        made.symbol[place], made.segment[place], made.minute[place] = (
            of.symbol[begin],
            of.segment[begin],
            of.minute[begin],
        )
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
