"""Activity bars: golden vectors, a slow reference, and that no bar depends on how days are cut."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog.bars import ActivityBars, parse_bars
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.bars import ACTIVITY_BARS
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars, month_begin

MINUTE, DAY, MICROSECOND = timedelta(minutes=1), timedelta(days=1), timedelta(microseconds=1)
JANUARY, FEBRUARY, MARCH = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3))
SUMS = ("base_volume", "quote_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
AMOUNTS = {"dollar": "quote_volume", "volume": "base_volume", "tick": "trade_count"}
EMPTY = pl.DataFrame(schema_of("gold", "continuous_1m").arrow.empty_table())


def minute(time: datetime, price: float = 10.0, volume: float = 0.0, **more: Any) -> dict[str, Any]:
    """A minute of gold.continuous_1m at one price; without volume it is a filled one."""
    row = {
        "symbol": "A",
        "open_time": time,
        "segment": 0,
        **dict.fromkeys(("open", "high", "low", "close", "vwap"), price),
        "base_volume": volume,
        "quote_volume": volume * price,
        "trade_count": int(volume),
        "taker_buy_base_volume": volume / 2,
        "taker_buy_quote_volume": volume * price / 2,
        "contracts": None,
        "is_filled": volume == 0,
        "in_archive": volume != 0,
        "funding_rate": None,
        "has_funding": None,
    }
    return {**row, **more}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EMPTY.schema)


def row_of(symbol: str, month: datetime, segment: int, number: int, part: list[dict[str, Any]]) -> dict[str, Any]:
    """One bar of the reference, and its place; everything added up in order of time."""
    low, high = min(m["low"] for m in part), max(m["high"] for m in part)
    traded = [m["open_time"] for m in part if not m["is_filled"]]
    bar = {
        "symbol": symbol,
        "segment": segment,
        "open_time": part[0]["open_time"],
        "close_time": part[-1]["open_time"] + MINUTE - MICROSECOND,
        "open": part[0]["open"],
        "high": high,
        "low": low,
        "close": part[-1]["close"],
        **{name: sum(m[name] for m in part) for name in SUMS},
        "contracts": None if any(m["contracts"] is None for m in part) else sum(m["contracts"] for m in part),
        "first_minute": traded[0] if traded else None,
        "last_minute": traded[-1] if traded else None,
        "n_minutes": len(part),
        "n_filled": sum(m["is_filled"] for m in part),
    }
    base = bar["base_volume"]
    return {**bar, "vwap": min(max(bar["quote_volume"] / base, low), high) if base else None}


def reference(rows: list[dict[str, Any]], bars: ActivityBars, first: datetime, end: datetime) -> list[dict[str, Any]]:
    """The definition, minute by minute: a list of minutes grows until the total passes the next multiple."""
    made = []
    for symbol in sorted({row["symbol"] for row in rows}):
        series = sorted((row for row in rows if row["symbol"] == symbol), key=lambda row: row["open_time"])
        part: list[dict[str, Any]] = []
        total, number, at = Decimal(0), 0, None
        for row in series:
            place = (month_begin(row["open_time"]), row["segment"])
            if at is not None and place != at:
                if part:
                    known = row["open_time"] if place[0] == at[0] else month_begin(at[0] + 31 * DAY) - MICROSECOND
                    made.append((known, {**row_of(symbol, *at, number, part), "complete": False}))
                part, total, number = [], Decimal(0), 0
            at = place
            part.append(row)
            total += round(Decimal(row[AMOUNTS[bars.activity]]), 8)
            if total // bars.threshold > number:
                bar = row_of(symbol, *at, number, part)
                made.append((bar["close_time"], {**bar, "complete": True}))
                part, number = [], int(total // bars.threshold)
        if part and at is not None:
            known = month_begin(at[0] + 31 * DAY) - MICROSECOND
            made.append((known, {**row_of(symbol, *at, number, part), "complete": False}))
    bars_in_range = [bar for known, bar in made if first <= known < end]
    return sorted(bars_in_range, key=lambda bar: (bar["symbol"], bar["open_time"]))


def assert_same(ours: pl.DataFrame, expected: list[dict[str, Any]]) -> None:
    assert ours.columns == ACTIVITY_BARS.column_names
    assert ours.select("symbol", "open_time", "close_time").rows() == [
        (bar["symbol"], bar["open_time"], bar["close_time"]) for bar in expected
    ]
    for got, want in zip(ours.to_dicts(), expected, strict=True):
        for name, value in want.items():
            if isinstance(value, float):
                assert math.isclose(got[name], value, rel_tol=1e-12), (name, got[name], value)
            else:
                assert got[name] == value, name


def by_day(rows: pl.DataFrame, bars: ActivityBars, first: datetime, end: datetime) -> pl.DataFrame:
    """Each day separately, from the minutes up to its end."""
    days = [first + n * DAY for n in range((end - first) // DAY)]
    made = [
        activity_bars(
            rows.filter((pl.col("open_time") >= month_begin(day)) & (pl.col("open_time") < day + DAY)),
            bars,
            day,
            day + DAY,
        )
        for day in days
    ]
    return pl.concat(made).sort(ACTIVITY_BARS.primary_key)


@st.composite
def continuous(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few symbols around the turn of a month, with quiet minutes, gaps of days, and sudden volume."""
    rows = []
    inverse = draw(st.booleans())
    for symbol in ["A", "B"][: draw(st.integers(1, 2))]:
        time, segment = FEBRUARY - draw(st.integers(1, 4)) * DAY, 0
        for _ in range(draw(st.integers(1, 4))):
            time += draw(st.integers(0, 1500)) * MINUTE
            for _ in range(draw(st.integers(1, 12))):
                volume = draw(st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.0, 31.7]))
                price = draw(st.floats(0.1, 50))
                contracts = draw(st.integers(0, 9)) if inverse else None
                rows.append(minute(time, price, volume, symbol=symbol, segment=segment, contracts=contracts))
                time += MINUTE
            segment += draw(st.integers(0, 1))
    return rows


KINDS = st.sampled_from(["dollar:10", "dollar:200", "volume:1", "volume:20", "tick:3", "tick:1000"]).map(parse_bars)


@pytest.mark.requirement("F4.4")
@settings(max_examples=60, deadline=None)
@given(continuous(), KINDS, st.randoms(use_true_random=False), st.integers(0, 3))
def test_bars_equal_the_slow_reference(  # type: ignore[no-untyped-def]
    rows: list[dict[str, Any]], bars: ActivityBars, random, day: int
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    whole = (JANUARY, MARCH)
    part = (FEBRUARY + (day - 2) * DAY, FEBRUARY + (day - 1) * DAY)
    for first, end in (whole, part):
        assert_same(activity_bars(frame(shuffled), bars, first, end), reference(rows, bars, first, end))


@pytest.mark.requirement("F4.4", "D9")
@settings(max_examples=40, deadline=None)
@given(continuous(), KINDS)
def test_day_by_day_is_the_month_at_once_and_sums_up_to_its_minutes(
    rows: list[dict[str, Any]], bars: ActivityBars
) -> None:
    minutes = frame(rows)
    first = FEBRUARY - 6 * DAY
    whole = activity_bars(minutes, bars, first, MARCH)
    # Exactly, floats too: the same additions in the same order.
    assert by_day(minutes, bars, first, MARCH).equals(whole)
    assert whole["trade_count"].sum() == minutes["trade_count"].sum()
    assert whole["n_minutes"].sum() == minutes.height
    assert whole["n_filled"].sum() == minutes["is_filled"].sum()
    for name in SUMS:
        assert whole[name].sum() == pytest.approx(minutes[name].sum(), rel=1e-12)


@pytest.mark.requirement("F4.4")
@pytest.mark.parametrize(("volume", "n_minutes"), [(9.99999999, [1, 2]), (9.999999999999998, [1, 1, 1])])
def test_a_total_that_is_a_hair_below_a_multiple_has_not_reached_it(volume: float, n_minutes: list[int]) -> None:
    # The hair is the last decimal of the archive; what is finer is the rounding of a float.
    rows = [minute(JANUARY + n * MINUTE, 1.0, v) for n, v in enumerate([100.0, volume, 1.0])]
    got = activity_bars(frame(rows), ActivityBars("volume", 10), JANUARY, FEBRUARY)
    assert got["n_minutes"].to_list() == n_minutes


@pytest.mark.requirement("F4.4")
@pytest.mark.parametrize(("volume", "threshold"), [(0.1, 1), (0.7, 7), (3e15, 30 * 10**15)])
def test_bars_at_exact_multiples_close_in_the_minute_that_reaches_them(volume: float, threshold: int) -> None:
    # Units of 1e-8 in the last one would not fit 64 bits.
    rows = [minute(JANUARY + n * MINUTE, 1.0, volume) for n in range(60)]
    got = activity_bars(frame(rows), ActivityBars("volume", threshold), JANUARY, FEBRUARY)
    assert got["n_minutes"].to_list() == [10] * 6
    assert got["complete"].all()


@pytest.mark.requirement("F4.4", "D9")
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 12), st.data())
def test_equal_minutes_give_equal_bars_after_any_history(unit: int, per_bar: int, data: st.DataObject) -> None:
    """Amounts of whole 1e-8 whose ``per_bar`` make a threshold: every bar has as many minutes."""
    threshold = -(-unit * per_bar // 10**8)
    amounts = [unit] * (per_bar - 1) + [threshold * 10**8 - unit * (per_bar - 1)]
    order = [amount for _ in range(6) for amount in data.draw(st.permutations(amounts))]
    rows = [minute(JANUARY + n * MINUTE, 1.0, float(Decimal(a) / 10**8)) for n, a in enumerate(order)]
    got = activity_bars(frame(rows), ActivityBars("volume", threshold), JANUARY, FEBRUARY)
    assert got["n_minutes"].to_list() == [per_bar] * 6


@pytest.mark.requirement("F4.4")
def test_volume_bars_by_hand() -> None:
    volumes = [6.0, 0.0, 7.0, 0.0, 2.0, 29.0, 1.0]
    prices = [10.0, 10.0, 12.0, 12.0, 11.0, 15.0, 9.0]
    rows = [minute(JANUARY + n * MINUTE, p, v) for n, (p, v) in enumerate(zip(prices, volumes, strict=True))]
    got = activity_bars(frame(rows), ActivityBars("volume", 10), JANUARY, FEBRUARY)
    # Totals: 6, 6, 13 | 13, 15, 44 | 45. 13 reaches 10 with 3 too much; 44 reaches 20, 30 and 40 in one
    # minute; 45 reaches nothing: the rest of the month.
    assert got["base_volume"].to_list() == [13.0, 31.0, 1.0]
    assert got["n_minutes"].to_list() == [3, 3, 1]
    assert got["n_filled"].to_list() == [1, 1, 0]
    assert got["complete"].to_list() == [True, True, False]
    # The quiet minute 3 follows the first bar's last one, so it opens the second bar.
    assert got["open_time"].to_list() == [JANUARY + n * MINUTE for n in (0, 3, 6)]
    assert got["first_minute"].to_list() == [JANUARY + n * MINUTE for n in (0, 4, 6)]
    assert got["close_time"].to_list() == [JANUARY + n * MINUTE - MICROSECOND for n in (3, 6, 7)]
    assert got.select("open", "high", "low", "close").rows() == [(10, 12, 10, 12), (12, 15, 11, 15), (9, 9, 9, 9)]
    # 6 * 10 + 7 * 12 = 144, 144 / 13; 2 * 11 + 29 * 15 = 457, 457 / 31; 9 / 1.
    assert got["quote_volume"].to_list() == [144.0, 457.0, 9.0]
    assert got["vwap"].to_list() == [144 / 13, 457 / 31, 9.0]


@pytest.mark.requirement("F4.4")
def test_each_activity_counts_its_own_column() -> None:
    rows = [minute(JANUARY + n * MINUTE, 10.0, 2.0, trade_count=3) for n in range(6)]
    # 20 of quote, 2 of base and 3 trades a minute: 60 is reached after 3 minutes, 4 after 2, 18 after 6.
    for name, counts in (("dollar:60", [3, 3]), ("volume:4", [2, 2, 2]), ("tick:18", [6])):
        kind = parse_bars(name)
        assert isinstance(kind, ActivityBars)
        got = activity_bars(frame(rows), kind, JANUARY, FEBRUARY)
        assert got["n_minutes"].to_list() == counts, name
        assert got["complete"].all()


@pytest.mark.requirement("F4.4")
def test_bars_restart_each_month_and_an_unfinished_bar_is_not_returned() -> None:
    rows = [minute(FEBRUARY + n * MINUTE, 10.0, 6.0) for n in range(-3, 3)]
    bars = ActivityBars("volume", 10)
    # January: 6, 12 | 18 and the end; February: 6, 12 | 18.
    both = activity_bars(frame(rows), bars, JANUARY, MARCH)
    assert both["base_volume"].to_list() == [12.0, 6.0, 12.0, 6.0]
    assert both["complete"].to_list() == [True, False, True, False]
    assert both["open_time"][2] == FEBRUARY
    assert activity_bars(frame(rows), bars, JANUARY, MARCH - DAY)["complete"].to_list() == [True, False, True]
    assert activity_bars(frame(rows), bars, JANUARY, FEBRUARY)["complete"].to_list() == [True, False]
    assert activity_bars(frame(rows), bars, JANUARY, FEBRUARY - MINUTE)["complete"].to_list() == [True]


@pytest.mark.requirement("F4.4")
def test_no_bar_spans_a_gap_and_the_bar_before_it_closes_on_the_day_the_gap_ends() -> None:
    resumed = JANUARY + 5 * DAY
    rows = [minute(JANUARY + n * MINUTE, 10.0, 6.0) for n in range(3)]
    rows += [minute(resumed + n * MINUTE, 20.0, 6.0, segment=1) for n in range(2)]
    bars = ActivityBars("volume", 10)
    got = activity_bars(frame(rows), bars, JANUARY, resumed + DAY)
    # 6, 12 | 18, the gap; 6, 12 |.
    assert got.select("segment", "base_volume", "complete").rows() == [(0, 12, True), (0, 6, False), (1, 12, True)]
    rest = got.row(1, named=True)
    assert (rest["open_time"], rest["close_time"]) == (
        JANUARY + 2 * MINUTE,
        JANUARY + 3 * MINUTE - MICROSECOND,
    )
    # The end of the segment is unknown until trading resumes.
    before = frame(rows[:3])
    assert activity_bars(before, bars, JANUARY, resumed)["complete"].to_list() == [True]
    assert activity_bars(frame(rows), bars, resumed, resumed + DAY)["complete"].to_list() == [False, True]


@pytest.mark.requirement("F4.4")
def test_quiet_rest_has_no_vwap_and_contracts_are_summed() -> None:
    rows = [minute(JANUARY, 10.0, 10.0, contracts=4), minute(JANUARY + MINUTE, 10.0, contracts=0)]
    got = activity_bars(frame(rows), ActivityBars("volume", 10), JANUARY, FEBRUARY)
    assert got.select("contracts", "vwap", "first_minute").rows() == [(4, 10.0, JANUARY), (0, None, None)]


@pytest.mark.requirement("F4.4", "D9")
def test_minutes_after_the_end_change_nothing() -> None:
    rows = [minute(JANUARY + n * MINUTE, 10.0, 6.0, segment=n // 3) for n in range(9)]
    # 6, 12 | 18, and the next segment starts at the end of the range, too late to show that this one is over.
    end = JANUARY + 3 * MINUTE
    bars = ActivityBars("volume", 10)
    got = activity_bars(frame(rows), bars, JANUARY, end)
    assert got["base_volume"].to_list() == [12.0]
    assert got.equals(activity_bars(frame(rows[:3]), bars, JANUARY, end))


@pytest.mark.requirement("F4.4", "D9")
def test_float_totals_do_not_depend_on_the_requested_day() -> None:
    # 0.1 has no exact float: any other order of additions would move some closes.
    rows = frame(
        [minute(JANUARY + n * 7 * MINUTE, 0.1 + n % 7, 0.1 * (1 + n % 13), trade_count=1) for n in range(4000)]
    )
    for kind in (ActivityBars("dollar", 3), ActivityBars("volume", 2)):
        whole = activity_bars(rows, kind, JANUARY, FEBRUARY)
        assert whole.height > 500
        assert by_day(rows, kind, JANUARY, FEBRUARY).equals(whole)


@pytest.mark.requirement("F4.4")
def test_no_minutes_give_no_bars() -> None:
    got = activity_bars(EMPTY, ActivityBars("tick", 10), JANUARY, FEBRUARY)
    assert got.is_empty()
    assert got.schema == pl.DataFrame(ACTIVITY_BARS.arrow.empty_table()).schema


@pytest.mark.requirement("F4.4")
def test_month_begin() -> None:
    assert month_begin(FEBRUARY + 12 * DAY + 5 * MINUTE + MICROSECOND) == FEBRUARY
    assert month_begin(FEBRUARY) == FEBRUARY
