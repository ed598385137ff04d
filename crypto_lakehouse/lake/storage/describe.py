"""The contents of a lake: its Parquet files as listed, an overview of tables, and the columns of a table.

Nothing here opens a file. Rows are read in ``reader/rows.py`` and ``reader/sql.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import polars as pl

from crypto_lakehouse.catalog import MARKETS, Cadence, find_market, parse_partition, partition_keys
from crypto_lakehouse.catalog.commands import command_line
from crypto_lakehouse.catalog.near import did_you_mean, near, unknown_name
from crypto_lakehouse.lake.storage.as_of import LOGS, AsOfStore
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.lake.storage.remembered import remembered
from crypto_lakehouse.lake.storage.revisions import VERSIONED
from crypto_lakehouse.lake.storage.store import LakeError, LakeFile, LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema, cadence_of, schema_of, table_names
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import FILE_NAME, TableSlice


class MissingLakeError(LakeError):
    """There is no lake at the location that was opened. The message names it and the commands that create a lake."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One Parquet file of a table.

    ``path`` is relative to the root of the lake, ``size`` is in bytes, ``modified`` is the time of writing (UTC).
    ``column`` is the Hive column of the key: ``date``, or ``month`` in monthly tables and month files. ``feed`` is the
    table that a file of the logs is about.
    """

    path: str
    slice: TableSlice
    feed: str | None
    column: str
    key: str
    size: int
    modified: datetime

    @property
    def start(self) -> date:
        """First UTC day of the partition or month file."""
        return parse_partition(self.key, _cadence(self.column))[0]

    @property
    def end(self) -> date:
        """The day after the last UTC day."""
        return parse_partition(self.key, _cadence(self.column))[1]


def require_lake(store: LakeStore, folders: Sequence[str] = ()) -> None:
    """Raise MissingLakeError if the location holds no lake, LakeError if the storage refuses.

    Readers that find no file call this: a misspelt location must not look like an empty lake. In a lake of an earlier
    time, raise NoVersion if what is below ``folders``, or in the whole lake, was stored later.
    """
    if isinstance(store, AsOfStore):
        store.check_stored(VERSIONED)
        store.check_stored(folders)
    if not {*LAYERS, COMPACTED}.intersection(store.folders()):
        if near_lake := _lake_nearby(store):
            raise MissingLakeError(f"there is no lake at {store.uri}, but there is one at {near_lake}: open that")
        raise MissingLakeError(
            f"there is no lake at {store.uri}: it has none of the folders {', '.join(LAYERS)}. Check the path or"
            f" LAKEHOUSE_LAKE_URI. {command_line('backfill')} fills a lake; {command_line('demo')} builds a small one"
        )


def _lake_nearby(store: LakeStore) -> Path | None:
    """A lake one level below a local folder, or above it."""
    if not store.is_local:
        return None
    root = Path(store.root)
    below = sorted(root.glob("*/")) if root.is_dir() else []
    places = [root / "lake", *below, *root.parents[:2]]
    return next((place for place in places if any((place / layer).is_dir() for layer in ("silver", "gold"))), None)


def split_table(table: str) -> tuple[str, str, Schema]:
    """Return layer, table and schema of ``layer.table``. Raises KeyError that lists tables with similar names."""
    layer, dot, name = table.partition(".")
    if not dot:
        close = _in_layers(table) or [f"{a}.{b}" for a, b in table_names() if b in near(table, _names())]
        raise KeyError(f"{table!r} does not name its layer; try {', '.join(close) or 'silver.klines_1m'}")
    if not is_table(layer, name) and layer in LAYERS and (others := _in_layers(name)):
        raise KeyError(f"no table {table}; {did_you_mean(others)}")
    return layer, name, schema_of(layer, name)


def _in_layers(table: str, layers: Sequence[str] = LAYERS) -> list[str]:
    return [f"{layer}.{table}" for layer in layers if is_table(layer, table)]


def _names(layers: Sequence[str] = LAYERS) -> list[str]:
    return list(dict.fromkeys(name for layer, name in table_names() if layer in layers))


def is_table(layer: str, table: str) -> bool:
    """Whether a lake can hold ``layer.table``."""
    try:
        schema_of(layer, table)
    except KeyError:
        return False
    return True


def tables_called(table: str, layers: Sequence[str]) -> list[tuple[str, str]]:
    """Return (layer, name) of the tables called ``table``, with or without the layer.

    Raises KeyError that lists the known tables.
    """
    wanted, _, name = table.rpartition(".")
    tables = [(layer, name) for layer in layers if wanted in ("", layer) and is_table(layer, name)]
    if not tables:
        if wanted and (others := _in_layers(name, layers)):
            raise KeyError(f"no table {table!r}; {did_you_mean(others)}")
        raise KeyError(unknown_name("table", name, _names(layers)))
    return tables


def existing_tables(store: LakeStore, layer: str) -> list[str]:
    """Return the sorted names of the layer's tables that have a folder in the lake, by one listing of one level."""
    return [name for name in store.folders(layer) if is_table(layer, name)]


def check_markets(exchange: str, market: str | Sequence[str] | None) -> list[str]:
    """Return the requested markets; None means all of the exchange. Raises KeyError that lists the known markets."""
    known = [m for e, m in MARKETS if e == exchange]
    if not known:
        raise KeyError(unknown_name("exchange", exchange, list(dict.fromkeys(e for e, _ in MARKETS))))
    wanted = known if market is None else [market] if isinstance(market, str) else list(market)
    for name in wanted:
        find_market(exchange, name)
    return wanted


def path_columns(layer: str, table: str) -> dict[str, type[pl.Date | pl.String]]:
    """Return the columns that readers take from the path: exchange, market, and ``date`` or ``month``.

    The logs (ledger, quarantine) have no third column: their column ``period`` holds days and months.
    """
    both: dict[str, type[pl.Date | pl.String]] = {"exchange": pl.String, "market": pl.String}
    if layer in LOGS:
        return both
    key = cadence_of(layer, table).partition_column
    return {**both, key: pl.Date if key == "date" else pl.String}


def list_files(store: LakeStore, layer: str, table: str) -> list[StoredFile]:
    """Return the files of a table in order of partition, exchange and market, by one listing."""
    return _files_in(store, f"{layer}/{table}")


def list_slice_files(store: LakeStore, table_slice: TableSlice) -> list[StoredFile]:
    """Return the files of a slice in order of partition, by one listing."""
    return _files_in(store, table_slice.folder)


def remembered_slice_files(store: LakeStore, table_slice: TableSlice) -> list[StoredFile]:
    """``list_slice_files``, or its last result if nothing was published in the slice since then; for readers.

    The logs (ledger, quarantine) are always listed: their files are two levels deep.
    """
    if table_slice.layer in LOGS:
        return list_slice_files(store, table_slice)
    return remembered(store, table_slice.folder, lambda: list_slice_files(store, table_slice))


def _files_in(store: LakeStore, folder: str) -> list[StoredFile]:
    files = filter(None, map(stored_file, store.list(folder)))
    return sorted(files, key=lambda file: (file.key, file.slice.exchange, file.slice.market, file.path))


def stored_file(file: LakeFile) -> StoredFile | None:
    """Return the file as one of its table; None if it is foreign.

    A foreign file has a path that the lake itself never writes, or lies in the folder of an impossible day or month.
    Raises KeyError on an unknown table.
    """
    layer, table, _ = file.path.split("/", 2)
    match = _own_path(layer, table).fullmatch(file.path)
    if not match or not _is_key(match["key"], match["column"]):
        return None
    table_slice = _table_slice(layer, match["exchange"], match["market"], table)
    return StoredFile(file.path, table_slice, match["feed"], match["column"], match["key"], file.size, file.modified)


# The files of a listing share few slices, and each slice checks its names.
_table_slice = lru_cache(maxsize=256)(TableSlice)


def holes(table_slice: TableSlice, keys: Collection[str], first: date = date.min, end: date = date.max) -> list[str]:
    """Return the missing keys between the first and the last of ``keys``, with a day of [``first``, ``end``).

    For bronze and silver tables, only those that the feed covers. Tables of REST answers have none: their partitions
    exist where completion was on.
    """
    if not keys or table_slice.is_of_answers:
        return []
    cadence, feed = table_slice.cadence, table_slice.feed
    oldest, newest = table_slice.partition(min(keys)), table_slice.partition(max(keys))
    first, end = max(first, oldest.start), min(end, newest.end)
    since, until = f"{first}", f"{end}"
    if cadence is Cadence.DAILY and (end - first).days == sum(since <= key < until for key in keys):
        return []
    return [
        key
        for key in partition_keys(first, end, cadence)
        if key not in keys and (feed is None or feed.covers(parse_partition(key, cadence)[0]))
    ]


@lru_cache(maxsize=256)
def _own_path(layer: str, table: str) -> re.Pattern[str]:
    """Return the pattern of the paths at which the lake writes the files of a table."""
    name = r"[a-z][a-z0-9_]*"
    if layer in LOGS:
        # By the convention of all engines, names that start with a dot or an underscore are not data.
        feed, column, file = rf"feed=(?P<feed>{name})/", "date|month", r"[^/._][^/]*\.parquet"
    else:
        feed, column, file = "(?P<feed>)?", cadence_of(layer, table).partition_column, re.escape(FILE_NAME)
    return re.compile(
        rf"{layer}/{table}/exchange=(?P<exchange>{name})/market=(?P<market>{name})/{feed}"
        rf"(?P<column>{column})=(?P<key>[0-9-]+)/{file}"
    )


def _is_key(key: str, column: str) -> bool:
    try:
        parse_partition(key, _cadence(column))
    except ValueError:
        return False
    return True


def _cadence(column: str) -> Cadence:
    return Cadence.DAILY if column == Cadence.DAILY.partition_column else Cadence.MONTHLY


def tables_frame(store: LakeStore) -> pl.DataFrame:
    """Return one row per stored (layer, table, exchange, market): partitions, first and last key, bytes."""
    schema = {
        **dict.fromkeys(("layer", "table", "exchange", "market"), pl.String),
        "partitions": pl.Int64,
        "first": pl.String,
        "last": pl.String,
        "bytes": pl.Int64,
    }
    rows = [
        (layer, table, file.slice.exchange, file.slice.market, file.key, file.size)
        for layer in LAYERS
        for table in existing_tables(store, layer)
        for file in list_files(store, layer, table)
    ]
    slices = ["layer", "table", "exchange", "market"]
    listed = pl.DataFrame(rows, schema=[*slices, "key", "bytes"], orient="row")
    return (
        listed.group_by(slices, maintain_order=True)
        .agg(
            partitions=pl.col("key").n_unique(),
            first=pl.col("key").min(),
            last=pl.col("key").max(),
            bytes=pl.col("bytes").sum(),
        )
        .cast(schema)  # type: ignore[arg-type]
    )


def describe_frame(layer: str, table: str) -> pl.DataFrame:
    """Return the columns of a table: name, Arrow type, unit, part of the primary key, nullable, meaning.

    The last rows are the columns that readers take from the path of a file.
    """
    closing = ", on which the bar closed" if bars_in(layer, table) else ""
    from_path = {
        "exchange": ("string", "name", "Exchange, from the path."),
        "market": ("string", "name", "Market of the exchange, from the path."),
        "date": ("date32[day]", "YYYY-MM-DD", f"UTC day of the partition{closing}, from the path."),
        "month": ("string", "YYYY-MM", "UTC month of the partition, from the path."),
    }
    table_schema = schema_of(layer, table)
    in_path = path_columns(layer, table)
    rows = [
        (c.name, str(c.type), c.unit, c.name in table_schema.primary_key, c.nullable, c.doc)
        for c in table_schema.columns
        if c.name not in in_path
    ]
    for name in in_path:
        kind, unit, doc = from_path[name]
        rows.append((name, kind, unit, False, False, doc))
    schema = {
        "column": pl.String,
        "type": pl.String,
        "unit": pl.String,
        "key": pl.Boolean,
        "nullable": pl.Boolean,
        "doc": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
