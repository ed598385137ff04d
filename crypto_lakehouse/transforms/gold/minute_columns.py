"""Columns of continuous minutes: candles and funding rates put into the rows, and the rows as a table.

``continuous.py`` decides which rows there are; the loops are in ``kernels/minute_rows.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from crypto_lakehouse.schemas.continuous import CONTINUOUS
from crypto_lakehouse.schemas.model import FLAG, FLOAT, INT, TIME
from crypto_lakehouse.transforms.frames import coded
from crypto_lakehouse.transforms.gold.kernels.arrays import Array, Flags, Floats, Ints, allocate
from crypto_lakehouse.transforms.gold.kernels.minute_rows import (
    Places,
    rows_at,
    spread,
    spread_or_zero,
    spread_vwap,
)
from crypto_lakehouse.transforms.gold.runs import MINUTE_MICROSECONDS, Ordered


class Rows(NamedTuple):
    """Columns of CONTINUOUS, one value per row; ``contracts`` is -1 if unknown."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    vwap: Floats
    base_volume: Floats
    quote_volume: Floats
    taker_buy_base_volume: Floats
    taker_buy_quote_volume: Floats
    trade_count: Ints
    funding_rate: Floats
    contracts: Ints
    has_funding: Flags


_PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume", "trade_count")


def spread_rows(candles: Ordered, places: Places, inverse: bool, legacy: bool) -> Rows:
    """The rows, still without funding."""
    rows = allocate(Rows, len(places.candle))
    for name in _PRICES:
        spread(candles[name], places, getattr(rows, name))
    value, volume = candles["quote_volume"], candles["base_volume"]
    if legacy and not candles.rows["contracts"].null_count:
        # The legacy tool divided the archive's two volume columns, which on COIN-M are coin and contracts.
        value, volume = volume, candles["contracts"]
    spread_vwap(value, volume, candles["low"], candles["high"], places, rows.vwap)
    for name in _AMOUNTS:
        spread_or_zero(candles[name], places.candle, getattr(rows, name))
    contracts = candles.counts("contracts")
    if contracts is not None:
        spread_or_zero(contracts, places.candle, rows.contracts)
    elif inverse:
        rows.contracts[:] = np.where(places.is_filled, 0, -1)
    return rows


def fill_funding(
    rows: Rows,
    places: Places,
    begins: Ints,
    names: pl.Series,
    last_traded: Ints,
    funding: pl.DataFrame,
    traded_later: Collection[str],
    only_traded: bool,
) -> list[str]:
    """Put the events that count into their minutes; the symbols with events after their last trade.

    ``last_traded`` has the minute of the last trade of each symbol of ``names``.
    """
    rows.funding_rate[:], rows.has_funding[:] = 0.0, False
    if not len(places.time):
        return []
    hours = funding["funding_hour"].to_physical().to_numpy()
    near = np.flatnonzero((hours >= places.time.min()) & (hours <= places.time.max()))
    of_events = funding["symbol"].to_arrow().take(pa.array(near))
    symbols = pc.index_in(of_events, names.to_arrow()).fill_null(-1).to_numpy()
    row = rows_at(places.time, begins, symbols, hours[near])
    counts = row >= 0
    late = counts & (hours[near] > last_traded[symbols] * MINUTE_MICROSECONDS)
    counts &= ~late | names.is_in(list(traded_later)).to_numpy()[symbols]
    if only_traded:
        counts &= ~places.is_filled[row]
    rates = funding["funding_rate"].to_numpy()[near[counts]]
    rows.funding_rate[row[counts]], rows.has_funding[row[counts]] = rates, True
    return names.gather(np.unique(symbols[late])).to_list()


def known_funding(times: Ints, codes: Array, names: pl.Series, funding: pl.DataFrame) -> Flags:
    """Whether the funding of each row is known. An event of a symbol shows that the file of its month was read; in a
    month without one, the file may be missing, or the contract may have no funding.
    """
    if not len(times):
        return np.zeros(0, bool)
    first, last = (int(_months(np.array([time]))[0]) for time in (times.min(), times.max()))
    months = _months(funding["funding_hour"].to_physical().to_numpy()) - first
    symbols = pc.index_in(funding["symbol"].to_arrow(), names.to_arrow()).fill_null(-1).to_numpy()
    in_range = (symbols >= 0) & (months >= 0) & (months <= last - first)
    known = np.zeros((len(names), last - first + 1), bool)
    known[symbols[in_range], months[in_range]] = True
    month = 0 if first == last else _months(times) - first
    known_rows: Flags = known[codes, month]
    return known_rows


def _months(times: Ints) -> Ints:
    """Microseconds since the epoch as months since 1970-01, UTC."""
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)


def rows_table(
    rows: Rows, places: Places, codes: Array, names: pl.Series, inverse: bool, known: Flags | None
) -> pa.Table:
    """The rows as a table of CONTINUOUS, with symbols as a dictionary; ``known`` is None if no funding was given."""
    columns: dict[str, pa.Array] = {name: pa.array(getattr(rows, name)) for name in (*_PRICES, "vwap", *_AMOUNTS)}
    columns |= {name: pa.array(getattr(places, name)) for name in ("segment", "is_filled", "in_archive")}
    columns["symbol"] = coded(codes, names)
    columns["open_time"] = pa.array(places.time).cast(TIME)
    columns |= {"contracts": pa.nulls(len(codes), INT), "funding_rate": pa.nulls(len(codes), FLOAT)}
    columns["has_funding"] = pa.nulls(len(codes), FLAG)
    if inverse:
        columns["contracts"] = pa.array(rows.contracts, mask=rows.contracts < 0)
    if known is not None:
        unknown = None if known.all() else ~known
        columns |= {name: pa.array(getattr(rows, name), mask=unknown) for name in ("funding_rate", "has_funding")}
    return pa.table({name: columns[name] for name in CONTINUOUS.column_names})
