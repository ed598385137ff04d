"""Run the chunks of a plan side by side: some in this process, others in processes of their own.

``cuts.py`` decides how a plan is cut, ``worker.py`` is a process, ``runs.py`` executes a chunk. With one process
nothing here is used.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

import dagster as dg

from crypto_lakehouse import interrupts
from crypto_lakehouse.concurrency.share import share_memory
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.cuts import cut, is_in_order, steps
from crypto_lakehouse.orchestration.launch import Plan
from crypto_lakehouse.orchestration.processes import report_dead_runs
from crypto_lakehouse.orchestration.runs import Chunk, Outcome, Step, run_chunk
from crypto_lakehouse.orchestration.up_to_date import Work
from crypto_lakehouse.orchestration.worker import Define, Worker, WorkerError
from crypto_lakehouse.schemas.slices import TableSlice

if TYPE_CHECKING:
    from crypto_lakehouse.settings import Settings

_LOOK_UP = 0.1
_STOPPED = "stopped, because the exchange refuses all requests; repeat the command later, what is stored stays"


class SideBySide:
    """Processes, this one included, that run chunks and share the limits of one.

    Other processes start when chunks need them, and wait for more chunks until the end of the block. ``define`` builds
    the definitions of each process.
    """

    def __init__(self, settings: Settings, store: LakeStore, instance: dg.DagsterInstance, define: Define) -> None:
        self._whole, self._store, self._instance, self._define = settings, store, instance, define
        self._settings, self._processes = settings, 1
        self._defs: dg.Definitions | None = None
        self._workers: list[Worker] = []

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._share(1)

    def run_plan(self, plan: Plan, work: Work, processes: int, symbols: str, force: bool) -> Iterator[Outcome]:
        """Build the partitions of ``work`` step by step, and yield the outcome of each run as it ends.

        A partition whose run fails is not built further; the others are. An interrupt or a ban stops all. Raises
        HomeError if Dagster's records fail.
        """
        self._share(processes)
        keys, groups = list(work.keys), steps(plan)
        for number, step in enumerate(groups, start=1):
            spans = cut(step, keys, work, self._processes, self._whole)
            at_once = 1 if is_in_order(step, keys, self._store) else self._processes
            failed_checks: set[dg.AssetCheckKey] = set()
            is_stopped = False
            for outcome in self._run(plan, [Chunk(step, tuple(span), symbols, force) for span in spans], at_once):
                if outcome.error:
                    keys = [key for key in keys if not outcome.first <= key <= outcome.last]
                is_stopped |= outcome.interrupted or outcome.banned
                failed_checks |= outcome.failed_checks
                yield replace(outcome, name=plan.name, step=Step(number, len(groups), tables_of(step)))
            if is_stopped or not keys:
                return
            if failed_checks and at_once > 1 and len(spans) > 1:
                self._check_again(step, [key for span in spans for key in span], failed_checks)

    def _share(self, processes: int) -> None:
        """Divide requests to the exchange and memory among so many processes; end those with other shares."""
        if processes == self._processes:
            return
        for worker in self._workers:
            worker.close()
        self._workers, self._defs, self._processes = [], None, processes
        share_memory(processes)
        concurrency = max(1, self._whole.concurrency // processes)
        # Limits without a header in answers cannot be seen by other processes, so each gets its part.
        share = self._whole.rest_share / processes
        self._settings = self._whole.model_copy(update={"concurrency": concurrency, "rest_share": share})

    def _check_again(self, step: Plan, keys: Sequence[str], checks: Iterable[dg.AssetCheckKey]) -> None:
        """Run checks that failed once more, over all partitions of a step.

        Its newest result stands for a check, and that of a chunk says nothing about chunks that ran at the same time.
        """
        again = Chunk(step, (keys[0], keys[-1]), checks=tuple(sorted(checks, key=str)))
        interrupts.aside(partial(self._here, again))

    def _run(self, plan: Plan, chunks: Sequence[Chunk], at_once: int) -> Iterator[Outcome]:
        """Run chunks of a plan and yield their outcomes, until a signal or a ban stops all."""
        waiting, done = deque(chunks), SimpleQueue[Outcome | BaseException | None]()
        others = self._others(min(at_once, len(chunks)) - 1)
        runners = [self._here, *(worker.run for worker in others)]
        halt = threading.Event()

        def stop(number: int) -> None:
            halt.set()
            for worker in others:
                worker.stop(number)

        def take_chunks(run: Callable[[Chunk], Outcome]) -> None:
            try:
                while waiting and not halt.is_set():
                    chunk = waiting.popleft()
                    try:
                        outcome = run(chunk)
                    except WorkerError as error:
                        done.put(self._lost(plan, chunk, error))
                        break
                    if outcome.interrupted or outcome.banned:
                        halt.set()
                    done.put(outcome)
            except BaseException as error:
                done.put(error)
            finally:
                done.put(None)

        with ThreadPoolExecutor(len(runners), "lakehouse-chunks", initializer=interrupts.shield) as pool:
            for runner in runners:
                pool.submit(take_chunks, runner)
            running, is_stopped, is_banned, is_interrupted = len(runners), False, False, False
            try:
                while running:
                    if (interrupts.received() or halt.is_set()) and not is_stopped:
                        is_stopped = True
                        stop(interrupts.received() or signal.SIGTERM)
                    try:
                        outcome = done.get(timeout=_LOOK_UP)
                    except Empty:
                        continue
                    if outcome is None:
                        running -= 1
                        continue
                    if isinstance(outcome, BaseException):
                        raise outcome
                    is_banned |= outcome.banned
                    if is_banned and outcome.interrupted and not interrupts.received():
                        outcome = replace(outcome, interrupted=False, banned=True, error=_STOPPED)
                    is_interrupted |= outcome.interrupted
                    yield outcome
            finally:
                if running:
                    stop(signal.SIGTERM)
        if waiting and interrupts.received() and not is_interrupted:
            chunk = waiting[0]
            yield Outcome(plan.name, chunk.keys[0], chunk.keys[-1], len(chunk.keys), interrupted=True)

    def _others(self, count: int) -> list[Worker]:
        """So many other processes; those that do not run yet are started."""
        self._workers = [worker for worker in self._workers if worker.is_alive]
        while len(self._workers) < count:
            self._workers.append(Worker(self._settings, self._define, self._processes))
        return self._workers[:count]

    def _here(self, chunk: Chunk) -> Outcome:
        if self._defs is None:
            self._defs = self._define(self._settings)
        return run_chunk(chunk, self._defs, self._instance)

    def _lost(self, plan: Plan, chunk: Chunk, error: WorkerError) -> Outcome:
        """The outcome of a run whose process has ended; Dagster's records then show it as failed."""
        report_dead_runs(self._instance)
        first, last = chunk.keys[0], chunk.keys[-1]
        command = TableSlice(*plan.assets[0].path).backfill_command(first, last, chunk.symbols, chunk.force)
        text = f"{error}. What it stored stays; build the rest with: {command}"
        return Outcome(plan.name, first, last, len(chunk.keys), error=text)


def tables_of(step: Plan) -> tuple[str, ...]:
    """The tables of a step, as ``layer.table``."""
    return tuple(f"{key.path[0]}.{key.path[-1]}" for key in step.assets)
