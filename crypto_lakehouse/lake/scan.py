"""The files that hold what a reader asks for, and one lazy frame over them.

What a reader says and gets is in ``read.py``, which month files stand for day files in ``months.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import parse_partition
from crypto_lakehouse.lake.describe import Part, holes, list_parts
from crypto_lakehouse.lake.months import is_compacted, is_month_file, scan_months, with_months
from crypto_lakehouse.lake.partitions import scan_hive
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import Schema, cadence_of

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Span:
    """[first, last) of time, where one is given, and how long before a partition its rows may begin."""

    first: datetime | None
    last: datetime | None
    lag: timedelta

    def overlaps(self, days: tuple[date, date]) -> bool:
        """Whether a partition of these days, the second exclusive, may hold rows of the span."""
        begins = datetime.combine(days[0], time.min, UTC)
        return (self.first is None or self.first.date() < days[1]) and (
            self.last is None or begins - self.lag < self.last
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One market's files of a table: the keys of all that are ``stored``, and the ``parts`` to read for a span."""

    market: str
    span: Span
    stored: frozenset[str]
    parts: list[Part]


def find_parts(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, span: Span, by_month: bool
) -> Found:
    """The market's partitions that overlap the span.

    ``by_month`` takes the month files there are and that are up to date, where they pay.
    """
    stored = list_parts(store, layer, table, f"exchange={exchange}/market={market}")
    asked = [part for part in stored if span.overlaps(part.days)]
    if by_month and is_compacted(layer, table, exchange, market):
        asked = with_months(store, layer, table, exchange, market, stored, asked)
    return Found(market, span, frozenset(part.key for part in stored), asked)


def lacking(layer: str, table: str, exchange: str, found: Found) -> list[str]:
    """Keys of partitions of the span that lie between the oldest and the newest stored one, and are not there."""
    cadence = cadence_of(layer, table)
    missed = holes(layer, table, exchange, found.market, found.stored)
    return [key for key in missed if found.span.overlaps(parse_partition(key, cadence))]


def scan_parts(store: LakeStore, schema: Schema, parts: Sequence[Part], from_path: Mapping[str, Any]) -> pl.LazyFrame:
    """Lazy rows of the files in order of partition and market, then of the rows of the file."""
    # The logs of daily and monthly feeds lie in one table; elsewhere months stand between days.
    is_log = not from_path.keys() & {"date", "month"}
    names = ("column", "key", "market", "path") if is_log else ("key", "market", "path")
    frames = []
    # One scan takes one shape of path.
    for _, group in groupby(sorted(parts, key=attrgetter(*names)), key=attrgetter("column")):
        run = list(group)
        scan = scan_months if is_month_file(run[0]) else scan_hive
        frames.append(scan(store, schema, [part.path for part in run], from_path))
    return pl.concat(frames) if frames else scan_hive(store, schema, [], from_path)


def check_unmixed(table: str, output: Sequence[str], found: Sequence[Found]) -> None:
    """Raises ValueError where columns of several markets' rows do not say which market they are of."""
    markets = [one.market for one in found if one.parts]
    if len(markets) > 1 and "market" not in output:
        raise ValueError(
            f"rows of {table} are of {', '.join(markets)}: give one as market, or 'market' among the columns"
        )


def check_one_market_each(table: str, rows: pl.DataFrame) -> None:
    """Raises ValueError that names each symbol of the rows that is in several markets, and these."""
    places = rows.select("symbol", "market").unique().group_by("symbol").agg(pl.col("market").sort()).sort("symbol")
    mixed = [f"{symbol} is in {', '.join(markets)}" for symbol, markets in places.iter_rows() if len(markets) > 1]
    if mixed:
        some = "; ".join(mixed[:_NAMED]) + (f"; and {len(mixed) - _NAMED} more" if len(mixed) > _NAMED else "")
        raise ValueError(
            f"{table} has rows of these symbols in several markets: {some}. Give one of them as market, or a list of"
            " them for the rows of all"
        )


def newest_symbols(store: LakeStore, schema: Schema, found: Sequence[Found]) -> list[str]:
    """Symbols of the newest file of each market: what a misspelt one may mean. None of a file that is being replaced,
    since the rows that were asked for are read already.
    """
    symbols: set[str] = set()
    for part in (one.parts[-1] for one in found if one.parts):
        with suppress(pl.exceptions.PolarsError, OSError):
            symbols.update(scan_parts(store, schema, [part], {}).select("symbol").unique().collect()["symbol"])
    return sorted(symbols)


def by_day(frame: pl.LazyFrame, parts: Sequence[Part], symbols: Sequence[str]) -> pl.LazyFrame:
    """The rows of ``scan_parts`` in its order, also where those of a month file are in order of symbol."""
    several = len({part.market for part in parts}) > 1
    if not any(map(is_month_file, parts)) or not (several or len(set(symbols)) > 1):
        return frame
    return frame.sort(["date", "market"] if several else ["date"], maintain_order=True)
