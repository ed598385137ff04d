"""Gold time bars: against the slow reference, by hand, and against the exchange's hours in the sample archive."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS, Feed, feed
from crypto_lakehouse.catalog.bars import BAR_INTERVALS
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse.transforms.gold.windows import earliest_open
from crypto_lakehouse.transforms.parse import parse_csv
from crypto_lakehouse.transforms.silver.klines import clean_klines
from crypto_lakehouse_tests.unit.reference_gold import MINUTE, Row, assert_same, bars, empty, frame

# A leap day and the end of a month lie within the 150 days that the random minutes are drawn from.
START = datetime(2023, 12, 14, tzinfo=UTC)
DAYS = 150
DAY = timedelta(days=1)
ZERO = (timedelta(0),)
BARS = schema_of("gold", "bars_1h")
SUMS = ("base_volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
GOOD: Row = {
    "symbol": "A",
    "segment": 0,
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
    "vwap": 10.4,
    "is_filled": False,
    "in_archive": True,
    "funding_rate": None,
    "has_funding": None,
}


def minute(number: int, **values: Any) -> Row:
    """A row of continuous minutes; ``number`` counts from START."""
    return {**GOOD, "open_time": START + number * MINUTE, **values}


def quiet(number: int, **values: Any) -> Row:
    nothing = dict.fromkeys((*SUMS, "trade_count"), 0.0) | {"trade_count": 0}
    return minute(number, **nothing, is_filled=True, in_archive=False, **values)


def made(rows: list[Row], name: str, offsets: Any = ZERO, first: Any = START, end: Any = START + DAY) -> pl.DataFrame:
    return time_bars(frame("gold", "continuous_1m", rows), INTERVALS[name], offsets, first, end)


@st.composite
def minutes(draw: st.DrawFn) -> list[Row]:
    """Sparse minutes of up to two symbols over five months, some in clusters, with gaps and funding."""
    inverse, known = draw(st.booleans()), draw(st.booleans())
    price, amount = st.floats(1e-8, 1e6), st.just(0.0) | st.floats(1e-9, 1e12)
    anchors = st.integers(0, DAYS * 24 - 1).map(lambda hour: 60 * hour)
    rows = []
    for symbol in draw(st.sampled_from([["A"], ["B", "A"]])):
        base = draw(anchors)
        near = st.integers(base, min(base + 4000, DAYS * 1440 - 1))
        numbers = sorted(draw(st.sets(near | st.integers(0, DAYS * 1440 - 1), max_size=15)))
        segment = draw(st.integers(0, 3))
        for number in numbers:
            segment += draw(st.sampled_from([0, 0, 0, 1]))
            low, a, b, high = sorted(draw(st.tuples(price, price, price, price)))
            values: Row = {"symbol": symbol, "segment": segment, "open": b, "close": a, "low": low, "high": high}
            if filled := draw(st.booleans()):
                values |= dict.fromkeys(SUMS, 0.0) | {"trade_count": 0}
            else:
                values |= {name: draw(amount) for name in SUMS} | {"trade_count": draw(st.integers(0, 10**12))}
            values |= {"is_filled": filled, "in_archive": not filled or draw(st.booleans())}
            values["contracts"] = (0 if filled else draw(st.integers(0, 10**12))) if inverse else None
            if known or draw(st.booleans()):
                rate = draw(st.sampled_from([0.0, 1e-7, -1e-6, 1e-6, 1.1e-6, 3e-4, -1e-4]))
                values |= {"funding_rate": rate, "has_funding": rate != 0 or draw(st.booleans())}
            rows.append(minute(number, **values))
    return draw(st.permutations(rows))


def grids(name: str) -> st.SearchStrategy[list[timedelta]]:
    """Offsets below the interval, and for calendar months below a week."""
    length = (INTERVALS[name].length or timedelta(days=7)) // MINUTE
    return st.lists(st.integers(0, length - 1).map(lambda n: n * MINUTE), min_size=1, max_size=4, unique=True)


KINDS = st.sampled_from(BAR_INTERVALS).flatmap(lambda name: st.tuples(st.just(name), grids(name)))


@pytest.mark.requirement("F4.1")
@settings(max_examples=150, deadline=None)
@given(minutes(), KINDS, st.tuples(st.integers(-1, DAYS + 32), st.integers(-1, DAYS + 32)).map(sorted))
def test_bars_equal_the_slow_reference(rows: list[Row], kind: tuple[str, list[timedelta]], span: list[int]) -> None:
    (name, offsets), first, end = kind, START + span[0] * DAY, START + span[1] * DAY
    assert_same(made(rows, name, offsets, first, end), bars(rows, name, offsets, first, end), BARS)


@pytest.mark.requirement("F4.1", "D9")
@settings(max_examples=100, deadline=None)
@given(minutes(), KINDS, st.sets(st.integers(1, DAYS + 31), max_size=12))
def test_a_bar_is_made_by_exactly_one_part_from_the_minutes_since_its_earliest_open(
    rows: list[Row], kind: tuple[str, list[timedelta]], inner: set[int]
) -> None:
    name, offsets = kind
    cuts = [START + day * DAY for day in sorted({0, *inner, DAYS + 32})]
    parts = []
    for first, end in pairwise(cuts):
        begin = earliest_open(INTERVALS[name], offsets, first)
        assert begin <= first
        parts.append(made([r for r in rows if begin <= r["open_time"] < end], name, offsets, first, end))
    together = pl.concat(parts).sort(BARS.primary_key)
    whole = made(rows, name, offsets, cuts[0], cuts[-1])
    assert together.select(BARS.primary_key).is_unique().all()
    assert together.equals(whole)
    # Nothing is left out: every minute is in one bar of each grid.
    assert together["n_minutes"].sum() == len(rows) * len(offsets)


@pytest.mark.requirement("F4.1", "D9")
def test_parts_of_a_few_minutes_give_each_bar_once() -> None:
    rows = [minute(n) for n in range(240)]
    offsets = [n * 5 * MINUTE for n in range(12)]
    cuts = [START + n * MINUTE for n in range(0, 301, 7)] + [START + 301 * MINUTE]
    parts = pl.concat(made(rows, "1h", offsets, first, end) for first, end in pairwise(cuts))
    assert parts.sort(BARS.primary_key).equals(made(rows, "1h", offsets, cuts[0], cuts[-1]))


@pytest.mark.requirement("F4.1")
def test_an_hour_by_hand() -> None:
    rows = [
        minute(61),
        quiet(62, open=11.0, high=11.0, low=11.0, close=11.0),
        minute(119, open=11.0, high=15.0, low=8.0, close=14.0, base_volume=3.0, quote_volume=36.0),
    ]
    [bar] = made(rows, "1h").to_dicts()
    assert (bar["symbol"], bar["segment"], bar["offset"]) == ("A", 0, 0)
    assert bar["open_time"] == START + timedelta(hours=1)
    assert bar["close_time"] == START + timedelta(hours=2) - timedelta(microseconds=1)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (10.0, 15.0, 8.0, 14.0)
    # 5 + 0 + 3 = 8 of base, 52 + 0 + 36 = 88 of quote; 88 / 8 = 11.
    assert (bar["base_volume"], bar["quote_volume"], bar["vwap"]) == (8.0, 88.0, 11.0)
    assert (bar["trade_count"], bar["contracts"]) == (14, None)
    assert (bar["n_minutes"], bar["n_filled"], bar["complete"]) == (3, 1, False)
    assert (bar["first_minute"], bar["last_minute"]) == (START + 61 * MINUTE, START + 119 * MINUTE)


@pytest.mark.requirement("F4.1")
def test_the_first_and_last_real_minute_are_null_where_nothing_was_traded() -> None:
    prices = dict.fromkeys(("open", "high", "low", "close"), 11.0)
    [bar] = made([quiet(n, **prices) for n in range(60)], "1h").to_dicts()
    assert (bar["first_minute"], bar["last_minute"], bar["vwap"]) == (None, None, None)
    assert (bar["n_minutes"], bar["n_filled"], bar["complete"]) == (60, 60, False)
    assert (bar["open"], bar["close"], bar["base_volume"], bar["trade_count"]) == (11.0, 11.0, 0.0, 0)


def contract_minutes() -> list[Row]:
    """180 minutes from 00:07: open = 100 + i, volume 1, three fundings, known from the first minute on."""
    rates = {53: 0.0003, 113: 1e-7, 114: -0.0001}
    names = ("open", "high", "low", "close")
    return [
        minute(
            7 + i,
            **dict.fromkeys(names, 100.0 + i),
            base_volume=1.0,
            quote_volume=100.0 + i,
            funding_rate=rates.get(i, 0.0),
            has_funding=i in rates,
        )
        for i in range(180)
    ]


def clock(hour: int, minutes: int = 0) -> datetime:
    return START + timedelta(hours=hour, minutes=minutes)


@pytest.mark.requirement("F4.1")
def test_resampling_of_the_contract() -> None:
    # The last minute is 00:07 + 179 min = 03:06, and so the series ends at 03:07: the window of 03:00 is still open.
    whole = made(contract_minutes(), "1h", end=clock(3, 7))
    # 00:07 to 01:00 are 60 - 7 = 53 minutes: the partial first bar stays. i = 53 is 01:00, at price 153;
    # i = 113 is 02:00 and i = 114 is 02:01, at price 214.
    assert whole.select("open_time", "first_minute", "last_minute", "base_volume", "open", "close").rows() == [
        (clock(0), clock(0, 7), clock(0, 59), 53.0, 100.0, 152.0),
        (clock(1), clock(1), clock(1, 59), 60.0, 153.0, 212.0),
        (clock(2), clock(2), clock(2, 59), 60.0, 213.0, 272.0),
    ]
    assert whole.select("funding_rate", "funding_price", "funding_time").rows() == [
        (None, None, None),
        (0.0003, 153.0, clock(1)),
        (-0.0001, 214.0, clock(2, 1)),
    ]
    # The last bar has two events: 1e-7 is too small to be the first, but counts: 1e-7 - 1e-4 = -0.0000999.
    assert whole["funding_sum"].to_list() == pytest.approx([0.0, 0.0003, -0.0000999], rel=1e-12)
    assert whole["funding_count"].to_list() == [0, 1, 2]
    assert whole["complete"].to_list() == [False, True, True]


@pytest.mark.requirement("F4.1")
def test_resampling_of_the_contract_by_ten_minutes() -> None:
    bars_by = made(contract_minutes(), "1h", [10 * MINUTE], clock(-1), clock(3, 7))
    # 23:10 to 00:10 holds 00:07, 00:08 and 00:09; the window of 02:10 closes at 03:10, after the end.
    assert bars_by.select("offset", "open_time", "first_minute", "last_minute", "base_volume").rows() == [
        (10, clock(-1, 10), clock(0, 7), clock(0, 9), 3.0),
        (10, clock(0, 10), clock(0, 10), clock(1, 9), 60.0),
        (10, clock(1, 10), clock(1, 10), clock(2, 9), 60.0),
    ]
    assert bars_by["funding_time"].to_list() == [None, clock(1), clock(2, 1)]


@pytest.mark.requirement("F4.1")
def test_one_hour_by_five_minutes_makes_twelve_grids() -> None:
    rows = [minute(n) for n in range(1440)]
    hours = made(rows, "1h", [n * 5 * MINUTE for n in range(12)])
    # At offset 0 windows close at 01:00 .. 24:00; at 5m at 00:05 .. 23:05, the first begun before the day: 24 each.
    assert dict(hours.group_by("offset").len().iter_rows()) == dict.fromkeys(range(0, 60, 5), 24)
    first = hours.filter(pl.col("offset") == 5).row(0, named=True)
    assert (first["open_time"], first["n_minutes"], first["complete"]) == (START - 55 * MINUTE, 5, False)
    assert hours.filter(pl.col("offset") == 5)["complete"].sum() == 23


@pytest.mark.requirement("F4.1")
@pytest.mark.parametrize(
    ("name", "offset", "opens", "closes"),
    [
        # 2023-12-31 is a Sunday: the week is that of Monday, 25 December, to Sunday, midnight.
        ("1w", 0, "2023-12-25 00:00", "2024-01-01 00:00"),
        ("1w", 26 * 60, "2023-12-26 02:00", "2024-01-02 02:00"),
        ("1mo", 0, "2023-12-01 00:00", "2024-01-01 00:00"),
        ("1mo", 60, "2023-12-01 01:00", "2024-01-01 01:00"),
        # 2023-12-31 is day 19722 since 1970-01-01 = 3 * 6574, so that a window of three days begins on it.
        ("3d", 0, "2023-12-31 00:00", "2024-01-03 00:00"),
        ("3d", 24 * 60, "2023-12-29 00:00", "2024-01-01 00:00"),
        ("1d", 0, "2023-12-31 00:00", "2024-01-01 00:00"),
        ("1d", 13 * 60, "2023-12-30 13:00", "2023-12-31 13:00"),
        ("8h", 60, "2023-12-31 09:00", "2023-12-31 17:00"),
        ("3m", 2, "2023-12-31 12:29", "2023-12-31 12:32"),
    ],
)
def test_grids_of_the_exchange_shifted_by_the_offset(name: str, offset: int, opens: str, closes: str) -> None:
    at = datetime(2023, 12, 31, 12, 31, tzinfo=UTC)
    shown = at.replace(hour=12, minute=30) if name in ("3m", "1d", "8h") else at
    row = {**minute(0), "open_time": shown}
    [bar] = made([row], name, [offset * MINUTE], at - 40 * DAY, at + 40 * DAY).to_dicts()
    stop = datetime.fromisoformat(closes).replace(tzinfo=UTC)
    assert bar["open_time"] == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert bar["close_time"] == stop - timedelta(microseconds=1)
    # It is of the day on which it closes: of (first, end] with end = closes, and no longer with first = closes.
    assert made([row], name, [offset * MINUTE], stop - MINUTE, stop).height == 1
    assert made([row], name, [offset * MINUTE], stop, stop + 40 * DAY).height == 0


@pytest.mark.requirement("F4.1")
def test_a_complete_february_of_a_leap_year() -> None:
    february = datetime(2024, 2, 1, tzinfo=UTC)
    count = 29 * 1440
    offset = (february - START) // MINUTE
    rows = [minute(offset + n) for n in range(count)]
    [bar] = made(rows, "1mo", end=datetime(2024, 3, 1, tzinfo=UTC)).to_dicts()
    assert (bar["open_time"], bar["n_minutes"], bar["complete"]) == (february, count, True)
    [bar] = made(rows[1:], "1mo", end=datetime(2024, 3, 1, tzinfo=UTC)).to_dicts()
    assert (bar["n_minutes"], bar["complete"]) == (count - 1, False)


@pytest.mark.requirement("F4.1", "F4.3")
def test_no_bar_spans_a_gap() -> None:
    before = [minute(n, segment=0) for n in range(10)]
    after = [minute(n, segment=1, open=20.0, high=22.0, low=19.0, close=21.0) for n in range(40, 60)]
    two = made([*before, *after], "1h")
    assert two.select("open_time", "segment", "n_minutes", "high", "complete").rows() == [
        (START, 0, 10, 12.0, False),
        (START, 1, 20, 22.0, False),
    ]


@pytest.mark.requirement("F4.1")
def test_complete_means_that_the_archive_has_every_minute() -> None:
    rows = [minute(n) for n in range(1440)]
    assert made(rows, "1d").select("n_minutes", "complete").rows() == [(1440, True)]
    for n in (0, 700, 1439):
        assert made(rows[:n] + rows[n + 1 :], "1d").select("n_minutes", "complete").rows() == [(1439, False)]
    # A minute without volume is there; one that was filled because the archive has no row is not.
    rows[700] = quiet(700) | {"in_archive": True}
    assert made(rows, "1d").select("n_filled", "complete").rows() == [(1, True)]
    rows[700] = quiet(700)
    assert made(rows, "1d").select("n_filled", "complete").rows() == [(1, False)]


@pytest.mark.requirement("F4.1")
def test_funding_is_null_where_it_is_not_known_for_every_minute() -> None:
    known, unknown = minute(0, funding_rate=0.0003, has_funding=True), minute(1)
    [bar] = made([known, unknown], "1h").to_dicts()
    assert (bar["funding_sum"], bar["funding_count"]) == (None, None)
    assert (bar["funding_rate"], bar["funding_price"], bar["funding_time"]) == (0.0003, 10.0, START)


@pytest.mark.requirement("D4", "D5")
def test_vwap_of_a_coin_margined_bar() -> None:
    # 206 contracts * 100 USD = 20600 USD; 20600 / 2.13660389 BTC = 9641.47 USD per BTC.
    of = feed("binance", "cm", "klines_1m")
    line = "1577836800000,9640.7,9642.4,9640.6,9642.0,206,1577836859999,2.13660389,7,100,1.03,0\n"
    minutes = continuous(silver_rows(line, of, "BTCUSD_PERP", date(2020, 1, 1)), of)
    first = datetime(2020, 1, 1, tzinfo=UTC)
    [bar] = time_bars(minutes, INTERVALS["1h"], ZERO, first, first + DAY).to_dicts()
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
    assert made([minute(0, base_volume=base, quote_volume=quote)], "1h")["vwap"].to_list() == [vwap]


@pytest.mark.requirement("F4.1", "F3.2")
@pytest.mark.parametrize("name", BAR_INTERVALS)
def test_no_minutes_give_no_bars_of_the_right_types(name: str) -> None:
    assert made([], name).equals(empty(schema_of("gold", f"bars_{name}")))
    assert made([], name).schema == empty(schema_of("gold", f"bars_{name}")).schema


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("archive")
    make_sample(directory, symbols=5, days=8)
    return directory


def silver_rows(text: str, of: Feed, symbol: str, day: date) -> pl.DataFrame:
    bronze = parse_csv(text.encode(), of.file_format).rows.with_columns(
        symbol=pl.lit(symbol), source_key=pl.lit("k"), source_sha256=pl.lit("s")
    )
    return clean_klines(bronze, of, day, day + DAY).rows


def silver_of(archive: Path, of: Feed) -> pl.DataFrame:
    """All silver rows of the feed's files in the archive."""
    assert of.interval is not None
    parts = []
    for path in sorted((archive / "data" / of.market.archive_path).glob(f"daily/klines/*/{of.interval.name}/*.zip")):
        with zipfile.ZipFile(path) as opened:
            text = opened.read(opened.namelist()[0]).decode()
        parts.append(silver_rows(text, of, path.parts[-3], date.fromisoformat(path.stem[-10:])))
    return pl.concat(parts).sort("symbol", "open_time")


def continuous(silver: pl.DataFrame, of: Feed) -> pl.DataFrame:
    return continuous_minutes(silver, None, no_state(), None, GapRule(), inverse=of.market.inverse).rows


@pytest.mark.requirement("F4.1", "D4")
@pytest.mark.parametrize("market", ["spot", "um", "cm"])
def test_our_hours_equal_the_hours_of_the_exchange(archive: Path, market: str) -> None:
    of = feed("binance", market, "klines_1m")
    minutes = continuous(silver_of(archive, of), of)
    theirs = silver_of(archive, feed("binance", market, "klines_1h"))
    first, last = theirs["open_time"].min(), theirs["open_time"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    ours = time_bars(minutes, INTERVALS["1h"], ZERO, first, last + DAY)
    # The halt of spot from 02:30 to 04:00 leaves an hour with half of its minutes, which the exchange publishes all the
    # same, and one without any, of which it publishes nothing: ours is there, filled from end to end.
    assert ours["complete"].all() is (market != "spot")
    extra = ours.join(theirs, on=["symbol", "open_time"], how="anti")
    halted = [(name, datetime(2024, 12, 29, 3, tzinfo=UTC)) for name in ("BTCUSDT", "ETHUSDT", "LTCUSDT", "XRPUSDT")]
    assert extra.select("symbol", "open_time").rows() == (halted if market == "spot" else [])
    assert set(extra["n_filled"]) <= {60}
    ours = ours.join(theirs, on=["symbol", "open_time"], how="semi", maintain_order="left")
    exact = ("symbol", "open_time", "open", "high", "low", "close", "trade_count", "contracts")
    assert ours.select(exact).rows() == theirs.select(exact).rows()
    for name in SUMS:
        assert ours[name].to_list() == pytest.approx(theirs[name].to_list(), rel=1e-12, abs=1e-12)
