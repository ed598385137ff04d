"""Completion of the other tables: what an exchange answers of them equals what its archive would have had."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse_tests.system.exchange import Exchange, Platform, day, exchange, without_source

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F2.15")]

DAYS = [day(number) for number in range(3)]
MONTHS = ["2024-12", "2025-01"]
FUNDING = "fundingRate/{}"


def built(market: Exchange, lake: Path, name: str, table: str, keys: list[str]) -> pl.DataFrame:
    platform = Platform(market, lake, name, table)
    platform.build(keys)
    assert platform.up_to_date(keys) == set(keys)
    calls = len(market.api.calls)
    assert sum(counts.requests for counts in platform.build(keys).values()) == 0
    assert len(market.api.calls) == calls
    return platform.silver(*keys)


@pytest.mark.parametrize(
    ("name", "table", "kind"),
    [
        ("um", "mark_klines_1m", "markPriceKlines/{}/1m"),
        ("um", "premium_klines_5m", "premiumIndexKlines/{}/5m"),
        ("cm", "index_klines_1m", "indexPriceKlines/{}/1m"),
        ("cm", "premium_klines_1h", "premiumIndexKlines/{}/1h"),
        ("spot", "klines_1d", "klines/{}/1d"),
    ],
)
def test_bars_of_other_prices_and_intervals_are_filled(name: str, table: str, kind: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name], days=3, tables=[table]) as market:
        symbol = sorted(path.parent.parent.name for path in market.truth.rglob(f"*{DAYS[0]}.zip"))[0]
        expected = built(market, tmp_path / "true", name, table, DAYS)
        for number in (0, 2):
            market.remove(name, symbol, number, kind)
        silver = built(market, tmp_path / "lake", name, table, DAYS)
    assert without_source(silver).equals(without_source(expected))
    a_day = silver.filter(symbol=symbol).height // 3
    assert Counter(silver["source"])["rest"] == 2 * a_day > 0


@pytest.mark.parametrize(("name", "symbol"), [("um", "BTCUSDT"), ("cm", "BTCUSD_PERP")])
def test_funding_events_and_months_are_filled(name: str, symbol: str, tmp_path: Path) -> None:
    with exchange(tmp_path, [name], tables=["funding_rates", "mark_klines_1m"]) as market:
        expected = built(market, tmp_path / "true", name, "funding_rates", MONTHS)
        calls = len(market.api.calls)
        market.edit(name, symbol, MONTHS[0], lambda lines: [*lines[:10], *lines[12:]], FUNDING)
        market.remove(name, symbol, MONTHS[1], FUNDING)
        silver = built(market, tmp_path / "lake", name, "funding_rates", MONTHS)
        # One request for two events, one for a month; the first of them finds out that there are any.
        assert len(market.api.calls) - calls <= 4
    assert silver.drop("source", "mark_price").equals(expected.drop("source", "mark_price"))
    rest = silver.filter(source="rest")
    assert set(rest["symbol"]) == {symbol}
    assert rest.filter(pl.col("funding_hour").dt.month() == 12).height == 2
    # The sample has mark prices of its days only.
    assert rest["mark_price"].drop_nulls().len() > 0
    assert silver.filter(source="archive_monthly")["mark_price"].null_count() == silver.height - rest.height
