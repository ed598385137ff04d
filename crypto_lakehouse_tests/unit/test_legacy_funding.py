"""Funding in the legacy export: the markets that have it, and its type for symbols without funding."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_lakehouse.transforms.gold.legacy import Profile
from crypto_lakehouse_tests.unit.legacy_lake import (
    DEFAULT,
    LEGACY,
    MINUTE,
    START,
    Candle,
    both_profiles,
    export,
    minutes,
    out,
    silver,
    store,
)

FUNDING = ["funding_rate", "funding_price", "funding_time"]
SYMBOL, DELIVERY = "BTCUSD_PERP", "BTCUSD_240628"
FOLDERS = {"um": "futures_um", "cm": "futures_cm", "spot": "spot"}
HOUR = timedelta(hours=1)


def hours(count: int) -> list[Candle]:
    """A candle each minute of so many hours, at the price of 100 and the number of the minute."""
    prices = [100.0 + i for i in range(60 * count)]
    return [(START + i * MINUTE, p, p, p, p, 5.0, 500.0 / p) for i, p in enumerate(prices)]


def fill(folder: Path, market: str, *symbols: str, rates: list[float]) -> None:
    """Two hours of each symbol, and the rates of the first one, hour by hour."""
    store(folder / "lake", market, "klines_1m", pl.concat([minutes(market, symbol, hours(2)) for symbol in symbols]))
    if rates:
        at = [round((START + n * HOUR).timestamp() * 1000) + 3 for n in range(len(rates))]
        lines = [f"{time},8,{rate}" for time, rate in zip(at, rates, strict=True)]
        store(folder / "lake", market, "funding_rates", silver(market, "funding_rates", symbols[0], lines))


@pytest.mark.requirement("F4.5")
@both_profiles
@pytest.mark.parametrize("market", ["um", "cm"])
def test_funding_is_joined_on_both_markets_of_futures(tmp_path: Path, market: str, profile: Profile) -> None:
    fill(tmp_path, market, SYMBOL, DELIVERY, rates=[0.0003, -0.0001])
    export(tmp_path, market, profile, bars="1h")
    holo = out(tmp_path, f"holo_1m_klines/{FOLDERS[market]}/{SYMBOL}.parquet")
    assert holo.columns[-1] == "funding_rate"
    paid = holo.filter(pl.col("funding_rate") != 0)
    assert paid.select("candle_begin_time", "funding_rate").rows() == [(START, 0.0003), (START + HOUR, -0.0001)]
    bars = out(tmp_path, f"resampled_klines/{FOLDERS[market]}/1h/0m/{SYMBOL}.parquet")
    more = [] if profile is LEGACY else ["funding_sum", "funding_count"]
    assert bars.columns[-3 - len(more) :] == [*FUNDING, *more]
    assert bars.select(FUNDING).rows() == [(0.0003, 100.0, START), (-0.0001, 160.0, START + HOUR)]


@pytest.mark.requirement("F4.5")
@pytest.mark.parametrize("market", ["um", "cm"])
@pytest.mark.parametrize("rates", [[], [0.0003, -0.0001]])
def test_a_symbol_without_any_funding_file_has_the_type_of_the_legacy_tool(
    tmp_path: Path, market: str, rates: list[float]
) -> None:
    fill(tmp_path, market, SYMBOL, DELIVERY, rates=rates)
    for profile, kind, known in ((LEGACY, pl.Int32, 0), (DEFAULT, pl.Float64, None)):
        export(tmp_path, market, profile, bars="1h")
        holo = out(tmp_path, f"holo_1m_klines/{FOLDERS[market]}/{DELIVERY}.parquet")
        assert (holo["funding_rate"].dtype, holo["funding_rate"].unique().to_list()) == (kind, [known])
        bars = out(tmp_path, f"resampled_klines/{FOLDERS[market]}/1h/0m/{DELIVERY}.parquet")
        types = dict(zip(FUNDING, (kind, pl.Float64, pl.Datetime("ms", "UTC")), strict=True))
        assert bars.select(FUNDING).schema == types
        assert bars.select(FUNDING).null_count().row(0) == (2, 2, 2)


@pytest.mark.requirement("F4.5")
def test_a_funding_file_of_another_month_is_a_funding_file(tmp_path: Path) -> None:
    fill(tmp_path, "cm", SYMBOL, rates=[])
    later = [f"{round((START + timedelta(days=60)).timestamp() * 1000)},8,0.0001"]
    store(tmp_path / "lake", "cm", "funding_rates", silver("cm", "funding_rates", SYMBOL, later))
    export(tmp_path, "cm")
    rates = out(tmp_path, f"holo_1m_klines/futures_cm/{SYMBOL}.parquet")["funding_rate"]
    assert (rates.dtype, rates.unique().to_list()) == (pl.Float64, [0.0])


@pytest.mark.requirement("F4.5")
@both_profiles
def test_spot_has_no_funding(tmp_path: Path, profile: Profile) -> None:
    fill(tmp_path, "spot", "AUSDT", rates=[])
    export(tmp_path, "spot", profile, bars="1h")
    for path in ("holo_1m_klines/spot/AUSDT.parquet", "resampled_klines/spot/1h/0m/AUSDT.parquet"):
        assert not [name for name in out(tmp_path, path).columns if "funding" in name]
