"""SQL over the lake with DuckDB: each ``layer.table`` that a query names becomes a view.

This module is imported with the first query. Queries only read, and only the lake. Which files they read is decided in
``sql_files.py``; a connection for longer work reads day files, because its views do not know the queries. The views are
in ``sql_views.py``, macros in ``sql_macros.py``, limits of memory and time in ``sql_limits.py``.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import EXCHANGES
from crypto_lakehouse.lake.reader import sql_macros
from crypto_lakehouse.lake.reader.sql_files import Parameters, choose_files, query_files
from crypto_lakehouse.lake.reader.sql_limits import LimitedQuery, Limits, prepare
from crypto_lakehouse.lake.reader.sql_missing import Missing, query_holes
from crypto_lakehouse.lake.reader.sql_views import create_view, plain, quoted
from crypto_lakehouse.lake.storage.building import markets_with, ways_to_build
from crypto_lakehouse.lake.storage.damage import FilesChanged, blame, check_unreplaced, first_line, unchanged
from crypto_lakehouse.lake.storage.describe import (
    StoredFile,
    existing_tables,
    is_table,
    list_files,
    require_lake,
    split_table,
)
from crypto_lakehouse.lake.storage.leftovers import TEMPORARY
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import LAYERS
from crypto_lakehouse.schemas.gold import find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice

FilesOf = Callable[[str, str], Sequence[StoredFile]]

_ALLOWED = (
    "lake.sql runs one statement that reads tables named layer.table"
    " (SELECT, WITH, PIVOT, DESCRIBE, SUMMARIZE, EXPLAIN)"
)
_OF_FILES = (duckdb.Error, duckdb.IOException, duckdb.InvalidInputException)
_PLAIN = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# DuckDB accepts COPY inside WITH, and some functions run a text as SQL. A PIVOT that first looks up its columns is not
# one plain statement but several.
_MAY_WRITE = re.compile("copy|query|execute", re.IGNORECASE)
# DuckDB's own SHOW TABLES lists the tables of one schema.
_SHOW = re.compile(r"\s*show\s+tables\s*;?\s*", re.IGNORECASE)
_SHOWN = f"""
    SELECT schema || '.' || name AS name FROM (SHOW ALL TABLES)
    WHERE schema IN ({", ".join(map(quoted, LAYERS))}) ORDER BY name
"""
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


class MissingParameters(ValueError):
    """A query has parameters without a value: their ``names``, without ``$``."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        super().__init__(text)
        self.names = list(names)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query, the tables that it names and that the lake does not hold, missing partitions, and the paths
    of the files of its tables.
    """

    rows: pa.Table
    missing: list[tuple[str, str]]
    holes: Missing
    paths: list[str]


def run_sql(store: LakeStore, query: str, params: Parameters | None = None) -> Answer:
    """Run one reading query with session time zone UTC; repeated column names are numbered (``open_1``).

    If a run replaces files during the query, the query runs again with a new listing: DuckDB may open a file twice and
    read the new file by the footer of the old one. All attempts together share the time limit of one query
    (``sql_limits.py``).

    Raises ValueError on anything but one reading statement, on files outside the lake and on parameters that do not fit
    the query, KeyError on an unknown table, MissingLakeError if there is no lake, DamagedFile that names a file that
    cannot be read, QueryLimit at a limit of memory or time, duckdb.Error if DuckDB refuses the query for another
    reason.
    """
    if _SHOW.fullmatch(query):
        query = _SHOWN
    limited = LimitedQuery(Limits.from_environment())

    def listed() -> list[StoredFile]:
        tables = _asked_tables(store, query)
        return [file for layer, table in tables for file in query_files(store, layer, table, query, params)]

    def read() -> Answer:
        try:
            try:
                answer = _run(store, query, params, limited)
                check_unreplaced(store, answer.paths)
                return answer
            except (duckdb.BinderException, duckdb.InvalidInputException) as error:
                if not _OTHER_LAYOUT.search(str(error)):
                    raise
                # Arrow gives nulls there.
                return _run(store, query, params, limited, may_read_files=False)
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


def _run(
    store: LakeStore, query: str, params: Parameters | None, limited: LimitedQuery, may_read_files: bool = True
) -> Answer:
    """Run the query once; unless DuckDB ``may_read_files`` by itself, through Arrow."""
    with limited.connection() as connection:
        statement = _reading(connection, query)
        _check_parameters(statement, params)
        # Names in a query mean tables of the lake, never Python variables of the caller.
        connection.execute("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
        # DuckDB reads local files faster by itself than through Arrow. But where it may read it may also write, and it
        # takes columns from folder names above the lake.
        is_safe = statement.type in _PLAIN and not _MAY_WRITE.search(query)
        by_itself = may_read_files and is_safe and store.is_local and not store.is_below_hive_names
        in_text, gaps = referenced_tables(query), list[tuple[TableSlice, list[str]]]()
        paths = list[str]()

        def files(layer: str, table: str) -> list[StoredFile]:
            listed = list_files(store, layer, table)
            if (layer, table) in in_text:
                gaps.extend(query_holes(listed, layer, table, query, params))
            chosen = choose_files(store, listed, query, params)
            paths.extend(file.path for file in chosen)
            return chosen

        missing = _define(connection, store, _asked_tables(store, query), files, by_itself)
        _lock(connection, store.root if by_itself else None)
        try:
            table = limited.rows(connection, statement, params)
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
        absent = [name for name in missing if name in in_text]
        return Answer(table.rename_columns(_distinct(table.column_names)), absent, gaps, paths)


def open_connection(store: LakeStore) -> duckdb.DuckDBPyConnection:
    """Open a database in memory with views of all tables of the lake; it cannot use any file by itself.

    The views read through Arrow: where DuckDB may read files it may also write them.
    """
    connection = duckdb.connect()
    # DuckDB creates the folder for rows that do not fit in memory, and removes it when the connection is closed.
    spill = Path(tempfile.gettempdir()) / f"{TEMPORARY}sql-{uuid.uuid4().hex}"
    prepare(connection, str(spill), Limits.from_environment().memory)
    connection.execute("SET TimeZone = 'UTC'")
    stored = [(layer, table) for layer in LAYERS for table in existing_tables(store, layer)]
    if not stored:
        require_lake(store)
    _define(connection, store, stored, partial(list_files, store), by_itself=False)
    _lock(connection, None)
    return connection


def missing_tables_message(store: LakeStore, query: str, missing: Sequence[tuple[str, str]]) -> str:
    """Say which tables of a query the lake does not hold, and which commands build them."""
    names = ", ".join(f"{layer}.{table}" for layer, table in missing)
    # A statement of each layer and table: bars of one kind are computed, others are not.
    how = [ways_to_build(store, [(place, None, None)]) for name in missing if (place := _place(store, *name, query))]
    return f"{names} in {store.uri} has no partitions, so the query reads no rows of it{''.join(dict.fromkeys(how))}"


def _place(store: LakeStore, layer: str, table: str, query: str) -> TableSlice | None:
    """The table in the market that the query names, else in one that has rows; None if no market has the table."""
    markets = [each for exchange in EXCHANGES for each in _slices(layer, exchange, table)]
    named = [each for each in markets if re.search(rf"['\"]{each.market}['\"]", query)]
    gold = find_gold_table(table) if layer == "gold" else None
    sources = [f"silver/{source}" for source in gold.sources] if gold else []
    every = [f"{at}/{name}" for at in ("silver", "gold") for name in existing_tables(store, at)]
    stored = [each for names in (sources, every) for each in markets if _has_rows(store, each, names)]
    return next(iter(named or stored or markets), None)


def _slices(layer: str, exchange: str, table: str) -> list[TableSlice]:
    return [
        TableSlice(layer, exchange, market, table)
        for market in markets_with(TableSlice(layer, exchange, "spot", table))
    ]


def _has_rows(store: LakeStore, table_slice: TableSlice, tables: Sequence[str]) -> bool:
    """Whether the lake has any of the tables, ``layer/table``, in the market of a slice."""
    folder = f"market={table_slice.market}"
    return any(folder in store.folders(f"{name}/exchange={table_slice.exchange}") for name in tables)


def _define(
    connection: duckdb.DuckDBPyConnection,
    store: LakeStore,
    tables: Sequence[tuple[str, str]],
    files_of: FilesOf,
    by_itself: bool,
) -> list[tuple[str, str]]:
    """Create the views, each over the ``files_of`` its table, and the macros; return the tables without any file."""
    connection.execute("; ".join(f"CREATE SCHEMA {layer}" for layer in LAYERS))
    missing = [name for name in tables if not create_view(connection, store, *name, files_of(*name), by_itself)]
    connection.execute(sql_macros.statements())
    return missing


def _check_parameters(statement: duckdb.Statement, params: Parameters | None) -> None:
    """Raise ValueError, TypeError if the parameters are not those of the statement."""
    needed = set(statement.named_parameters)
    if isinstance(params, str) or not isinstance(params, Mapping | Sequence | None):
        raise TypeError(f"params must be a dict, or a list for ? and $1, not {params!r}")
    if isinstance(params, Mapping):
        given, example = set(params), "params={'symbol': 'BTCUSDT'} for $symbol"
    else:
        given, example = {str(number) for number in range(1, len(params or ()) + 1)}, "params=['BTCUSDT'] for ? or $1"
    if absent := sorted(needed - given):
        is_named = not all(name.isdigit() for name in absent)
        example = "params={'symbol': 'BTCUSDT'} for $symbol" if is_named else example
        names = f"${', $'.join(absent)}"
        raise MissingParameters(f"the query has no value for {names}: pass params, such as {example}", absent)
    if others := sorted(given - needed):
        known = f"it has ${', $'.join(sorted(needed))}" if needed else "it has none"
        raise ValueError(f"the query has no parameter ${', $'.join(others)}; {known}")


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
        folders = ", ".join(quoted(folder) for folder in dict.fromkeys((root, plain(root))))
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


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Convert Arrow to Polars."""
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()
