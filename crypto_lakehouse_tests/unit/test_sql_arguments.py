"""``Lakehouse.sql``: values of parameters, and warnings about tables that are not built."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.commands import parsed, partitions, recommended

pytestmark = pytest.mark.requirement("F6.3")

COUNT = "SELECT count(*) AS n FROM gold.bars_1h WHERE"


@pytest.mark.parametrize(
    ("condition", "params", "rows"),
    [
        ("symbol = $symbol", {"symbol": "ETHUSDT"}, 72),
        ("symbol = ? AND market = ?", ["BTCUSDT", "spot"], 24),
        ("symbol = $1 OR market = $1", ("spot",), 24),
        ("symbol IN $symbols AND market = 'um'", {"symbols": ["BTCUSDT", "ETHUSDT"]}, 144),
        ("date = $day", {"day": date(2024, 1, 2)}, 48),
        ("date = $day", {"day": "2024-01-02"}, 48),
        ("open_time >= $start", {"start": datetime(2024, 1, 3, 12, tzinfo=UTC)}, 24),
        ("open_time >= $start", {"start": pd.Timestamp("2024-01-03 12:00", tz="UTC")}, 24),
        ("open_time >= $start", {"start": "2024-01-03T12:00"}, 24),
        ("close > $price AND complete = $complete", {"price": 1, "complete": True}, 168),
        ("market = 'um'", None, 144),
        ("market = 'um'", {}, 144),
    ],
)
@pytest.mark.parametrize("comment", ["", " -- copy"])
def test_values_of_parameters_are_compared_like_literals(
    lake: Lakehouse, condition: str, params: Any, rows: int, comment: str
) -> None:
    assert lake.sql(f"{COUNT} {condition}{comment}", params)["n"][0] == rows


def test_the_value_of_a_parameter_is_never_sql(lake: Lakehouse) -> None:
    assert lake.sql(f"{COUNT} symbol = $symbol", {"symbol": "' OR 1 = 1 --"})["n"][0] == 0


@pytest.mark.parametrize(
    ("condition", "params", "message"),
    [
        ("symbol = $symbol", None, "the query has no value for $symbol: pass params, such as params={'symbol': "),
        ("symbol = ?", None, "the query has no value for $1: pass params, such as params=['BTCUSDT']"),
        ("symbol = $symbol", ["BTCUSDT"], "the query has no value for $symbol"),
        ("symbol = $symbol", {"symbol": "a", "sym": 1}, "the query has no parameter $sym; it has $symbol"),
        ("symbol = 'a'", {"symbol": "a"}, "the query has no parameter $symbol; it has none"),
    ],
)
def test_parameters_that_do_not_fit_the_query_are_named(
    lake: Lakehouse, condition: str, params: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        lake.sql(f"{COUNT} {condition}", params)


def test_parameters_are_a_dict_or_a_list(lake: Lakehouse) -> None:
    with pytest.raises(TypeError, match="params must be a dict, or a list"):
        lake.sql(f"{COUNT} symbol = ?", "BTCUSDT")


@pytest.mark.parametrize(
    ("query", "table", "market"),
    [
        ("FROM gold.bars_4h WHERE market = 'cm'", "bars_4h", "cm"),
        ("FROM gold.bars_1d", "bars_1d", "spot"),
        ("FROM silver.funding_rates", "funding_rates", "um"),
        ("SELECT * FROM gold.instruments JOIN gold.bars_1h USING (symbol)", "instruments", "spot"),
    ],
)
def test_a_table_that_was_never_built_is_named_with_its_command(
    lake: Lakehouse, query: str, table: str, market: str
) -> None:
    with pytest.warns(UserWarning, match=rf"\.{table} in .* has no partitions") as caught:
        assert len(lake.sql(query)) == 0
    assert caught[0].filename == __file__
    (command,) = recommended(str(caught[0].message))
    assert parsed(command)["market"] == market
    assert partitions(command)


def test_a_table_without_a_command_is_named_too(lake: Lakehouse) -> None:
    with pytest.warns(UserWarning, match=r"ledger\.files in .* has no partitions, so the query reads no rows of it$"):
        lake.sql("FROM ledger.files")
