"""What can start by itself in a deployment: schedules and kinds of sensors, as data.

The sensors and schedules themselves are in ``orchestration``.
"""

from __future__ import annotations

from enum import StrEnum


class Automation(StrEnum):
    """A kind of sensor or schedule, as ``LAKEHOUSE_AUTOMATION`` names it."""

    SCHEDULES = "schedules"
    FEEDS = "feeds"
    GOLD = "gold"
    COMPACTION = "compaction"
    ALERTS = "alerts"


MEANINGS = {
    Automation.SCHEDULES: "build the newest day or month, and compare the lake with the archive",
    Automation.FEEDS: "a sensor of each table requests new, replaced and failed files of all dates",
    Automation.GOLD: "a sensor rebuilds gold whose inputs are new",
    Automation.COMPACTION: "a sensor writes the files of complete months",
    Automation.ALERTS: "sensors send alerts, where LAKEHOUSE_ALERT_* say to",
}
"""What each kind does."""

_ALL, _NONE = "all", "none"


def parse_automation(text: str) -> frozenset[Automation]:
    """The kinds of a comma-separated list; ``all`` and ``none`` stand alone. Raises ValueError, which quotes the entry.

    >>> sorted(parse_automation("schedules, gold"))
    [<Automation.GOLD: 'gold'>, <Automation.SCHEDULES: 'schedules'>]
    """
    entries = [entry for entry in (part.strip() for part in text.split(",")) if entry]
    if entries == [_ALL]:
        return frozenset(Automation)
    if entries == [_NONE]:
        return frozenset()
    for entry in entries:
        if entry not in list(Automation):
            alone = " alone" if entry in (_ALL, _NONE) else ""
            raise ValueError(f"{entry!r}: give {', '.join(Automation)}, or {_ALL} or {_NONE}{alone}")
    return frozenset(map(Automation, entries))


def checked_automation(text: str) -> str:
    """The text itself, if it is empty or ``parse_automation`` can read it. Raises ValueError otherwise."""
    parse_automation(text)
    return text


def automation_text(kinds: frozenset[Automation]) -> str:
    """The list as ``parse_automation`` reads it.

    >>> automation_text(frozenset())
    'none'
    """
    return ",".join(kind for kind in Automation if kind in kinds) or _NONE
