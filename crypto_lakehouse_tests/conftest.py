"""What every test shares: the traceability plugin, pytest's own plugin-testing kit, hypothesis' settings, signals, the
mark of slow tests, tests with other packages, and reports without the events of Dagster.

Fixtures that one layer alone needs belong in that layer's folder, not here.
"""

import os
import re
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from crypto_lakehouse import interrupts

pytest_plugins = ["pytester", "crypto_lakehouse_tests.traceability"]

# A shell starts background jobs with Ctrl-C ignored, and processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines differ in cores, and a backfill in several processes prints other lines.
os.environ.setdefault("LAKEHOUSE_PROCESSES", "1")

# Machines differ, and speed is the benchmarks' business.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

_CLIENTS = Path(__file__).parent / "clients"
_SYSTEM = Path(__file__).parent / "system"
# A run of Dagster logs each of its events; in a failing test they would hide what failed.
_NOISE = re.compile(r"^.* - dagster - (?:DEBUG|INFO) - .*\n?", re.MULTILINE)

_HANDLERS = {number: signal.getsignal(number) for number in interrupts.SIGNALS}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests with other packages unless they are named (``-m clients``): they install environments."""
    is_named = "clients" in config.option.markexpr or any("clients" in argument for argument in config.args)
    return True if collection_path == _CLIENTS and not is_named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests with real components as slow."""
    for item in items:
        if item.path.is_relative_to(_SYSTEM):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave the events of Dagster's runs out of what a failing test printed."""
    report = yield
    report.sections = [(name, _NOISE.sub("", text)) for name, text in report.sections]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget the storage of definitions of an earlier test's Dagster instance.

    Dagster keeps it in a context variable. A process of users has one instance; here objects of an earlier one, which
    are collected late, can set the variable back to a storage whose instance is gone, and then nothing loads.
    """
    base = sys.modules.get("dagster._core.storage.defs_state.base")
    if base is not None:
        base._current_storage.set(None)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Restore signal handlers: a command that runs inside a test or a fixture ignores signals at its end, as does every
    process that is started later.
    """
    _restore()
    yield
    _restore()


def _restore() -> None:
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)
