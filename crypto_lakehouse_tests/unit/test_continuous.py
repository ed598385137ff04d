"""Continuous minutes and gaps: against the slow reference, by hand, and for any cut of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.continuous import (
    Continuous,
    GapRule,
    continuous_minutes,
    has_ended,
    next_state,
    no_state,
    without_days,
)
from crypto_lakehouse_tests.unit.reference_gold import MINUTE, Row, assert_same, continuous, frame, states

START = datetime(2024, 2, 28, 23, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = GapRule()
CONTINUOUS, GAPS = schema_of("gold", "continuous_1m"), schema_of("gold", "gaps")


def at(minute: int) -> datetime:
    return START + minute * MINUTE


def candle(minute: int, price: float, volume: float = 1.0, symbol: str = "A", **values: Any) -> Row:
    """A candle at one price; ``minute`` counts from START."""
    return {
        "symbol": symbol,
        "open_time": at(minute),
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "base_volume": volume,
        "quote_volume": volume * price,
        "trade_count": int(volume > 0),
        "taker_buy_base_volume": 0.0,
        "taker_buy_quote_volume": 0.0,
        "contracts": None,
        **values,
    }


def event(minute: int, rate: float, symbol: str = "A") -> Row:
    return {"symbol": symbol, "funding_hour": at(minute), "funding_rate": rate}


def make(
    candles: Sequence[Row],
    funding: Sequence[Row] | None = None,
    span: tuple[int, int] | None = None,
    rule: GapRule = RULE,
    state: pl.DataFrame | None = None,
    **profile: bool,
) -> Continuous:
    return continuous_minutes(
        frame("silver", "klines_1m", candles),
        None if funding is None else frame("silver", "funding_rates", funding),
        no_state() if state is None else state,
        None if span is None else (at(span[0]), at(span[1])),
        rule,
        **profile,
    )


def parts(market: Market, cuts: Sequence[int]) -> list[Continuous]:
    """Each part between two cuts, computed from its own candles and the state of the part before."""
    made: list[Continuous] = []
    for first, end in pairwise(cuts):
        candles = [c for c in market.candles if at(first) <= c["open_time"] < at(end)]
        state = made[-1].state if made else None
        made.append(make(candles, market.funding, (first, end), market.rule, state, inverse=market.inverse))
    return made


@dataclass
class Market:
    candles: list[Row]
    funding: list[Row] | None
    rule: GapRule
    inverse: bool
    end: int


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Up to three symbols whose silences lie around the thresholds and whose prices often stay the same."""
    after = draw(st.integers(3, 12))
    change = draw(st.sampled_from([0.0, 0.1, 0.25]))
    inverse = draw(st.booleans())
    near = [k * after + d for k in (1, 2, 3, 5) for d in (-1, 0, 1)]
    steps = st.sampled_from([1, 1, 1, 2, 3, *near])
    moves = st.sampled_from([1.0, 1.0, 1.0001, 1.1, 1.2, 0.9, 0.75, 0.5])
    amounts = st.sampled_from([0.0, 0.0]) | st.floats(1e-6, 1e9) | st.just(1.0)
    candles, end = [], 1
    for symbol in draw(st.sampled_from([["A"], ["B", "A"], ["A", "B", "C"]])):
        minute, last = draw(st.integers(0, 90)), draw(st.sampled_from([1e-7, 1.0, 100.0, 43_210.9]))
        for step in draw(st.lists(steps, max_size=12)):
            opened, volume = last * draw(moves), draw(amounts)
            closed = opened * draw(moves)
            prices: Row = {"open": opened, "close": closed}
            prices |= {"high": max(opened, closed) * draw(st.sampled_from([1.0, 1.01])), "low": min(opened, closed)}
            counts: Row = {"trade_count": draw(st.integers(0, 10**12)), "taker_buy_base_volume": volume / 3}
            counts["contracts"] = draw(st.integers(1, 10**6)) if inverse and volume else 0 if inverse else None
            value = volume * opened * draw(st.sampled_from([0.5, 1.0, 1.3]))
            candles.append({**candle(minute, opened, volume, symbol), **prices, **counts, "quote_volume": value})
            # A candle without volume shows the last price in the archive, but here it must not matter.
            last = closed if volume else last
            end = max(end, minute + 1)
            minute += step
    end += draw(st.integers(0, 5 * after))
    funding = [
        event(minute, draw(st.sampled_from([0.0, 1e-7, 1e-4, -3e-4])), symbol)
        for symbol in draw(st.lists(st.sampled_from("ABCZ"), unique=True))
        for minute in draw(st.lists(st.integers(0, end), unique=True, max_size=8))
    ]
    known = draw(st.booleans())
    shuffled = draw(st.permutations(candles))
    return Market(shuffled, funding if known else None, GapRule(after * MINUTE, change), inverse, end)


@st.composite
def cut_markets(draw: st.DrawFn) -> tuple[Market, list[int]]:
    """A market, and where to cut it: at no, some or very many minutes."""
    market = draw(markets())
    inner = draw(st.sets(st.integers(1, max(1, market.end)), max_size=8))
    return market, sorted({0, *(c for c in inner if c < market.end), market.end})


def assert_as_reference(ours: Continuous, market: Market, candles: list[Row], span: Any, before: Any, **p: Any) -> None:
    rule = market.rule
    theirs = continuous(candles, market.funding, before, span, rule.after, rule.change, inverse=market.inverse, **p)
    assert_same(ours.rows, theirs.rows, CONTINUOUS)
    assert_same(ours.gaps, theirs.gaps, GAPS)
    assert states(ours.state) == theirs.state
    assert ours.state.schema == no_state().schema
    assert ours.state["symbol"].unique().sort().to_list() == sorted(theirs.state)
    over = {(row["symbol"], row["segment"]): row for row in ours.state.iter_rows(named=True)}
    for gap in theirs.gaps:
        if gap["reason"] == "silence":
            ended = over[gap["symbol"], gap["segment"] - 1]
            assert (ended["last_time"], ended["last_close"]) == (gap["gap_begin"], gap["close_before"])
            assert over[gap["symbol"], gap["segment"]]["first_time"] == gap["gap_end"]
    assert ours.untraded == theirs.untraded


@pytest.mark.requirement("F4.2", "F4.3")
@settings(max_examples=100, deadline=None)
@given(markets(), st.booleans())
def test_a_whole_series_equals_the_reference(market: Market, legacy: bool) -> None:
    ours = make(market.candles, market.funding, None, market.rule, inverse=market.inverse, legacy=legacy)
    assert_as_reference(ours, market, market.candles, None, {}, legacy=legacy)


@pytest.mark.requirement("F4.2", "F4.3", "D9")
@settings(max_examples=100, deadline=None)
@given(cut_markets(), st.data())
def test_every_part_equals_the_reference(cut: tuple[Market, list[int]], data: st.DataObject) -> None:
    market, cuts = cut
    state = no_state()
    for first, end in pairwise(cuts):
        # The gap rule counts minutes here, so that no gap over a missing day cuts.
        state = without_days(state, data.draw(st.sampled_from([0, 0, 1, 3])))
        span = (at(first), at(end))
        candles = [c for c in market.candles if span[0] <= c["open_time"] < span[1]]
        part = make(candles, market.funding, (first, end), market.rule, state, inverse=market.inverse)
        assert_as_reference(part, market, candles, span, states(state))
        rolled = next_state(frame("silver", "klines_1m", candles), state, market.rule)
        assert rolled.equals(part.state)
        state = part.state


def keyed(rows: pl.DataFrame) -> dict[tuple[str, datetime], Row]:
    return {(row["symbol"], row["open_time"]): row for row in rows.iter_rows(named=True)}


def last_traded(made: Continuous) -> dict[str, datetime]:
    return {symbol: time for symbol, (time, *_) in states(made.state).items()}


def outside_gaps(rows: dict[tuple[str, datetime], Row], whole: Continuous) -> dict[tuple[str, datetime], Row]:
    """Without the filled rows within a gap: a part before the end of a gap cannot know of it."""
    gaps = [(g["symbol"], g["gap_begin"], g["gap_end"]) for g in whole.gaps.iter_rows(named=True)]
    return {
        (name, time): row
        for (name, time), row in rows.items()
        if not any(name == symbol and begin < time < end for symbol, begin, end in gaps)
    }


def without_unpaid(
    rows: dict[tuple[str, datetime], Row], market: Market, cuts: Sequence[int]
) -> dict[tuple[str, datetime], Row]:
    """Without the funding of minutes that no trade of their part follows: there an event does not count."""
    paid = {}
    for key, row in rows.items():
        end = next(at(cut) for cut in cuts if key[1] < at(cut))
        later = [c for c in market.candles if c["symbol"] == key[0] and c["base_volume"] > 0]
        alive = any(key[1] <= c["open_time"] < end for c in later)
        paid[key] = row if alive else row | {"funding_rate": None, "has_funding": None}
    return paid


def not_filled_by_parts(market: Market, cuts: Sequence[int]) -> set[tuple[str, datetime]]:
    """The one exception: minutes further than patience from the last trade, in a part that has no later candle.

    The part has no sign there that the symbol is still listed. If a later part has a candle and there is no
    gap (the price is the same), the uncut series fills these minutes and the parts do not.
    """
    missing = set()
    for symbol in {c["symbol"] for c in market.candles}:
        seen = [c["open_time"] for c in market.candles if c["symbol"] == symbol]
        traded = [c["open_time"] for c in market.candles if c["symbol"] == symbol and c["base_volume"] > 0]
        for first, end in pairwise(cuts):
            for time in map(at, range(first, end)):
                before = [t for t in traded if t <= time]
                later_in_part = any(time <= t < at(end) for t in seen)
                if before and time > max(before) + market.rule.patience and not later_in_part:
                    missing.add((symbol, time))
    return missing


@pytest.mark.requirement("D9", "F4.2", "F4.3")
@settings(max_examples=100, deadline=None)
@given(cut_markets())
def test_parts_join_to_the_uncut_series(cut: tuple[Market, list[int]]) -> None:
    market, cuts = cut
    made = parts(market, cuts)
    whole = make(market.candles, market.funding, None, market.rule, inverse=market.inverse)
    assert pl.concat(part.gaps for part in made).sort("symbol", "gap_end").equals(whole.gaps)
    assert made[-1].state.equals(whole.state)
    assert next_state(frame("silver", "klines_1m", market.candles), no_state(), market.rule).equals(whole.state)

    together = pl.concat(part.rows for part in made)
    assert together.select("symbol", "open_time").is_unique().all()
    rows, last = outside_gaps(keyed(together), whole), last_traded(whole)
    rows = {key: row for key, row in rows.items() if key[1] <= last[key[0]]}
    exception = not_filled_by_parts(market, cuts)
    expected = {key: row for key, row in keyed(whole.rows).items() if key not in exception}
    assert without_unpaid(rows, market, cuts) == without_unpaid(expected, market, cuts)


@pytest.mark.requirement("D9", "F4.2")
@settings(max_examples=100, deadline=None)
@given(cut_markets())
def test_parts_join_to_the_uncut_span(cut: tuple[Market, list[int]]) -> None:
    market, cuts = cut
    made = parts(market, cuts)
    [whole] = parts(market, [cuts[0], cuts[-1]])
    assert pl.concat(part.gaps for part in made).sort("symbol", "gap_end").equals(whole.gaps)
    assert made[-1].state.equals(whole.state)
    rows = outside_gaps(keyed(pl.concat(part.rows for part in made)), whole)
    exception = not_filled_by_parts(market, cuts)
    expected = {key: row for key, row in keyed(whole.rows).items() if key not in exception}
    assert without_unpaid(rows, market, cuts) == without_unpaid(expected, market, cuts)
    assert set(rows).isdisjoint(exception)


@pytest.mark.requirement("F4.2")
@pytest.mark.parametrize(("legacy", "quiet"), [(False, 0.0005), (True, 0.0)])
def test_merge_of_the_contract(legacy: bool, quiet: float) -> None:
    bodies = [(0, 100, 101, 99, 100.5, 10, 1005), (1, 100, 101, 99, 100, 10, 1200), (2, 100, 100, 100, 100, 0, 0)]
    bodies.append((5, 110, 111, 109, 110.5, 2, 220))
    names = ("open", "high", "low", "close", "base_volume", "quote_volume")
    candles = [candle(m, 0.0) | dict(zip(names, map(float, values), strict=True)) for m, *values in bodies]
    events = [event(0, 0.0001), event(2, 0.0005), event(5, -0.0002)]
    rows = make(candles, events, legacy=legacy).rows
    assert rows["open_time"].to_list() == [at(m) for m in range(6)]
    # 1005 / 10 = 100.5; 1200 / 10 = 120 is above the high of 101; then the last close of 100; 220 / 2 = 110.
    assert rows["vwap"].to_list() == [100.5, 101.0, 100.0, 100.0, 100.0, 110.0]
    assert rows["close"].to_list() == [100.5, 100.0, 100.0, 100.0, 100.0, 110.5]
    for name in ("open", "high", "low"):
        assert rows[name].to_list()[2:5] == [100.0, 100.0, 100.0]
    assert rows["is_filled"].to_list() == [False, False, True, True, True, False]
    assert rows["in_archive"].to_list() == [True, True, True, False, False, True]
    assert rows["base_volume"].to_list() == [10.0, 10.0, 0.0, 0.0, 0.0, 2.0]
    # The event of the third minute, in which nothing was traded, is what the legacy tool lost.
    assert rows["funding_rate"].to_list() == [0.0001, 0.0, quiet, 0.0, 0.0, -0.0002]
    assert rows["has_funding"].to_list() == [True, False, not legacy, False, False, True]
    assert set(rows["segment"]) == {0}


@pytest.mark.requirement("F4.3")
@pytest.mark.parametrize(
    ("silence", "resumes_at", "tier"),
    [
        (1440, 120.0, None),  # exactly one day is not longer than one day, whatever the price
        (1441, 120.0, 1),  # 1d+1m, +20 %
        (1441, 80.0, 1),  # the same down
        (1441, 109.9, None),  # 1d+1m, but +9.9 % is no jump
        (1441, 110.0, 1),  # 110 / 100 - 1 is 0.10000000000000009 as float64, and so above 0.1
        (2880, 100.01, None),  # exactly two days are not longer than two days
        (2881, 100.01, 2),  # 2d+1m, +0.01 %
        (2881, 120.0, 1),  # both tiers hold: the first counts
        (7200, 100.0, None),  # five days, same price
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_gap_rule_of_the_contract(silence: int, resumes_at: float, tier: int | None, cut: bool) -> None:
    market = Market([candle(0, 100.0), candle(silence, resumes_at)], None, RULE, False, silence + 1)
    cuts = [0, *range(60, silence + 1, 1440), silence + 1] if cut else [0, silence + 1]
    gaps = pl.concat(part.gaps for part in parts(market, cuts))
    if tier is None:
        assert gaps.height == 0
    else:
        change = resumes_at / 100.0 - 1
        assert gaps.rows() == [("A", at(0), at(silence), silence, 100.0, resumes_at, change, tier, 1, "silence", 0)]


@pytest.mark.requirement("F4.3")
def test_four_gaps_make_five_segments_in_order_of_time() -> None:
    begins = [0, 2000, 4000, 6000, 8000]
    made = make([candle(m, 100.0 * 2**i) for i, m in reversed(list(enumerate(begins)))])
    assert made.rows.select("open_time", "segment").rows() == [(at(m), i) for i, m in enumerate(begins)]
    assert made.gaps.select("gap_begin", "gap_end", "segment").rows() == [
        (at(a), at(b), i + 1) for i, (a, b) in enumerate(pairwise(begins))
    ]


@pytest.mark.requirement("F4.2")
def test_vwap_of_coin_margined_contracts() -> None:
    # 206 contracts * 100 USD = 20600 USD; 20600 / 2.13660389 coin = 9641.47. Legacy: 2.13660389 / 206 = 0.01,
    # which is below the low and so becomes the low.
    row = candle(0, 9640.7, 2.13660389, high=9642.4, low=9640.6, close=9642.0, contracts=206, quote_volume=20600.0)
    assert make([row], inverse=True).rows["vwap"].to_list() == [pytest.approx(9641.47, abs=0.005)]
    assert make([row], inverse=True, legacy=True).rows["vwap"].to_list() == [9640.6]


@pytest.mark.requirement("F4.2")
def test_contracts_of_quiet_minutes_are_zero_only_on_inverse_markets() -> None:
    rows = [candle(0, 10.0, contracts=7), candle(2, 10.0, contracts=8)]
    assert make(rows, inverse=True).rows["contracts"].to_list() == [7, 0, 8]
    linear = [candle(0, 10.0), candle(2, 10.0)]
    assert make(linear).rows["contracts"].to_list() == [None, None, None]


@pytest.mark.requirement("F4.2", "D9")
@pytest.mark.parametrize("inverse", [False, True])
def test_a_day_without_any_row_is_filled_from_the_state(inverse: bool) -> None:
    contracts = 3 if inverse else None
    before = make([candle(0, 10.0, contracts=contracts)], span=(0, 60), inverse=inverse)
    funding = [event(540, 0.0001)]
    day = make([], funding, (60, 1500), state=before.state, inverse=inverse)
    assert day.rows["open_time"].to_list() == [at(m) for m in range(60, 1500)]
    assert set(day.rows["close"]) == {10.0}
    assert set(day.rows["contracts"]) == {0 if inverse else None}
    assert not day.rows["in_archive"].any()
    # Nothing was traded from the event on: it may be one of a contract that is gone.
    assert not day.rows["has_funding"].any()
    assert day.state.equals(before.state)
    assert (day.gaps.height, day.untraded) == (0, [])
    nothing = make([], funding, (60, 1500), inverse=inverse)
    assert (nothing.rows.height, nothing.gaps.height, nothing.state.height) == (0, 0, 0)
    assert nothing.rows.schema == day.rows.schema


@pytest.mark.requirement("F4.2")
def test_a_symbol_starts_with_its_first_trade() -> None:
    quiet = [candle(m, 10.0, 0.0) for m in (100, 101, 699)]
    made = make([*quiet, candle(700, 10.0), candle(0, 5.0, symbol="B")], span=(0, 1440))
    assert made.rows.filter(symbol="A")["open_time"].to_list() == [at(m) for m in range(700, 1440)]
    assert made.rows.filter(symbol="B").height == 1440


@pytest.mark.requirement("F4.2")
def test_a_symbol_that_never_trades_is_named_and_stops_nothing() -> None:
    made = make([candle(0, 10.0, 0.0, "DEAD"), candle(0, 10.0), candle(1, 10.0)])
    assert made.untraded == ["DEAD"]
    assert made.rows["symbol"].to_list() == ["A", "A"]
    later = make([candle(60, 10.0, 0.0)], span=(60, 120), state=made.state)
    assert later.untraded == []


@pytest.mark.requirement("F4.2", "D9")
def test_filling_ends_with_patience_or_with_the_last_candle() -> None:
    rule = GapRule(after=10 * MINUTE)
    state = make([candle(0, 10.0)], rule=rule).state

    def filled(span: tuple[int, int], *candles: Row) -> list[int]:
        rows = make(candles, None, span, rule, state).rows
        return [(time - START) // MINUTE for time in rows["open_time"]]

    # Patience is 2 * 10 minutes after the last trade in minute 0.
    assert filled((5, 15)) == [*range(5, 15)]
    assert filled((5, 60)) == [*range(5, 21)]
    assert filled((21, 60)) == []
    # A candle without volume far beyond it shows that the symbol is still listed.
    assert filled((100, 160), candle(130, 10.0, 0.0)) == [*range(100, 131)]
    assert filled((5, 60), candle(7, 10.0, 0.0)) == [*range(5, 21)]


@pytest.mark.requirement("F4.3", "D9")
def test_a_gap_that_ends_within_a_later_part() -> None:
    rule = GapRule(after=60 * MINUTE)
    candles = [candle(0, 10.0), candle(50, 10.0, 0.0), candle(230, 10.0, 0.0), candle(250, 20.0), candle(252, 20.0)]
    market = Market(candles, [event(245, 0.0001)], rule, False, 300)
    first, second, third = parts(market, [0, 100, 200, 300])
    # To minute 120 it may only be quiet (patience is two hours); then nothing is known, not even to the candle of
    # minute 230, because the part in which the gap ends knows that it lies within a gap.
    assert [part.rows.height for part in (first, second, third)] == [100, 21, 50]
    assert third.rows["open_time"].to_list() == [at(m) for m in range(250, 300)]
    assert third.rows["segment"].unique().to_list() == [1]
    assert not third.rows["has_funding"].any()
    assert third.gaps.rows() == [("A", at(0), at(250), 250, 10.0, 20.0, 1.0, 1, 1, "silence", 0)]
    assert first.gaps.height == second.gaps.height == 0


@pytest.mark.requirement("F4.2")
def test_unknown_funding_is_null_and_known_funding_is_zero_without_an_event() -> None:
    candles = [candle(0, 10.0), candle(2, 10.0)]
    assert make(candles, None).rows.select("funding_rate", "has_funding").rows() == [(None, None)] * 3
    # The month has events, but none of this symbol: its file was refused, or the contract has no funding.
    others = make(candles, [event(1, 0.0001, "B")]).rows
    assert others.select("funding_rate", "has_funding").rows() == [(None, None)] * 3
    # An event whose rate is zero is an event.
    assert make(candles, [event(1, 0.0)]).rows["has_funding"].to_list() == [False, True, False]


@pytest.mark.requirement("F4.2")
def test_funding_counts_while_a_trade_follows_on_the_day() -> None:
    # Settled in minute 540: the archive's file goes on with events of another rate, and quiet candles may as well.
    quiet = [candle(minute, 10.0, 0.0) for minute in range(540, 1440)]
    for candles in ([candle(minute, 10.0) for minute in (0, 300, 540)], [candle(0, 10.0), candle(540, 10.0), *quiet]):
        events = [*(event(minute, -0.0002) for minute in (0, 240, 480)), event(960, 0.0001), event(1440, 0.0001)]
        day = make(candles, events, (0, 1440))
        paid = day.rows.filter("has_funding")
        assert paid.select("open_time", "funding_rate").rows() == [(at(m), -0.0002) for m in (0, 240, 480)]
        assert day.rows["has_funding"].null_count() == 0
        following = make([], events, (1440, 2880), state=day.state)
        assert following.rows.height > 0
        assert not following.rows["has_funding"].any()


@pytest.mark.requirement("F4.3")
def test_a_gap_over_missing_days_says_so_and_cuts_nothing() -> None:
    first = make([candle(0, 100.0), candle(1430, 100.0)], span=(0, 1440))
    candles = [candle(18 * 1440 + 5, 130.0), candle(18 * 1440 + 7, 130.0)]
    begun = without_days(first.state, 17)
    made = make(candles, span=(18 * 1440, 18 * 1440 + 10), state=begun)
    silence = 18 * 1440 + 5 - 1430
    assert made.gaps.select("silence", "tier", "segment", "reason", "missing_days").rows() == [
        (silence, 1, 0, "missing_days", 17)
    ]
    # What was before the missing days says nothing of the price when they were over.
    assert made.rows["open_time"].to_list() == [at(18 * 1440 + m) for m in (5, 6, 7, 8, 9)]
    assert made.rows["segment"].unique().to_list() == [0]
    assert made.state.select("segment", "first_time", "last_time", "missing_days").rows() == [
        (0, at(0), at(18 * 1440 + 7), 0)
    ]
    # Silent for more than two of the days that there are: a gap whatever the missing one held.
    quiet = make([], span=(1440, 4 * 1440), state=first.state)
    cut = make(candles, span=(18 * 1440, 18 * 1440 + 10), state=without_days(quiet.state, 1))
    assert cut.gaps.select("tier", "segment", "reason", "missing_days").rows() == [(1, 1, "silence", 1)]


@pytest.mark.requirement("F4.2")
def test_a_series_ends_when_another_follows_or_after_two_stored_silent_days() -> None:
    state = make([candle(0, 10.0), candle(5000, 20.0), candle(0, 1.0, symbol="B")]).state
    assert state.select("symbol", "segment").rows() == [("A", 0), ("A", 1), ("B", 0)]

    def over(state: pl.DataFrame, minute: int) -> list[bool]:
        return has_ended(state, at(minute), RULE).to_list()

    assert over(state, 5000 + 2880) == [True, False, True]
    assert over(state, 5000 + 2881) == [True, True, True]
    assert over(without_days(state, 4), 5000 + 2881) == [True, False, False]
