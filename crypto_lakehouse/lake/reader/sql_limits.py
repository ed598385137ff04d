"""Limits of memory and time for DuckDB queries, and their interruption.

This module runs a checked statement. Which statements may run, and which tables they see, is in ``sql.py``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from crypto_lakehouse import interrupts
from crypto_lakehouse.catalog.sizes import parse_size
from crypto_lakehouse.lake.storage.store import LakeError

T = TypeVar("T")

# The same variables, defaults and bounds as in settings.py, which imports more and validates every setting.
_MEMORY, _TIMEOUT = "LAKEHOUSE_SQL_MEMORY", "LAKEHOUSE_SQL_TIMEOUT"
_DEFAULT_TIMEOUT, _LONGEST = 3600.0, 7 * 24 * 3600.0

_BATCH_ROWS = 1_000_000
_LOOK_UP = 0.1
# DuckDB's exception types by the first words of their messages.
_KINDS = {
    name.removesuffix("Exception").lower(): kind for name, kind in vars(duckdb).items() if name.endswith("Exception")
}


class QueryLimit(LakeError):
    """A query reached a limit of memory or time. The message names the limit and its setting."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Memory as text, None for DuckDB's default (80 % of the machine's); timeout in seconds, and its ``end``."""

    memory: str | None
    timeout: float
    end: float

    @classmethod
    def from_environment(cls) -> Limits:
        """Return the limits of a query that starts now. Raises ValueError that names the variable."""
        memory, timeout = os.environ.get(_MEMORY) or None, os.environ.get(_TIMEOUT) or _DEFAULT_TIMEOUT
        try:
            if memory:
                parse_size(memory)
        except ValueError as error:
            raise ValueError(f"{_MEMORY}: {error}") from None
        try:
            seconds = float(timeout)
        except ValueError:
            seconds = 0
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"{_TIMEOUT}={timeout!r}: must be seconds, more than 0 and at most {_LONGEST:.0f}")
        return cls(memory, seconds, time.monotonic() + seconds)


class LimitedQuery:
    """One call of ``lake.sql``: everything that DuckDB does for it, in a thread of its own.

    DuckDB swallows a signal that arrives while the main thread is inside one of its functions, and those that prepare a
    query are no exception. So the main thread never enters DuckDB: it waits, and interrupts the connection.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connection: duckdb.DuckDBPyConnection | None = None

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread, wait for its end, a signal or the time limit, and return its result.

        Raises QueryLimit, KeyboardInterrupt, and what ``work`` raises.
        """
        with ThreadPoolExecutor(1, "lakehouse-sql") as pool:
            result = pool.submit(work)
            try:
                while not result.done():
                    interrupts.ask()
                    left = self.limits.end - time.monotonic()
                    if left <= 0:
                        raise QueryLimit(
                            f"the query took longer than {self.limits.timeout:g} s, the limit of {_TIMEOUT}: read less,"
                            " or set the variable to more seconds"
                        )
                    futures.wait([result], timeout=min(left, _LOOK_UP))
            finally:
                # Repeatedly: a query that has not started yet ignores an interrupt.
                while not result.done():
                    self._interrupt()
                    futures.wait([result], timeout=_LOOK_UP)
            return result.result()

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a database in memory; data beyond its memory spills to a temporary folder, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="lakehouse-sql-") as folder, duckdb.connect() as connection:
            self._connection = connection
            prepare(connection, folder, self.limits.memory)
            yield connection

    def rows(
        self,
        connection: duckdb.DuckDBPyConnection,
        statement: duckdb.Statement,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> pa.Table:
        """Return the rows of a statement. Raises QueryLimit at the limit of memory, and duckdb.Error."""
        ((own,),) = connection.sql("SELECT current_setting('memory_limit')").fetchall()
        return _rows(lambda: connection.sql(statement, params=params or None), self.limits.memory or str(own))

    def _interrupt(self) -> None:
        # The other thread may close the connection at the same moment.
        with suppress(duckdb.Error):
            if self._connection is not None:
                self._connection.interrupt()


def prepare(connection: duckdb.DuckDBPyConnection, folder: str, memory: str | None) -> None:
    """Limit the memory of a new connection, where given, and let it spill rows beyond it to ``folder``."""
    connection.execute("SET temp_directory = $1", [folder])
    # The progress bar would be printed into the output of the calling program. In a notebook without ipywidgets it is
    # off, and DuckDB refuses to set it at all.
    if connection.sql("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")
    if memory:
        connection.execute("SET memory_limit = $1", [f"{parse_size(memory)} bytes"])


def _rows(open_relation: Callable[[], duckdb.DuckDBPyRelation], memory: str) -> pa.Table:
    # In batches, because DuckDB does not count the rows of the result in its memory.
    batches, size, limit = [], 0, parse_size(memory)
    try:
        reader = open_relation().to_arrow_reader(_BATCH_ROWS)
        with _as_duckdb_errors():
            for batch in reader:
                size += batch.nbytes
                if size > limit:
                    raise _too_much(memory, "its rows take more")
                batches.append(batch)
    except duckdb.OutOfMemoryException:
        raise _too_much(memory, "DuckDB needs more") from None
    return pa.Table.from_batches(batches, reader.schema)


def _too_much(memory: str, cause: str) -> QueryLimit:
    return QueryLimit(
        f"the query used {memory} of memory, the limit of {_MEMORY}, and {cause}: read fewer rows or columns, or set "
        "the variable to more"
    )


@contextmanager
def _as_duckdb_errors() -> Iterator[None]:
    """Restore the type of DuckDB's errors: after the first rows they come through Arrow, which keeps only the text."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        kind = str(error).partition(" Error:")[0].replace(" ", "").lower()
        raise _KINDS.get(kind, duckdb.Error)(str(error)) from None
