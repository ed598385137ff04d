"""Reads without a market: never indistinguishable rows of spot and futures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse_tests.unit.small_lake import DAYS, day_of_bars, part_path, put

pytestmark = pytest.mark.requirement("F6.1", "F6.2")

TABLE = "gold.bars_1h"
MIXED = r"gold\.bars_1h has rows of these symbols in several markets: BTCUSDT is in spot, um\. Pass one market"


@pytest.mark.parametrize("symbols", ["BTCUSDT", ["ETHUSDT", "BTCUSDT"]])
def test_a_symbol_of_several_markets_needs_one(lake: Lakehouse, symbols: str | list[str]) -> None:
    with pytest.raises(ValueError, match=MIXED):
        lake.read(TABLE, symbols=symbols)
    with pytest.raises(ValueError, match=MIXED):
        lake.scan(TABLE, symbols=symbols)
    for market, rows in (("um", 72), ("spot", 24), (["spot", "um"], 96)):
        assert len(lake.read(TABLE, symbols="BTCUSDT", market=market)) == rows
        assert lake.scan(TABLE, symbols="BTCUSDT", market=market).collect().height == rows


def test_a_symbol_of_one_market_needs_none(lake: Lakehouse) -> None:
    assert len(lake.read(TABLE, symbols="ETHUSDT")) == 72
    assert lake.scan(TABLE, symbols="ETHUSDT").collect()["market"].unique().to_list() == ["um"]


def test_markets_count_whose_rows_are_in_the_range(lake: Lakehouse, root: Path) -> None:
    later = {"symbols": "BTCUSDT", "start": DAYS[1]}
    assert len(lake.read(TABLE, **later)) == 48
    # No day has both, and still rows of two markets would follow each other.
    put(day_of_bars(DAYS[2] + timedelta(days=1), ["BTCUSDT"]), part_path(root, "spot", "2024-01-04"))
    for ask in (lake.read, lake.scan):
        with pytest.raises(ValueError, match=MIXED):
            ask(TABLE, **later)
    with pytest.warns(UserWarning, match="no partition for 2024-01-02"):
        lake.read(TABLE, symbols="BTCUSDT", start=DAYS[1], end=DAYS[2])
    with pytest.warns(UserWarning, match="no partition for 2024-01-02"):
        lake.scan(TABLE, symbols="BTCUSDT", start=DAYS[1], end=DAYS[2])


def test_all_symbols_are_read_of_all_markets_and_say_which(lake: Lakehouse) -> None:
    frame = lake.read(TABLE, format="polars")
    assert frame["market"].value_counts(sort=True).rows() == [("um", 144), ("spot", 24)]
    for ask in (lake.read, lake.scan):
        with pytest.raises(
            ValueError, match=r"gold\.bars_1h come from several markets \(spot, um\): choose one market of them"
        ):
            ask(TABLE, columns=["symbol", "close"])
        ask(TABLE, columns=["symbol", "close"], market="um")
        ask(TABLE, columns=["symbol", "close"], start=DAYS[1])
    assert lake.read(TABLE, columns=["market", "close"], format="polars").columns == ["market", "close"]


def test_scan_stays_lazy_if_a_market_is_given(lake: Lakehouse, root: Path) -> None:
    part_path(root, "um", f"{DAYS[0]}").write_bytes(b"not parquet")
    assert isinstance(lake.scan(TABLE, symbols="BTCUSDT", market=["spot", "um"]), pl.LazyFrame)
