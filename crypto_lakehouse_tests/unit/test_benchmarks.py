"""The frame of the benchmarks: what holds, what became worse, and what the kept figures say."""

from __future__ import annotations

import pytest

from benchmarks.measure import Result, interleaved
from benchmarks.report import kept_ratios, line, regressions

pytestmark = pytest.mark.requirement("P8")


def test_a_goal_is_a_least_or_a_most() -> None:
    assert Result("a", 2.0, 2.0).holds
    assert not Result("a", 1.9, 2.0).holds
    assert Result("a", 1.9, 2.0, at_most=True).holds
    assert not Result("a", 2.1, 2.0, at_most=True).holds
    assert "**missed**" in line(Result("a", 1.9, 2.0))


@pytest.mark.parametrize(
    ("value", "at_most", "is_worse"),
    [(1.7, False, False), (1.5, False, True), (2.4, True, False), (2.6, True, True), (9.0, False, False)],
)
def test_what_became_worse_than_the_kept_figure_is_named(value: float, at_most: bool, is_worse: bool) -> None:
    result = Result("a", value, 1.0, at_most=at_most)
    assert bool(regressions([result], {"a": 2.0})) is is_worse
    assert regressions([result], {}) == []
    assert regressions([Result("a", value, 1.0, at_most=at_most, guarded=False)], {"a": 2.0}) == []


def test_ways_are_run_in_turn() -> None:
    order: list[str] = []
    medians = interleaved({"one": lambda: order.append("1"), "two": lambda: order.append("2")}, rounds=2)
    assert order == ["1", "2"] * 3
    assert set(medians) == {"one", "two"}


def test_kept_figures_can_be_read() -> None:
    assert all(isinstance(value, float | int) for value in kept_ratios().values())
