"""Signals are recorded and polled, in a program with its own handlers."""

from __future__ import annotations

import gc
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crypto_lakehouse import interrupts


class HandedError(Exception):
    """What the handler of the other program raises."""


@pytest.fixture
def other_program() -> Iterator[None]:
    def handler(*_: object) -> None:
        raise HandedError

    before = {number: signal.signal(number, handler) for number in interrupts.SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def interrupted(name: str = "") -> Iterator[None]:
    """Work of this block ends because it asked for a signal."""
    with pytest.raises(interrupts.Interrupted, match=name or None), interrupts.deferred():
        yield


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_is_reported_once(number: signal.Signals, other_program: None) -> None:
    with interrupted(number.name):
        signal.raise_signal(number)
        interrupts.ask()
    interrupts.ask()


@pytest.mark.requirement("F7.3")
def test_a_signal_that_was_not_asked_for_goes_to_the_other_program(other_program: None) -> None:
    done = []

    def work() -> None:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append("all work")

    with pytest.raises(HandedError):
        work()
    assert done
    interrupts.ask()


@pytest.mark.requirement("F7.3")
def test_a_signal_in_a_callback_of_the_garbage_collection_is_noted(other_program: None) -> None:
    def collect(phase: str, _: object) -> None:
        if phase == "start":
            signal.raise_signal(signal.SIGINT)

    with interrupted():
        gc.callbacks.append(collect)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(collect)
        interrupts.ask()


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
def test_a_wait_for_work_ends_at_a_signal(kind: Callable[[], queue.Queue[str]], other_program: None) -> None:
    items = kind()
    items.put("work")
    with interrupted():
        assert interrupts.wait(items) == "work"
        signal.raise_signal(signal.SIGTERM)
        interrupts.wait(items)


# A signal comes in the middle of loading what takes long.
START_UP = """
import os, signal, sys

class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.{signal})

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Signal())
from crypto_lakehouse.__main__ import main
sys.argv = ["crypto-lakehouse", "config"]
main()
"""


@pytest.mark.requirement("F7.3")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_start_up_ends_the_command_in_silence(name: str, code: int) -> None:
    program = START_UP.replace("{signal}", name)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (code, "", "")
