"""Distinct times for events, because Dagster's UI identifies events by them.

The Events tab of an asset treats events of one run and one millisecond as one event, and shows only one of them. A
range run records all its partitions at the end of a step, several in a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import EventLogEntry

_MILLISECOND = 1000


def apart(events: Sequence[EventLogEntry]) -> list[EventLogEntry]:
    """The events of a batch in order, each in its own millisecond.

    The last event keeps its time, and earlier ones are dated back if necessary: their partitions were stored before,
    and a later time could be that of the next event.
    """
    timed: list[EventLogEntry] = []
    for event in reversed(events):
        if timed and int(event.timestamp * _MILLISECOND) >= (later := int(timed[-1].timestamp * _MILLISECOND)):
            # The middle of the millisecond, because a float cannot hold the fraction exactly.
            event = event._replace(timestamp=(later - 0.5) / _MILLISECOND)
        timed.append(event)
    return timed[::-1]
