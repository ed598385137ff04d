"""Why rows are missing from a result: words for warnings, with the command that builds what is missing.

Readers call this after a read, so it opens no file unless something is missing. Files are chosen in ``scan.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TypeAlias

import polars as pl

from crypto_lakehouse.catalog import partition_key
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.reader.scan import Selection, Span, scan_files
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.storage.building import build_command, source_feed, ways_to_build
from crypto_lakehouse.lake.storage.damage import scan_alone
from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.slices import TableSlice

INSTRUMENTS = "instruments"

STATES = ("gold.instruments", "gold.symbol_states")
"""Tables whose partitions hold everything that was known at the end of their day, with rows of any time."""

_NAMED = 10
_Days: TypeAlias = tuple[date, date | None]
"""First and last day of a listing, both inclusive; None if it has not ended."""
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


def missing_partitions(
    store: LakeStore, table: str, exchange: str, selections: Sequence[Selection], named: bool
) -> Iterator[str]:
    """Yield warnings: markets without partitions (if ``named``, or if none has any), and missing partitions."""
    without = [selection for selection in selections if not selection.stored]
    if without and (named or len(without) == len(selections)):
        # A market that never has the table misses it only if it was named.
        without = [each for each in without if named or source_feed(each.slice)] or without
        markets = ", ".join(selection.slice.market for selection in without)
        warning = f"{table} of {exchange}/{markets} in {store.uri} has no partitions"
        if not _is_log(without[0].slice):
            warning += ways_to_build(store, [(each.slice, each.span.start, each.span.end) for each in without])
        yield warning
    # A log covers many tables; a partition of gold.instruments or gold.symbol_states holds the whole state, so a
    # missing one hides no rows.
    if table in STATES:
        return
    for selection in selections:
        if _is_log(selection.slice):
            return
        if keys := selection.missing:
            command = build_command(store, selection.slice, keys[0], keys[-1])
            yield (
                f"{table} of {exchange}/{selection.slice.market} in {store.uri} has no partition for {_listed(keys)}:"
                f" their rows are missing from the result. Build them with: {command}"
            )


def outside_range(store: LakeStore, table: str, span: Span, selections: Sequence[Selection]) -> str | None:
    """Return words on a range that no partition overlaps; None if one does, or if no partition is stored at all."""
    stored = [selection for selection in selections if selection.stored]
    if not stored or any(selection.files or selection.missing for selection in stored):
        return None
    if span.start is not None and span.start == span.end:
        return f"the range is empty: start and end are both {_text(span.start)}, and end is exclusive"
    keys = frozenset[str]().union(*(selection.stored for selection in stored))
    limits = [f"from {_text(span.start)}"] if span.start else []
    limits += [f"before {_text(span.end)}"] if span.end else []
    words = f"{table} in {store.uri} has partitions from {min(keys)} to {max(keys)}, and no rows {' and '.join(limits)}"
    feed = stored[0].slice.feed
    if feed is not None and feed.last_date is not None and span.start and span.start.date() > feed.last_date:
        return f"{words}. The archive has no such files after {feed.last_date}"
    if _is_log(stored[0].slice):
        return words
    return words + ways_to_build(store, [(selection.slice, span.start, span.end) for selection in stored])


def absent_symbols(
    store: LakeStore, schema: Schema, choice: SymbolChoice, present: pl.Series, selections: Sequence[Selection]
) -> str | None:
    """Return the chosen symbols that have no rows, each with the likely reason; None if all have rows."""
    # Comparing the text of many rows is slow.
    absent = choice.absent(present.unique()) if choice.may_be_several or present.is_empty() else []
    if not absent:
        return None
    known = newest_symbols(store, schema, selections)
    listings = [(_listed_days(store, each.slice, choice), each) for each in selections if each.stored]

    def words(symbol: str) -> str:
        if reasons := list(filter(None, (_reason(store, symbol, *listing) for listing in listings))):
            return f"{symbol} ({'; '.join(reasons)})"
        if symbol in known:
            return symbol
        others = _other_markets(store, symbol, selections)
        return f"{symbol} (it is in market {', '.join(others)})" if others else with_near(symbol, known)

    return ", ".join(map(words, absent))


def _other_markets(store: LakeStore, symbol: str, selections: Sequence[Selection]) -> list[str]:
    """Return the markets that were not read, and whose newest partition of the table has this very symbol."""
    own, asked, others = selections[0].slice, [each.slice.market for each in selections], []
    # The rows have been read already: nothing may fail for the sake of a reason.
    with suppress(LakeError, pl.exceptions.PolarsError, OSError):
        for name in store.folders(f"{own.layer}/{own.table}/exchange={own.exchange}"):
            market = name.removeprefix("market=")
            place = replace(own, market=market)
            if market not in asked and (newest := max(list_keys(store, place), default="")):
                symbols = scan_alone(store, place.partition(newest).path).select("symbol")
                if not symbols.filter(pl.col("symbol") == symbol).head(1).collect().is_empty():
                    others.append(market)
    return others


def _reason(store: LakeStore, symbol: str, days: Mapping[str, Sequence[_Days]], selection: Selection) -> str | None:
    """Return why a symbol has no rows; None if its listings do not show it."""
    if symbol not in days:
        return None
    words = " and ".join(f"from {first}{f' to {last}' if last else ''}" for first, last in days[symbol])
    span, table_slice = selection.span, selection.slice
    start = span.start.date() if span.start else date.min
    end = (span.end - _MICROSECOND).date() if span.end else date.max
    within = [(first, last) for first, last in days[symbol] if first <= end and (last is None or last >= start)]
    if not within:
        return f"not listed then: it was listed {words}"
    if _is_log(table_slice):
        return None
    newest = table_slice.partition(max(selection.stored)).end - _DAY
    first, last = max(within[0][0], start), min(within[-1][1] or newest, newest, end)
    first_key, last_key = (partition_key(day, table_slice.cadence) for day in (first, max(first, last)))
    command = build_command(store, table_slice, first_key, last_key, symbols=symbol)
    return f"listed {words}; if the partitions were built for other symbols, add it with: {command}"


def _listed_days(store: LakeStore, table_slice: TableSlice, choice: SymbolChoice) -> dict[str, list[_Days]]:
    """Return when symbols were listed, by the newest partition of gold.instruments; nothing if there is none."""
    instruments = TableSlice("gold", table_slice.exchange, table_slice.market, INSTRUMENTS)
    days: dict[str, list[_Days]] = {}
    # The rows have been read already: nothing may fail for the sake of a reason.
    with suppress(LakeError, pl.exceptions.PolarsError, OSError):
        if newest := max(list_keys(store, instruments), default=""):
            rows = read_partition(store, instruments.partition(newest))
            known = rows["last_day"].max()
            for symbol, first, last in rows.select("symbol", "first_day", "last_day").iter_rows():
                if choice.select([symbol]):
                    days.setdefault(symbol, []).append((first, None if last == known else last))
    return days


def _is_log(table_slice: TableSlice) -> bool:
    return table_slice.layer in ("ledger", "quarantine")


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")


def _text(moment: datetime) -> str:
    """A time in UTC, as a day if it is midnight."""
    return f"{moment:%Y-%m-%d}" if moment == moment.replace(hour=0, minute=0, second=0, microsecond=0) else f"{moment}"


def newest_symbols(store: LakeStore, schema: Schema, selections: Sequence[Selection]) -> list[str]:
    """Return the symbols of each market's newest file, as suggestions for a misspelt one.

    A file that is being replaced is skipped: the requested rows have been read already.
    """
    symbols: set[str] = set()
    for file in (selection.files[-1] for selection in selections if selection.files):
        with suppress(pl.exceptions.PolarsError, OSError):
            symbols.update(scan_files(store, schema, [file], {}).select("symbol").unique().collect()["symbol"])
    return sorted(symbols)


def warn_of_older(
    store: LakeStore, layer: str, schema: Schema, rows: pl.DataFrame, selections: Sequence[Selection]
) -> str | None:
    """Return words on columns that an older version of this table did not have, with the command that rebuilds it."""
    always = {column.name for column in schema.columns if not column.nullable}
    without = [column for column in rows.columns if column in always and rows[column].null_count()]
    if layer in ("bronze", "ledger", "quarantine") or not without:
        return None
    files = [file for selection in selections for file in selection.files]
    # A month file holds days, so the command names days where the table has them.
    cadence = files[0].slice.cadence
    first = partition_key(min(file.start for file in files), cadence)
    last = partition_key(max(file.end for file in files) - timedelta(days=1), cadence)
    commands = [build_command(store, each.slice, first, last) for each in selections if each.files]
    return (
        f"has rows without {', '.join(without)}, because an older version built their partitions. Rebuild them with:"
        f" {'; '.join(commands)}"
    )
