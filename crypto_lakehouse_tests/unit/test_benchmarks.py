"""The benchmark framework: goals, regressions, and stored figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measure import Result, busy_seconds, interleaved
from benchmarks.report import keep, kept_ratios, line, regressions

pytestmark = pytest.mark.requirement("P8")


def test_a_goal_is_a_minimum_or_a_maximum() -> None:
    assert Result("a", 2.0, 2.0).holds
    assert not Result("a", 1.9, 2.0).holds
    assert Result("a", 1.9, 2.0, at_most=True).holds
    assert not Result("a", 2.1, 2.0, at_most=True).holds
    assert "**missed**" in line(Result("a", 1.9, 2.0))
    assert "| wish: at least 2 x | not reached |" in line(Result("a", 1.9, 2.0, is_wish=True))


@pytest.mark.parametrize(
    ("value", "at_most", "is_worse"),
    [(1.7, False, False), (1.5, False, True), (2.4, True, False), (2.6, True, True), (9.0, False, False)],
)
def test_a_figure_worse_than_the_stored_one_is_named(value: float, at_most: bool, is_worse: bool) -> None:
    result = Result("a", value, 1.0, at_most=at_most)
    assert bool(regressions([result], {"a": 2.0})) is is_worse
    assert regressions([result], {}) == []
    assert regressions([Result("a", value, 1.0, at_most=at_most, guarded=False)], {"a": 2.0}) == []


def test_variants_run_alternately_and_in_both_orders() -> None:
    order: list[str] = []
    medians = interleaved({"one": lambda: order.append("1"), "two": lambda: order.append("2")}, rounds=2)
    assert order == ["1", "2", "2", "1", "1", "2"]
    assert set(medians) == {"one", "two"}


def test_cpu_time_of_other_processes_counts_as_busy() -> None:
    spin = "import time; input(); any(time.process_time() > 0.5 for _ in iter(int, 1)); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        asked, answers = server.stdin, server.stdout

        def ask() -> None:
            print(file=asked, flush=True)
            answers.readline()

        # It has spent some of its half second on its start.
        assert busy_seconds(ask, server.pid) > 0.3
        print(file=asked, flush=True)


def test_stored_figures_can_be_read() -> None:
    assert all(isinstance(value, float | int) for value in kept_ratios().values())


def test_unmeasured_figures_stay_and_removed_benchmarks_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RATIOS", tmp_path / "ratios.json")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    keep([Result("bars: old name", 2.0, 1.0), Result("bars: 1h", 2.0, 1.0), Result("trades: read", 3.0, 1.0)])
    keep([Result("bars: 1h", 4.0, 1.0)])
    assert kept_ratios() == {"bars: 1h": 4.0, "trades: read": 3.0}
    rows = [text.split(" |")[0] for text in (tmp_path / "RESULTS.md").read_text().splitlines() if ": " in text]
    assert rows[1:] == ["| trades: read", "| bars: 1h"]
