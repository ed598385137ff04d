"""The gold transforms on real archive files, compared with the slow reference and with known halts of the exchange."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest

from crypto_lakehouse.catalog import INTERVALS, feed
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import Continuous, GapRule, continuous_minutes, no_state
from crypto_lakehouse.transforms.gold.windows import earliest_open
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.klines import clean_klines
from crypto_lakehouse_tests.system.realdata import ARCHIVE, csv_rows, instant, klines_key, needs_real_archive
from crypto_lakehouse_tests.unit import reference_gold as reference

pytestmark = needs_real_archive

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FIRST, END = datetime(2023, 8, 1, tzinfo=UTC), datetime(2023, 10, 1, tzinfo=UTC)
OFFSETS = [n * 5 * MINUTE for n in range(12)]
BARS = schema_of("gold", "bars_1h")
HOURS = "data/spot/monthly/klines/{0}/1h/{0}-1h-2021-{1}.zip"


def silver(market: str, table: str, key: str, symbol: str, first: date, end: date) -> pl.DataFrame:
    of = feed("binance", market, table)
    with zipfile.ZipFile(ARCHIVE / key) as opened:
        parsed = parse_csv(opened.read(opened.namelist()[0]), of.file_format)
    bronze = parsed.rows.with_columns(symbol=pl.lit(symbol), source_key=pl.lit(key), source_sha256=pl.lit("s"))
    return clean_klines(bronze, of, first, end).rows


def silver_day(market: str, folder: str, symbols: tuple[str, ...], day: date) -> pl.DataFrame:
    """One-minute klines of the day; symbols without a file have no rows."""
    keys = {symbol: klines_key(folder, symbol, f"{day}") for symbol in symbols}
    found = [
        silver(market, "klines_1m", key, symbol, day, day + DAY)
        for symbol, key in keys.items()
        if (ARCHIVE / key).is_file()
    ]
    return pl.concat([reference.empty(schema_of("silver", "klines_1m")), *found])


def days() -> Iterator[tuple[datetime, pl.DataFrame]]:
    day = FIRST
    while day < END:
        yield day, silver_day("um", "futures/um", ("FILUSDT", "NEARUSDT"), day.date())
        day += DAY


@cache
def made_by_day() -> list[Continuous]:
    made: list[Continuous] = []
    for day, minutes in days():
        state = made[-1].state if made else no_state()
        made.append(continuous_minutes(minutes, None, state, (day, day + DAY), GapRule()))
    return made


def all_minutes() -> pl.DataFrame:
    return pl.concat(day.rows for day in made_by_day())


@pytest.mark.requirement("F4.2", "F4.3", "D9", "D8")
def test_two_months_are_continuous_day_by_day() -> None:
    made = made_by_day()
    assert len(made) == 31 + 30
    assert sum(day.gaps.height for day in made) == 0
    counts = (
        all_minutes()
        .group_by("symbol", pl.col("open_time").dt.date().alias("day"))
        .agg(n=pl.len(), minutes=pl.col("open_time").n_unique(), there=pl.col("in_archive").sum())
    )
    assert set(counts["n"]) == set(counts["minutes"]) == {1440}
    # FILUSDT has files for August and September; NEARUSDT for August alone, and is filled on for patience = two days.
    assert dict(counts.group_by("symbol").len().iter_rows()) == {"FILUSDT": 61, "NEARUSDT": 31 + 2}
    there = counts.filter(pl.col("there") == 1440).group_by("symbol").len()
    assert dict(there.iter_rows()) == {"FILUSDT": 61, "NEARUSDT": 31}
    times = (
        all_minutes()
        .sort("symbol", "open_time")
        .select(step=pl.col("open_time").diff().over("symbol"), segment="segment")
    )
    assert set(times["step"].drop_nulls()) == {MINUTE}
    assert set(times["segment"]) == {0}


@pytest.mark.requirement("F4.2", "D8")
def test_continuous_minutes_equal_the_reference() -> None:
    state: dict[str, tuple[datetime, float, int]] = {}
    for (day, minutes), ours in zip(days(), made_by_day(), strict=True):
        rule = GapRule()
        theirs = reference.continuous(minutes.to_dicts(), None, state, (day, day + DAY), rule.after, rule.change)
        reference.assert_same(ours.rows, theirs.rows, schema_of("gold", "continuous_1m"))
        assert reference.states(ours.state) == theirs.state
        state = theirs.state


@pytest.mark.requirement("F4.1", "D9", "D8")
def test_hours_on_twelve_grids_equal_the_reference() -> None:
    minutes, hour = all_minutes(), INTERVALS["1h"]
    whole = time_bars(minutes, hour, OFFSETS, FIRST, END)
    # FILUSDT: 61 days * 24 windows that close within (FIRST, END] on each grid. NEARUSDT: 33 * 24 = 792 on the grid
    # of offset 0; on each of the others the first and the last window are partial: 793.
    counts = {(symbol, offset): n for symbol, offset, n in whole.group_by("symbol", "offset").len().iter_rows()}
    assert counts == {
        (symbol, offset): {"FILUSDT": 61 * 24, "NEARUSDT": 33 * 24 + (offset > 0)}[symbol]
        for symbol in ("FILUSDT", "NEARUSDT")
        for offset in range(0, 60, 5)
    }
    partial = whole.filter(pl.col("n_minutes") < 60)
    assert partial.filter(symbol="FILUSDT").select("offset", "open_time", "n_minutes").rows() == [
        (offset, FIRST - HOUR + offset * MINUTE, offset) for offset in range(5, 60, 5)
    ]
    reference.assert_same(whole, reference.bars(minutes.to_dicts(), "1h", OFFSETS, FIRST, END), BARS)

    by_day = []
    for day, _ in days():
        since = minutes.filter(
            pl.col("open_time").is_between(earliest_open(hour, OFFSETS, day), day + DAY, closed="left")
        )
        by_day.append(time_bars(since, hour, OFFSETS, day, day + DAY))
    assert pl.concat(by_day).sort(BARS.primary_key).equals(whole)


@pytest.mark.requirement("F4.1", "F4.2", "D4", "D8")
def test_vwap_of_real_coin_margined_days() -> None:
    for day in (date(2022, 10, 24), date(2022, 10, 25)):
        first = datetime(day.year, day.month, day.day, tzinfo=UTC)
        minutes = silver_day("cm", "futures/cm", ("BTCUSD_PERP",), day)
        made = continuous_minutes(minutes, None, no_state(), (first, first + DAY), GapRule(), inverse=True)
        [bar] = time_bars(made.rows, INTERVALS["1d"], [timedelta(0)], first, first + DAY).to_dicts()
        fields = csv_rows(klines_key("futures/cm", "BTCUSD_PERP", f"{day}"))
        # A contract is 100 USD; column 5 counts contracts, column 7 is coin.
        contracts, coin = sum(int(f[5]) for f in fields), math.fsum(float(f[7]) for f in fields)
        assert bar["contracts"] == contracts
        assert math.isclose(bar["vwap"], 100 * contracts / coin, rel_tol=1e-12)
        assert bar["low"] < bar["vwap"] < bar["high"]


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2021, month, day, hour, tzinfo=UTC)


def hours_of(rule: GapRule) -> Continuous:
    """Hourly klines of spot, January to March 2021, each used as the first minute of its hour."""
    ends = {"01": date(2021, 2, 1), "02": date(2021, 3, 1), "03": date(2021, 4, 1)}
    rows = pl.concat(
        silver("spot", "klines_1h", HOURS.format(symbol, month), symbol, date(2021, int(month), 1), end)
        for symbol in ("BTCUSDT", "ETHUSDT")
        for month, end in ends.items()
    )
    return continuous_minutes(rows, None, no_state(), None, rule)


@pytest.mark.requirement("F4.2", "D8")
def test_known_halts_of_spot_are_filled_hours() -> None:
    made = hours_of(GapRule())
    assert made.gaps.height == 0
    hours = made.rows.filter(pl.col("open_time") == pl.col("open_time").dt.truncate("1h"))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        mine = hours.filter(symbol=symbol)
        # 31 + 28 + 31 = 90 days; every hour of them.
        assert mine["open_time"].to_list() == [at(1, 1, 0) + n * HOUR for n in range(90 * 24)]
        assert mine.filter(~pl.col("in_archive"))["open_time"].to_list() == [at(2, 11, 4), at(3, 6, 2)]
        # The candle of 03:00, before the first halt, is there and closed early (03:40:54), without any trade.
        assert mine.filter("is_filled")["open_time"].to_list() == [at(2, 11, 3), at(2, 11, 4), at(3, 6, 2)]


@pytest.mark.requirement("F4.3", "D8")
def test_known_halts_of_spot_are_gaps_of_the_right_sizes_by_a_rule_of_one_hour() -> None:
    gaps = hours_of(GapRule(after=HOUR, change=0.0)).gaps
    expected = []
    for symbol in ("BTCUSDT", "ETHUSDT"):
        keys = (HOURS.format(symbol, month) for month in ("01", "02", "03"))
        body = {instant(f[0]): (float(f[1]), float(f[4])) for key in keys for f in csv_rows(key)}
        halts = ((at(2, 11, 2), at(2, 11, 5)), (at(3, 6, 1), at(3, 6, 3)))
        for segment, (begin, end) in enumerate(halts, start=1):
            close, opened = body[begin][1], body[end][0]
            silence = {1: 180, 2: 120}[segment]
            expected.append((symbol, begin, end, silence, close, opened, opened / close - 1, 1, segment, "silence", 0))
    assert gaps.rows() == expected
