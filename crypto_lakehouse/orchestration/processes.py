"""Runs that live in a process of the command line: a tag names the process, so that what it left behind is found.

Dagster's own monitoring asks the launcher whether a run's process lives, and these runs have no launcher.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = ".dagster/lakehouse_process"
"""Machine, number and start of the process that a run lives in, with blanks between them. Dagster does not show tags
with this prefix."""

_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _FINISHED]


def own_process() -> str:
    """The value of the tag for runs of this process."""
    return f"{_machine()} {os.getpid()} {_start(os.getpid())}"


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record runs as failed whose process was on this machine and is no more; their ids."""
    dead: list[str] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run_id, tag = record.dagster_run.run_id, record.dagster_run.tags.get(PROCESS_TAG, "")
        # A run that the UI executes again has the tags of its parent, and a process of its own.
        if record.dagster_run.parent_run_id is not None or not _is_gone(tag):
            continue
        # It may have ended well, and its process then, since the runs were listed.
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(
                run,
                f"Process {tag.split()[1]}, in which this run lived, ended before it: it was killed, or the machine was"
                " switched off. Partitions that it stored are whole; start the run again to make the others.",
            )
            dead.append(run_id)
    return dead


def _is_gone(tag: str) -> bool:
    machine, _, process = tag.partition(" ")
    if machine != _machine():
        return False
    number, _, start = process.partition(" ")
    return _start(int(number)) != start


def _machine() -> str:
    """Host name, and on Linux the namespace of process numbers: containers may share the name of their host."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()}/{namespace}"


def _start(number: int) -> str:
    """When a process started, since numbers are given again; ``-`` where the system does not tell, empty without it."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        # The name, in brackets, may hold anything; behind it come the state and, 19 fields later, the start.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "-"
    return "" if fields[0] in "ZX" else fields[19]
