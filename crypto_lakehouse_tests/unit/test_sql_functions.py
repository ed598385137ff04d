"""The functions that SQL over the lake has in addition to DuckDB's, compared with Polars."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.system.runs import read

pytestmark = pytest.mark.requirement("F6.3")

KEY = ["exchange", "market", "symbol", "segment"]


@pytest.fixture
def sample(sample_lake: Path) -> Lakehouse:
    return Lakehouse(sample_lake)


def sql(lake: Lakehouse, query: str) -> pl.DataFrame:
    return cast("pl.DataFrame", lake.sql(query, format="polars"))


def test_vwap_is_the_quote_volume_over_the_base_volume(sample: Lakehouse) -> None:
    answer = sql(
        sample, "SELECT symbol, vwap(quote_volume, base_volume) AS v FROM silver.klines_1m GROUP BY 1 ORDER BY 1"
    )
    expected = (
        read(sample, "silver.klines_1m")
        .group_by("symbol")
        .agg(v=pl.col("quote_volume").sum() / pl.col("base_volume").sum())
        .sort("symbol")
    )
    assert_frame_equal(answer, expected)
    nothing = sql(sample, "SELECT vwap(quote_volume, base_volume) AS v FROM silver.klines_1m WHERE base_volume = 0")
    assert nothing["v"].to_list() == [None]


@pytest.mark.parametrize("function", ["returns", "log_returns"])
def test_returns_compare_a_row_with_the_one_before_in_its_series(sample: Lakehouse, function: str) -> None:
    query = f"""
        SELECT symbol, open_time, {function}(close, (market, symbol, segment), open_time) AS r
        FROM gold.bars_1h ORDER BY symbol, open_time
    """
    ratio = pl.col("close") / pl.col("close").shift().over("market", "symbol", "segment", order_by="open_time")
    expected = (
        read(sample, "gold.bars_1h")
        .select("symbol", "open_time", r=ratio.log() if function == "log_returns" else ratio - 1)
        .sort("symbol", "open_time")
    )
    answer = sql(sample, query)
    assert_frame_equal(answer.cast({"open_time": pl.Datetime("us", "UTC")}), expected)
    assert answer["r"].null_count() == answer["symbol"].n_unique()


@pytest.mark.parametrize("table", ["gold.bars_1h", "gold.continuous_1m", "silver.klines_1m"])
@pytest.mark.parametrize(("width", "every"), [("INTERVAL '4 hours'", "4h"), ("INTERVAL 1 WEEK", "1w")])
def test_resampled_bars_are_those_of_polars(sample: Lakehouse, table: str, width: str, every: str) -> None:
    rows = read(sample, table)
    if "segment" not in rows.columns:
        rows = rows.with_columns(segment=pl.lit(None, pl.Int64))
    expected = (
        rows.sort("open_time")
        .group_by(*KEY, pl.col("open_time").dt.truncate(every))
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("base_volume", "quote_volume", "trade_count").sum(),
            vwap=pl.col("quote_volume").sum() / pl.col("base_volume").sum(),
        )
        .sort(*KEY, "open_time")
    )
    answer = sql(sample, f"FROM resample('{table}', {width}) ORDER BY exchange, market, symbol, segment, open_time")
    assert_frame_equal(answer.cast({"open_time": pl.Datetime("us", "UTC")}), expected, check_dtypes=False)


def test_resampling_can_be_limited_to_days_and_symbols(sample: Lakehouse) -> None:
    query = """
        WITH day AS (FROM gold.bars_1h WHERE date = '2024-12-31')
        FROM resample('day', INTERVAL '12 hours') WHERE symbol = 'BTCUSDT'
    """
    answer = sql(sample, query)
    assert answer["symbol"].to_list() == ["BTCUSDT"] * 2
    assert answer["open_time"].dt.hour().to_list() == [0, 12]


def test_resampling_uses_one_grid_of_bars_with_offsets(sample: Lakehouse) -> None:
    doubled = """
        WITH doubled AS (FROM gold.bars_1h UNION ALL SELECT * REPLACE (30 AS "offset") FROM gold.bars_1h)
        FROM resample('doubled', INTERVAL '1 day')
    """
    assert_frame_equal(sql(sample, doubled), sql(sample, "FROM resample('gold.bars_1h', INTERVAL '1 day')"))
