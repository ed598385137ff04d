"""The plans of commands for several tables and markets: which partitions, in which order."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.launch import Plan
from crypto_lakehouse.orchestration.requests import Request, requested_plans, update_plans
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.unit.small_lake import store_a_row

pytestmark = pytest.mark.requirement("F7.3")

TODAY = date(2024, 2, 3)


def summary(plans: list[Plan]) -> list[tuple[str, str, str, int]]:
    return [(plan.name.removeprefix("binance/"), plan.keys[0], plan.keys[-1], len(plan.keys)) for plan in plans]


def requested(markets: list[str], tables: list[str], first: date, last: date, **more: Any) -> list[tuple[Any, ...]]:
    request = Request("binance", tuple(markets), tuple(tables), first, last, is_clipped=True)
    return summary(requested_plans(request, Settings.load(**more), TODAY))


def test_funding_comes_first_and_gold_last() -> None:
    plans = requested(["um", "cm"], ["bars_1h", "klines_1m", "funding_rates"], date(2024, 1, 30), date(2024, 2, 2))
    assert plans == [
        ("um/funding_rates", "2024-01", "2024-01", 1),
        ("cm/funding_rates", "2024-01", "2024-01", 1),
        ("um/klines_1m", "2024-01-30", "2024-02-02", 4),
        ("cm/klines_1m", "2024-01-30", "2024-02-02", 4),
        ("um/bars_1h", "2024-01-30", "2024-02-02", 4),
        ("cm/bars_1h", "2024-01-30", "2024-02-02", 4),
    ]


def test_a_table_is_skipped_in_markets_and_ranges_without_it() -> None:
    days = date(2024, 2, 1), date(2024, 2, 2)
    # February is not over, and spot has no funding.
    assert requested(["spot", "um"], ["klines_1m", "funding_rates"], *days) == [
        ("spot/klines_1m", "2024-02-01", "2024-02-02", 2),
        ("um/klines_1m", "2024-02-01", "2024-02-02", 2),
    ]
    assert requested(["spot"], ["klines_1m"], date(2000, 1, 1), date(2017, 8, 18)) == [
        ("spot/klines_1m", "2017-08-17", "2017-08-18", 2)
    ]


@pytest.mark.parametrize(
    ("markets", "tables", "message"),
    [
        (["spot"], ["funding_rates"], "funding_rates"),
        (["um"], ["funding_rates"], "no day or month of funding_rates between 2024-02-01 and 2024-02-02 is over"),
        (["um"], ["klines_1m", "klines_5m"], "add it to LAKEHOUSE_TABLES"),
        (["um"], ["klins_1m"], "did you mean klines_1m"),
    ],
)
def test_wrong_requests_are_explained(markets: list[str], tables: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        requested(markets, tables, date(2024, 2, 1), date(2024, 2, 2))


def test_a_market_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeyError, match="no market 'umm'"):
        requested(["umm"], ["klines_1m"], date(2024, 2, 1), date(2024, 2, 2))


@pytest.fixture
def filled(tmp_path: Path) -> LakeStore:
    """A lake with 2024-01-01 of some klines, funding and instruments."""
    store = LakeStore.open(str(tmp_path))
    for layer, table, market in (
        ("silver", "klines_1m", "um"),
        ("silver", "klines_1m", "spot"),
        ("silver", "funding_rates", "um"),
        ("gold", "instruments", "um"),
    ):
        store_a_row(store, layer, table, market)
    return store


def test_an_update_starts_with_the_newest_partition_of_each_table(filled: LakeStore) -> None:
    update = update_plans((), (), Settings.load(), filled, TODAY)
    assert summary(update.plans) == [
        ("um/funding_rates", "2024-01", "2024-01", 1),
        ("spot/klines_1m", "2024-01-01", "2024-02-02", 33),
        ("um/klines_1m", "2024-01-01", "2024-02-02", 33),
        ("um/instruments", "2024-02-02", "2024-02-02", 1),
    ]
    assert {each.name for each in update.never_built} == {
        "silver/binance/cm/klines_1m",
        "silver/binance/cm/funding_rates",
    }
    named = update_plans(["instruments"], ["um", "cm"], Settings.load(), filled, TODAY)
    assert summary(named.plans) == [("um/instruments", "2024-02-02", "2024-02-02", 1)]
    assert [each.name for each in named.never_built] == ["gold/binance/cm/instruments"]


def test_an_update_can_be_narrowed(filled: LakeStore) -> None:
    settings = Settings.load()
    assert summary(update_plans(["klines_1m"], ["um"], settings, filled, TODAY).plans) == [
        ("um/klines_1m", "2024-01-01", "2024-02-02", 33)
    ]
    for tables, markets, message in ((["bars_1h"], [], "bars_1h"), ([], ["umm"], "did you mean um")):
        with pytest.raises(ValueError, match=message):
            update_plans(tables, markets, settings, filled, TODAY)
