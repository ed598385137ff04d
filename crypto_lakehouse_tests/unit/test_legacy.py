"""The export in the legacy tool's shape: the contract's golden vectors, in both profiles.

What the legacy tool made of real files is compared in ``system/test_legacy_export.py``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS, MARKETS
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse.transforms.gold.legacy import Profile, legacy_bars, legacy_series
from crypto_lakehouse_tests.unit.legacy_lake import (
    DAY,
    DEFAULT,
    HOLO,
    LEGACY,
    MINUTE,
    START,
    Candle,
    Event,
    both_profiles,
    epoch_ms,
    events,
    export,
    flat,
    minutes,
    names,
    out,
    run,
    silver,
    store,
)


@pytest.mark.requirement("F4.2", "F4.5")
@pytest.mark.parametrize(("profile", "quiet"), [(LEGACY, 0.0), (DEFAULT, 0.0005)])
def test_merge_of_the_contract(tmp_path: Path, profile: Profile, quiet: float) -> None:
    rows: list[Candle] = [
        (START, 100, 101, 99, 100.5, 10, 1005),  # 1005 / 10 = 100.5
        (START + 1 * MINUTE, 100, 101, 99, 100, 10, 1200),  # 1200 / 10 = 120, held at the high, 101
        (START + 2 * MINUTE, 100, 100, 100, 100, 0, 0),  # not traded: filled, as 00:03 and 00:04 are
        (START + 5 * MINUTE, 110, 111, 109, 110.5, 2, 220),  # 220 / 2 = 110
    ]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    # The contract's events are in minutes 0, 2 and 5, so they are put there and not on their hour.
    rates = events("AUSDT", [(START + hour * 60 * MINUTE, rate) for hour, rate in enumerate((0.0001, 0.0005, -0.0002))])
    shifted = rates.with_columns(funding_hour=pl.Series([START, START + 2 * MINUTE, START + 5 * MINUTE]))
    store(tmp_path / "lake", "um", "funding_rates", shifted)
    export(tmp_path, profile=profile)
    holo = out(tmp_path, f"{HOLO}/AUSDT.parquet")
    assert holo["candle_begin_time"].to_list() == [START + i * MINUTE for i in range(6)]
    assert holo["vwap_1m"].to_list() == [100.5, 101, 100, 100, 100, 110]
    assert holo["funding_rate"].to_list() == [0.0001, 0, quiet, 0, 0, -0.0002]
    assert holo["close"].to_list() == [100.5, 100, 100, 100, 100, 110.5]
    assert holo["volume"].to_list() == [10, 10, 0, 0, 0, 2]


@pytest.mark.requirement("F4.5")
@both_profiles
def test_funding_belongs_to_its_hour(tmp_path: Path, profile: Profile) -> None:
    # 1775088000 s is 20545 days, so 2026-04-02 00:00; 1775116799 s is 28,799 s later, 07:59:59.
    midnight = datetime(2026, 4, 2, tzinfo=UTC)
    rows = [flat(midnight + i * MINUTE, 100) for i in range(9 * 60)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    lines = ["1775088000003,8,0.0001", "1775116799999,8,0.0002"]
    store(tmp_path / "lake", "um", "funding_rates", silver("um", "funding_rates", "AUSDT", lines))
    export(tmp_path, profile=profile)
    holo = out(tmp_path, f"{HOLO}/AUSDT.parquet").filter(pl.col("funding_rate") != 0)
    assert dict(holo.select("candle_begin_time", "funding_rate").iter_rows()) == {
        midnight: 0.0001,
        midnight + timedelta(hours=7): 0.0002,
    }


@pytest.mark.requirement("F4.5")
@both_profiles
@pytest.mark.parametrize(
    ("opened", "length", "day"),
    [(1577836800000, 60_000, date(2020, 1, 1)), (1735689600000000, 60_000_000, date(2025, 1, 1))],
)
def test_times_in_ms_and_us(tmp_path: Path, profile: Profile, opened: int, length: int, day: date) -> None:
    line = f"{opened},1,1,1,1,1,{opened + length - 1},1,1,0,0,0"
    store(tmp_path / "lake", "spot", "klines_1m", silver("spot", "klines_1m", "AUSDT", [line]))
    export(tmp_path, "spot", profile)
    times = out(tmp_path, "holo_1m_klines/spot/AUSDT.parquet")["candle_begin_time"]
    assert times.dtype == pl.Datetime("ms", "UTC")
    assert times.to_list() == [datetime(day.year, day.month, day.day, tzinfo=UTC)]


def contract_minutes() -> tuple[list[Candle], list[Event]]:
    """180 minutes from 00:07, open = 100 + i, volume 1; funding at i = 53, 113, 114: 01:00, 02:00, 02:01."""
    rows: list[Candle] = []
    for i in range(180):
        price = 100.0 + i
        rows.append((START + (7 + i) * MINUTE, price, price + 0.5, price - 0.5, price + 0.25, 1.0, price))
    return rows, [(rows[i][0], rate) for i, rate in ((53, 0.0003), (113, 1e-7), (114, -0.0001))]


def contract_continuous(legacy: bool) -> pl.DataFrame:
    rows, funding = contract_minutes()
    on_hours = events("AUSDT", [(START + i * 60 * MINUTE, rate) for i, (_, rate) in enumerate(funding)])
    rates = on_hours.with_columns(funding_hour=pl.Series([time for time, _ in funding]))
    return continuous_minutes(minutes("um", "AUSDT", rows), rates, no_state(), None, GapRule(), legacy=legacy).rows


@pytest.mark.requirement("F4.1", "F4.5")
@both_profiles
def test_resample_of_the_contract(profile: Profile) -> None:
    ((_, series),) = legacy_series(
        contract_continuous(profile is LEGACY), "AUSDT", MARKETS["binance", "um"], with_funding=True
    )
    bars = legacy_bars(series, INTERVALS["1h"], timedelta(0), profile)
    assert bars.select("candle_begin_time", "candle_end_time", "volume").rows() == [
        (START + 7 * MINUTE, START + 60 * MINUTE, 53),  # 00:07 to 00:59
        (START + 60 * MINUTE, START + 120 * MINUTE, 60),
        (START + 120 * MINUTE, START + 180 * MINUTE, 60),
        # 03:00 has only 180 - 53 - 120 = 7 minutes: dropped
    ]
    assert bars.select("funding_rate", "funding_price", "funding_time").rows() == [
        (None, None, None),
        (0.0003, 153, START + 60 * MINUTE),
        (-0.0001, 214, START + 121 * MINUTE),  # 1e-7 at 02:00 is below the floor
    ]
    assert bars["open"].to_list() == [100, 153, 213]
    assert bars["high"].to_list() == [152.5, 212.5, 272.5]
    assert bars["low"].to_list() == [99.5, 152.5, 212.5]
    assert bars["close"].to_list() == [152.25, 212.25, 272.25]
    assert bars["trade_num"].to_list() == [53, 60, 60]
    assert bars["vwap_1m_open"].to_list() == [100, 153, 213]
    shifted = legacy_bars(series, INTERVALS["1h"], 10 * MINUTE, profile)
    assert shifted.select("candle_begin_time", "candle_end_time", "volume").rows() == [
        (START + 7 * MINUTE, START + 10 * MINUTE, 3),
        (START + 10 * MINUTE, START + 70 * MINUTE, 60),
        (START + 70 * MINUTE, START + 130 * MINUTE, 60),
        # 180 - 3 - 120 = 57 minutes from 02:10: dropped
    ]


@pytest.mark.requirement("F4.1")
def test_resample_of_the_contract_in_gold() -> None:
    """Gold keeps the unfinished bar, marked, and names the window; the numbers are the same."""
    rows, day = contract_continuous(legacy=False), (START, START + DAY)
    bars = time_bars(rows, INTERVALS["1h"], [timedelta(0), 10 * MINUTE], *day)
    whole = bars.filter(pl.col("offset") == 0)
    assert whole.select("open_time", "first_minute", "base_volume", "complete").rows() == [
        (START, START + 7 * MINUTE, 53, False),
        (START + 60 * MINUTE, START + 60 * MINUTE, 60, True),
        (START + 120 * MINUTE, START + 120 * MINUTE, 60, True),
        (START + 180 * MINUTE, START + 180 * MINUTE, 7, False),
    ]
    assert whole.select("funding_rate", "funding_price", "funding_time", "funding_count").rows()[:3] == [
        (None, None, None, 0),
        (0.0003, 153, START + 60 * MINUTE, 1),
        (-0.0001, 214, START + 121 * MINUTE, 2),
    ]
    shifted = bars.filter(pl.col("offset") == 10)
    assert shifted.select("open_time", "first_minute", "base_volume").row(0) == (
        START - 50 * MINUTE,
        START + 7 * MINUTE,
        3,
    )


@pytest.mark.requirement("F4.3", "F4.5")
@both_profiles
@pytest.mark.parametrize(
    ("silence", "price", "split"),
    [
        (DAY, 120.0, False),  # exactly one day is not more than one
        (DAY + MINUTE, 120.0, True),
        (DAY + MINUTE, 109.99, False),  # 9.99 % is not more than 10 %
        (2 * DAY + MINUTE, 100.01, True),
        (2 * DAY, 100.01, False),
        (5 * DAY, 100.0, False),
    ],
)
def test_gap_rule_of_the_contract(
    tmp_path: Path, profile: Profile, silence: timedelta, price: float, split: bool
) -> None:
    rows = [flat(START, 100), flat(START + silence, price)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    export(tmp_path, profile=profile)
    assert names(tmp_path) == (["AUSDT", "SP0_AUSDT"] if split else ["AUSDT"])
    whole = out(tmp_path, f"{HOLO}/AUSDT.parquet")
    assert whole.height == (1 if split else silence // MINUTE + 1)
    assert whole["close"][-1] == price


@pytest.mark.requirement("F4.3", "F4.5")
@both_profiles
def test_three_gaps_come_in_order_of_time(tmp_path: Path, profile: Profile) -> None:
    begins = [START, START + 3 * DAY, START + 7 * DAY, START + 12 * DAY]
    rows = [flat(begin + i * MINUTE, 100.0 * 2**k) for k, begin in enumerate(begins) for i in range(120)]
    # The order in the file must not matter.
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows[::-1]))
    export(tmp_path, profile=profile, bars="1h")
    for k, name in enumerate(("SP0_AUSDT", "SP1_AUSDT", "SP2_AUSDT", "AUSDT")):
        holo = out(tmp_path, f"{HOLO}/{name}.parquet")
        assert holo["candle_begin_time"].to_list() == [begins[k] + i * MINUTE for i in range(120)]
        assert set(holo["close"]) == {100.0 * 2**k}
        bars = out(tmp_path, f"resampled_klines/futures_um/1h/0m/{name}.parquet")
        assert bars["candle_begin_time"].to_list() == [begins[k], begins[k] + 60 * MINUTE]
    assert len(names(tmp_path)) == 4


@pytest.mark.requirement("F4.2", "F4.5")
@pytest.mark.parametrize(
    ("profile", "symbol", "vwap"),
    [
        (LEGACY, "BTCUSD_PERP", 9640.6),  # 2.13660389 / 206 = 0.0104, held at the low
        (DEFAULT, "BTCUSD_PERP", 9641.47),  # 100 * 206 / 2.13660389 = 9641.469...
        (LEGACY, "ETHUSD_PERP", 9640.6),
        (DEFAULT, "ETHUSD_PERP", 9640.6),  # 10 * 206 / 2.13660389 = 964.1, held at the low
    ],
)
def test_vwap_of_coin_margined_contracts(tmp_path: Path, profile: Profile, symbol: str, vwap: float) -> None:
    candle: Candle = (START, 9640.7, 9642.4, 9640.6, 9642.0, 206, 2.13660389)
    store(tmp_path / "lake", "cm", "klines_1m", minutes("cm", symbol, [candle]))
    export(tmp_path, "cm", profile)
    holo = out(tmp_path, f"holo_1m_klines/futures_cm/{symbol}.parquet")
    assert holo["vwap_1m"][0] == pytest.approx(vwap, abs=0.005)


@pytest.mark.requirement("F4.5")
@both_profiles
@pytest.mark.parametrize("symbol", ["BTCUSD_PERP", "ETHUSD_PERP", "LINKUSD_240628"])
def test_volumes_of_coin_margined_contracts_come_back_as_the_archive_has_them(
    tmp_path: Path, profile: Profile, symbol: str
) -> None:
    counts = [1, 3, 206, 9_007_199, 90_071_992_547_409]
    lines = [
        f"{epoch_ms(START + i * MINUTE)},7,8,6,7,{n},{epoch_ms(START + i * MINUTE) + 59_999},{n / 7},3,{n},{n / 7},0"
        for i, n in enumerate(counts)
    ]
    store(tmp_path / "lake", "cm", "klines_1m", silver("cm", "klines_1m", symbol, lines))
    export(tmp_path, "cm", profile)
    holo = out(tmp_path, f"holo_1m_klines/futures_cm/{symbol}.parquet")
    for name in ("volume", "taker_buy_base_asset_volume"):
        assert holo[name].to_list() == counts
    for name in ("quote_volume", "taker_buy_quote_asset_volume"):
        assert holo[name].to_list() == [n / 7 for n in counts]


@pytest.mark.requirement("F4.5")
@both_profiles
def test_a_name_with_two_underscores_is_read(tmp_path: Path, profile: Profile) -> None:
    candle: Candle = (START, 100, 110, 90, 100, 2, 2)  # 100 USD a contract: 100 * 2 / 2 = 100
    store(tmp_path / "lake", "cm", "klines_1m", minutes("cm", "BTCUSD_240628_SETTLED", [candle]))
    (one,) = export(tmp_path, "cm", profile)
    assert one.written == ("holo_1m_klines/futures_cm/BTCUSD_240628_SETTLED.parquet",)
    assert out(tmp_path, one.written[0])["vwap_1m"].to_list() == [90 if profile is LEGACY else 100]


@pytest.mark.requirement("F4.5")
def test_only_the_legacy_profile_loses_a_second_funding_in_a_bar(tmp_path: Path) -> None:
    rows = [flat(START + i * MINUTE, 100) for i in range(8 * 60)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    rates = [(START, 0.0001), (START + timedelta(hours=4), 0.0002), (START + timedelta(hours=7), 1e-7)]
    store(tmp_path / "lake", "um", "funding_rates", events("AUSDT", rates))
    path = "resampled_klines/futures_um/8h/0m/AUSDT.parquet"
    export(tmp_path, bars="8h")
    legacy = out(tmp_path, path)
    assert legacy.select("funding_rate", "funding_price", "funding_time").rows() == [(0.0001, 100, START)]
    assert "funding_sum" not in legacy.columns
    export(tmp_path, bars="8h", profile=DEFAULT)
    default = out(tmp_path, path)
    assert default.columns == [*legacy.columns, "funding_sum", "funding_count"]
    assert default["funding_sum"].to_list() == [pytest.approx(0.0003001, rel=1e-12)]
    assert default["funding_count"].to_list() == [3]


@pytest.mark.requirement("F4.5")
@pytest.mark.parametrize(("profile", "unknown"), [(LEGACY, 0.0), (DEFAULT, None)])
def test_funding_of_a_month_that_is_not_in_the_lake(tmp_path: Path, profile: Profile, unknown: float | None) -> None:
    begin = datetime(2024, 4, 30, 23, 58, tzinfo=UTC)
    rows = [flat(begin + i * MINUTE, 100) for i in range(4)]
    store(tmp_path / "lake", "um", "klines_1m", minutes("um", "AUSDT", rows))
    store(tmp_path / "lake", "um", "funding_rates", events("AUSDT", [(datetime(2024, 5, 1, tzinfo=UTC), 0.0001)]))
    export(tmp_path, profile=profile, bars="3m")
    assert out(tmp_path, f"{HOLO}/AUSDT.parquet")["funding_rate"].to_list() == [unknown, unknown, 0.0001, 0.0]
    if profile is DEFAULT:
        bars = out(tmp_path, "resampled_klines/futures_um/3m/0m/AUSDT.parquet")
        assert bars["funding_sum"].to_list() == [None]
    said = run(tmp_path, "--from", "2024-04-01", "--market", "um").output
    assert "warning um: silver.funding_rates has no 2024-04" in said


@pytest.mark.requirement("F4.5")
@pytest.mark.parametrize(("profile", "first"), [(LEGACY, START - 4 * DAY), (DEFAULT, START)])
def test_weeks_start_on_thursday_or_monday(profile: Profile, first: datetime) -> None:
    rows = minutes("spot", "AUSDT", [flat(START - 4 * DAY, 100), flat(START + 7 * DAY - MINUTE, 100)])
    made = continuous_minutes(rows, None, no_state(), None, GapRule())
    ((_, series),) = legacy_series(made.rows, "AUSDT", MARKETS["binance", "spot"], with_funding=False)
    bars = legacy_bars(series, INTERVALS["1w"], timedelta(0), profile)
    assert first in bars["candle_begin_time"].to_list()
    assert bars.filter(pl.col("candle_begin_time") == first)["candle_end_time"].to_list() == [first + 7 * DAY]


@pytest.mark.requirement("F4.5")
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 3000),
    st.integers(1, 400),
    st.sampled_from(["3m", "5m", "1h", "4h"]),
    st.integers(0, 47),
    st.sets(st.integers(0, 399), max_size=6),
    st.sampled_from(list(Profile)),
)
def test_bars_equal_a_slow_reference(
    begin: int, length: int, name: str, step: int, funded: set[int], profile: Profile
) -> None:
    interval = INTERVALS[name]
    assert interval.length is not None
    every = interval.length // MINUTE
    offset = step * 5 % every
    rates = [(1 + i) * 0.9e-6 if i in funded else 0.0 for i in range(length)]
    prices = [100.0 + (i * 7919) % 101 for i in range(length)]
    series = pl.DataFrame(
        {
            "candle_begin_time": [START + (begin + i) * MINUTE for i in range(length)],
            **dict.fromkeys(("open", "close", "vwap_1m"), prices),
            **{column: [price + by for price in prices] for column, by in (("high", 1), ("low", -1))},
            **{column: [1.0] * length for column in ("volume", "quote_volume")},
            "trade_num": [2] * length,
            **{f"taker_buy_{side}_asset_volume": [0.5] * length for side in ("base", "quote")},
            "funding_rate": rates,
            "has_funding": [i in funded for i in range(length)],
        }
    ).with_columns(pl.col("candle_begin_time").dt.cast_time_unit("ms"))
    bars = legacy_bars(series, interval, offset * MINUTE, profile)

    epoch = epoch_ms(START) // 60_000
    windows: dict[int, list[int]] = {}
    for i in range(length):
        windows.setdefault((epoch + begin + i - offset) // every, []).append(i)
    last = max(windows)
    if (epoch + begin + length - offset) % every:
        del windows[last]
    expected: list[dict[str, Any]] = []
    for part in windows.values():
        paid = [i for i in part if abs(rates[i]) > 1e-6]
        bar = {
            "candle_begin_time": START + (begin + part[0]) * MINUTE,
            "candle_end_time": START + (begin + part[-1] + 1) * MINUTE,
            "open": prices[part[0]],
            "high": max(prices[i] for i in part) + 1,
            "low": min(prices[i] for i in part) - 1,
            "close": prices[part[-1]],
            "volume": float(len(part)),
            "quote_volume": float(len(part)),
            "trade_num": 2 * len(part),
            "taker_buy_base_asset_volume": len(part) / 2,
            "taker_buy_quote_asset_volume": len(part) / 2,
            "vwap_1m_open": prices[part[0]],
            "funding_rate": rates[paid[0]] if paid else None,
            "funding_price": prices[paid[0]] if paid else None,
            "funding_time": START + (begin + paid[0]) * MINUTE if paid else None,
        }
        if profile is DEFAULT:
            bar["funding_sum"] = pytest.approx(sum(rates[i] for i in part), rel=1e-12)
            bar["funding_count"] = len(funded & set(part))
        expected.append(bar)
    assert bars.to_dicts() == expected
