"""Runs in a process of the command line: a tag names the process, so that runs of a killed process can be found.

Dagster's own monitoring asks the launcher whether the process of a run lives, and these runs have no launcher.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = ".dagster/lakehouse_process"
"""Machine, number and start time of the process that executes a run, separated by blanks. Dagster does not show tags
with this prefix."""

_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _FINISHED]


def own_process() -> str:
    """The value of the tag for runs of this process."""
    return f"{_machine()} {os.getpid()} {_start(os.getpid())}"


def report_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed the runs of processes of this machine that no longer exist. Returns the ids of these runs."""
    dead: list[str] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run_id, tag = record.dagster_run.run_id, record.dagster_run.tags.get(PROCESS_TAG, "")
        # A run that the UI executes again copies the tags of its parent, but has its own process.
        if record.dagster_run.parent_run_id is not None or not _is_gone(tag):
            continue
        # Since the runs were listed, it may have finished, and its process after it.
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(
                run,
                f"Process {tag.split()[1]} of this run ended before the run did: it was killed, or the machine was"
                " switched off. Partitions that it stored are whole; start the run again to build the others.",
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
    """Host name, on Linux with the namespace of process numbers, because containers may share the host's name."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()}/{namespace}"


def _start(number: int) -> str:
    """Start time of a process, because numbers are reused: empty if no such process lives, ``-`` if unknown."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        # The name, in brackets, may hold anything; after it come the state and, 19 fields later, the start time.
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "-"
    return "" if fields[0] in "ZX" else fields[19]
