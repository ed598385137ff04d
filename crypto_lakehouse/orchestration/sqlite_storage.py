"""Dagster's own SQLite storage, with batches of events written in one transaction.

A range run plans and records an event for every partition of every table, in batches; Dagster's SQLite storage opens,
commits and closes two databases three times for each of them, which takes longer than making a small partition.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dagster import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection


class SqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files below ``folder``, where Dagster itself would put them."""

    def __init__(self, folder: Path, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(str(folder), inst_data)
        self._event_log_storage = _BatchedEvents(str(folder / "history" / "runs"))


class _BatchedEvents(SqliteEventLogStorage):
    """Dagster's event log: within a batch, each database is opened once and committed at the end."""

    def __init__(self, base_dir: str) -> None:
        super().__init__(base_dir)
        # A batch holds it while each event takes it again.
        self._db_lock = threading.RLock()  # type: ignore[assignment]
        self._batch: ExitStack | None = None
        self._open: dict[str, Connection] = {}

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events one by one; all of them or, after an error, none."""
        with self._db_lock:
            try:
                with ExitStack() as self._batch:
                    super().store_event_batch(events)
            finally:
                self._batch = None
                self._open.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if self._batch is None:
                with super()._connect(shard) as connection:
                    yield connection
                return
            if shard not in self._open:
                self._open[shard] = self._batch.enter_context(super()._connect(shard))
            yield self._open[shard]
