"""A process that runs chunks of a backfill for the command: one at a time, as its pipe brings them.

It has its own connection to Dagster's records, its own clients of the archive, and imports everything once. A signal
that the command passes on stops its run, and so does the end of the pipe: without the command no process goes on.
``side_by_side.py`` decides which chunks a process gets.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

import dagster as dg

from crypto_lakehouse import interrupts
from crypto_lakehouse.concurrency.share import share_memory

if TYPE_CHECKING:
    from crypto_lakehouse.orchestration.runs import Chunk, Outcome
    from crypto_lakehouse.settings import Settings

# How long a run may take to stop after the command has ended, in seconds.
_PATIENCE = 10.0

Define = Callable[["Settings"], dg.Definitions]
"""Builds the definitions of a process from its settings. A function of a module, because processes find it by name."""


class WorkerError(Exception):
    """A process has ended before its run; the text says how."""


class Worker:
    """The command's end of one process."""

    def __init__(self, settings: Settings, define: Define, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._sending = threading.Lock()
        self._process = context.Process(target=_serve, args=(theirs, settings, define, processes), daemon=True)
        # It would unblock signals if it started later.
        resource_tracker.ensure_running()
        # Until the process has its handlers, Ctrl-C at the terminal would end it with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process can run chunks."""
        return self._process.is_alive()

    def run(self, chunk: Chunk) -> Outcome:
        """Run a chunk there, and wait for its end.

        Raises WorkerError if the process has ended, and an error of Dagster's records as ``run_chunk`` does.
        """
        try:
            with self._sending:
                self._pipe.send(chunk)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerError(self._end()) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def stop(self, number: int) -> None:
        """Stop its run, as the signal ``number`` would."""
        with suppress(OSError), self._sending:
            self._pipe.send(number)

    def close(self) -> None:
        """End the process after its run."""
        self._pipe.close()
        self._process.join()

    def _end(self) -> str:
        code = self._process.exitcode or 0
        how = f"ended with exit code {code}"
        if code < 0:
            with suppress(ValueError):
                how = f"was ended by {signal.Signals(-code).name}"
        hint = ", perhaps because memory was short (lower LAKEHOUSE_PROCESSES)" if code == -signal.SIGKILL else ""
        return f"process {self._process.pid} of this run {how}{hint}"


def _serve(pipe: Connection, settings: Settings, define: Define, processes: int) -> None:
    """The main function of the process: pass chunks on to a thread, and notice signals and the end of the pipe."""
    interrupts.install()
    interrupts.defer()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
    share_memory(processes)
    chunks: SimpleQueue[Chunk | None] = SimpleQueue()
    runs = threading.Thread(target=_run_all, args=(chunks, pipe, settings, define), daemon=True)
    runs.start()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            break
        if isinstance(message, int):
            interrupts.note(message)
        else:
            chunks.put(message)
    interrupts.note(signal.SIGTERM)
    chunks.put(None)
    runs.join(_PATIENCE)
    # Not by the ways of Python, which would wait for threads that hang.
    os._exit(0)


def _run_all(chunks: SimpleQueue[Chunk | None], pipe: Connection, settings: Settings, define: Define) -> None:
    """Run chunks until None comes. An error is an answer too: the command raises it."""
    from crypto_lakehouse.orchestration.home_faults import opening
    from crypto_lakehouse.orchestration.runs import run_chunk

    interrupts.shield()
    try:
        defs = define(settings)
        with opening():
            instance = dg.DagsterInstance.get()
        with instance:
            while (chunk := chunks.get()) is not None:
                pipe.send(run_chunk(chunk, defs, instance))
    except Exception as error:
        with suppress(OSError):
            pipe.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """The error, if it can be passed on to another process; else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
