"""The fast path of continuous minutes and time bars equals the simple one, value by value, on dense random days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse.catalog import INTERVALS
from crypto_lakehouse.catalog.bars import BAR_INTERVALS
from crypto_lakehouse.lake.storage.parquet import frame_of
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.bars import bars_of_blocks, block_lengths, time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state
from crypto_lakehouse.transforms.gold.kernels.blocks import BlockTable
from crypto_lakehouse.transforms.gold.windows import earliest_open, minute_number
from crypto_lakehouse_tests.unit.obvious_gold import obvious_bars, obvious_minutes
from crypto_lakehouse_tests.unit.reference_gold import empty

pytestmark = pytest.mark.slow

START = datetime(2024, 2, 26, tzinfo=UTC)  # a Monday before the end of a leap February
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RULE = GapRule(timedelta(minutes=40), 0.1)

SEEDS = st.integers(0, 2**32 - 1)
# Shares of minutes that are missing and of those that are quiet, and how often a symbol pauses.
SHAPES = st.tuples(st.sampled_from([0.0, 0.01, 0.6]), st.sampled_from([0.0, 0.05, 0.9]), st.integers(0, 3))


def silver(seed: int, shape: tuple[float, float, int], minutes: int, inverse: bool) -> pl.DataFrame:
    """Klines of up to five symbols, some of which list late, pause or never trade."""
    random = np.random.default_rng(seed)
    missing, quiet, pauses = shape
    frames = []
    for symbol in [f"S{n}" for n in range(random.integers(1, 6))]:
        there = random.random(minutes) >= missing
        for _ in range(pauses):
            begin = random.integers(minutes)
            there[begin : begin + random.integers(20, 200)] = False
        there[: random.choice([0, 0, minutes // 3])] = False
        number = np.flatnonzero(there)
        count = len(number)
        close = np.exp(np.cumsum(random.normal(0, 0.01, count)))
        opened = np.concatenate([[1.0], close[:-1]])[:count] * random.choice(
            [1.0, 1.2, 0.5], count, p=[0.9, 0.05, 0.05]
        )
        traded = random.random(count) >= (1.0 if random.random() < 0.1 else quiet)
        base = np.where(traded, np.round(random.lognormal(3, 3, count), 3) + 0.001, 0.0)
        trades = random.integers(1, 1000, count) * traded
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * count,
                    "open_time": pl.Series([START + int(n) * MINUTE for n in number], dtype=pl.Datetime("us", "UTC")),
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.01,
                    "low": np.minimum(opened, close),
                    "close": close,
                    "base_volume": base,
                    "quote_volume": np.round(base * opened, 5),
                    "trade_count": trades,
                    "taker_buy_base_volume": np.round(base * random.random(count), 3),
                    "taker_buy_quote_volume": np.round(base * close * random.random(count), 5),
                    "contracts": pl.Series(trades * 3 if inverse else [None] * count, dtype=pl.Int64),
                }
            )
        )
    return pl.concat(frames)


def funding(seed: int, minutes: int) -> pl.DataFrame:
    """Events every 30 minutes, of symbols that have klines and of one that has none."""
    random = np.random.default_rng(seed)
    hours = [START + n * MINUTE for n in range(0, minutes, 30)]
    events = pl.DataFrame({"symbol": ["S0", "S1", "Z"]}).join(
        pl.DataFrame({"funding_hour": pl.Series(hours, dtype=pl.Datetime("us", "UTC"))}), how="cross"
    )
    rates = random.choice([0.0, 1e-7, 1e-4, -3e-4], events.height)
    return events.with_columns(funding_rate=pl.Series(rates))


@pytest.mark.requirement("F4.2", "F4.3")
@settings(max_examples=40, deadline=None)
@given(SEEDS, SHAPES, st.booleans(), st.booleans(), st.booleans())
def test_continuous_minutes_day_by_day(
    seed: int, shape: tuple[float, float, int], inverse: bool, known: bool, shuffled: bool
) -> None:
    part = 500
    rows = silver(seed, shape, 3 * part, inverse)
    events = funding(seed, 3 * part) if known else None
    state = no_state()
    for number in range(3):
        first, end = START + number * part * MINUTE, START + (number + 1) * part * MINUTE
        day = rows.filter(pl.col("open_time").is_between(first, end, closed="left"))
        given_rows = day.sample(fraction=1.0, shuffle=True, seed=seed % 1000) if shuffled else day
        ours = continuous_minutes(given_rows, events, state, (first, end), RULE, inverse=inverse)
        theirs = obvious_minutes(day, events, state, (first, end), RULE, inverse=inverse)
        assert ours.rows.equals(theirs.rows)
        assert ours.gaps.equals(theirs.gaps)
        assert ours.state.equals(theirs.state)
        assert ours.untraded == theirs.untraded
        assert ours.rows.schema == empty(schema_of("gold", "continuous_1m")).schema
        state = ours.state


@pytest.mark.requirement("F4.1")
@settings(max_examples=25, deadline=None)
@given(SEEDS, SHAPES, st.booleans(), st.booleans(), st.data())
def test_bars_of_dense_minutes(
    seed: int, shape: tuple[float, float, int], inverse: bool, known: bool, data: st.DataObject
) -> None:
    count = 2 * 1440
    events = funding(seed, count) if known else None
    rows = silver(seed, shape, count, inverse)
    minutes = continuous_minutes(rows, events, no_state(), (START, START + 2 * DAY), RULE, inverse=inverse).rows
    if known and data.draw(st.booleans(), "a part without known funding"):
        unknown = pl.col("open_time") < START + DAY + 17 * MINUTE
        rates = [pl.when(~unknown).then(name).alias(name) for name in ("funding_rate", "has_funding")]
        minutes = minutes.with_columns(rates)
    first = START + data.draw(st.integers(-1, 1), "first") * DAY
    end = first + data.draw(st.integers(1, 40), "days") * DAY
    kinds = []
    for name in data.draw(st.lists(st.sampled_from(BAR_INTERVALS), min_size=1, max_size=3)):
        length = (INTERVALS[name].length or DAY) // MINUTE
        step = data.draw(st.sampled_from([1, length // 3, 5, 60]).filter(lambda n: n > 0))
        offsets = [n * MINUTE for n in range(0, length, step)]
        kinds.append((INTERVALS[name], offsets[:3] + offsets[-1:]))
    kinds = [(interval, list(dict.fromkeys(offsets))) for interval, offsets in kinds]
    begin = min(earliest_open(interval, offsets, first) for interval, offsets in kinds)
    coded = minutes.with_columns(pl.col("symbol").cast(pl.Categorical))
    minutes = minutes.filter(pl.col("open_time") >= begin)
    parts = [coded.filter(pl.col("open_time") < START + DAY), coded.filter(pl.col("open_time") >= START + DAY)]
    lead = data.draw(st.sampled_from([0, 11, 1440]), "lead")
    days = {length: [BlockTable.of_minutes(part, length, lead) for part in parts] for length in (1, 5)}
    # All at first, because they share the days.
    joined = []
    for interval, offsets in kinds:
        since = minute_number(earliest_open(interval, offsets, first))
        joined.append({length: BlockTable.joined(tables, since) for length, tables in days.items()})
    for (interval, offsets), blocks in zip(kinds, joined, strict=True):
        ours = time_bars(minutes, interval, offsets, first, end)
        assert ours.equals(obvious_bars(minutes, interval, offsets, first, end))
        assert ours.equals(frame_of(bars_of_blocks(blocks, interval, offsets, first, end)))
        assert block_lengths(interval, offsets) <= {1, 5}


@pytest.mark.requirement("F4.1", "D9")
def test_a_sum_does_not_depend_on_the_symbols_beside_it() -> None:
    rows = silver(5, (0.0, 0.05, 0), 1440, False)
    minutes = continuous_minutes(rows, None, no_state(), (START, START + DAY), RULE).rows
    for name in ("5m", "1h", "1d"):
        together = time_bars(minutes, INTERVALS[name], [timedelta(0)], START, START + DAY)
        for (symbol,), alone in minutes.partition_by("symbol", as_dict=True).items():
            bars = time_bars(alone, INTERVALS[name], [timedelta(0)], START, START + DAY)
            assert bars.equals(together.filter(symbol=symbol))


@pytest.mark.requirement("F4.1")
def test_five_minutes_in_as_many_segments_are_as_many_blocks() -> None:
    rows = silver(5, (0.0, 0.05, 0), 60, False)
    minutes = continuous_minutes(rows, None, no_state(), (START, START + 60 * MINUTE), RULE).rows
    minutes = minutes.with_columns(segment=pl.int_range(pl.len()).over("symbol"))
    table = BlockTable.of_minutes(minutes, 5)
    assert (table.ends - table.begins).sum() == minutes.height
    for name in ("5m", "1h"):
        ours = time_bars(minutes, INTERVALS[name], [timedelta(0)], START, START + DAY)
        assert ours.height == minutes.height
        assert ours.equals(obvious_bars(minutes, INTERVALS[name], [timedelta(0)], START, START + DAY))
