"""What the lake holds: its Parquet files as listed, an overview of tables, and the columns of a table.

Here belong listings and words about tables. Rows are read in ``read.py`` and ``sql.py``; nothing here
opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import polars as pl

from crypto_lakehouse.catalog import FEEDS, MARKETS, Cadence, find_market, parse_partition, partition_keys
from crypto_lakehouse.catalog.bars import bars_of_table
from crypto_lakehouse.catalog.near import did_you_mean, near, unknown_name
from crypto_lakehouse.lake.paths import COMPACTED, PART
from crypto_lakehouse.lake.store import LakeError, LakeFile, LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema, cadence_of, schema_of, table_names

_LOGS = ("ledger", "quarantine")


class MissingLakeError(LakeError):
    """There is no lake at the place that was opened. Says where, and what makes one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a table; ``path`` is relative to the root of the lake, ``size`` is in bytes, ``modified``
    is when it was written (UTC).
    """

    path: str
    exchange: str
    market: str
    feed: str | None
    column: str
    key: str
    size: int
    modified: datetime

    @property
    def days(self) -> tuple[date, date]:
        """First UTC day of the partition and the day after its last."""
        return parse_partition(self.key, _cadence(self.column))


def require_lake(store: LakeStore) -> None:
    """Raises MissingLakeError where nothing of a lake is at its place, LakeError if the storage refuses.

    For readers that found nothing: a misspelt place must not look like an empty lake.
    """
    if not {*LAYERS, COMPACTED}.intersection(store.folders()):
        raise MissingLakeError(
            f"there is no lake at {store.uri}: it holds none of the folders {', '.join(LAYERS)}. Check the path or"
            " LAKEHOUSE_LAKE_URI; crypto-lakehouse backfill fills a lake, crypto-lakehouse demo makes a small one"
        )


def split_table(table: str) -> tuple[str, str, Schema]:
    """Layer, table and schema of ``layer.table``. Raises KeyError that names the tables there are."""
    layer, dot, name = table.partition(".")
    if not dot:
        close = _in_layers(table) or [f"{a}.{b}" for a, b in table_names() if b in near(table, _names())]
        raise KeyError(f"{table!r} is not of the form layer.table; try {', '.join(close) or 'silver.klines_1m'}")
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
    """(layer, name) of the tables of ``layers`` called so, with or without the layer. Raises KeyError that names what
    there is.
    """
    wanted, _, name = table.rpartition(".")
    found = [(layer, name) for layer in layers if wanted in ("", layer) and is_table(layer, name)]
    if not found:
        if wanted and (others := _in_layers(name, layers)):
            raise KeyError(f"no table {table!r}; {did_you_mean(others)}")
        raise KeyError(f"{unknown_name('table', name, _names(layers))} (alone or as layer.table)")
    return found


def existing_tables(store: LakeStore, layer: str) -> list[str]:
    """Names of the layer's tables that have a folder in the lake, sorted; by one listing of one level."""
    return [name for name in store.folders(layer) if is_table(layer, name)]


def check_markets(exchange: str, market: str | Sequence[str] | None) -> list[str]:
    """Names of the markets asked for; None is all of the exchange. Raises KeyError that names what exists."""
    known = [m for e, m in MARKETS if e == exchange]
    if not known:
        raise KeyError(unknown_name("exchange", exchange, list(dict.fromkeys(e for e, _ in MARKETS))))
    wanted = known if market is None else [market] if isinstance(market, str) else list(market)
    for name in wanted:
        find_market(exchange, name)
    return wanted


def path_columns(layer: str, table: str) -> dict[str, type[pl.Date | pl.String]]:
    """Columns that readers get from the path: exchange, market, and ``date`` or ``month``.

    The logs (ledger, quarantine) have no third one: they hold days and months, as ``period`` says.
    """
    both: dict[str, type[pl.Date | pl.String]] = {"exchange": pl.String, "market": pl.String}
    if layer in _LOGS:
        return both
    key = cadence_of(layer, table).partition_column
    return {**both, key: pl.Date if key == "date" else pl.String}


def list_parts(store: LakeStore, layer: str, table: str, under: str = "") -> list[Part]:
    """Files of a table in order of (partition, market), by one listing; empty where there are none.

    ``under`` narrows the listing to a folder of the table, such as ``exchange=binance/market=um``.
    """
    files = store.list("/".join(filter(None, (layer, table, under))))
    parts = filter(None, map(part_of, files))
    return sorted(parts, key=lambda part: (part.key, part.exchange, part.market, part.path))


def part_of(file: LakeFile) -> Part | None:
    """The file as one of its table; None if it is foreign.

    That is one in any other place than where the lake itself puts files of the table, or in the folder of a day or
    month that does not exist. Raises KeyError on an unknown table.
    """
    layer, table, _ = file.path.split("/", 2)
    match = _own_path(layer, table).fullmatch(file.path)
    if not match or not _is_key(match["key"], match["column"]):
        return None
    return Part(path=file.path, size=file.size, modified=file.modified, **match.groupdict())


def holes(layer: str, table: str, exchange: str, market: str, keys: Collection[str]) -> list[str]:
    """Keys between the first and the last of ``keys`` that are not among them, and that the feed of a bronze or
    silver table covers.
    """
    if not keys:
        return []
    cadence, feed = cadence_of(layer, table), FEEDS.get((exchange, market, table))
    first, end = parse_partition(min(keys), cadence)[0], parse_partition(max(keys), cadence)[1]
    return [
        key
        for key in partition_keys(first, end, cadence)
        if key not in keys and (feed is None or feed.covers(parse_partition(key, cadence)[0]))
    ]


@lru_cache(maxsize=256)
def _own_path(layer: str, table: str) -> re.Pattern[str]:
    """The paths at which the lake itself puts the files of a table."""
    name = r"[a-z][a-z0-9_]*"
    if layer in _LOGS:
        # Names that start with a dot or an underscore are no data, by the convention of all engines.
        feed, column, file = rf"feed=(?P<feed>{name})/", "date|month", r"[^/._][^/]*\.parquet"
    else:
        feed, column, file = "(?P<feed>)?", cadence_of(layer, table).partition_column, re.escape(PART)
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
    """One row per materialized (layer, table, exchange, market): partitions, first and last key, bytes."""
    schema = {
        **dict.fromkeys(("layer", "table", "exchange", "market"), pl.String),
        "partitions": pl.Int64,
        "first": pl.String,
        "last": pl.String,
        "bytes": pl.Int64,
    }
    rows = [
        (layer, table, part.exchange, part.market, part.key, part.size)
        for layer in LAYERS
        for table in existing_tables(store, layer)
        for part in list_parts(store, layer, table)
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
    """Columns of a table in order: name, Arrow type, unit, whether it is of the primary key, whether it may
    be null, and what it means.

    The last rows are the columns that are taken from the path of a file.
    """
    closing = ", on which the bar closed" if layer == "gold" and bars_of_table(table) else ""
    from_path = {
        "exchange": ("string", "name", "Exchange, from the path."),
        "market": ("string", "name", "Market of the exchange, from the path."),
        "date": ("date32[day]", "YYYY-MM-DD", f"UTC day of the partition{closing}, from the path."),
        "month": ("string", "YYYY-MM", "UTC month of the partition, from the path."),
    }
    of = schema_of(layer, table)
    in_path = path_columns(layer, table)
    rows = [
        (c.name, str(c.type), c.unit, c.name in of.primary_key, c.nullable, c.doc)
        for c in of.columns
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
