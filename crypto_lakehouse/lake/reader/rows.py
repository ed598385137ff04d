"""Rows of a table for a range: as a lazy frame, or in memory with warnings about what is missing.

The choice of files and the lazy frames over them are in ``scan.py``, the ends of series in ``ends.py``. The public
methods are in ``methods/rows.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.reader.arguments import (
    Format,
    Time,
    as_format,
    check_columns,
    check_format,
    check_listed,
    check_symbols,
    check_text,
    time_range,
)
from crypto_lakehouse.lake.reader.ends import find_ends, made_columns, untraded, with_after_end, without_filled_ends
from crypto_lakehouse.lake.reader.month_rows import read_months
from crypto_lakehouse.lake.reader.scan import (
    Selection,
    Span,
    build_command,
    by_day,
    check_one_market_each,
    check_unmixed,
    newest_symbols,
    scan_files,
    select_files,
    warn_of_older,
)
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.describe import StoredFile, check_markets, path_columns, require_lake, split_table
from crypto_lakehouse.lake.storage.months import is_month_file
from crypto_lakehouse.lake.storage.places import check_places, time_tolerance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.ended import AFTER_END

if TYPE_CHECKING:
    import pandas as pd

_LOGS = ("ledger", "quarantine")
# In these layers the time column cannot be compared with a time (bronze holds raw integers) or is not market time (the
# logs hold the time at which a file was seen), so a time range selects whole partitions.
_BY_PARTITION = ("bronze", *_LOGS)
# In these tables too: each partition holds everything that was known at the end of its day, with rows of any time.
_STATES = ("gold.instruments", "gold.symbol_states")
_NAMED = 10


def scan_rows(
    store: LakeStore,
    table: str,
    exchange: str,
    market: str | Sequence[str] | None,
    symbols: str | Sequence[str] | None,
    start: Time | None,
    end: Time | None,
    columns: Sequence[str] | None,
    ordered: bool,
) -> tuple[pl.LazyFrame, list[Selection]]:
    """Return the frame of ``Lakehouse.scan``, and its files by market.

    Unless ``ordered``, a month may be sorted by symbol.
    """
    build, selections = _prepared(store, table, exchange, market, symbols, start, end, columns, ordered)
    return build(), selections


def _prepared(
    store: LakeStore,
    table: str,
    exchange: str,
    market: str | Sequence[str] | None,
    symbols: str | Sequence[str] | None,
    start: Time | None,
    end: Time | None,
    columns: Sequence[str] | None,
    ordered: bool,
) -> tuple[Callable[[], pl.LazyFrame], list[Selection]]:
    """Return what builds the frame of ``scan_rows``, and its files by market."""
    check_text("table", table, "'gold.bars_1h'")
    layer, name, schema = split_table(table)
    markets = check_markets(exchange, check_listed("market", market))
    wanted = check_symbols(symbols)
    first, last = time_range(start, end)
    from_path = path_columns(layer, name)
    output = check_columns(table, schema, [*from_path, *made_columns(layer, name)], columns)
    bars = bars_in(layer, name)
    span = Span(first, last, closing_lag(bars) if bars else timedelta(0))
    slices = [TableSlice(layer, exchange, each, name) for each in markets]
    selections = [select_files(store, each, span, by_month=wanted is not None) for each in slices]
    if not any(selection.stored for selection in selections):
        require_lake(store)
    files = [file for selection in selections for file in selection.files]

    def build() -> pl.LazyFrame:
        frame = scan_files(store, schema, files, from_path)
        by_partition = layer in _BY_PARTITION or table in _STATES
        frame = _chosen(frame, None if by_partition else schema.time_column, wanted, span)
        nothing_traded = untraded(layer, name)
        if nothing_traded is not None and files:
            ends = find_ends(store, exchange, markets)
            if wanted is not None:
                ends = ends.filter(pl.col("symbol").is_in(wanted))
            if last is not None:
                ends = ends.filter(pl.col("last_time") < last)
            frame = without_filled_ends(frame, ends, nothing_traded)
        several = market is None and sum(bool(selection.files) for selection in selections) > 1
        if several and ordered:
            check_unmixed(table, output, selections)
            if wanted is not None:
                with reading(store, [file.path for file in files]):
                    check_one_market_each(table, frame.select("symbol", "market").unique().collect())
        if AFTER_END in output:
            frame = with_after_end(store, exchange, markets, name, frame)
        return (by_day(frame, files, wanted or ()) if ordered else frame).select(output)

    return build, selections


def read_rows(
    store: LakeStore,
    table: str,
    exchange: str,
    market: str | Sequence[str] | None,
    symbols: str | Sequence[str] | None,
    start: Time | None,
    end: Time | None,
    columns: Sequence[str] | None,
    format: Format,
) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Return the rows of ``Lakehouse.read``, and warn its caller about what is missing."""
    check_format(format)
    check_text("table", table, "'gold.bars_1h'")
    layer, name, schema = split_table(table)
    output = check_columns(table, schema, [*path_columns(layer, name), *made_columns(layer, name)], columns)
    # Sorting by text is slow, so a single market is not sorted by its name.
    markets = check_markets(exchange, check_listed("market", market))
    order = [*(["market"] if len(markets) > 1 else []), *schema.primary_key]
    wanted = check_symbols(symbols)
    # These columns show whether a file holds rows of another day than its path says.
    placed = () if time_tolerance(layer, name) is None else (schema.time_column, *path_columns(layer, name))
    needed = list(dict.fromkeys([*output, *order, *(["symbol"] if wanted else []), *placed]))

    def listed() -> tuple[Callable[[], pl.LazyFrame], list[Selection]]:
        return _prepared(store, table, exchange, market, wanted, start, end, needed, ordered=False)

    def collected() -> tuple[pl.DataFrame, list[Selection]]:
        build, selections = listed()
        files = [file for selection in selections for file in selection.files]
        if market is None:
            check_unmixed(table, output, selections)
        quick = None
        if wanted and AFTER_END not in needed and len({file.slice for file in files}) == 1:
            quick = _of_symbols(store, schema, selections, wanted, list(dict.fromkeys([*output, *order])))
        if quick is None:
            scanned = build()
        else:
            files = [file for file in files if not is_month_file(file)]
            if not files:
                return quick, selections
            scanned = scan_files(store, schema, files, path_columns(layer, name))
            scanned = _chosen(scanned, schema.time_column, wanted, selections[0].span).select(needed)
        with reading(store, [file.path for file in files]):
            frame = scanned.collect()
        if placed:
            check_places(store, layer, name, schema, frame, files)
        if quick is not None:
            frame, files = pl.concat([quick, frame.select(quick.columns)]), []
        in_order = _is_ordered(frame, files, wanted, order)
        return frame if in_order else frame.sort(order, maintain_order=True), selections

    frame, selections = unchanged(collected, lambda: listed()[1])
    if market is None and wanted:
        check_one_market_each(table, frame)
    for warning in _missing(store, table, exchange, selections, named=market is not None):
        warnings.warn(warning, stacklevel=3)
    if older := warn_of_older(layer, schema, frame.select(output), selections):
        warnings.warn(f"{table} in {store.uri} {older}", stacklevel=3)
    absent = _absent(frame, wanted or ())
    if absent and any(selection.stored for selection in selections):
        known = newest_symbols(store, schema, selections)
        names = ", ".join(with_near(symbol, known) for symbol in absent)
        stored = frozenset[str]().union(*(selection.stored for selection in selections))
        warnings.warn(
            f"{table} in {store.uri} has no rows in this range for: {names}. Its partitions are from {min(stored)} to"
            f" {max(stored)}",
            stacklevel=3,
        )
    return as_format(frame.select(output), format)


def _chosen(frame: pl.LazyFrame, time: str | None, symbols: Sequence[str] | None, span: Span) -> pl.LazyFrame:
    """Return the rows of the symbols, and of the span if there is a column ``time``."""
    if symbols is not None:
        frame = frame.filter(pl.col("symbol").is_in(symbols))
    if time is not None and span.start is not None:
        frame = frame.filter(pl.col(time) >= pl.lit(span.start, dtype=pl.Datetime("us", "UTC")))
    if time is not None and span.end is not None:
        frame = frame.filter(pl.col(time) < pl.lit(span.end, dtype=pl.Datetime("us", "UTC")))
    return frame


def _of_symbols(
    store: LakeStore, schema: Schema, selections: Sequence[Selection], symbols: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame | None:
    """Return the rows of symbols in month files, in order of symbol and time; None if they have to be scanned.

    Month files are checked when they are written.
    """
    selection = next(selection for selection in selections if selection.files)
    months = [file for file in selection.files if is_month_file(file)]
    from_path = {"exchange": selection.slice.exchange, "market": selection.slice.market}
    read = [name for name in columns if name in schema.column_names]
    rows = read_months(store, schema, months, symbols, read) if months else None
    if rows is None:
        return None
    time, span = schema.time_column, selection.span
    first, end = (datetime.combine(day, clock.min, UTC) for day in (months[0].start, months[-1].end))
    if (span.start is not None and first < span.start) or (span.end is not None and span.end < end):
        rows = _chosen(rows.lazy(), time, None, span).collect()
    made = {name: pl.lit(value) for name, value in from_path.items() if name in columns}
    if "date" in columns:
        made["date"] = pl.col(time).dt.date()
    return rows.with_columns(**made).select(columns)


def _is_ordered(
    frame: pl.DataFrame, files: Sequence[StoredFile], symbols: Sequence[str] | None, order: Sequence[str]
) -> bool:
    """Whether rows are certainly in order: those of one file, or of one symbol by time."""
    if len(files) == 1 and not is_month_file(files[0]):
        return True
    return len(symbols or ()) == 1 and len(order) == 2 and frame[order[-1]].is_sorted()


def _absent(frame: pl.DataFrame, symbols: Sequence[str]) -> list[str]:
    """Return those of the symbols that have no row."""
    if not symbols or (len(symbols) == 1 and frame.height):
        return []
    return sorted(set(symbols) - set(frame["symbol"].unique()))


def _missing(
    store: LakeStore, table: str, exchange: str, selections: Sequence[Selection], named: bool
) -> Iterator[str]:
    """Yield warnings: markets without partitions (if ``named``, or if none has any), and missing partitions."""
    layer, _, _ = split_table(table)
    without = [selection for selection in selections if not selection.stored]
    if without and (named or len(without) == len(selections)):
        markets = ", ".join(selection.slice.market for selection in without)
        warning = f"{table} of {exchange}/{markets} in {store.uri} has no partitions"
        if layer not in _LOGS:
            commands = (build_command(each.slice, each.span.start, each.span.end) for each in without)
            warning += f". Build them with: {'; '.join(commands)}"
        yield warning
    # A log covers many tables; a partition of gold.instruments or gold.symbol_states holds the whole state, so a
    # missing one hides no rows.
    if layer in _LOGS or table in _STATES:
        return
    for selection in selections:
        if keys := selection.missing:
            names = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
            command = selection.slice.backfill_command(keys[0], keys[-1])
            yield (
                f"{table} of {exchange}/{selection.slice.market} in {store.uri} has no partition for {names}: their"
                f" rows are missing from the result. Build them with: {command}"
            )
