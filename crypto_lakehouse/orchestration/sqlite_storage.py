"""Dagster's SQLite storage, changed to open its databases less often.

A range run plans and records an event for every partition of every table, in batches (``event_batches.py``). Dagster's
SQLite storage opens, commits and closes two databases for each event, each time with a new engine without prepared
statements, and waits for the disk. That takes longer than building a small partition. Here connections stay open, a
batch is one statement for each table, and a commit does not wait for the disk: after a power failure the last events
may be missing, and the next run of their partitions records them again. The databases stay consistent in any case.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from dagster import EventLogEntry
from sqlalchemy import create_engine, func, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.event import listen
from sqlalchemy.pool import QueuePool

from crypto_lakehouse.orchestration.event_batches import BatchedEvents
from crypto_lakehouse.orchestration.private_dagster import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)

# Engines to keep, one per database: that of the run, and the one that all runs share. An open database keeps a log of
# up to _LOG_PAGES pages of 4 KiB on disk.
_ENGINES, _LOG_PAGES = 2, 250


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


class _Events(BatchedEvents, SqliteEventLogStorage):
    """Dagster's event log: engines are kept, and within a batch each database is opened and committed once."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        self._batch: ExitStack | None = None
        self._open: dict[str, Connection] = {}
        super().__init__(base_dir)
        # A batch holds the lock while each of its events acquires it again.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        with _one_process_at_a_time(Path(self._base_dir) / ".opening"):
            super()._initdb(engine, for_index_shard)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events, each in its own millisecond; if one is refused, store none.

        Each database has its own transaction: a crash between two commits leaves what the first one holds.
        """
        with self._db_lock:
            try:
                with ExitStack() as self._batch:
                    super().store_event_batch(events)
            finally:
                self._batch = None
                self._open.clear()

    def _store_partition_events(self, events: Sequence[EventLogEntry], rows: Sequence[Mapping[str, Any]]) -> None:
        for run_id, of_run in groupby(rows, key=lambda row: str(row["run_id"])):
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), list(of_run))
        with self.index_connection() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), list(rows))
            # Other connections cannot write during the transaction, so the new ids are the last ones.
            last = connection.execute(select(func.max(SqlEventLogStorageTable.c.id))).scalar_one()
            self._store_asset_rows(connection, events, rows, range(last - len(rows) + 1, last + 1))

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

    def _engine(self, shard: str) -> Engine:
        """The engine of a database, with one connection that stays open; those used last are kept."""
        engine = self._engines.pop(shard, None) or _engine_of(self.conn_string_for_shard(shard))
        self._engines[shard] = engine
        if len(self._engines) > _ENGINES:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def wipe(self) -> None:
        """Delete all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the databases."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _engine_of(url: str) -> Engine:
    # The lock of the storage lets one thread at a time use the connection.
    arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    engine = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args=arguments)
    listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
