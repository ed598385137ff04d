"""``Lakehouse.align``: each bar has the newest values that were known when it closed, and none that came later."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.lake.reader.align import join_known
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.test_lake_bars import DAY, DAYS, END, FIRST, UM, klines, minutes_by_day

pytestmark = pytest.mark.requirement("F6.12")

MINUTE, MINUTES = timedelta(minutes=1), minutes_by_day(klines())
T0 = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


def typed(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows of a silver table; the columns that they leave out are null."""
    schema = pl.DataFrame(schema_of("silver", table).arrow.empty_table()).schema
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


def facts() -> dict[str, tuple[pl.DataFrame, pl.Expr]]:
    """Rows of the silver tables, and the time at which each becomes known."""
    rng, symbols = random.Random(3), ("AAAUSDT", "BBBUSDT")
    hours, fives = ((END - FIRST) // timedelta(hours=8), (END - FIRST) // timedelta(minutes=5))
    funding = [
        {"symbol": symbol, "funding_time": at, "funding_hour": FIRST + n * timedelta(hours=8), "interval_hours": 8}
        | {"funding_rate": rng.uniform(-1, 1), "source": "archive_monthly"}
        for symbol in symbols
        for n in range(hours)
        for at in [FIRST + n * timedelta(hours=8) + timedelta(milliseconds=rng.choice([0, 7]))]
    ]
    interest = [
        {"symbol": symbol, "label_time": at, "period_start": at, "known_time": at + timedelta(minutes=late)}
        | {"is_label_proven": not late, "open_interest": rng.uniform(1, 9), "source": "archive_daily"}
        for symbol in symbols
        for n in range(fives)
        if rng.random() < 0.9
        for at, late in [(FIRST + n * timedelta(minutes=5), rng.choice([0, 5]))]
    ]
    marks = [
        {"symbol": symbol, "open_time": at, "close_time": at + MINUTE, "source": "archive_daily", "sample_count": 1}
        | dict.fromkeys(("open", "high", "low", "close"), rng.uniform(1, 9))
        for symbol in symbols
        for at in (FIRST + n * MINUTE for n in range(0, (END - FIRST) // MINUTE, 7))
    ]
    return {
        "funding_rates": (typed("funding_rates", funding), pl.col("funding_time")),
        "open_interest": (typed("open_interest", interest), pl.col("known_time")),
        "mark_klines_1m": (typed("mark_klines_1m", marks), pl.col("open_time") + MINUTE),
    }


FACTS = facts()


def build(store: LakeStore, changed_after: datetime = END + DAY) -> None:
    """Fill a lake in which every number that becomes known after a time is another one."""

    def write(layer: str, table: str, key: str, rows: pl.DataFrame, known: pl.Expr) -> None:
        numbers = [name for name, kind in rows.schema.items() if kind == pl.Float64]
        later = pl.when(known > changed_after)
        rows = rows.with_columns(later.then(pl.col(name) * 2).otherwise(name) for name in numbers)
        write_partition(store, TableSlice(layer, *UM, table).partition(key), rows)

    for day, rows in MINUTES.items():
        write("gold", "continuous_1m", f"{day.date()}", rows, pl.col("open_time") + MINUTE)
    for table, (rows, known) in FACTS.items():
        time = schema_of("silver", table).time_column
        keys = pl.col(time).dt.strftime("%Y-%m" if table == "funding_rates" else "%Y-%m-%d")
        for (key,), group in rows.group_by(keys.alias("key")):
            write("silver", table, str(key), group, known)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    store = LakeStore.open(str(tmp_path_factory.mktemp("aligned")))
    build(store)
    return Lakehouse(store.uri)


@pytest.mark.parametrize("bars", ["1h", "8h", "tick:500"])
def test_each_value_is_the_newest_that_was_known(lake: Lakehouse, bars: str) -> None:
    rows = lake.align(None, bars, market="um", format="polars")
    plain = lake.bars(None, bars, market="um", format="polars")
    assert rows.select("symbol", "open_time", "close").equals(plain.select("symbol", "open_time", "close"))
    assert (rows["known_time"] == plain["close_time"] + timedelta(microseconds=1)).all()
    expected = {
        "funding_time": ("funding_rates", "funding_rate", "funding_rate"),
        "open_interest_time": ("open_interest", "open_interest", "open_interest"),
        "mark_price_time": ("mark_klines_1m", "close", "mark_price"),
    }
    for time, (table, column, name) in expected.items():
        known = FACTS[table][0].select("symbol", at=FACTS[table][1], value=column).sort("at")
        for symbol, moment, at, value in rows.select("symbol", "known_time", time, name).gather_every(3).iter_rows():
            # A funding event at the very close belongs to the next bar.
            is_before = pl.col("at") < moment if name == "funding_rate" else pl.col("at") <= moment
            before = known.filter((pl.col("symbol") == symbol) & is_before)
            newest = before.filter(pl.col("at") >= moment - DAY).tail(1)
            assert newest.select("at", "value").rows() == ([(at, value)] if at else [])


def test_each_funding_event_joins_one_bar_whatever_its_milliseconds(lake: Lakehouse) -> None:
    rows = lake.align("AAAUSDT", "8h", market="um", include="funding", format="polars").drop_nulls("funding_time")
    events = FACTS["funding_rates"][0].filter(pl.col("symbol") == "AAAUSDT")["funding_time"]
    assert {time.microsecond for time in events} == {0, 7000}
    expected = [event for event in events if rows["open_time"][0] <= event < rows["known_time"][-1]]
    assert rows["funding_time"].to_list() == expected


@pytest.mark.parametrize("seed", range(3))
def test_no_row_depends_on_what_became_known_later(lake: Lakehouse, tmp_path: Path, seed: int) -> None:
    moment = FIRST + random.Random(seed).randrange(1, (END - FIRST) // MINUTE) * MINUTE
    build(LakeStore.open(str(tmp_path)), changed_after=moment)
    other = Lakehouse(tmp_path)
    for bars in ("1h", "8h"):
        rows, changed = (each.align(None, bars, market="um", format="polars") for each in (lake, other))
        assert rows.filter(pl.col("known_time") <= moment).equals(changed.filter(pl.col("known_time") <= moment))
        assert not rows.equals(changed)


EVENTS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 50)), unique=True, max_size=12)


@given(bars=EVENTS, events=EVENTS, age=st.integers(1, 60), at_close=st.booleans())
def test_the_join_is_as_by_hand(
    bars: list[tuple[str, int]], events: list[tuple[str, int]], age: int, at_close: bool
) -> None:
    def frame(rows: list[tuple[str, int]], name: str) -> pl.DataFrame:
        times = [(symbol, T0 + minute * MINUTE) for symbol, minute in rows]
        return pl.DataFrame(times, schema={"symbol": pl.String, name: TIME}, orient="row")

    joined = join_known(frame(bars, "known_time"), frame(events, "at"), "at", age * MINUTE, at_close)
    assert joined.height == len(bars)
    for symbol, moment, at in joined.iter_rows():
        minute = (moment - T0) // MINUTE
        newest = minute if at_close else minute - 1
        known = [m for s, m in events if s == symbol and minute - age <= m <= newest]
        assert at == (T0 + max(known) * MINUTE if known else None)


def test_old_values_are_not_joined(lake: Lakehouse) -> None:
    rows = lake.align("AAAUSDT", "1h", market="um", include="funding", max_age="2h", format="polars")
    ages = (rows["known_time"] - rows["funding_time"]).drop_nulls()
    assert ages.max() <= timedelta(hours=2)
    assert 0 < ages.len() < rows.height
    assert "mark_price" not in rows.columns


def test_a_range_has_the_rows_of_the_whole(lake: Lakehouse) -> None:
    whole = lake.align("AAAUSDT", "1h", market="um", format="polars")
    part = lake.align("AAAUSDT", "1h", market="um", start=DAYS[2], end=DAYS[3], format="polars")
    assert part.equals(whole.filter(pl.col("open_time").is_between(DAYS[2], DAYS[3], closed="left")))
    chosen = lake.align("AAAUSDT", "1h", market="um", last="1d", columns=["close"], index="open_time")
    assert list(chosen.columns)[:2] == ["close", "known_time"]
    assert len(chosen) == 24


def test_what_the_lake_does_not_hold_is_null_and_named(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path))
    for day, rows in MINUTES.items():
        write_partition(store, TableSlice("gold", *UM, "continuous_1m").partition(f"{day.date()}"), rows)
    with pytest.warns(LakeWarning, match=r"silver\.open_interest of binance/um .* has no partitions") as caught:
        rows = Lakehouse(tmp_path).align("AAAUSDT", "1d", market="um", include=["open_interest"], format="polars")
    assert Path(caught[0].filename) == Path(__file__)
    assert rows["open_interest"].null_count() == rows.height > 0
    with pytest.warns(LakeWarning, match="no rows from 2030"):
        empty = Lakehouse(tmp_path).align("AAAUSDT", "1d", market="um", start="2030-01", format="polars")
    assert empty.is_empty()
    assert empty.schema["funding_rate"] == pl.Float64


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"include": "fundings"}, ValueError, "no source to include 'fundings'; did you mean funding"),
        ({"include": "funding", "market": "spot"}, ValueError, r"binance/spot has no funding; .*none of them"),
        ({"columns": ["funding_sum"]}, ValueError, "funding_sum of a bar is not in lake.align"),
        ({"columns": ["price"]}, KeyError, "lake.align has no column 'price'"),
        ({"max_age": "soon"}, ValueError, "max_age 'soon' is not a length such as 30d"),
        ({"market": None}, ValueError, "lake.align reads one market"),
        ({"bars": "7h"}, ValueError, "no bars '7h'"),
    ],
)
def test_mistakes_are_explained(
    lake: Lakehouse, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        lake.align("AAAUSDT", **{"market": "um", **arguments})
