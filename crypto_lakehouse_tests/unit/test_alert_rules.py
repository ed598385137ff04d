"""Which problems are new, which have recovered, and what messages say, without any record or network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.orchestration.alerts.messages import body, facts, title
from crypto_lakehouse.orchestration.alerts.rules import (
    WATCHED,
    Kind,
    Problem,
    Run,
    State,
    late,
    notices,
    partitions_of_tags,
    spans,
    unrepaired,
)

pytestmark = pytest.mark.requirement("F5.3")

NOW = datetime(2024, 3, 5, 12, tzinfo=UTC)
ITEMS = st.sets(st.tuples(st.sampled_from(list(Kind)), st.sampled_from("xyz"), st.sampled_from("abc")))


def _failed(subject: str, *items: str, kind: Kind = Kind.RUN_FAILED) -> list[Problem]:
    return [Problem(kind, subject, item, "text") for item in items]


@given(st.lists(ITEMS, max_size=8))
def test_every_problem_is_new_once_until_it_recovers(ticks: list[set[tuple[Kind, str, str]]]) -> None:
    """An item is sent if it was no problem at the tick before; a subject recovers if it was one then."""
    state, before = State(), set[tuple[Kind, str, str]]()
    for number, tick in enumerate(ticks):
        due = notices(state, [Problem(*place) for place in sorted(tick)], NOW + timedelta(minutes=number))
        sent = {(n.kind, c.subject, item) for n in due if not n.is_over for c in n.causes for item in c.items}
        over = {(n.kind, c.subject) for n in due if n.is_over for c in n.causes}
        assert sent == tick - before
        assert over == {place[:2] for place in before} - {place[:2] for place in tick}
        assert len(due) <= 2 * len(Kind)
        # The cursor of a sensor is text; the state of the last message is the state of the tick.
        state = due[-1].state if due else state
        state = State.of_json(state.to_json())
        before = tick
        state = State({key: cause for key, cause in state.open.items() if key in {place[:2] for place in tick}})


def test_a_message_that_was_not_sent_is_due_again() -> None:
    present = [*_failed("x", "a"), *_failed("y", "b", kind=Kind.CHECK_FAILED)]
    first, second = notices(State(), present, NOW)
    assert notices(first.state, present, NOW) == [second]
    assert notices(State(), present, NOW) == [first, second]
    assert notices(second.state, present, NOW) == []


def test_many_partitions_of_many_assets_are_one_message() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 32)]
    present = [problem for number in range(50) for problem in _failed(f"asset{number:02}", *days)]
    (notice,) = notices(State(), present, NOW)
    text = body(notice, NOW)
    assert title(notice) == "[alert] run failed: 50 subjects"
    assert "- asset00 (31: 2024-01-01 to 2024-01-31): text" in text
    assert "- and 30 more" in text
    assert len(facts(notice, NOW)["causes"]) == 50


def test_what_is_not_repaired_in_two_weeks_is_closed_and_not_called_recovered() -> None:
    (alert,) = notices(State(), _failed("x", "2024-01-01"), NOW)
    (closed,) = notices(alert.state, [], NOW + WATCHED)
    assert "not repaired in 14 days, and not looked at any more" in body(closed, NOW + WATCHED)
    (recovered,) = notices(alert.state, [], NOW + timedelta(hours=1))
    assert "now recovered" in body(recovered, NOW + timedelta(hours=1))


def test_text_from_outside_is_one_short_line() -> None:
    text = "bad\r\nBcc: someone@example.com\x1b[31m " + "x" * 1000
    (notice,) = notices(State(), [Problem(Kind.RUN_FAILED, "asset", "2024-01-01", text)], NOW)
    lines = body(notice, NOW).splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) < 400 for line in lines)


def test_a_later_run_of_the_same_partitions_repairs() -> None:
    def run(minute: int, *partitions: str, assets: frozenset[str] | None = None, job: str = "update") -> Run:
        return Run(f"{minute}", job, NOW + timedelta(minutes=minute), partitions, assets)

    failed = run(5, "2024-01-01", "2024-01-02")
    assert unrepaired(failed, "silver", []) == failed.partitions
    assert unrepaired(failed, "silver", [run(4, *failed.partitions)]) == failed.partitions
    assert unrepaired(failed, "silver", [run(6, "2024-01-02")]) == ("2024-01-01",)
    others = [run(6, *failed.partitions, assets=frozenset({"gold"})), run(6, *failed.partitions, job="compact")]
    assert unrepaired(failed, "silver", others) == failed.partitions
    assert unrepaired(failed, "silver", [run(6, *failed.partitions, assets=frozenset({"silver"}))]) == ()
    assert unrepaired(run(5), None, []) == ("",)
    assert unrepaired(run(5), None, [run(6)]) == ()


@pytest.mark.parametrize(
    ("newest", "cadence", "now", "expected"),
    [
        ("2024-03-04", Cadence.DAILY, NOW, ""),
        ("2024-03-03", Cadence.DAILY, NOW, "2024-03-04"),
        ("2024-03-03", Cadence.DAILY, NOW - timedelta(minutes=1), ""),
        ("2024-02", Cadence.MONTHLY, NOW, ""),
        ("2024-01", Cadence.MONTHLY, NOW, "2024-02"),
        ("2024-01", Cadence.MONTHLY, datetime(2024, 3, 1, 11, tzinfo=UTC), ""),
        ("2023-12", Cadence.MONTHLY, datetime(2024, 1, 31, tzinfo=UTC), ""),
    ],
)
def test_a_partition_is_late_some_hours_after_its_end(
    newest: str, cadence: Cadence, now: datetime, expected: str
) -> None:
    assert late(newest, cadence, now, timedelta(hours=12)) == expected


def test_partitions_of_a_run_are_days_or_months() -> None:
    assert partitions_of_tags("2024-02-28", "2024-03-01") == ("2024-02-28", "2024-02-29", "2024-03-01")
    assert partitions_of_tags("2023-12", "2024-01") == ("2023-12", "2024-01")
    assert partitions_of_tags("", "") == partitions_of_tags("one", "two") == ()
    assert spans(["2023-12", "2024-01", "x"]) == "2023-12 to 2024-01, x"
