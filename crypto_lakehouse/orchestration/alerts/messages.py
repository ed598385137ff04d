"""The text of alerts: a short subject, a body, and the same facts as JSON. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from crypto_lakehouse.orchestration.alerts.rules import WATCHED, Cause, Kind, Notice, spans

_RUNBOOKS = "docs/deployment/runbooks"
_SHOWN = 20
_LONGEST = 300
_TITLES = {
    Kind.RUN_FAILED: "run failed",
    Kind.CHECK_FAILED: "check failed",
    Kind.DATE_LATE: "newest date is late",
    Kind.SENSOR_GAVE_UP: "sensor has given up",
    Kind.DAEMON_SILENT: "daemon is silent",
}


def title(notice: Notice) -> str:
    """One line: what has happened, and to how many."""
    subjects = [cause.subject for cause in notice.causes]
    whom = subjects[0] if len(subjects) == 1 else f"{len(subjects)} subjects"
    return f"[{'recovered' if notice.is_over else 'alert'}] {_TITLES[notice.kind]}: {whom}"


def body(notice: Notice, now: datetime, ui: str = "", runbooks: str = "") -> str:
    """The whole message as plain text: a line for each subject, then the runbook."""
    lines = [title(notice)]
    for cause in notice.causes[:_SHOWN]:
        lines.append(f"- {_line(cause, notice.is_over, now)}")
        if ui and cause.run_id and not notice.is_over:
            lines.append(f"  {ui}/runs/{cause.run_id}")
    if len(notice.causes) > _SHOWN:
        lines.append(f"- and {len(notice.causes) - _SHOWN} more")
    lines.append(f"Runbook: {runbook(notice.kind, runbooks)}")
    return "\n".join(lines)


def facts(notice: Notice, now: datetime, ui: str = "", runbooks: str = "") -> dict[str, Any]:
    """The message as JSON values."""
    return {
        "kind": notice.kind.value,
        "status": "recovered" if notice.is_over else "alert",
        "title": title(notice),
        "text": body(notice, now, ui, runbooks),
        "runbook": runbook(notice.kind, runbooks),
        "time": now.isoformat(timespec="seconds"),
        "causes": [
            {
                "subject": cause.subject,
                "items": [item for item in cause.items if item],
                "since": cause.since.isoformat(timespec="seconds"),
                "text": one_line(cause.text),
                "run_id": cause.run_id,
            }
            for cause in notice.causes
        ],
    }


def runbook(kind: Kind, runbooks: str = "") -> str:
    """Where the runbook of a kind is: below the address of the setting, or its path in the repository."""
    return f"{runbooks or _RUNBOOKS}/{kind}.md"


def one_line(text: str) -> str:
    """The text without control characters, on one line and not too long: it may quote what an archive sent."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= _LONGEST else f"{clean[: _LONGEST - 3]}..."


def _line(cause: Cause, is_over: bool, now: datetime) -> str:
    items = [item for item in cause.items if item]
    shown = spans(items[:_LONGEST]) if items else ""
    count = f" ({len(items)}: {one_line(shown)})" if len(items) > 1 else f" ({shown})" if items else ""
    if is_over:
        if cause.kind is Kind.RUN_FAILED and now - cause.since >= WATCHED:
            return f"{cause.subject}{count}: not repaired in {WATCHED.days} days, and not looked at any more"
        return f"{cause.subject}{count}: open since {cause.since:%Y-%m-%d %H:%M} UTC, now recovered"
    return f"{cause.subject}{count}" + (f": {one_line(cause.text)}" if cause.text else "")
