"""Which problems are new and which have recovered, and which failed runs and late dates are problems. No I/O.

``problems.py`` reads the facts from Dagster's records, ``messages.py`` writes the text, ``channels.py`` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from crypto_lakehouse.catalog import Cadence, parse_partition, partition_key, partition_keys

WATCHED = timedelta(days=14)
"""Failed runs are looked at for this long. After that a problem that is still open is closed, with a message."""


class Kind(StrEnum):
    """A kind of alert. The value is the name of its runbook."""

    RUN_FAILED = "run-failed"
    CHECK_FAILED = "check-failed"
    DATE_LATE = "date-late"
    SENSOR_GAVE_UP = "sensor-gave-up"
    DAEMON_SILENT = "daemon-silent"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong now: an item (a partition, a check) of a subject (an asset, a market, a job)."""

    kind: Kind
    subject: str
    item: str
    text: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is open of a subject: since when, and which items."""

    kind: Kind
    subject: str
    since: datetime
    items: tuple[str, ...]
    text: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to send: causes of one kind that are all new, or all over. ``state`` is the state once it was sent."""

    kind: Kind
    is_over: bool
    causes: tuple[Cause, ...]
    state: State


@dataclass(frozen=True, slots=True)
class State:
    """The problems that messages were sent about and that have not recovered, by kind and subject."""

    open: Mapping[tuple[Kind, str], Cause] = field(default_factory=dict)

    def to_json(self) -> str:
        """The state as text, for the cursor of a sensor."""
        causes = [
            [cause.kind, cause.subject, cause.since.isoformat(), list(cause.items)]
            for _, cause in sorted(self.open.items())
        ]
        return json.dumps(causes, separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str | None) -> State:
        """Read what ``to_json`` wrote; an empty state for None."""
        causes = [
            Cause(Kind(kind), subject, datetime.fromisoformat(since), tuple(items))
            for kind, subject, since, items in json.loads(text or "[]")
        ]
        return cls({(cause.kind, cause.subject): cause for cause in causes})


def notices(before: State, problems: Sequence[Problem], now: datetime) -> list[Notice]:
    """The messages that are due: at most one for the new, and one for the recovered problems of each kind.

    An item is new once, until it recovers. A subject has recovered when none of its items is a problem any more. Each
    message has the state that holds once it was sent, so a message that could not be sent is due again.
    """
    present: dict[tuple[Kind, str], dict[str, Problem]] = {}
    for problem in problems:
        present.setdefault((problem.kind, problem.subject), {})[problem.item] = problem
    state, due = dict(settled(before, problems).open), []
    for kind in Kind:
        new = []
        for key in sorted(key for key in present if key[0] is kind):
            known = state.get(key)
            fresh = {item: p for item, p in present[key].items() if known is None or item not in known.items}
            if fresh:
                last = fresh[max(fresh)]
                cause = Cause(kind, key[1], now, tuple(sorted(fresh)), last.text, last.run_id)
                new.append(cause)
                items = tuple(sorted({*fresh, *(known.items if known else ())}))
                state[key] = replace(cause, since=known.since if known else now, items=items)
        if new:
            due.append(Notice(kind, False, tuple(new), State(dict(state))))
        over = tuple(state.pop(key) for key in sorted(state) if key[0] is kind and key not in present)
        if over:
            due.append(Notice(kind, True, over, State(dict(state))))
    return due


def settled(before: State, problems: Sequence[Problem]) -> State:
    """The state without items that have recovered while others of their subject have not: they may be new again."""
    present = {(problem.kind, problem.subject, problem.item) for problem in problems}
    subjects = {place[:2] for place in present}
    return State(
        {
            key: replace(cause, items=tuple(item for item in cause.items if (*key, item) in present))
            if key in subjects
            else cause
            for key, cause in before.open.items()
        }
    )


@dataclass(frozen=True, slots=True)
class Run:
    """The facts of a finished run that decide whether a failure is repaired. ``assets`` None means the whole job."""

    run_id: str
    job: str
    created: datetime
    partitions: tuple[str, ...]
    assets: frozenset[str] | None

    def builds(self, asset: str | None, job: str) -> bool:
        """Whether the run builds the asset or, without one, is a run of the whole job."""
        if asset is None or self.assets is None:
            return self.job == job
        return asset in self.assets


def unrepaired(failed: Run, asset: str | None, successes: Sequence[Run]) -> tuple[str, ...]:
    """The partitions of a failed run that no later run has built; for a run without partitions, an empty text.

    ``asset`` is the one whose step failed, or None if the run has no failed step of an asset.
    """
    later = [run for run in successes if run.created > failed.created and run.builds(asset, failed.job)]
    if not failed.partitions:
        return () if later else ("",)
    done = {partition for run in later for partition in run.partitions}
    return tuple(partition for partition in failed.partitions if partition not in done)


def partitions_of_tags(first: str, last: str) -> tuple[str, ...]:
    """The partitions of a run from the texts of its tags; empty if they are neither days nor months."""
    for cadence in Cadence:
        try:
            start, _ = parse_partition(first, cadence)
            _, end = parse_partition(last, cadence)
        except ValueError:
            continue
        return tuple(partition_keys(start, end, cadence))
    return ()


def late(newest: str, cadence: Cadence, now: datetime, grace: timedelta) -> str:
    """The newest partition that should be stored, if it is newer than ``newest``; else an empty text."""
    ended = now.astimezone(UTC) - grace
    # The newest partition that was over at that time.
    start, _ = parse_partition(partition_key(ended.date(), cadence), cadence)
    expected = partition_key(_day_before(start), cadence)
    return expected if expected > newest else ""


def _day_before(day: date) -> date:
    return day - timedelta(days=1)


def spans(partitions: Collection[str]) -> str:
    """Partitions in words, with ranges of those that follow each other.

    >>> spans(["2024-01-01", "2024-01-02", "2024-01-05"])
    '2024-01-01 to 2024-01-02, 2024-01-05'
    """
    ranges: list[list[str]] = []
    for item in sorted(partitions):
        if ranges and _next(ranges[-1][-1]) == item:
            ranges[-1].append(item)
        else:
            ranges.append([item])
    return ", ".join(found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}" for found in ranges)


def _next(item: str) -> str:
    for cadence in Cadence:
        try:
            return partition_key(parse_partition(item, cadence)[1], cadence)
        except ValueError:
            continue
    return ""
