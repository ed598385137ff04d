"""Runs as tasks of Celery, and runs whose worker is lost.

Celery does not report the task of a lost worker: its state stays "started". This launcher asks the workers themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher  # type: ignore[import-not-found,unused-ignore]
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG  # type: ignore[import-not-found,unused-ignore]

from crypto_lakehouse.orchestration.private_dagster import CheckRunHealthResult, WorkerStatus

# Workers answer within milliseconds; a busy machine may need longer.
_ANSWER_SECONDS = 5.0
# One missing answer may be a pause of the network, and a run must not be executed twice.
_MOST_MISSING = 3


class CeleryLauncher(CeleryRunLauncher):  # type: ignore[misc,unused-ignore]
    """Dagster's own launcher, which also notices that no worker executes a run."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._missing: Counter[str] = Counter()

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """The state of the task; failed if it has started, and no worker has it in three checks after each other."""
        result: CheckRunHealthResult = super().check_run_worker_health(run)
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        if result.status is not WorkerStatus.RUNNING or self._has_worker(task):
            self._missing.pop(task, None)
            return result
        self._missing[task] += 1
        if self._missing[task] < _MOST_MISSING:
            return result
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            "No worker executes this run: the one that did was killed, or its machine is gone. Partitions that the run"
            " stored are whole.",
        )

    def _has_worker(self, task: str) -> bool:
        answers = self.celery.control.inspect(timeout=_ANSWER_SECONDS).query_task(task) or {}
        return any(task in tasks for tasks in answers.values())
