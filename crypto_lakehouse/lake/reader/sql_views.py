"""Views of the lake's tables in a DuckDB connection: all columns of a table, over given files.

Which files a query reads is decided in ``sql_files.py``, which statements may run in ``sql.py``; macros are in
``sql_macros.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads

from crypto_lakehouse.lake.reader.ends import KEY, find_ends, untraded
from crypto_lakehouse.lake.storage.describe import StoredFile, path_columns, require_lake
from crypto_lakehouse.lake.storage.months import is_month_file
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema, schema_of


def create_view(
    connection: duckdb.DuckDBPyConnection,
    store: LakeStore,
    layer: str,
    table: str,
    files: Sequence[StoredFile],
    by_itself: bool,
) -> bool:
    """Create the view of a table over ``files``: all of its columns, null where the files of a market do not have one.

    DuckDB reads the files ``by_itself``, or else through Arrow. Returns whether there is any file.
    """
    schema = schema_of(layer, table)
    hive = {n: pa.date32() if t is pl.Date else pa.string() for n, t in path_columns(layer, table).items()}
    full = _arrow(schema, hive)
    if not files:
        require_lake(store, [f"{layer}/{table}"])
    stored_columns = {each: tuple(_arrow(each.schema, hive).names) for each in {file.slice for file in files}}
    # Markets may store different columns, and a log holds daily and monthly feeds in one table. One read needs the same
    # columns and the same partition column in all of its files. Month files and the day files around them are read in
    # their order.
    shapes: dict[tuple[int, str, tuple[str, ...]], list[StoredFile]] = defaultdict(list)
    changes = accumulate((is_month_file(a) != is_month_file(b) for a, b in pairwise(files)), initial=0)
    for file, change in zip(files, changes, strict=False):
        shapes[change, file.column, stored_columns[file.slice]].append(file)
    name = f"{layer}__{table}"
    # An empty table that fixes names, order and types of all columns.
    connection.register(name, full.empty_table())
    reads = [f"FROM {name}"]
    anti_join = _without_filled_ends(connection, store, layer, table, files)
    for number, ((_, _, names), alike) in enumerate(shapes.items()):
        columns = ", ".join(f'"{column}"' for column in names)
        in_path = hive
        if is_month_file(alike[0]):
            columns = columns.replace('"date"', f'CAST("{schema.time_column}" AS DATE) AS "date"')
            in_path = {column: kind for column, kind in hive.items() if column != "date"} | {"month": pa.string()}
        if by_itself:
            source = _read_parquet(store, alike)
        else:
            source = f"{name}__{number}"
            connection.register(source, _dataset(store, alike, _arrow(schema, in_path), in_path))
        reads.append(f"SELECT {columns} FROM {source}{anti_join}")
    connection.execute(f"CREATE VIEW {layer}.{table} AS {' UNION ALL BY NAME '.join(reads)}")
    return bool(files)


def _without_filled_ends(
    connection: duckdb.DuckDBPyConnection, store: LakeStore, layer: str, table: str, files: Sequence[StoredFile]
) -> str:
    """Return the SQL that removes rows filled after the end of their series from a read; empty if there are none."""
    nothing_traded = untraded(layer, table)
    if nothing_traded is None or not files:
        return ""
    markets: dict[str, set[str]] = defaultdict(set)
    for file in files:
        markets[file.slice.exchange].add(file.slice.market)
    ends = pl.concat(find_ends(store, exchange, sorted(names)) for exchange, names in markets.items())
    if ends.is_empty():
        return ""
    name = f"{layer}__{table}__ends"
    connection.register(name, ends.to_arrow())
    same = " AND ".join(f"stored.{column} = ends.{column}" for column in KEY)
    return f" AS stored ANTI JOIN {name} AS ends ON {same} AND stored.open_time > ends.last_time AND {nothing_traded}"


def _arrow(schema: Schema, hive: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the columns that a reader sees: those of the files, then those of the path (which win)."""
    in_files = [field for field in schema.arrow if field.name not in hive]
    return pa.schema([*in_files, *(pa.field(name, kind) for name, kind in hive.items())])


def _dataset(store: LakeStore, files: list[StoredFile], full: pa.Schema, hive: Mapping[str, pa.DataType]) -> Any:
    return pads.dataset(
        [store.path(file.path) for file in files],
        schema=full,
        format="parquet",
        filesystem=store.filesystem,
        partitioning=pads.partitioning(pa.schema(list(hive.items())), flavor="hive"),
        partition_base_dir=store.root,
    )


def _read_parquet(store: LakeStore, files: list[StoredFile]) -> str:
    # The listing, not a glob: it skips drafts, and nothing is listed twice.
    paths = ", ".join(quoted(plain(store.path(file.path))) for file in files)
    column = files[0].column
    kinds = {"exchange": "VARCHAR", "market": "VARCHAR", column: "DATE" if column == "date" else "VARCHAR"}
    types = ", ".join(f"'{name}': {kind}" for name, kind in kinds.items())
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{{types}}})"


def quoted(text: str) -> str:
    """A text of SQL."""
    return "'" + text.replace("'", "''") + "'"


def plain(path: str) -> str:
    """Escape the characters of a path that a glob would interpret."""
    return re.sub(r"([\[*?])", r"[\1]", path)
