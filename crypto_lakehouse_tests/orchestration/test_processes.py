"""Runs of processes that are no more are recorded as failed; those of living and of far processes are left alone."""

import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.orchestration.processes import PROCESS_TAG, own_process, report_dead_runs


def of_a_dead_process() -> str:
    """The tag of a process that has ended."""
    code = "from crypto_lakehouse.orchestration.processes import own_process; print(own_process())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@dg.job
def nothing() -> None:
    pass


@pytest.mark.requirement("F5.3", "F7.3")
def test_only_a_run_whose_process_has_ended_on_this_machine_is_failed() -> None:
    machine, number, _ = own_process().split()
    tags = {
        "dead": of_a_dead_process(),
        "number given again": f"{machine} {number} 1",
        "own": own_process(),
        "elsewhere": f"far.example/pid:[1] {number} 1",
        "of the daemon": None,
    }
    with dg.DagsterInstance.ephemeral() as instance:
        runs = {
            name: instance.create_run_for_job(
                nothing, tags={PROCESS_TAG: tag} if tag else {}, status=dg.DagsterRunStatus.STARTED
            ).run_id
            for name, tag in tags.items()
        }
        assert set(report_dead_runs(instance)) == {runs["dead"], runs["number given again"]}
        assert report_dead_runs(instance) == []
        failed = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))}
        assert failed == {runs["dead"], runs["number given again"]}
        [event] = instance.all_logs(runs["dead"])
        assert "it was killed" in event.message


@pytest.mark.requirement("F7.3")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of zombies in /proc")
def test_a_process_that_nobody_waits_for_has_ended_too() -> None:
    code = "from crypto_lakehouse.orchestration.processes import own_process; print(own_process())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        tag = process.stdout.read().strip()
        # Its output has ended and nobody asks for its exit code: it is about to be a zombie.
        while ") Z " not in Path(f"/proc/{process.pid}/stat").read_text():
            time.sleep(0.01)
        with dg.DagsterInstance.ephemeral() as instance:
            instance.create_run_for_job(nothing, tags={PROCESS_TAG: tag}, status=dg.DagsterRunStatus.STARTED)
            assert len(report_dead_runs(instance)) == 1
