"""SQL over the lake by DuckDB: ``layer.table`` names become views, and only those that a query uses.

Here belongs what DuckDB needs to see the lake; it is imported when the first query is made. Queries read day files:
a view does not know whether a query asks for a symbol or for a day, which would take all of a month file. Queries
only read, and only the lake.
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

from crypto_lakehouse.lake.damage import FilesChanged, blame, first_line, unchanged
from crypto_lakehouse.lake.describe import (
    Part,
    existing_tables,
    is_table,
    list_parts,
    path_columns,
    require_lake,
    split_table,
)
from crypto_lakehouse.lake.ends import KEY, find_ends, untraded
from crypto_lakehouse.lake.sql_limits import Limits, limited_connection, run_limited
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import LAYERS, Schema, schema_of, slice_schema

_ALLOWED = "lake.sql answers queries (SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE, EXPLAIN) of tables named layer.table"
_OF_FILES = (duckdb.Error, duckdb.IOException, duckdb.InvalidInputException)
_PLAIN = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# DuckDB takes COPY inside of WITH, and functions run text as SQL that the query does not show. A PIVOT that looks for
# its columns first is no plain statement, but several.
_MAY_WRITE = re.compile("copy|query|execute", re.IGNORECASE)
# Asks which tables there are, rather than for one of them.
_DISCOVERS = re.compile(r"\bshow\b|information_schema|\bduckdb_\w+\s*\(|\bdescribe\s*(?:[;)]|$)", re.IGNORECASE)
_NO_TABLE = re.compile(r"Table with name (\w+) does not exist")
_NAME = re.compile(rf'"?\b({"|".join(LAYERS)})"?\s*\.\s*"?(\w+)"?', re.IGNORECASE)


def referenced_tables(query: str) -> list[tuple[str, str]]:
    """(layer, table) of every table of the lake that the text of a query names, each once."""
    named = dict.fromkeys((layer.lower(), table.lower()) for layer, table in _NAME.findall(query))
    return [name for name in named if is_table(*name)]


def run_sql(store: LakeStore, query: str) -> pa.Table:
    """Run one reading query with session time zone UTC; repeated names of columns are numbered (``open_1``).

    A query over files that a run replaces meanwhile is tried again, with a new listing: DuckDB opens a file again
    and reads it by the footer of the one before.

    All tries together have the time that one query has (``sql_limits.py``).

    Raises ValueError on anything but one reading statement and on files that are not of the lake, KeyError on a
    table there is not, MissingLakeError where there is no lake, DamagedFile that names a file which cannot be read,
    QueryLimit at a limit of memory or time, duckdb.Error on what else DuckDB refuses.
    """
    limits = Limits.from_environment()

    def listed() -> list[Part]:
        return [part for layer, table in _asked_tables(store, query) for part in list_parts(store, layer, table)]

    def read() -> pa.Table:
        try:
            return _run(store, query, limits)
        except (duckdb.Error, OSError) as error:
            # What it meets inside of such a file is not of any kind, or of these.
            if isinstance(error, duckdb.Error) and type(error) not in _OF_FILES:
                raise
            raise blame(store, [part.path for part in listed()], first_line(error), by_arrow=True) from error

    try:
        return unchanged(read, listed)
    except FilesChanged as error:
        # No file is damaged, so it may be the query.
        raise error.__cause__ or error from None


def _run(store: LakeStore, query: str, limits: Limits) -> pa.Table:
    with limited_connection(limits) as connection:
        statement = _reading(connection, query)
        # Names in a query mean tables of the lake, never Python variables that happen to be near.
        connection.execute("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
        # DuckDB reads a folder faster by itself than through Arrow, but where it may read it may write, and it takes
        # columns from names above the lake.
        is_safe = statement.type in _PLAIN and not _MAY_WRITE.search(query)
        by_itself = is_safe and store.is_local and not store.is_below_hive_names
        for layer in LAYERS:
            connection.execute(f"CREATE SCHEMA {layer}")
        for layer, table in _asked_tables(store, query):
            _register(connection, store, layer, table, by_itself)
        _lock(connection, store.root if by_itself else None)
        try:
            table = run_limited(connection, statement, limits)
        except duckdb.PermissionException as error:
            raise ValueError(f"{_ALLOWED}, of no other files or settings") from error
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
    """The tables that a query names, and all that are in the lake where it asks which there are."""
    named = referenced_tables(query)
    if _DISCOVERS.search(query):
        named += [(layer, table) for layer in LAYERS for table in existing_tables(store, layer)]
    return list(dict.fromkeys(named))


def _reading(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.Statement:
    """The one statement of a query. Raises ValueError where there are others, or it does something else than read."""
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise ValueError(f"{_ALLOWED}: one statement a call, not {len(statements)}")
    if statements[0].type not in (*_PLAIN, duckdb.StatementType.MULTI):
        raise ValueError(f"{_ALLOWED}, not {statements[0].type.name}")
    return statements[0]


def _lock(connection: duckdb.DuckDBPyConnection, root: str | None) -> None:
    """Leave the query no file but those below ``root``, and no way to change that."""
    if root:
        # DuckDB asks for the path as it is written in the view, and for the one that this means.
        folders = ", ".join(_quoted(folder) for folder in dict.fromkeys((root, _plain(root))))
        connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def _distinct(names: list[str]) -> list[str]:
    """The names with a number at each that came before; names that the query gave itself are kept."""
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
    """Make the view: all columns of the table, null where the files of a market lack one.

    DuckDB reads the files ``by_itself`` or else through Arrow.
    """
    hive = {n: pa.date32() if t is pl.Date else pa.string() for n, t in path_columns(layer, table).items()}
    full = _arrow(schema_of(layer, table), hive)
    parts = list_parts(store, layer, table)
    if not parts:
        require_lake(store)
    there = {
        place: tuple(_arrow(slice_schema(layer, table, *place), hive).names)
        for place in {(part.exchange, part.market) for part in parts}
    }
    # Files of a market may lack columns, and the logs of daily and monthly feeds lie in one table: one read takes
    # one shape of files and of paths.
    shapes: dict[tuple[str, tuple[str, ...]], list[Part]] = defaultdict(list)
    for part in parts:
        shapes[part.column, there[part.exchange, part.market]].append(part)
    name = f"{layer}__{table}"
    # No rows, but the names, order and types of all columns.
    connection.register(name, full.empty_table())
    reads = [f"FROM {name}"]
    kept = _without_filled_ends(connection, store, layer, table, parts)
    for number, ((_, names), alike) in enumerate(shapes.items()):
        columns = ", ".join(f'"{column}"' for column in names)
        if by_itself:
            source = _read_parquet(store, alike)
        else:
            source = f"{name}__{number}"
            connection.register(source, _dataset(store, alike, full, hive))
        reads.append(f"SELECT {columns} FROM {source}{kept}")
    connection.execute(f"CREATE VIEW {layer}.{table} AS {' UNION ALL BY NAME '.join(reads)}")


def _without_filled_ends(
    connection: duckdb.DuckDBPyConnection, store: LakeStore, layer: str, table: str, parts: list[Part]
) -> str:
    """What leaves out of a read the rows that were filled after the end of their series; empty where there are none."""
    nothing_traded = untraded(layer, table)
    if nothing_traded is None or not parts:
        return ""
    markets: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        markets[part.exchange].add(part.market)
    ends = pl.concat(find_ends(store, exchange, sorted(names)) for exchange, names in markets.items())
    if ends.is_empty():
        return ""
    name = f"{layer}__{table}__ends"
    connection.register(name, ends.to_arrow())
    same = " AND ".join(f"stored.{column} = ends.{column}" for column in KEY)
    return f" AS stored ANTI JOIN {name} AS ends ON {same} AND stored.open_time > ends.last_time AND {nothing_traded}"


def _arrow(schema: Schema, hive: Mapping[str, pa.DataType]) -> pa.Schema:
    """Columns that a reader sees: of the files those that no path tells, then those of paths."""
    in_files = [field for field in schema.arrow if field.name not in hive]
    return pa.schema([*in_files, *(pa.field(name, kind) for name, kind in hive.items())])


def _dataset(store: LakeStore, parts: list[Part], full: pa.Schema, hive: Mapping[str, pa.DataType]) -> Any:
    return pads.dataset(
        [store.path(part.path) for part in parts],
        schema=full,
        format="parquet",
        filesystem=store.filesystem,
        partitioning=pads.partitioning(pa.schema(list(hive.items())), flavor="hive"),
        partition_base_dir=store.root,
    )


def _read_parquet(store: LakeStore, parts: list[Part]) -> str:
    # The listing, not a glob: unpublished files are left out, and nothing is listed twice.
    paths = ", ".join(_quoted(_plain(store.path(part.path))) for part in parts)
    column = parts[0].column
    kinds = {"exchange": "VARCHAR", "market": "VARCHAR", column: "DATE" if column == "date" else "VARCHAR"}
    types = ", ".join(f"'{name}': {kind}" for name, kind in kinds.items())
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{{types}}})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(path: str) -> str:
    """The path with characters that a glob would read made literal."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Arrow to Polars."""
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
