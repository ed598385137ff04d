"""Batches of events: those of partitions are stored together, in few statements.

A range run plans and records an event for every partition of every asset. Dagster's storages store planned events one
by one, each with a new connection. What is particular to a database is in ``sqlite_storage.py`` and
``postgres_storage.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from dagster import DagsterEventType, EventLogEntry
from sqlalchemy.engine import Connection

from crypto_lakehouse.orchestration.event_times import apart
from crypto_lakehouse.orchestration.private_dagster import SqlEventLogStorage

# Events that a run has for each partition of each asset.
_OF_PARTITIONS = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
}


class BatchedEvents(SqlEventLogStorage):
    """The part of an event log that is the same in all databases. Name it before Dagster's class."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events, each in its own millisecond (see ``event_times.py``)."""
        for is_together, group in groupby(apart(events), key=_is_of_partition):
            if is_together:
                together = list(group)
                self._store_partition_events(together, [self._event_to_row(event) for event in together])
            else:
                super().store_event_batch(list(group))

    @abstractmethod
    def _store_partition_events(self, events: Sequence[EventLogEntry], rows: Sequence[Mapping[str, Any]]) -> None:
        """Do what ``store_event`` does for each of the events; ``rows`` are those of the table of events."""

    def _store_asset_rows(
        self,
        connection: Connection,
        events: Sequence[EventLogEntry],
        rows: Sequence[Mapping[str, Any]],
        ids: Sequence[int],
    ) -> None:
        """Store the tags of the events, and the rows of their assets.

        The row of an asset describes its last event of a type only, so it is written once. Rows are written in the
        order of assets: two runs that wrote them in different orders would wait for each other.
        """
        self._store_asset_event_tags(connection, events, ids)
        newest = {
            (row["asset_key"], row["dagster_event_type"]): (row["asset_key"], number, event)
            for row, event, number in zip(rows, events, ids, strict=True)
        }
        for _, number, event in sorted(newest.values(), key=lambda last: last[:2]):
            self._store_asset_event(connection, event, number)


def _is_of_partition(event: EventLogEntry) -> bool:
    return event.get_dagster_event().event_type in _OF_PARTITIONS
