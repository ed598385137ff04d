"""The choice of files for a read, and one lazy frame over them.

The public methods are in ``lakehouse.py``; which month files can replace day files is in ``storage/months.py``.
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
from crypto_lakehouse.lake.storage.describe import Part, holes, list_parts
from crypto_lakehouse.lake.storage.months import is_compacted, is_month_file, scan_months, with_months
from crypto_lakehouse.lake.storage.partitions import scan_hive
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema, cadence_of

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Span:
    """A time range [first, last) in UTC, None where open; rows may start ``lag`` before the days of their partition."""

    first: datetime | None
    last: datetime | None
    lag: timedelta

    def overlaps(self, days: tuple[date, date]) -> bool:
        """Whether a partition of the days [first, end) may hold rows of the range."""
        start = datetime.combine(days[0], time.min, UTC)
        return (self.first is None or self.first.date() < days[1]) and (
            self.last is None or start - self.lag < self.last
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One market's files of a table: keys of all ``stored`` partitions, and ``parts``, the files to read for a span."""

    market: str
    span: Span
    stored: frozenset[str]
    parts: list[Part]


def find_parts(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, span: Span, by_month: bool
) -> Found:
    """Find the market's partitions that overlap the span.

    With ``by_month``, month files replace day files where they are up to date and faster to read.
    """
    stored = list_parts(store, layer, table, f"exchange={exchange}/market={market}")
    asked = [part for part in stored if span.overlaps(part.days)]
    if by_month and is_compacted(layer, table, exchange, market):
        asked = with_months(store, layer, table, exchange, market, stored, asked)
    return Found(market, span, frozenset(part.key for part in stored), asked)


def lacking(layer: str, table: str, exchange: str, found: Found) -> list[str]:
    """Return the keys of missing partitions of the span, between the oldest and the newest stored one."""
    cadence = cadence_of(layer, table)
    missed = holes(layer, table, exchange, found.market, found.stored)
    return [key for key in missed if found.span.overlaps(parse_partition(key, cadence))]


def scan_parts(store: LakeStore, schema: Schema, parts: Sequence[Part], from_path: Mapping[str, Any]) -> pl.LazyFrame:
    """Return lazy rows of the files, in order of partition and market, then row of the file."""
    # A log holds daily and monthly feeds in one table; in other tables month files are sorted between day files.
    is_log = not from_path.keys() & {"date", "month"}
    names = ("column", "key", "market", "path") if is_log else ("key", "market", "path")
    frames = []
    # All files of one Polars scan need the same partition column in their paths.
    for _, group in groupby(sorted(parts, key=attrgetter(*names)), key=attrgetter("column")):
        run = list(group)
        scan = scan_months if is_month_file(run[0]) else scan_hive
        frames.append(scan(store, schema, [part.path for part in run], from_path))
    return pl.concat(frames) if frames else scan_hive(store, schema, [], from_path)


def check_unmixed(table: str, output: Sequence[str], found: Sequence[Found]) -> None:
    """Raise ValueError if rows come from several markets and the result has no market column."""
    markets = [one.market for one in found if one.parts]
    if len(markets) > 1 and "market" not in output:
        raise ValueError(
            f"rows of {table} come from {', '.join(markets)}: pass one of them as market, or add 'market' to columns"
        )


def check_one_market_each(table: str, rows: pl.DataFrame) -> None:
    """Raise ValueError if symbols of the rows are in several markets; it names both."""
    places = rows.select("symbol", "market").unique().group_by("symbol").agg(pl.col("market").sort()).sort("symbol")
    mixed = [f"{symbol} is in {', '.join(markets)}" for symbol, markets in places.iter_rows() if len(markets) > 1]
    if mixed:
        names = "; ".join(mixed[:_NAMED]) + (f"; and {len(mixed) - _NAMED} more" if len(mixed) > _NAMED else "")
        raise ValueError(
            f"{table} has rows of these symbols in several markets: {names}. Pass one of the markets as market, or a"
            " list of markets to read the rows of all"
        )


def newest_symbols(store: LakeStore, schema: Schema, found: Sequence[Found]) -> list[str]:
    """Return the symbols of each market's newest file, as suggestions for a misspelt one.

    A file that is being replaced is skipped: the requested rows have been read already.
    """
    symbols: set[str] = set()
    for part in (one.parts[-1] for one in found if one.parts):
        with suppress(pl.exceptions.PolarsError, OSError):
            symbols.update(scan_parts(store, schema, [part], {}).select("symbol").unique().collect()["symbol"])
    return sorted(symbols)


def warn_of_older(layer: str, table: str, schema: Schema, rows: pl.DataFrame, found: Sequence[Found]) -> str | None:
    """Return words on columns that an older version of this table did not have, with the command that rebuilds it."""
    always = {column.name for column in schema.columns if not column.nullable}
    without = [column for column in rows.columns if column in always and rows[column].null_count()]
    if layer in ("bronze", "ledger", "quarantine") or not without:
        return None
    days = [part.days for one in found for part in one.parts]
    first, last = min(day for day, _ in days), max(end for _, end in days) - timedelta(days=1)
    commands = [
        f"crypto-lakehouse backfill --market {one.market} --table {table} --from {first} --to {last}"
        for one in found
        if one.parts
    ]
    return (
        f"has rows without {', '.join(without)}: an older version built their partitions. Rebuild them with:"
        f" {'; '.join(commands)}"
    )


def by_day(frame: pl.LazyFrame, parts: Sequence[Part], symbols: Sequence[str]) -> pl.LazyFrame:
    """Sort the rows of ``scan_parts`` by day (and market) if some come from month files, which are sorted by symbol."""
    several = len({part.market for part in parts}) > 1
    if not any(map(is_month_file, parts)) or not (several or len(set(symbols)) > 1):
        return frame
    return frame.sort(["date", "market"] if several else ["date"], maintain_order=True)
