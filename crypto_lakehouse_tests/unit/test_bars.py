"""Gold bars: against a slow reference, golden vectors, and the exchange's own hours of the sample archive."""

from __future__ import annotations

import math
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.archive.sample import make_sample
from crypto_lakehouse.catalog import INTERVALS, Feed, feed
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.bars import bars_from_minutes
from crypto_lakehouse.transforms.klines import clean_klines
from crypto_lakehouse.transforms.parse import parse_csv

DAY = datetime(2024, 3, 31, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SUMS = ("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
GOOD: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "base_volume": 5.0,
    "quote_volume": 52.0,
    "trade_count": 7,
    "taker_buy_base_volume": 2.0,
    "taker_buy_quote_volume": 21.0,
    "contracts": None,
    "source": "archive_daily",
}


def silver(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of one-minute klines; ``minute`` counts from DAY."""
    empty = pl.from_arrow(schema_of("silver", "klines_1m").arrow.empty_table())
    assert isinstance(empty, pl.DataFrame)
    records = []
    for row in rows:
        opened = DAY + row["minute"] * MINUTE
        records.append({**GOOD, **row, "open_time": opened, "close_time": opened + MINUTE - timedelta.resolution})
    return pl.DataFrame(records, schema_overrides=empty.schema).select(
        pl.col(name).cast(kind) for name, kind in empty.schema.items()
    )


def reference(rows: list[dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Bars by the definition, row by row."""
    windows: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: (r["symbol"], r["minute"])):
        windows.setdefault((row["symbol"], row["minute"] // minutes), []).append(row)
    bars = []
    for (symbol, number), part in sorted(windows.items()):
        opened = DAY + number * minutes * MINUTE
        low, high = min(r["low"] for r in part), max(r["high"] for r in part)
        bar: dict[str, Any] = {
            "symbol": symbol,
            "open_time": opened,
            "close_time": opened + minutes * MINUTE - timedelta(microseconds=1),
            "open": part[0]["open"],
            "high": high,
            "low": low,
            "close": part[-1]["close"],
            **{name: math.fsum(r[name] for r in part) for name in SUMS},
            "contracts": None if part[0]["contracts"] is None else sum(r["contracts"] for r in part),
            "first_minute": DAY + part[0]["minute"] * MINUTE,
            "last_minute": DAY + part[-1]["minute"] * MINUTE,
            "n_minutes": len(part),
            "complete": len(part) == minutes,
        }
        base = bar["base_volume"]
        bar["vwap"] = min(max(bar["quote_volume"] / base, low), high) if base else None
        bars.append(bar)
    return bars


def assert_same(ours: pl.DataFrame, expected: list[dict[str, Any]]) -> None:
    assert ours.height == len(expected)
    for got, want in zip(ours.to_dicts(), expected, strict=True):
        assert set(got) == set(want)
        for name, value in want.items():
            if isinstance(value, float):
                assert math.isclose(got[name], value, rel_tol=1e-12), (name, got[name], value)
            else:
                assert got[name] == value, name


amounts = st.floats(0, 1e9, allow_subnormal=False) | st.just(0.0)
prices = st.floats(1e-8, 1e6)


@st.composite
def minutes_with_holes(draw: st.DrawFn) -> list[dict[str, Any]]:
    inverse = draw(st.booleans())
    whole = draw(st.sampled_from([[], list(range(60, 120))]))
    rows = []
    for symbol in draw(st.sampled_from([["A"], ["A", "B"]])):
        for minute in sorted({*draw(st.lists(st.integers(0, 2 * 1440 - 1), min_size=1, max_size=15)), *whole}):
            low, a, b, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
            volumes = {name: draw(amounts) for name in SUMS if name != "trade_count"}
            count = draw(st.integers(0, 10**9))
            contracts = draw(st.integers(0, 10**9)) if inverse else None
            row = {"symbol": symbol, "minute": minute, "open": a, "high": high, "low": low, "close": b}
            rows.append({**row, **volumes, "trade_count": count, "contracts": contracts})
        whole = []
    return rows


@pytest.mark.requirement("F4.1", "D5")
@settings(max_examples=40, deadline=None)
@given(minutes_with_holes(), st.sampled_from(["1m", "5m", "1h", "4h", "1d"]), st.randoms(use_true_random=False))
def test_bars_equal_the_slow_reference(rows: list[dict[str, Any]], name: str, random) -> None:  # type: ignore[no-untyped-def]
    length = INTERVALS[name].microseconds // 60_000_000
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert_same(bars_from_minutes(silver(*shuffled), INTERVALS[name]), reference(rows, length))


@pytest.mark.requirement("F4.1", "D5")
def test_an_hour_by_hand() -> None:
    rows = [
        {"minute": 61, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "base_volume": 5.0, "quote_volume": 52.0},
        {
            "minute": 119,
            "open": 11.0,
            "high": 15.0,
            "low": 8.0,
            "close": 14.0,
            "base_volume": 3.0,
            "quote_volume": 36.0,
        },
    ]
    [bar] = bars_from_minutes(silver(*rows), INTERVALS["1h"]).to_dicts()
    assert bar["open_time"] == DAY + timedelta(hours=1)
    assert bar["close_time"] == DAY + timedelta(hours=2) - timedelta(microseconds=1)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (10.0, 15.0, 8.0, 14.0)
    # 5 + 3 = 8 of base, 52 + 36 = 88 of quote; 88 / 8 = 11.
    assert (bar["base_volume"], bar["quote_volume"], bar["vwap"]) == (8.0, 88.0, 11.0)
    assert (bar["trade_count"], bar["contracts"]) == (14, None)
    assert (bar["n_minutes"], bar["complete"]) == (2, False)
    assert (bar["first_minute"], bar["last_minute"]) == (DAY + 61 * MINUTE, DAY + 119 * MINUTE)


@pytest.mark.requirement("F4.1")
def test_complete_needs_every_minute() -> None:
    full = bars_from_minutes(silver(*({"minute": n} for n in range(1440))), INTERVALS["1d"])
    assert full.select("n_minutes", "complete").rows() == [(1440, True)]
    for missing in (0, 700, 1439):
        part = bars_from_minutes(silver(*({"minute": n} for n in range(1440) if n != missing)), INTERVALS["1d"])
        assert part.select("n_minutes", "complete").rows() == [(1439, False)]


@pytest.mark.requirement("D4", "D5")
def test_vwap_of_a_coin_margined_bar() -> None:
    # 206 contracts * 100 USD = 20600 USD; 20600 / 2.13660389 BTC = 9641.47 USD per BTC.
    of = feed("binance", "cm", "klines_1m")
    line = "1577836800000,9641,9700,9600,9642,206,1577836859999,2.13660389,7,100,1.03,0"
    bronze = parse_csv(line.encode(), of.file_format).rows.with_columns(
        symbol=pl.lit("BTCUSD_PERP"), source_key=pl.lit("k"), source_sha256=pl.lit("s")
    )
    minutes = clean_klines(bronze, of, date(2020, 1, 1), date(2020, 1, 2)).rows
    [bar] = bars_from_minutes(minutes, INTERVALS["1h"]).to_dicts()
    assert bar["vwap"] == pytest.approx(9641.47, abs=0.005)
    assert (bar["contracts"], bar["quote_volume"]) == (206, 20600.0)


@pytest.mark.requirement("D5")
@pytest.mark.parametrize(
    ("base", "quote", "vwap"),
    [
        (2.0, 22.0, 11.0),
        (2.0, 24.1, 12.0),  # 12.05 is above the high of 12
        (2.0, 17.9, 9.0),  # 8.95 is below the low of 9
        (0.0, 0.0, None),
    ],
)
def test_vwap_is_held_within_low_and_high_and_null_without_volume(
    base: float, quote: float, vwap: float | None
) -> None:
    rows = silver({"minute": 0, "base_volume": base, "quote_volume": quote})
    assert bars_from_minutes(rows, INTERVALS["1h"])["vwap"].to_list() == [vwap]


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize("name", ["1s", "3d", "1w", "1mo"])
def test_intervals_that_do_not_divide_a_day_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"bars of {name} do not divide a UTC day"):
        bars_from_minutes(silver({"minute": 0}), INTERVALS[name])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("archive")
    make_sample(directory, symbols=5, days=8)
    return directory


def silver_of(archive: Path, of: Feed) -> pl.DataFrame:
    """All silver rows of the feed's files in the archive."""
    assert of.interval is not None
    parts = []
    for path in sorted((archive / "data" / of.market.archive_path).glob(f"daily/klines/*/{of.interval.name}/*.zip")):
        symbol, day = path.parts[-3], date.fromisoformat(path.stem[-10:])
        with zipfile.ZipFile(path) as opened:
            parsed = parse_csv(opened.read(opened.namelist()[0]), of.file_format)
        bronze = parsed.rows.with_columns(
            symbol=pl.lit(symbol), source_key=pl.lit(path.name), source_sha256=pl.lit("s")
        )
        parts.append(clean_klines(bronze, of, day, day + timedelta(days=1)).rows)
    return pl.concat(parts).sort("symbol", "open_time")


@pytest.mark.requirement("F4.1", "D4")
@pytest.mark.parametrize("market", ["spot", "um", "cm"])
def test_our_hours_are_those_of_the_exchange(archive: Path, market: str) -> None:
    minutes = silver_of(archive, feed("binance", market, "klines_1m"))
    theirs = silver_of(archive, feed("binance", market, "klines_1h"))
    ours = bars_from_minutes(minutes, INTERVALS["1h"])
    # The halt on spot leaves an hour with a part of its minutes, which the exchange publishes all the same.
    assert ours["complete"].all() is (market != "spot")
    exact = ("symbol", "open_time", "open", "high", "low", "close", "trade_count", "contracts")
    assert ours.select(exact).rows() == theirs.select(exact).rows()
    for name in SUMS:
        assert ours[name].to_list() == pytest.approx(theirs[name].to_list(), rel=1e-12, abs=1e-12)
