"""How a plan is cut for several processes: their number, the steps, and the chunks of a step."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from rich.console import Console

from crypto_lakehouse.catalog import Cadence, partition_keys
from crypto_lakehouse.cli.console import follow
from crypto_lakehouse.orchestration import cuts
from crypto_lakehouse.orchestration.cuts import cut, processes_of, steps, unused_processes
from crypto_lakehouse.orchestration.launch import Plan, plan
from crypto_lakehouse.orchestration.runs import Outcome, Step
from crypto_lakehouse.orchestration.up_to_date import Work
from crypto_lakehouse.settings import Settings

pytestmark = pytest.mark.requirement("F7.10")

FIRST, TODAY = date(2024, 1, 1), date(2025, 1, 1)
GIB = 1024**3


def settings(**chosen: Any) -> Settings:
    tables = "klines_1m,open_interest,agg_trades,funding_rates"
    return Settings.load(env="test", lake_uri="unused", tables=tables, bars="1h,1d", **chosen)


def work(symbols: int, days: int) -> Work:
    return Work(tuple(partition_keys(FIRST, FIRST + timedelta(days), Cadence.DAILY)), 31, symbols)


def plan_of(table: str, days: int = 1) -> Plan:
    return plan("binance", "um", table, FIRST, FIRST + timedelta(days - 1), settings(), TODAY)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "klines_1m",
            [
                {"bronze.klines_1m", "silver.klines_1m"},
                {"gold.continuous_1m", "gold.gaps", "gold.symbol_states"},
                {"gold.bars_1h", "gold.bars_1d"},
            ],
        ),
        # Rows of a day may be in the files of its neighbours.
        ("open_interest", [{"bronze.open_interest"}, {"silver.open_interest"}]),
        (
            "agg_trades",
            [
                {"bronze.agg_trades", "silver.agg_trades"},
                {"gold.agg_trades_continuity", "gold.agg_trades_missing_ids"},
            ],
        ),
        ("funding_rates", [{"bronze.funding_rates", "silver.funding_rates"}]),
        ("bars_1h", [{"gold.bars_1h"}]),
    ],
)
def test_what_uses_other_days_of_a_table_is_built_in_a_later_step(table: str, expected: list[set[str]]) -> None:
    whole = plan_of(table, 31)
    found = steps(whole)
    assert [{f"{key.path[0]}.{key.path[-1]}" for key in step.assets} for step in found] == expected
    assert [key for step in found for key in step.assets] == list(whole.assets)


@pytest.mark.parametrize(
    ("chosen", "free", "says"),
    [
        ({"processes": 8}, 64 * GIB, "a process pays from 150 files on, and these partitions have about 60"),
        ({"processes": 8, "max_partitions_per_run": 15}, 64 * GIB, "makes no more than 2 runs of these partitions"),
        ({"processes": 8, "max_partitions_per_run": 1}, GIB, "there is no memory for more"),
        ({"processes": 1}, 64 * GIB, ""),
        ({}, 64 * GIB, ""),
    ],
)
def test_processes_that_the_user_set_and_that_are_not_used_are_explained(
    chosen: dict[str, int], free: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "free_bytes", lambda: free)
    text = unused_processes(work(2, 30), settings(**chosen))
    assert says in text
    assert bool(text) == bool(says)


@pytest.mark.parametrize(
    ("symbols", "days", "chosen", "free", "expected"),
    [
        (2, 181, 8, 64 * GIB, 2),
        (2, 30, 8, 64 * GIB, 1),
        (300, 8, 8, 64 * GIB, 8),
        (300, 8, 2, 64 * GIB, 2),
        (300, 8, 8, 3 * GIB, 2),
        (300, 8, 8, 0, 1),
        (300, 8, 8, None, 8),
        (300, 8, 1, 64 * GIB, 1),
    ],
)
def test_processes_are_as_many_as_files_and_memory_allow(
    symbols: int, days: int, chosen: int, free: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "free_bytes", lambda: free)
    assert processes_of(work(symbols, days), settings(processes=chosen)) == expected


def test_a_chosen_size_of_runs_decides_instead_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "free_bytes", lambda: 64 * GIB)
    assert processes_of(work(1, 4), settings(processes=8, max_partitions_per_run=2)) == 2
    assert processes_of(work(1, 4), settings(processes=8, max_partitions_per_run=4)) == 1


@pytest.mark.parametrize(
    ("symbols", "days", "processes", "sizes"),
    [
        (2, 181, 2, [91, 90]),
        (300, 8, 2, [4, 4]),
        (300, 8, 4, [2, 2, 2, 2]),
        # The chunks that run together have no more days than one run of one process, 31.
        (600, 60, 4, [5] * 12),
        (2, 1600, 2, [400, 400, 400, 400]),
    ],
)
def test_chunks_are_of_equal_size_and_small_where_days_are_wide(
    symbols: int, days: int, processes: int, sizes: list[int]
) -> None:
    wanted = work(symbols, days)
    spans = cut(plan_of("klines_1m"), wanted.keys, wanted, processes, settings())
    assert [len(span) for span in spans] == sizes
    assert [key for span in spans for key in span] == list(wanted.keys)


def test_days_of_monthly_files_are_cut_between_months() -> None:
    wanted = work(2, 150)
    spans = cut(plan_of("klines_1m"), wanted.keys, wanted, 2, settings(archive_files="monthly"))
    months = [("2024-01-01", "2024-02-29"), ("2024-03-01", "2024-04-30"), ("2024-05-01", "2024-05-29")]
    assert [(span[0], span[-1]) for span in spans] == months
    # Gold reads no files of the archive.
    (gold,) = steps(plan_of("bars_1h"))
    assert [len(span) for span in cut(gold, wanted.keys, wanted, 2, settings(archive_files="monthly"))] == [75, 75]


def test_the_progress_of_steps_adds_up_to_all_partitions() -> None:
    console = Console(record=True, force_terminal=True, width=120, color_system=None)
    outcomes = [
        Outcome("um/klines_1m", "2024-01-01", "2024-01-05", 5, step=Step(number, 3, ("bars_1h",)))
        for number in (1, 1, 2, 2, 3, 3)
    ]
    done = follow(console, iter(outcomes), 10)
    assert "10/10" in console.export_text()
    assert [outcome.is_last_step for outcome in done] == [False] * 4 + [True] * 2
