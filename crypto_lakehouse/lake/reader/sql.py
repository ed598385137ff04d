"""SQL over the lake with DuckDB: each ``layer.table`` that a query names becomes a view.

This module is imported with the first query. Queries only read, and only the lake. They read day files: a view does not
know whether the query selects symbols or days, and a query for one day would have to read a whole month file. Limits of
memory and time are in ``sql_limits.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads

from crypto_lakehouse.lake.reader.ends import KEY, find_ends, untraded
from crypto_lakehouse.lake.reader.sql_limits import LimitedQuery, Limits
from crypto_lakehouse.lake.storage.damage import FilesChanged, blame, first_line, unchanged
from crypto_lakehouse.lake.storage.describe import (
    StoredFile,
    existing_tables,
    is_table,
    list_files,
    path_columns,
    require_lake,
    split_table,
)
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema, schema_of

_ALLOWED = (
    "lake.sql runs one statement that reads tables named layer.table"
    " (SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE, EXPLAIN)"
)
_OF_FILES = (duckdb.Error, duckdb.IOException, duckdb.InvalidInputException)
_PLAIN = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# DuckDB accepts COPY inside WITH, and some functions run a text as SQL. A PIVOT that first looks up its columns is not
# one plain statement but several.
_MAY_WRITE = re.compile("copy|query|execute", re.IGNORECASE)
# Queries that list the tables.
_DISCOVERS = re.compile(r"\bshow\b|information_schema|\bduckdb_\w+\s*\(|\bdescribe\s*(?:[;)]|$)", re.IGNORECASE)
_NO_TABLE = re.compile(r"Table with name (\w+) does not exist")
# What DuckDB says where files of an older version miss columns of their table.
_OTHER_LAYOUT = re.compile("union_by_name|not found in FROM clause")
_NAME = re.compile(rf'"?\b({"|".join(LAYERS)})"?\s*\.\s*"?(\w+)"?', re.IGNORECASE)


def referenced_tables(query: str) -> list[tuple[str, str]]:
    """Return (layer, table) of every table of the lake that the text of a query names, each once."""
    named = dict.fromkeys((layer.lower(), table.lower()) for layer, table in _NAME.findall(query))
    return [name for name in named if is_table(*name)]


def run_sql(store: LakeStore, query: str) -> pa.Table:
    """Run one reading query with session time zone UTC; repeated column names are numbered (``open_1``).

    If a run replaces files during the query, the query runs again with a new listing: DuckDB may open a file twice and
    read the new file by the footer of the old one. All attempts together share the time limit of one query
    (``sql_limits.py``).

    Raises ValueError on anything but one reading statement and on files outside the lake, KeyError on an unknown table,
    MissingLakeError if there is no lake, DamagedFile that names a file that cannot be read, QueryLimit at a limit of
    memory or time, duckdb.Error if DuckDB refuses the query for another reason.
    """
    limited = LimitedQuery(Limits.from_environment())

    def listed() -> list[StoredFile]:
        return [file for layer, table in _asked_tables(store, query) for file in list_files(store, layer, table)]

    def read() -> pa.Table:
        try:
            try:
                return _run(store, query, limited)
            except (duckdb.BinderException, duckdb.InvalidInputException) as error:
                if not _OTHER_LAYOUT.search(str(error)):
                    raise
                # Arrow gives nulls there.
                return _run(store, query, limited, may_read_files=False)
        except (duckdb.Error, OSError) as error:
            # On a damaged file DuckDB raises one of these types exactly, not a subclass.
            if isinstance(error, duckdb.Error) and type(error) not in _OF_FILES:
                raise
            raise blame(store, [file.path for file in listed()], first_line(error), by_arrow=True) from error

    try:
        return limited.run(lambda: unchanged(read, listed))
    except FilesChanged as error:
        # No file is damaged, so the query may be at fault: raise the original error.
        raise error.__cause__ or error from None


def _run(store: LakeStore, query: str, limited: LimitedQuery, may_read_files: bool = True) -> pa.Table:
    """Run the query once; unless DuckDB ``may_read_files`` by itself, through Arrow."""
    with limited.connection() as connection:
        statement = _reading(connection, query)
        # Names in a query mean tables of the lake, never Python variables of the caller.
        connection.execute("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
        # DuckDB reads local files faster by itself than through Arrow. But where it may read it may also write, and it
        # takes columns from folder names above the lake.
        is_safe = statement.type in _PLAIN and not _MAY_WRITE.search(query)
        by_itself = may_read_files and is_safe and store.is_local and not store.is_below_hive_names
        for layer in LAYERS:
            connection.execute(f"CREATE SCHEMA {layer}")
        for layer, table in _asked_tables(store, query):
            _register(connection, store, layer, table, by_itself)
        _lock(connection, store.root if by_itself else None)
        try:
            table = limited.rows(connection, statement)
        except duckdb.PermissionException as error:
            raise ValueError(f"{_ALLOWED}; it cannot read other files or change settings") from error
        except duckdb.CatalogException as error:
            for layer, table in _NAME.findall(query):
                if f"{table} does not exist" in str(error):
                    try:
                        split_table(f"{layer}.{table}".lower())
                    except KeyError as unknown:
                        raise unknown from error
            named = {table.lower() for _, table in _NAME.findall(query)}
            if (match := _NO_TABLE.search(str(error))) and match[1].lower() not in named:
                try:
                    split_table(match[1].lower())
                except KeyError as without_layer:
                    raise without_layer from error
            raise
        return table.rename_columns(_distinct(table.column_names))


def _asked_tables(store: LakeStore, query: str) -> list[tuple[str, str]]:
    """Return the tables that a query names and, if it lists tables, all tables of the lake."""
    named = referenced_tables(query)
    if _DISCOVERS.search(query):
        named += [(layer, table) for layer in LAYERS for table in existing_tables(store, layer)]
    return list(dict.fromkeys(named))


def _reading(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    """Return the one statement of a query. Raises ValueError if there are several, or if it does more than read."""
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise ValueError(f"{_ALLOWED}; this text has {len(statements)} statements")
    if statements[0].type not in (*_PLAIN, duckdb.StatementType.MULTI):
        raise ValueError(f"{_ALLOWED}; this is a statement of type {statements[0].type.name}")
    return statements[0]


def _lock(connection: duckdb.DuckDBPyConnection, root: str | None) -> None:
    """Allow the query only files below ``root``, and lock that setting."""
    if root:
        # DuckDB checks both the path as written in the view and the path without glob escapes.
        folders = ", ".join(_quoted(folder) for folder in dict.fromkeys((root, _plain(root))))
        connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def _distinct(names: list[str]) -> list[str]:
    """Number the repeated names; a number is never chosen that equals a name of the query."""
    taken, seen, distinct = set(names), set[str](), []
    for name in names:
        new, number = name, 0
        while new in (taken if number else seen):
            number += 1
            new = f"{name}_{number}"
        taken.add(new)
        seen.add(new)
        distinct.append(new)
    return distinct


def _register(connection: duckdb.DuckDBPyConnection, store: LakeStore, layer: str, table: str, by_itself: bool) -> None:
    """Create the view of a table: all of its columns, null where the files of a market do not have one.

    DuckDB reads the files ``by_itself``, or else through Arrow.
    """
    hive = {n: pa.date32() if t is pl.Date else pa.string() for n, t in path_columns(layer, table).items()}
    full = _arrow(schema_of(layer, table), hive)
    files = list_files(store, layer, table)
    if not files:
        require_lake(store)
    stored_columns = {each: tuple(_arrow(each.schema, hive).names) for each in {file.slice for file in files}}
    # Markets may store different columns, and a log holds daily and monthly feeds in one table. One read needs the same
    # columns and the same partition column in all of its files.
    shapes: dict[tuple[str, tuple[str, ...]], list[StoredFile]] = defaultdict(list)
    for file in files:
        shapes[file.column, stored_columns[file.slice]].append(file)
    name = f"{layer}__{table}"
    # An empty table that fixes names, order and types of all columns.
    connection.register(name, full.empty_table())
    reads = [f"FROM {name}"]
    anti_join = _without_filled_ends(connection, store, layer, table, files)
    for number, ((_, names), alike) in enumerate(shapes.items()):
        columns = ", ".join(f'"{column}"' for column in names)
        if by_itself:
            source = _read_parquet(store, alike)
        else:
            source = f"{name}__{number}"
            connection.register(source, _dataset(store, alike, full, hive))
        reads.append(f"SELECT {columns} FROM {source}{anti_join}")
    connection.execute(f"CREATE VIEW {layer}.{table} AS {' UNION ALL BY NAME '.join(reads)}")


def _without_filled_ends(
    connection: duckdb.DuckDBPyConnection, store: LakeStore, layer: str, table: str, files: list[StoredFile]
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
    paths = ", ".join(_quoted(_plain(store.path(file.path))) for file in files)
    column = files[0].column
    kinds = {"exchange": "VARCHAR", "market": "VARCHAR", column: "DATE" if column == "date" else "VARCHAR"}
    types = ", ".join(f"'{name}': {kind}" for name, kind in kinds.items())
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{{types}}})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(path: str) -> str:
    """Escape the characters of a path that a glob would interpret."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Convert Arrow to Polars."""
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
