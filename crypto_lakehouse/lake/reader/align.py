"""Bars joined with what was known when they closed: funding, open interest, mark price.

This module says at which time a row of each table is known. Bars are read in ``bars.py``; the public method is in
``methods/matrices.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crypto_lakehouse.catalog import FEEDS, INTERVALS
from crypto_lakehouse.catalog.bars import ActivityBars, parse_bars
from crypto_lakehouse.catalog.near import unknown_name
from crypto_lakehouse.lake.reader.arguments import check_columns, check_listed
from crypto_lakehouse.lake.reader.bars import collect_bars
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import collect_rows
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import Length, TimeRange, length
from crypto_lakehouse.lake.storage.describe import existing_tables
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS, BARS

KNOWN = "known_time"
"""The column of the time at which a bar, and all that is joined to it, is known."""

_MICROSECOND = timedelta(microseconds=1)
_FIVE_MINUTES = timedelta(minutes=5)
_MARK = "mark_klines_"
# Bars have these columns of funding within the bar; here funding is that of the last event.
_OWN_FUNDING = ("funding_rate", "funding_price", "funding_time", "funding_sum", "funding_count")


@dataclass(frozen=True, slots=True)
class _Source:
    """A silver table to join: ``known`` is the time at which a row is known, at most ``lag`` after its time column.

    ``columns`` are its columns by their names in the result; ``time`` is the name of ``known`` there. ``at_close`` says
    whether a row that is known exactly when a bar ends joins this bar, or only the next one.
    """

    table: str
    known: pl.Expr
    lag: timedelta
    columns: dict[str, str]
    time: str
    needs: tuple[str, ...]
    at_close: bool = True


def _source(name: str, stored: Sequence[str]) -> _Source:
    if name == "funding":
        # An event belongs to the window that it starts, with or without milliseconds after the hour. Otherwise one bar
        # would repeat the event of the bar before it, and another event would join no bar.
        time, rate = "funding_time", {"funding_rate": "funding_rate"}
        return _Source("funding_rates", pl.col(time), timedelta(0), rate, time, (time,), at_close=False)
    if name == "open_interest":
        values = {column: column for column in ("open_interest", "open_interest_value")}
        known = pl.col("known_time")
        return _Source("open_interest", known, _FIVE_MINUTES, values, "open_interest_time", ("known_time",))
    # The shortest interval shows the price that is nearest to the close of a bar.
    shortest = next((interval for interval in INTERVALS if f"{_MARK}{interval}" in stored), "1m")
    lasts = INTERVALS[shortest].length or timedelta(days=31)
    known = pl.col("open_time").dt.offset_by(shortest)
    return _Source(f"{_MARK}{shortest}", known, lasts, {"mark_price": "close"}, "mark_price_time", ("open_time",))


SOURCES = ("funding", "open_interest", "mark_price")


def aligned(
    store: LakeStore,
    symbols: str | Sequence[str] | None,
    bars: str,
    exchange: str,
    market: str | None,
    offset: str,
    times: TimeRange,
    include: Sequence[str] | str | None,
    max_age: Length,
    columns: Sequence[str] | None,
    index: Sequence[str],
) -> pl.DataFrame:
    """Return the rows of ``Lakehouse.align``, and warn its caller about what is missing."""
    schema = ACTIVITY_BARS if isinstance(parse_bars(bars), ActivityBars) else BARS
    own = [name for name in schema.column_names if name not in _OWN_FUNDING]
    chosen = own if columns is None else check_columns("lake.align", schema, (), columns)
    chosen = list(dict.fromkeys([*chosen, *(name for name in index if name in own)]))
    if refused := [name for name in chosen if name not in own]:
        raise ValueError(f"{refused[0]} of a bar is not in lake.align, which joins the last funding: use lake.bars")
    age = length("max_age", max_age)
    names = _included(exchange, market, include)
    needed = list(dict.fromkeys([*chosen, "close_time"]))
    rows = collect_bars(store, symbols, bars, exchange, market, offset, times, needed, "lake.align")
    rows = rows.with_columns((pl.col("close_time") + _MICROSECOND).alias(KNOWN))
    stored = existing_tables(store, "silver")
    choice = SymbolChoice.parse(symbols)
    wanted = None if choice is None else rows["symbol"].unique().sort().to_list()
    output = [*chosen, KNOWN]
    for source in (_source(name, stored) for name in names):
        facts = _facts(store, source, exchange, str(market), wanted, rows, age)
        rows = join_known(rows, facts, source.time, age, source.at_close)
        output += [*source.columns, source.time]
    return rows.sort(schema.primary_key).select(output)


def join_known(bars: pl.DataFrame, facts: pl.DataFrame, time: str, max_age: timedelta, at_close: bool) -> pl.DataFrame:
    """Join to each bar the newest fact of its symbol that is known by ``known_time``, and not older than ``max_age``.

    Unless ``at_close``, a fact that is known exactly at ``known_time`` is not joined. ``time`` is the column of
    ``facts`` with the time at which they are known; it must not be null.
    """
    return bars.sort(KNOWN).join_asof(
        facts.sort(time),
        left_on=KNOWN,
        right_on=time,
        by="symbol",
        strategy="backward",
        tolerance=max_age,
        allow_exact_matches=at_close,
        coalesce=False,
        check_sortedness=False,
    )


def _facts(
    store: LakeStore,
    source: _Source,
    exchange: str,
    market: str,
    symbols: Sequence[str] | None,
    bars: pl.DataFrame,
    max_age: timedelta,
) -> pl.DataFrame:
    """Return symbol, the columns of a source and the time at which they are known, as far as bars may need them."""
    columns = list(dict.fromkeys(["symbol", *source.needs, *source.columns.values()]))
    first, last = bars[KNOWN].min(), bars[KNOWN].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        rows = pl.DataFrame(schema_of("silver", source.table).empty())
    else:
        start, end = first - max_age - source.lag, last + _MICROSECOND
        request = RowRequest.parse(f"silver.{source.table}", exchange, market, symbols, start, end, columns=columns)
        # The range is longer than the bars, so that the first bar gets an older fact, if there is one.
        rows = collect_rows(store, request, expected=TimeRange(first, last))
    values = {name: pl.col(column) for name, column in source.columns.items()}
    return rows.select("symbol", source.known.alias(source.time), **values)


def _included(exchange: str, market: str | None, include: Sequence[str] | str | None) -> list[str]:
    published = [name for name in SOURCES if _is_published(exchange, market, name)]
    names = check_listed("include", include)
    if names is None:
        return published
    for name in names:
        if name not in SOURCES:
            raise ValueError(unknown_name("source to include", name, SOURCES))
        if market is not None and name not in published:
            have = ", ".join(published) or "none of them"
            raise ValueError(f"{exchange}/{market} has no {name}; leave it out of include (it has {have})")
    return list(dict.fromkeys(names))


def _is_published(exchange: str, market: str | None, name: str) -> bool:
    table = {"funding": "funding_rates", "mark_price": f"{_MARK}1m"}.get(name, name)
    return market is not None and (exchange, market, table) in FEEDS
