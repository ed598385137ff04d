"""Times of events that Dagster's UI can tell apart.

The Events tab of an asset takes events of one run and one millisecond for the same event, and shows one of them. A
range run records all its partitions at the end of a step, several in a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import EventLogEntry

_MILLISECOND = 1000


def apart(events: Sequence[EventLogEntry]) -> list[EventLogEntry]:
    """The events of a batch in order, each in a millisecond of its own. The last one keeps its time, and those before
    come earlier where they have to: they are of partitions that were stored before, and a later time could be that of
    an event that follows.
    """
    timed: list[EventLogEntry] = []
    for event in reversed(events):
        if timed and int(event.timestamp * _MILLISECOND) >= (later := int(timed[-1].timestamp * _MILLISECOND)):
            # The middle of the millisecond, since the fraction cannot be exact.
            event = event._replace(timestamp=(later - 0.5) / _MILLISECOND)
        timed.append(event)
    return timed[::-1]
