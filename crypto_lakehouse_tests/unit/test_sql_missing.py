"""A query over a missing day says so, unless its conditions exclude the day."""

from __future__ import annotations

import warnings
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F6.3")

COUNT = "SELECT count(*) AS bars FROM gold.bars_1h"


@pytest.fixture
def holed(lake: Lakehouse, root: Path) -> Lakehouse:
    """Bars of um from 2024-01-01 to 2024-01-06 without 2024-01-02; spot has 2024-01-01 only."""
    part_path(root, "um", f"{DAYS[1]}").unlink()
    for day in (4, 5, 6):
        put(day_of_bars(date(2024, 1, day), ["BTCUSDT"]), part_path(root, "um", f"2024-01-{day:02}"))
    return lake


@pytest.mark.parametrize(
    ("conditions", "params"),
    [
        ("", None),
        ("WHERE market = 'um'", None),
        ("WHERE market = $market AND symbol = 'BTCUSDT'", {"market": "um"}),
        ("WHERE date >= '2024-01-02'", None),
        ("WHERE date BETWEEN DATE '2024-01-01' AND '2024-01-03'", None),
        ("WHERE open_time < '2024-01-02 12:00'", None),
        ("WHERE open_time >= ? AND symbol = ?", [datetime(2024, 1, 2, 5), "BTCUSDT"]),
        ("WHERE date IN $days", {"days": [date(2024, 1, 1), date(2024, 1, 3)]}),
        ("AS a JOIN gold.bars_1h AS b ON a.open_time = b.open_time", None),
    ],
)
def test_a_missing_day_between_others_is_named(holed: Lakehouse, conditions: str, params: Any) -> None:
    query = f"{COUNT} {conditions}" if "JOIN" not in conditions else f"SELECT count(*) FROM gold.bars_1h {conditions}"
    with pytest.warns(LakeWarning, match=r"bars_1h of binance/um in .* has no partition for 2024-01-02: ") as caught:
        holed.sql(query, params)
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    (command,) = recommended(str(caught[0].message))
    assert (parsed(command)["market"], parsed(command)["first"]) == ("um", date(2024, 1, 2))


@pytest.mark.parametrize(
    ("conditions", "params"),
    [
        ("WHERE market = 'spot'", None),
        ("WHERE market = ?", ["spot"]),
        ("WHERE date > '2024-01-02'", None),
        ("WHERE date < '2024-01-02'", None),
        ("WHERE date = '2024-01-05'", None),
        ("WHERE open_time >= TIMESTAMP '2024-01-03'", None),
        ("WHERE open_time < $end", {"end": "2024-01-02"}),
        ("WHERE open_time >= $start AND date <= $end", {"start": date(2024, 1, 3), "end": "2024-01-06"}),
        # What is not understood may exclude the day.
        ("WHERE date >= current_date - 7", None),
        ("WHERE '2024-01-03' <= date", None),
        ("WHERE open_time::DATE = '2024-01-04'", None),
        ("WHERE date_trunc('day', open_time) = '2024-01-04'", None),
        ("WHERE date = (SELECT max(date) FROM gold.bars_1h)", None),
        ("WHERE open_time >= TIMESTAMP '2024-01-04' - INTERVAL 1 DAY", None),
    ],
)
def test_a_day_that_the_query_excludes_is_not_missing(holed: Lakehouse, conditions: str, params: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        holed.sql(f"{COUNT} {conditions}", params)


@pytest.mark.parametrize("query", ["DESCRIBE gold.bars_1h", "EXPLAIN FROM gold.bars_1h", "SHOW TABLES", "SELECT 1"])
def test_a_query_that_reads_no_rows_is_quiet(holed: Lakehouse, query: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        holed.sql(query)
