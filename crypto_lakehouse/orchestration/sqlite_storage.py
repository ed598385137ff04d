"""Dagster's SQLite storage, changed to open its databases less often.

A range run plans and records an event for every partition of every table, in batches. Dagster's SQLite storage opens,
commits and closes two databases for each event, each time with a new engine without prepared statements. That takes
longer than building a small partition.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

from dagster import EventLogEntry
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from crypto_lakehouse.orchestration.event_times import apart
from crypto_lakehouse.orchestration.private_dagster import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
)

# Engines to keep, one per database: each run has its own database, and all share one more.
_ENGINES = 8


class SqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files below ``folder``, at the same paths as Dagster's own storage."""

    def __init__(self, folder: Path, inst_data: ConfigurableClassData | None = None) -> None:
        with _one_process_at_a_time(folder / ".opening"):
            if not (folder / "history" / "runs.db").exists():
                _make_databases(folder)
            super().__init__(str(folder), inst_data)
            self._event_log_storage = _Events(str(folder / "history" / "runs"))


def _make_databases(folder: Path) -> None:
    """Create Dagster's databases completely or not at all: Dagster cannot open what a killed process leaves of them."""
    draft = folder / "new"
    shutil.rmtree(draft, ignore_errors=True)
    DagsterSqliteStorage(str(draft)).dispose()
    # The history is moved last: a home with a history is complete.
    if not (folder / "schedules").exists():
        (draft / "schedules").rename(folder / "schedules")
    (draft / "history").rename(folder / "history")
    shutil.rmtree(draft)


@contextmanager
def _one_process_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock: two processes that create the tables of a database at once leave it with two versions, which cannot
    be opened again.
    """
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Events(SqliteEventLogStorage):
    """Dagster's event log: engines are kept, and within a batch each database is opened and committed once."""

    def __init__(self, base_dir: str) -> None:
        self._engine = lru_cache(_ENGINES)(self._new_engine)
        self._batch: ExitStack | None = None
        self._open: dict[str, Connection] = {}
        super().__init__(base_dir)
        # A batch holds the lock while each of its events acquires it again.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with _one_process_at_a_time(Path(self._base_dir) / ".opening"):
            super()._initdb(engine, for_index_shard)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events one by one, each in its own millisecond; if one is refused, store none.

        Each database has its own transaction: a crash between two commits leaves what the first one holds.
        """
        with self._db_lock:
            try:
                with ExitStack() as self._batch:
                    super().store_event_batch(apart(events))
            finally:
                self._batch = None
                self._open.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard not in self._initialized_dbs:
                # This creates the database if it is missing.
                with super()._connect(shard):
                    pass
            if self._batch is None:
                with self._engine(shard).begin() as connection:
                    yield connection
                return
            if shard not in self._open:
                self._open[shard] = self._batch.enter_context(self._engine(shard).begin())
            yield self._open[shard]

    def _new_engine(self, shard: str) -> Engine:
        url, timeout = self.conn_string_for_shard(shard), {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        return create_engine(url, poolclass=NullPool, connect_args=timeout)
