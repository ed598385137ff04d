"""``Lakehouse.bars``: bars of any kind and offset, the same from a stored table as from the minutes."""

from __future__ import annotations

import os
import random
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.catalog.bars import Bars, TimeBars, parse_bars
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.damage import DamagedFile
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.activity_bars import activity_bars
from crypto_lakehouse.transforms.gold.bars import time_bars
from crypto_lakehouse.transforms.gold.continuous import GapRule, continuous_minutes, no_state

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# Over the turn of a month and of a week (2024-02-26 is a Monday), in a leap year.
FIRST, END = datetime(2024, 2, 25, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC)
DAYS = [FIRST + n * DAY for n in range((END - FIRST) // DAY)]
RULE = GapRule(after=timedelta(hours=5), change=0.01)
UM = ("binance", "um")


def klines() -> pl.DataFrame:
    """Two symbols with quiet stretches, and one with a gap of two days; prices without round floats."""
    rng = random.Random(7)
    rows = []
    for symbol, silent in (("AAAUSDT", ()), ("BBBUSDT", (DAYS[2], DAYS[3]))):
        price = 100.0
        for n in range(0, (END - FIRST) // MINUTE, 3 if symbol == "AAAUSDT" else 7):
            at = FIRST + n * MINUTE
            price *= rng.uniform(0.98, 1.02)
            if at.replace(hour=0, minute=0) in silent or rng.random() < 0.1:
                continue
            base = rng.uniform(0.001, 3)
            rows.append((symbol, at, price, price * 1.01, price * 0.99, price * 1.001, base, base * price))
    names = ("symbol", "open_time", "open", "high", "low", "close", "base_volume", "quote_volume")
    empty = pl.DataFrame(schema_of("silver", "klines_1m").arrow.empty_table())
    frame = pl.DataFrame(rows, schema={name: empty.schema[name] for name in names}, orient="row")
    return frame.with_columns(
        close_time=pl.col("open_time") + MINUTE,
        trade_count=pl.lit(2, pl.Int64),
        taker_buy_base_volume=pl.col("base_volume") / 3,
        taker_buy_quote_volume=pl.col("quote_volume") / 3,
        contracts=pl.lit(None, pl.Int64),
        source=pl.lit("archive_daily"),
    ).select(empty.columns)


def minutes_by_day(everything: pl.DataFrame) -> dict[datetime, pl.DataFrame]:
    """gold.continuous_1m of each day."""
    state, made = no_state(), {}
    for day in DAYS:
        part = everything.filter((pl.col("open_time") >= day) & (pl.col("open_time") < day + DAY))
        done = continuous_minutes(part, None, state, (day, day + DAY), RULE)
        made[day], state = done.rows, done.state
    return made


@pytest.fixture(scope="module")
def minutes() -> dict[datetime, pl.DataFrame]:
    made = minutes_by_day(klines())
    assert pl.concat(made.values())["segment"].max() == 1
    return made


@pytest.fixture
def store(tmp_path: Path, minutes: dict[datetime, pl.DataFrame]) -> LakeStore:
    store = LakeStore.open(str(tmp_path / "lake"))
    for day, rows in minutes.items():
        write_partition(store, TableSlice("gold", *UM, "continuous_1m").partition(f"{day.date()}"), rows)
    return store


@pytest.fixture
def lake(store: LakeStore) -> Lakehouse:
    return Lakehouse(store.uri)


@pytest.mark.requirement("P5")
@pytest.mark.parametrize("has_ended", [False, True])
def test_bars_and_minutes_of_month_files_are_those_of_day_files(
    store: LakeStore, lake: Lakehouse, has_ended: bool
) -> None:
    last = {"symbol": "BBBUSDT", "segment": 1, "first_time": DAYS[4], "last_time": DAYS[4] + 5 * MINUTE}
    state = {**last, "last_close": 1.0, "missing_days": 0, "has_ended": has_ended, "prior": ""}
    states = pl.DataFrame([state], schema=pl.DataFrame(schema_of("gold", "symbol_states").empty()).schema)
    write_partition(store, TableSlice("gold", *UM, "symbol_states").partition(f"{DAYS[-1].date()}"), states)
    asked = {"market": "um", "start": FIRST + 90 * MINUTE, "end": END - 90 * MINUTE, "format": "polars"}

    def rows() -> list[object]:
        bars = [
            lake.bars(symbols, kind, **asked, **offset).rows()
            for symbols in ("BBBUSDT", ["AAAUSDT", "BBBUSDT"])
            for kind, offset in (("4h", {}), ("1h", {"offset": "5m"}), ("1d", {}), ("tick:500", {}))
        ]
        minutes = lake.read("gold.continuous_1m", symbols=["BBBUSDT", "AAAUSDT"], **asked)
        query = "SELECT * FROM gold.continuous_1m WHERE symbol = 'BBBUSDT' AND date > '2024-02-25' ORDER BY open_time"
        by_sql = lake.sql(query, format="polars").rows()
        return [
            *bars,
            minutes.columns,
            minutes.rows(),
            lake.read("gold.continuous_1m", symbols="BBBUSDT").shape,
            by_sql,
        ]

    by_day = rows()
    assert "compacted" not in lake.scan("gold.continuous_1m", symbols="BBBUSDT").explain()
    compact_month(store, TableSlice("gold", *UM, "continuous_1m"), "2024-02")
    assert "compacted" in lake.scan("gold.continuous_1m", symbols="BBBUSDT").explain()
    assert rows() == by_day


def test_a_symbol_of_the_lake_without_such_bars_is_not_taken_for_a_misspelling(lake: Lakehouse) -> None:
    with pytest.warns(LakeWarning, match=r"has no 1mo bars in this range for: BBBUSDT$"):
        assert lake.bars("BBBUSDT", "1mo", market="um", start=FIRST).empty


def store_bars(store: LakeStore, bars: Bars, minutes: dict[datetime, pl.DataFrame], days: list[datetime]) -> None:
    """Each day by itself, from the minutes that there are up to its end."""
    for day in days:
        known = pl.concat([rows for at, rows in minutes.items() if at <= day])
        if isinstance(bars, TimeBars):
            made = time_bars(known, bars.interval, bars.offsets, day, day + DAY)
        else:
            month = known.filter(pl.col("open_time") >= day.replace(day=1))
            made = activity_bars(month, bars, day, day + DAY)
        write_partition(store, TableSlice("gold", *UM, bars.table).partition(f"{day.date()}"), made)


def mark(store: LakeStore, table: str) -> None:
    """Make the rows of a stored table recognizable."""
    for day in DAYS:
        rows = read_partition(store, TableSlice("gold", *UM, table).partition(f"{day.date()}"))
        write_partition(
            store, TableSlice("gold", *UM, table).partition(f"{day.date()}"), rows.with_columns(open=pl.lit(-1.0))
        )


def path(store: LakeStore, table: str, day: datetime) -> Path:
    return Path(store.root) / f"gold/{table}/exchange=binance/market=um/date={day.date()}/part-0.parquet"


KINDS = [
    # stored table, bars and offset asked for
    ("5m", "5m", "0m"),
    ("1h", "1h", "0m"),
    ("1h:5m", "1h", "0m"),
    ("1h:5m", "1h", "35m"),
    ("1d:6h", "1d", "18h"),
    ("3d", "3d", "0m"),
    ("1w", "1w", "0m"),
    ("1mo", "1mo", "0m"),
    ("dollar:100000", "dollar:100000", "0m"),
    ("volume:77", "volume:77", "0m"),
    ("tick:500", "tick:500", "0m"),
]
RANGES = [
    {},
    {"start": DAYS[1] + 7 * MINUTE, "end": DAYS[2] + timedelta(hours=13)},
    {"start": DAYS[4], "end": DAYS[5], "symbols": "BBBUSDT"},
    {"end": "9999-12-31"},
    {"start": "2023-12-01", "end": DAYS[1]},
]


@pytest.mark.requirement("F6.6", "D9")
@pytest.mark.parametrize(("kept", "name", "offset"), KINDS)
def test_stored_bars_equal_computed_bars(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame], kept: str, name: str, offset: str
) -> None:
    def ask(**asked: object) -> pl.DataFrame:
        asked = {"symbols": ["AAAUSDT", "BBBUSDT"], **asked}
        return lake.bars(bars=name, market="um", offset=offset, format="polars", **asked)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of long bars a range may hold none
        made = [ask(**asked) for asked in RANGES]
        bars = parse_bars(kept)
        store_bars(store, bars, minutes, DAYS)
        stored = [ask(**asked) for asked in RANGES]
        mark(store, bars.table)
        marked = [ask(**asked) for asked in RANGES]
    assert made[0].height > 0
    assert made[0].columns == schema_of("gold", bars.table).column_names
    for one, other, seen, asked in zip(made, stored, marked, RANGES, strict=True):
        assert one.equals(other), asked
        # What was compared did come from the table.
        assert (seen["open"] == -1).all(), asked
        assert seen.drop("open").equals(one.drop("open")), asked


@pytest.mark.requirement("F6.6")
@pytest.mark.parametrize(("kept", "name", "offset"), KINDS)
def test_a_range_holds_the_bars_that_open_in_it(lake: Lakehouse, kept: str, name: str, offset: str) -> None:
    everything = lake.bars(None, name, market="um", offset=offset, format="polars")
    start, end = DAYS[1] + 7 * MINUTE, DAYS[5] + timedelta(hours=13)
    part = lake.bars(None, name, market="um", offset=offset, start=start, end=end, format="polars")
    assert part.equals(everything.filter((pl.col("open_time") >= start) & (pl.col("open_time") < end)))
    assert everything.equals(everything.sort(schema_of("gold", parse_bars(name).table).primary_key))


@pytest.mark.requirement("F6.6")
def test_a_table_with_a_missing_day_or_older_than_its_minutes_is_not_used(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame]
) -> None:
    bars = parse_bars("1h:5m")
    store_bars(store, bars, minutes, DAYS)
    mark(store, bars.table)
    asked = {"market": "um", "offset": "5m", "start": DAYS[2], "end": DAYS[3], "format": "polars"}

    def is_read() -> bool:
        return bool((lake.bars("AAAUSDT", "1h", **asked)["open"] == -1).all())

    assert is_read()
    # Bars that open on DAYS[2] close on it or on DAYS[3]; those of DAYS[2] need minutes from DAYS[1] on.
    assert path(store, "bars_1h_by_5m", DAYS[0]).exists()
    later = path(store, "bars_1h_by_5m", DAYS[-1]).stat().st_mtime + 60
    for day, needed in ((DAYS[0], False), (DAYS[4], False), (DAYS[1], True), (DAYS[2], True), (DAYS[3], True)):
        minute_file = path(store, "continuous_1m", day)
        before = minute_file.stat().st_mtime
        os.utime(minute_file, (later, later))
        assert is_read() is not needed, day
        os.utime(minute_file, (before, before))
    for day, needed in ((DAYS[1], False), (DAYS[4], False), (DAYS[2], True), (DAYS[3], True)):
        file = path(store, "bars_1h_by_5m", day)
        file.rename(file.with_name("_away"))
        assert is_read() is not needed, day
        file.with_name("_away").rename(file)


@pytest.mark.requirement("F6.6")
def test_tables_of_other_kinds_and_grids_are_not_used(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame]
) -> None:
    asked = [("1h", "5m"), ("2h", "0m"), ("tick:600", "0m"), ("volume:500", "0m")]
    made = [lake.bars(None, name, market="um", offset=offset, format="polars") for name, offset in asked]
    for kept in ("1h", "1h:10m", "tick:500"):
        store_bars(store, parse_bars(kept), minutes, DAYS)
        mark(store, parse_bars(kept).table)
    for (name, offset), rows in zip(asked, made, strict=True):
        assert rows.height > 0
        assert lake.bars(None, name, market="um", offset=offset, format="polars").equals(rows)


@pytest.mark.requirement("F6.6")
def test_bars_that_have_not_closed_are_not_returned(lake: Lakehouse) -> None:
    opened = lake.bars("AAAUSDT", "1h", market="um", offset="30m", format="polars")["open_time"]
    # From the bar that the first day cuts to the last one that closes before the end of the last day.
    assert (opened.min(), opened.max()) == (FIRST - 30 * MINUTE, END - 90 * MINUTE)
    weeks = lake.bars("AAAUSDT", "1w", market="um", format="polars")
    assert weeks["open_time"].to_list() == [datetime(2024, 2, 19, tzinfo=UTC)]
    assert weeks["complete"].to_list() == [False]
    months = lake.bars("AAAUSDT", "1mo", market="um", format="polars")
    assert months["open_time"].to_list() == [datetime(2024, 2, 1, tzinfo=UTC)]
    rests = lake.bars("AAAUSDT", "tick:1000000000", market="um", format="polars")
    assert rests.select("close_time", "complete").rows() == [
        (datetime(2024, 3, 1, tzinfo=UTC) - timedelta(microseconds=1), False)
    ]


@pytest.mark.requirement("F6.6")
def test_an_hour_is_the_sum_of_its_minutes(lake: Lakehouse, minutes: dict[datetime, pl.DataFrame]) -> None:
    at = DAYS[1] + timedelta(hours=23, minutes=35)
    [bar] = lake.bars("AAAUSDT", "1h", market="um", offset="35m", start=at, end=at + MINUTE, format="polars").to_dicts()
    inside = (
        pl.concat([minutes[DAYS[1]], minutes[DAYS[2]]])
        .filter(pl.col("symbol") == "AAAUSDT", pl.col("open_time") >= at, pl.col("open_time") < at + 60 * MINUTE)
        .sort("open_time")
    )
    assert inside.height == bar["n_minutes"] == 60
    assert (bar["open"], bar["close"]) == (inside["open"][0], inside["close"][-1])
    assert (bar["high"], bar["low"]) == (inside["high"].max(), inside["low"].min())
    assert bar["base_volume"] == pytest.approx(inside["base_volume"].sum(), rel=1e-12)
    assert (bar["offset"], bar["open_time"], bar["n_filled"]) == (35, at, inside["is_filled"].sum())


@pytest.mark.requirement("F6.6", "P1")
def test_only_days_that_are_needed_are_opened(store: LakeStore, lake: Lakehouse) -> None:
    asked = {"market": "um", "offset": "5m", "start": DAYS[2], "end": DAYS[3]}
    expected = lake.bars("AAAUSDT", "1h", **asked)
    for day in (DAYS[0], DAYS[1], DAYS[4]):
        path(store, "continuous_1m", day).write_bytes(b"not parquet")
    assert lake.bars("AAAUSDT", "1h", **asked).equals(expected)
    with pytest.raises(DamagedFile, match=r"2024-02-26/part-0.parquet"):
        lake.bars("AAAUSDT", "1h", **{**asked, "start": DAYS[1]})


@pytest.mark.requirement("F6.6")
def test_days_without_minutes_are_named(store: LakeStore, lake: Lakehouse) -> None:
    for day in (DAYS[2], DAYS[5]):
        path(store, "continuous_1m", day).unlink()
    with pytest.warns(UserWarning, match=r"no partition for 2024-02-27, 2024-03-01: ") as caught:
        bars = lake.bars("AAAUSDT", "1h", market="um", format="polars")
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    assert set(bars["open_time"].dt.date()) == {day.date() for day in DAYS} - {date(2024, 2, 27), date(2024, 3, 1)}
    with pytest.warns(UserWarning, match="no partition for 2024-02-27: "):
        lake.bars("AAAUSDT", "1h", market="um", offset="5m", start=DAYS[1], end=DAYS[2])
    # Activity bars count from the start of the month, or from the first stored day.
    with pytest.warns(UserWarning, match="no partition for 2024-02-27: "):
        lake.bars("AAAUSDT", "tick:100", market="um", start=DAYS[3], end=DAYS[4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lake.bars("AAAUSDT", "1h", market="um", start=DAYS[1], end=DAYS[2])
        lake.bars("AAAUSDT", "1h", market="um", start=DAYS[3], end=DAYS[5])
    with (
        pytest.warns(UserWarning, match="no partition for 2024-02-27: .* --from 2024-02-27 --to 2024-02-27$"),
        pytest.warns(UserWarning, match="for: AAAUSDT"),
    ):
        assert lake.bars("AAAUSDT", "1h", market="um", start=DAYS[2], end=DAYS[3]).empty


@pytest.mark.requirement("F6.6")
@pytest.mark.parametrize("bars", ["1h", "dollar:1000"])
def test_symbols_without_bars_and_lakes_without_minutes_are_named(lake: Lakehouse, bars: str) -> None:
    with pytest.warns(UserWarning, match="for: NOSUCHCOIN"):
        assert len(lake.bars(["AAAUSDT", "NOSUCHCOIN"], bars, market="um")) > 0
    outside = "partitions from 2024-02-25 to 2024-03-02, and no rows from 2024-03-03 and before 2024-03-04. Build them"
    with pytest.warns(UserWarning, match=outside):
        assert len(lake.bars("AAAUSDT", bars, market="um", start=END, end=END + DAY)) == 0
    with pytest.warns(UserWarning, match=r"for: aaausdt \(did you mean AAAUSDT\?\)"):
        lake.bars("aaausdt", bars, market="um")
    with pytest.warns(
        UserWarning, match=r"continuous_1m of binance/spot .* has no partitions\. Build .* --market spot"
    ):
        nothing = lake.bars("AAAUSDT", bars, market="spot", format="polars")
    assert nothing.schema == lake.bars(None, bars, market="um", format="polars").schema


@pytest.mark.requirement("F6.6")
def test_each_format(lake: Lakehouse) -> None:
    polars = lake.bars("AAAUSDT", "4h", market="um", format="polars")
    pandas = lake.bars("AAAUSDT", "4h", market="um")
    assert str(pandas["open_time"].dt.tz) == "UTC"
    arrow = lake.bars("AAAUSDT", "4h", market="um", format="arrow")
    assert isinstance(arrow, pa.Table)
    assert arrow.num_rows == len(pandas) == polars.height


@pytest.mark.requirement("F6.6")
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"bars": "7h"}, ValueError, "there are 3m, .*1mo, dollar, volume, tick"),
        ({"bars": "1m"}, ValueError, "there are"),
        ({"bars": "60m"}, ValueError, r"no bars '60m'; did you mean 1h\? There are 3m"),
        ({"bars": "1H"}, ValueError, r"no bars '1H'; did you mean 1h\? There are 3m"),
        ({"bars": "dollar"}, ValueError, "threshold"),
        ({"bars": "1h:5m"}, ValueError, "pass '1h' and an offset"),
        ({"offset": "60m"}, ValueError, "shorter than the interval 1h"),
        ({"bars": "1mo", "offset": "672h"}, ValueError, "shorter than the interval 1mo"),
        ({"offset": "30s"}, ValueError, "not an offset"),
        ({"bars": "tick:5", "offset": "1m"}, ValueError, "no offset"),
        ({"symbols": "../x"}, ValueError, "symbol"),
        ({"start": "2024-02-02", "end": "2024-02-01"}, ValueError, "before"),
        ({"format": "csv"}, ValueError, "polars"),
        ({"market": "margin"}, KeyError, "spot"),
        ({"market": None}, ValueError, "one market: pass market='um', for example; gold.continuous_1m has um"),
        ({"exchange": "nyse"}, KeyError, "binance"),
    ],
)
def test_mistakes_are_explained(lake: Lakehouse, arguments: dict[str, str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        lake.bars(**{"symbols": "AAAUSDT", "bars": "1h", "market": "um", **arguments})


@pytest.mark.requirement("F6.1", "F4.1", "F4.4")
@pytest.mark.filterwarnings("ignore::crypto_lakehouse.LakeWarning")
@pytest.mark.parametrize(("kept", "name", "offset"), KINDS)
def test_scan_finds_bars_that_close_on_a_later_day(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame], kept: str, name: str, offset: str
) -> None:
    bars = parse_bars(kept)
    store_bars(store, bars, minutes, DAYS)
    table = f"gold.{bars.table}"
    everything = lake.scan(table, columns=schema_of("gold", bars.table).column_names).collect()
    assert everything.height > 0
    cuts = [FIRST - 30 * DAY, *DAYS, DAYS[2] + timedelta(hours=23, minutes=30), END, END + DAY]
    for start, end in zip(sorted(cuts), sorted(cuts)[1:], strict=False):
        got = lake.scan(table, start=start, end=end, columns=everything.columns).collect()
        want = everything.filter((pl.col("open_time") >= start) & (pl.col("open_time") < end))
        assert got.sort(pl.all()).equals(want.sort(pl.all())), (start, end)


@pytest.mark.requirement("F6.1", "P1")
def test_scan_opens_no_day_on_which_no_bar_of_the_range_closes(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame]
) -> None:
    store_bars(store, parse_bars("1h:5m"), minutes, DAYS)
    plan = lake.scan("gold.bars_1h_by_5m", start=DAYS[2], end=DAYS[3] + MINUTE).explain()
    opened = {day for day in DAYS if f"date={day.date()}" in plan}
    assert opened == {DAYS[2], DAYS[3]}


@pytest.mark.requirement("F6.2", "F6.3", "F6.4")
def test_tables_without_end_are_listed_read_queried_and_described(
    store: LakeStore, lake: Lakehouse, minutes: dict[datetime, pl.DataFrame]
) -> None:
    for name in ("1h:5m", "tick:500"):
        store_bars(store, parse_bars(name), minutes, DAYS)
    Path(store.root, "gold", "my_notes").mkdir()
    listed = lake.tables()
    assert listed["table"].to_list() == ["bars_1h_by_5m", "bars_tick_500", "continuous_1m"]
    assert listed["partitions"].to_list() == [7, 7, 7]
    assert len(lake.read("gold.bars_tick_500", market="um")) == len(lake.bars(None, "tick:500", market="um"))
    # Of the bars at 35 minutes past the hour, the last one of a day closes on the next.
    query = """
        SELECT count(*) FILTER (WHERE date > open_time::DATE) AS later, count(DISTINCT "offset") AS grids
        FROM gold.bars_1h_by_5m JOIN gold.bars_tick_500 USING (symbol, date, open_time, exchange, market)
    """
    assert lake.sql(query, format="polars")["grids"].item() > 1
    later = lake.sql("SELECT count(*) FROM gold.bars_1h_by_5m WHERE date > open_time::DATE", format="polars")
    assert later.item() > 0
    described = lake.describe("gold.bars_1h_by_5m")
    assert described.filter(pl.col("key"))["column"].to_list() == ["symbol", "segment", "offset", "open_time"]
    assert "on which the bar closed" in described.filter(column="date")["doc"].item()
    assert lake.describe("gold.bars_dollar_5").filter(column="complete").height == 1
    with pytest.raises(KeyError, match=r"gold\.bars_1h_by_5m"):
        lake.read("bars_1h_by_5m")
