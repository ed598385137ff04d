"""What the lake holds of a market or a symbol: its symbols, the coverage of one symbol, and the newest partitions.

Tables are listed in ``storage/describe.py``, holes of whole tables in ``status.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import check_symbol
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.catalog.near import with_near
from crypto_lakehouse.lake.reader.arguments import check_one_market, check_text
from crypto_lakehouse.lake.reader.ends import STATES as STATES_TABLE
from crypto_lakehouse.lake.reader.reasons import STATES, newest_symbols
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import prepare, scan_rows
from crypto_lakehouse.lake.reader.scan import Selection, scan_files
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.building import ways_to_build
from crypto_lakehouse.lake.storage.damage import DamagedFile, reading, unchanged
from crypto_lakehouse.lake.storage.describe import (
    StoredFile,
    check_markets,
    existing_tables,
    holes,
    list_files,
    remembered_slice_files,
    require_lake,
)
from crypto_lakehouse.lake.storage.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

_NAMED = 5
_COVERAGE = {
    **dict.fromkeys(("layer", "table", "market", "first", "last"), pl.String()),
    **dict.fromkeys(("partitions", "missing", "without_rows", "rows"), pl.Int64()),
}
_NEWEST = {
    **dict.fromkeys(("layer", "table", "exchange", "market", "last"), pl.String()),
    "written": pl.Datetime("us", "UTC"),
}


def traded_symbols(store: LakeStore, exchange: str, market: str, times: TimeRange) -> list[str]:
    """Return the symbols with traded minutes in the range, sorted, from the newest partition of gold.symbol_states.

    Raises MissingPartition, which names the command that builds it, if there is none.
    """
    check_one_market("lake.symbols", exchange, market)
    states = TableSlice("gold", exchange, market, STATES_TABLE)
    newest = max(list_keys(store, states), default=None)
    if newest is None:
        require_lake(store, [states.folder])
        how = ways_to_build(store, [(states, None, None)])
        raise MissingPartition(
            f"gold.{STATES_TABLE} of {exchange}/{market} in {store.uri} has no partitions{how}; or"
            f" name a table: lake.symbols({market!r}, table='silver.funding_rates')"
        )
    partition = states.partition(newest)
    rows = read_partition(store, partition)
    start, end = times.within([partition.end])
    if start is not None:
        rows = rows.filter(pl.col("last_time") >= start)
    if end is not None:
        rows = rows.filter(pl.col("first_time") < end)
    return sorted(rows["symbol"].unique())


def symbols_of(store: LakeStore, request: RowRequest) -> list[str]:
    """Return the symbols of the requested rows, sorted; without a range, those of each market's newest partition."""

    def read() -> list[str]:
        if request.times == TimeRange(None, None):
            newest = [files[-1] for each in request.slices if (files := remembered_slice_files(store, each))]
            frame, paths = scan_files(store, request.schema, newest, {}), [file.path for file in newest]
        else:
            frame, selections = scan_rows(store, request, ordered=False)
            paths = [file.path for selection in selections for file in selection.files]
        if not paths:
            require_lake(store, [each.folder for each in request.slices])
        with reading(store, paths):
            return sorted(frame.select("symbol").unique().collect()["symbol"])

    symbols = unchanged(read, lambda: [list_keys(store, each) for each in request.slices])
    if not symbols:
        markets = ", ".join(request.markets)
        warn(f"{request.table} of {request.exchange}/{markets} in {store.uri} has no symbols in this range")
    return symbols


def symbol_coverage(store: LakeStore, symbol: str, exchange: str, market: str | None) -> pl.DataFrame:
    """Return the frame of ``Lakehouse.coverage``, and warn if no table has rows of the symbol."""
    check_text("symbol", symbol, "'BTCUSDT'")
    check_symbol(symbol)
    markets, rows, known = check_markets(exchange, market), [], set[str]()
    for layer in ("silver", "gold"):
        for table in existing_tables(store, layer):
            if f"{layer}.{table}" in STATES:
                continue
            for name in store.folders(f"{layer}/{table}/exchange={exchange}"):
                if (each := name.removeprefix("market=")) in markets:
                    row, selection = _covered(store, TableSlice(layer, exchange, each, table), symbol)
                    if row is None:
                        known.update(newest_symbols(store, selection.slice.schema, [selection]))
                    else:
                        rows.append(row)
    if not rows:
        require_lake(store)
        warn(f"no table of {exchange} in {store.uri} has rows of {with_near(symbol, sorted(known))}")
    return pl.DataFrame(rows, schema=_COVERAGE, orient="row")


def _covered(store: LakeStore, table_slice: TableSlice, symbol: str) -> tuple[tuple[Any, ...] | None, Selection]:
    """Return the row of a table in the coverage of a symbol, None without rows, and the files of the table."""
    layer, exchange, market, table = table_slice.asset_key
    column = table_slice.cadence.partition_column
    request = RowRequest.parse(f"{layer}.{table}", exchange, market, [symbol], columns=[column])

    def count(rows: pl.LazyFrame, files: Sequence[StoredFile]) -> pl.DataFrame:
        with reading(store, [file.path for file in files]):
            return rows.group_by(pl.col(column).cast(pl.String)).len().collect()

    def read() -> tuple[pl.DataFrame, Selection]:
        frame, (selection,) = scan_rows(store, request, ordered=False)
        return count(frame, selection.files), selection

    damaged: dict[str, str] = {}
    try:
        counted, selection = unchanged(read, lambda: list_keys(store, table_slice))
    except DamagedFile:
        build, _, (selection,) = prepare(store, request, ordered=False, months=False)
        counts = [count(build([]), [])]
        for file in selection.files:
            try:
                counts.append(count(build([file]), [file]))
            except DamagedFile as error:
                damaged[file.key] = str(error)
        counted = pl.concat(counts)
        for text in [*damaged.values()][:_NAMED]:
            warn(f"coverage does not count the rows of a damaged file. {text}")
        if len(damaged) > _NAMED:
            warn(f"{len(damaged) - _NAMED} more files are damaged. To list them: {command_line('verify')}")
    if counted.is_empty():
        return None, selection
    keys = set(counted[column])
    first, last = min(keys), max(keys)
    between = [key for key in selection.stored if first <= key <= last]
    missing = len(holes(table_slice, [*between]))
    without_rows = sum(key not in keys and key not in damaged for key in between)
    rows = counted["len"].sum()
    return (layer, table, market, first, last, len(keys), missing, without_rows, rows), selection


def newest_partitions(store: LakeStore) -> pl.DataFrame:
    """Return the frame of ``Lakehouse.latest``: the newest partition of each table and market."""
    newest = {
        file.slice: file
        for layer in ("silver", "gold")
        for table in existing_tables(store, layer)
        for file in list_files(store, layer, table)
    }
    if not newest:
        require_lake(store)
    rows = [(*_names(table_slice), file.key, file.modified) for table_slice, file in newest.items()]
    return pl.DataFrame(rows, schema=_NEWEST, orient="row")


def _names(table_slice: TableSlice) -> tuple[str, str, str, str]:
    return table_slice.layer, table_slice.table, table_slice.exchange, table_slice.market
