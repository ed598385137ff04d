"""Rows of a table for a range: as a lazy frame, or in memory with warnings about what is missing.

The choice of files and the lazy frames over them are in ``scan.py``, the ends of series in ``ends.py``, rows of month
files on disk in ``month_rows.py``, the words of warnings in ``reasons.py``. The public methods are in ``methods/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.lake.reader.arguments import Output
from crypto_lakehouse.lake.reader.ends import KEY, find_ends, untraded, with_after_end, without_filled_ends
from crypto_lakehouse.lake.reader.incomplete import NO_SYMBOLS, partition_warnings, selected_beyond
from crypto_lakehouse.lake.reader.known import add_known
from crypto_lakehouse.lake.reader.month_rows import read_months
from crypto_lakehouse.lake.reader.reasons import absent_symbols, missing_partitions, outside_range, warn_of_older
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.scan import (
    Selection,
    Span,
    by_day,
    check_one_market_each,
    check_unmixed,
    scan_files,
    select_slices,
)
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.describe import StoredFile, path_columns, require_lake
from crypto_lakehouse.lake.storage.months import is_month_file, keys_of
from crypto_lakehouse.lake.storage.places import check_places, time_tolerance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.transforms.gold.ended import AFTER_END

if TYPE_CHECKING:
    import pandas as pd

# The columns that identify rows filled after the end of their series.
_OF_ENDS = (*KEY, "open_time", "is_filled")


def scan_rows(store: LakeStore, request: RowRequest, ordered: bool = True) -> tuple[pl.LazyFrame, list[Selection]]:
    """Return the frame of ``Lakehouse.scan``, and its files by market.

    Unless ``ordered``, a month may be sorted by symbol.
    """
    build, _, selections = prepare(store, request, ordered)
    return build(files_of(selections)), selections


def scan_with_warnings(store: LakeStore, request: RowRequest) -> pl.LazyFrame:
    """Return the frame of ``Lakehouse.scan``, and warn its caller about partitions that are missing now."""
    build, span, selections = prepare(store, request, ordered=True)
    frame = build(files_of(selections))
    for warning in partition_warnings(store, request, span, selections):
        warn(warning)
    return frame


def files_of(selections: Sequence[Selection]) -> list[StoredFile]:
    """Return the files of all markets."""
    return [file for selection in selections for file in selection.files]


def prepare(
    store: LakeStore, request: RowRequest, ordered: bool, months: bool = True, trusting: bool = False
) -> tuple[Callable[[Sequence[StoredFile]], pl.LazyFrame], Span, list[Selection]]:
    """Return what builds the frame of ``scan_rows`` over files, the range, and the files by market.

    Without ``months``, no month file is chosen. If ``trusting``, times of files that lie wholly in the range are not
    compared with it: see ``_in_span``.
    """
    table, layer, schema, choice = request.table, request.layer, request.schema, request.symbols
    bars = bars_in(layer, request.name)
    # The first rows of month files are those of one symbol.
    by_month = months and choice is not None and choice.is_narrow and request.limit is None
    lag = closing_lag(bars) if bars else timedelta(0)
    span, selections = select_slices(store, request.slices, request.times, lag, by_month)
    if not any(selection.stored for selection in selections):
        require_lake(store, [each.folder for each in request.slices])

    def build(files: Sequence[StoredFile]) -> pl.LazyFrame:
        frame = scan_files(store, schema, files, path_columns(layer, request.name))
        time = None if trusting and request.limit is None and span.holds(files) else request.time_column
        frame = _chosen(frame, time, choice, span)
        if files:
            frame = _without_filled_ends(store, request, frame, span)
        several = not request.is_market_named and sum(bool(selection.files) for selection in selections) > 1
        if several and ordered:
            check_unmixed(table, request.columns, selections)
            if choice is not None:
                with reading(store, [file.path for file in files]):
                    check_one_market_each(table, frame.select("symbol", "market").unique().collect())
        if request.known is not None:
            keys = [key for file in files for key in keys_of(file)]
            frame = add_known(
                store, frame, request.known, layer, request.name, schema, request.exchange, request.markets, keys
            )
        if AFTER_END in request.columns:
            frame = with_after_end(store, request.exchange, request.markets, request.name, frame, request.known)
        if ordered:
            frame = by_day(frame, files, choice is not None and choice.may_be_several)
        if request.limit is not None:
            frame = frame.head(request.limit)
        return frame.select(request.columns)

    return build, span, selections


def read_rows(store: LakeStore, request: RowRequest, output: Output) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Return the rows of ``Lakehouse.read``, and warn its caller about what is missing."""
    return output.convert(collect_rows(store, request))


def collect_rows(store: LakeStore, request: RowRequest, expected: TimeRange | None = None) -> pl.DataFrame:
    """Return the rows of a request, sorted by market and primary key, and warn about what is missing.

    Days of the range beyond the stored partitions are missing only if they are in the range ``expected``, if given.
    """
    table, layer, schema, choice = request.table, request.layer, request.schema, request.symbols
    # Sorting by text is slow, so a single market is not sorted by its name.
    order = [*(["market"] if len(request.slices) > 1 else []), *schema.primary_key]
    # These columns show whether a file holds rows of another day than its path says.
    is_placed = time_tolerance(layer, request.name) is not None
    placed = (schema.time_column, *path_columns(layer, request.name)) if is_placed else ()
    needed = list(dict.fromkeys([*request.columns, *order, *(["symbol"] if choice else []), *placed]))
    wide = replace(request, columns=tuple(needed))
    names = None if choice is None else choice.names

    def collected() -> tuple[pl.DataFrame, Span, list[Selection]]:
        build, span, selections = prepare(store, wide, ordered=False, trusting=True)
        files = files_of(selections)
        if not request.is_market_named:
            check_unmixed(table, request.columns, selections)
        quick = None
        if names and AFTER_END not in needed and request.known is None and len({file.slice for file in files}) == 1:
            quick = _of_symbols(store, wide, selections, names, order)
        if quick is None:
            scanned = build(files)
        else:
            files = [file for file in files if not is_month_file(file)]
            if not files:
                return quick, span, selections
            scanned = scan_files(store, schema, files, path_columns(layer, request.name))
            scanned = _chosen(scanned, schema.time_column, choice, span)
            scanned = _without_filled_ends(store, request, scanned, span).select(needed)
        with reading(store, [file.path for file in files]):
            frame = _in_span(scanned.collect(), request.time_column, span)
        if placed:
            check_places(store, layer, request.name, schema, frame, files)
        if quick is not None:
            frame, files = pl.concat([quick, frame.select(quick.columns)]), []
        in_order = _is_ordered(frame, files, names, order)
        return frame if in_order else frame.sort(order, maintain_order=True), span, selections

    frame, span, selections = unchanged(collected, lambda: prepare(store, wide, ordered=False)[2])
    if not request.is_market_named and choice is not None:
        check_one_market_each(table, frame)
    if older := warn_of_older(store, layer, schema, frame.select(request.columns), selections):
        warn(f"{table} in {store.uri} {older}")
    needed_span = span if expected is None else Span(expected.start, expected.end, span.lag)
    # A limit leaves out rows whether or not any are missing, but the first rows are those of the first day.
    if request.limit is None or frame.height < request.limit:
        _warn_of_missing(store, request, frame, span, selections, needed_span)
    elif before := selected_beyond(store, request, selections, needed_span, before_only=True):
        warn(before)
    return frame.select(request.columns)


def _warn_of_missing(
    store: LakeStore,
    request: RowRequest,
    frame: pl.DataFrame,
    span: Span,
    selections: Sequence[Selection],
    expected: Span,
) -> None:
    table, choice = request.table, request.symbols
    if choice is not None and choice.is_empty:
        warn(NO_SYMBOLS)
    for warning in missing_partitions(store, table, request.exchange, selections, request.is_market_named):
        warn(warning)
    if frame.is_empty() and (outside := outside_range(store, table, span, selections)):
        warn(outside)
        return
    if beyond := selected_beyond(store, request, selections, expected):
        warn(beyond)
    if choice is not None and (stored := frozenset[str]().union(*(selection.stored for selection in selections))):
        # Of a single symbol one row says as much as all, whose names would fill memory.
        present = (frame if choice.may_be_several else frame.head(1))["symbol"]
        names = absent_symbols(store, request.schema, choice, present, selections)
        if names is not None:
            warn(
                f"{table} in {store.uri} has no rows in this range for: {names}. Its partitions are from {min(stored)}"
                f" to {max(stored)}"
            )


def _chosen(frame: pl.LazyFrame, time: str | None, symbols: SymbolChoice | None, span: Span) -> pl.LazyFrame:
    """Return the rows of the symbols, and of the span if there is a column ``time``."""
    if symbols is not None:
        frame = frame.filter(symbols.condition)
    if time is not None and span.start is not None:
        frame = frame.filter(pl.col(time) >= pl.lit(span.start, dtype=pl.Datetime("us", "UTC")))
    if time is not None and span.end is not None:
        frame = frame.filter(pl.col(time) < pl.lit(span.end, dtype=pl.Datetime("us", "UTC")))
    return frame


def _in_span(rows: pl.DataFrame, time: str | None, span: Span) -> pl.DataFrame:
    """Return the rows of the span; the first and the last time cost less than a comparison of each row."""
    if time is None or rows.is_empty():
        return rows
    first, last = rows.select(pl.col(time).min().alias("first"), pl.col(time).max().alias("last")).row(0)
    inside = first is not None and (span.start is None or first >= span.start) and (span.end is None or last < span.end)
    return rows if inside else _chosen(rows.lazy(), time, None, span).collect()


def _of_symbols(
    store: LakeStore, request: RowRequest, selections: Sequence[Selection], symbols: Sequence[str], order: Sequence[str]
) -> pl.DataFrame | None:
    """Return the requested rows of month files, in order of symbol and time; None if they have to be scanned."""
    selection = next(selection for selection in selections if selection.files)
    columns = list(dict.fromkeys([*request.columns, *order]))
    needed = [*columns, *(_OF_ENDS if untraded(request.layer, request.name) else ())]
    rows = months_of_symbols(store, request.schema, selection, symbols, list(dict.fromkeys(needed)))
    if rows is None or len(needed) == len(columns):
        return rows
    return _without_filled_ends(store, request, rows.lazy(), selection.span).collect().select(columns)


def months_of_symbols(
    store: LakeStore, schema: Schema, selection: Selection, symbols: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame | None:
    """Return the rows of symbols in the month files of a selection, in order of symbol and time.

    None if there are none, or if they have to be scanned. Month files are checked when they are written.
    """
    months = [file for file in selection.files if is_month_file(file)]
    read = [name for name in columns if name in schema.column_names]
    rows = read_months(store, schema, months, symbols, read) if months else None
    if rows is None:
        return None
    time, span = schema.time_column, selection.span
    first, end = (datetime.combine(day, clock.min, UTC) for day in (months[0].start, months[-1].end))
    if (span.start is not None and first < span.start) or (span.end is not None and span.end < end):
        rows = _chosen(rows.lazy(), time, None, span).collect()
    from_path = {"exchange": selection.slice.exchange, "market": selection.slice.market}
    made = {name: pl.lit(value) for name, value in from_path.items() if name in columns}
    if "date" in columns:
        made["date"] = pl.col(time).dt.date()
    return rows.select(made.get(name, pl.col(name)).alias(name) for name in columns) if made else rows


def _without_filled_ends(store: LakeStore, request: RowRequest, rows: pl.LazyFrame, span: Span) -> pl.LazyFrame:
    """Return the rows without those filled after the end of their series; other tables have no such rows."""
    nothing_traded = untraded(request.layer, request.name)
    if nothing_traded is None:
        return rows
    ends = find_ends(store, request.exchange, request.markets, request.known)
    if request.symbols is not None:
        ends = ends.filter(request.symbols.condition)
    if span.end is not None:
        ends = ends.filter(pl.col("last_time") < span.end)
    return without_filled_ends(rows, ends, nothing_traded)


def _is_ordered(
    frame: pl.DataFrame, files: Sequence[StoredFile], symbols: Sequence[str] | None, order: Sequence[str]
) -> bool:
    """Whether rows are certainly in order: those of one file, or of one symbol by time."""
    if len(files) == 1 and not is_month_file(files[0]):
        return True
    return len(symbols or ()) == 1 and len(order) == 2 and frame[order[-1]].is_sorted()
