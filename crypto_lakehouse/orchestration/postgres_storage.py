"""Dagster's PostgreSQL storage, changed to store the events of partitions together.

Dagster's own stores materializations in one statement, and planned events one by one, with two connections for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import EventLogEntry
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage

from crypto_lakehouse.orchestration.event_batches import BatchedEvents
from crypto_lakehouse.orchestration.private_dagster import ConfigurableClassData, SqlEventLogStorageTable


class PostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in PostgreSQL, in Dagster's own tables."""

    def __init__(self, url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(url, should_autocreate_tables=True, inst_data=inst_data)
        self._event_log_storage.dispose()
        self._event_log_storage = _Events(url)


class _Events(BatchedEvents, PostgresEventLogStorage):
    """Dagster's event log: events of partitions are one transaction, so that none is stored twice after an error."""

    def _store_partition_events(self, events: Sequence[EventLogEntry], rows: Sequence[Mapping[str, Any]]) -> None:
        number = SqlEventLogStorageTable.c.id
        insert = SqlEventLogStorageTable.insert().returning(number, sort_by_parameter_order=True)
        with self.index_transaction() as connection:
            ids = connection.execute(insert, list(rows)).scalars().all()
            self._store_asset_rows(connection, events, rows, ids)
