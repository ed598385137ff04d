"""Dagster's PostgreSQL storage, with a distinct millisecond for each event of a batch (see ``event_times.py``)."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import EventLogEntry
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage

from crypto_lakehouse.orchestration.event_times import apart
from crypto_lakehouse.orchestration.private_dagster import ConfigurableClassData


class PostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in PostgreSQL, in Dagster's own tables."""

    def __init__(self, url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(url, should_autocreate_tables=True, inst_data=inst_data)
        self._event_log_storage.dispose()
        self._event_log_storage = _Events(url)


class _Events(PostgresEventLogStorage):
    """Dagster's event log."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all events in one statement."""
        super().store_event_batch(apart(events))
