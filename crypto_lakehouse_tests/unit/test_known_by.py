"""What was known when: no row of any table is known later than the time of the read, live or by the archive."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from crypto_lakehouse import Lakehouse, LakeWarning
from crypto_lakehouse.catalog import FEEDS, feed
from crypto_lakehouse.catalog.bars import parse_bars
from crypto_lakehouse.catalog.binance import UM
from crypto_lakehouse.cli.main import app
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.continuous import ContinuousMinutes
from crypto_lakehouse.schemas import table_names
from crypto_lakehouse.schemas.gold import find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.continuous import GapRule
from crypto_lakehouse.transforms.gold.universe import instruments, numbered_runs
from crypto_lakehouse_tests.unit.lake_rows import UM_1M, klines, ledger_row
from crypto_lakehouse_tests.unit.small_lake import store_a_row

pytestmark = pytest.mark.requirement("F6.21")

SAMPLE_TABLES = (
    *(
        f"{layer}.{table}"
        for layer in ("bronze", "silver")
        for table in ("klines_1m", "funding_rates", "open_interest")
    ),
    *("silver.mark_klines_1m", "gold.continuous_1m", "gold.bars_1h", "gold.bars_1d", "gold.symbol_states"),
    *("gold.instruments", "ledger.files", "quarantine.rejected"),
)
DAYS = [date(2024, 1, day) for day in range(1, 8)]
GONE, LISTED = "GONEUSDT", "BTCUSDT"
START, END = datetime(2024, 12, 29, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC)


def rows(lake: Lakehouse, table: str, **arguments: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = lake.read(table, format="polars", available_at=True, **{"market": "um", **arguments})
    assert isinstance(found, pl.DataFrame)
    return found


def seen(day: date, symbol: str) -> datetime:
    """When the lake of ``archived`` saw the file of a symbol's day: at two the next day, and one of them late."""
    late = timedelta(days=3) if (symbol, day) == (LISTED, DAYS[2]) else timedelta(0)
    return datetime(day.year, day.month, day.day, 2, tzinfo=UTC) + timedelta(days=1) + late


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """A week of minutes of two symbols, one of which trades on the first day only, with the ledger of daily runs.

    The file of the third day came late, and that of the first day was published again on the sixth.
    """
    store = LakeStore.open(str(tmp_path_factory.mktemp("known") / "lake"))
    for day in DAYS:
        symbols = [LISTED, GONE] if day == DAYS[0] else [LISTED]
        key = str(day)
        write_partition(store, TableSlice.of_feed("silver", UM_1M).partition(key), klines(symbols, day, 1440))
        for symbol in symbols:
            name = f"data/futures/um/daily/klines/{symbol}/1m/{symbol}-1m-{key}.zip"
            file = ledger_row(symbol, key=name, period=key)
            record_files(store, UM_1M, key, [file], seen(day, symbol))
            if day == DAYS[0]:
                record_files(store, UM_1M, key, [{**file, "sha256": "1" * 64}], seen(DAYS[5], symbol))
        listed = numbered_runs(
            UM, {symbol: [(DAYS[0], DAYS[0] if symbol == GONE else day)] for symbol in (LISTED, GONE)}
        )
        slice_ = TableSlice("gold", "binance", "um", "instruments")
        write_partition(store, slice_.partition(key), instruments(UM, listed, day))
    keys = [str(day) for day in DAYS]
    for made in ContinuousMinutes(store, UM, GapRule()).days(keys):
        for table, frame in (("continuous_1m", made.rows), ("gaps", made.gaps), ("symbol_states", made.states)):
            write_partition(store, TableSlice("gold", "binance", "um", table).partition(made.key), frame)
    kinds = [parse_bars(name) for name in ("1h", "3d", "dollar:1000")]
    maker = DayBars(store, UM, kinds, keys)
    for key in keys:
        for table, frame in maker.make(key).items():
            write_partition(store, TableSlice("gold", "binance", "um", table).partition(key), frame)
    maker.close()
    return Lakehouse(store.uri)


ARCHIVED_TABLES = (
    *("silver.klines_1m", "gold.continuous_1m", "gold.bars_1h", "gold.bars_3d", "gold.bars_dollar_1000"),
    *("gold.symbol_states", "gold.instruments"),
)


@pytest.mark.parametrize("table", SAMPLE_TABLES)
@given(moment=st.datetimes(START.replace(tzinfo=None), END.replace(tzinfo=None)))
@settings(max_examples=8)
def test_no_row_is_known_later_than_the_time_of_the_read(sample_lake: Path, table: str, moment: datetime) -> None:
    lake, moment = Lakehouse(sample_lake), moment.replace(tzinfo=UTC)
    known = rows(lake, table, known_by=moment)
    assert known["available_at"].null_count() == 0
    # Whatever the columns mean, none of them is a time after the read.
    for name, kind in known.schema.items():
        if kind == pl.Datetime("us", "UTC"):
            assert known.filter(pl.col(name) > moment).is_empty(), name
    if not table.startswith("ledger"):
        later = rows(lake, table)
        assert known.equals(later.filter(pl.col("available_at") <= moment))
    of_archive = rows(lake, table, known_by=moment, mode="archive")
    # This lake saw its files long after the days of its rows.
    assert of_archive.is_empty()


@pytest.mark.parametrize("table", ARCHIVED_TABLES)
@given(hours=st.integers(0, 24 * 12))
@settings(max_examples=12)
def test_by_the_archive_no_row_is_known_before_its_files_were_seen(archived: Lakehouse, table: str, hours: int) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    known = rows(archived, table, known_by=moment, mode="archive")
    assert known["available_at"].null_count() == 0
    assert known.filter(pl.col("available_at") > moment).is_empty()
    if {"open_time", "close_time"} <= {*known.columns}:
        for row in known.iter_rows(named=True):
            first, last = row["open_time"].date(), row["close_time"].date()
            files = [seen(day, row["symbol"]) for day in DAYS if first <= day <= last and row["symbol"] == LISTED]
            assert all(file <= moment for file in files)


def test_a_late_file_makes_its_rows_late_and_a_second_version_does_not(archived: Lakehouse) -> None:
    table = rows(archived, "gold.bars_1h", mode="archive", symbols=LISTED)
    by_day = table.group_by(pl.col("open_time").dt.date(), maintain_order=True).agg(pl.col("available_at").unique())
    assert dict(by_day.iter_rows()) == {day: [seen(day, LISTED)] for day in DAYS}
    over_days = rows(archived, "gold.bars_3d", mode="archive", symbols=LISTED)
    files = {
        row["open_time"]: max(
            seen(day, LISTED) for day in DAYS if row["open_time"].date() <= day <= row["close_time"].date()
        )
        for row in over_days.iter_rows(named=True)
    }
    assert dict(over_days.select("open_time", "available_at").iter_rows()) == files


def test_a_series_has_not_ended_before_that_was_known(archived: Lakehouse) -> None:
    """GONEUSDT trades on the first day only; two days later its series is over."""
    everything = rows(archived, "gold.continuous_1m", symbols=GONE)
    assert everything["open_time"].max() == datetime(2024, 1, 1, 23, 59, tzinfo=UTC)
    on_second = datetime(2024, 1, 2, 12, tzinfo=UTC)
    known = rows(archived, "gold.continuous_1m", symbols=GONE, known_by=on_second)
    assert known["open_time"].max() == datetime(2024, 1, 2, 11, 58, tzinfo=UTC)
    assert known.filter(pl.col("open_time") >= datetime(2024, 1, 2, tzinfo=UTC))["is_filled"].all()
    bars = archived.bars(GONE, "1h", market="um", known_by=on_second, format="polars")
    assert bars["open_time"].max() == datetime(2024, 1, 2, 10, tzinfo=UTC)
    # By the archive, the minutes of the second day came with the files of that day.
    files = rows(archived, "gold.continuous_1m", symbols=GONE, known_by=seen(DAYS[1], LISTED), mode="archive")
    assert files["open_time"].max() == datetime(2024, 1, 2, 23, 59, tzinfo=UTC)


def test_bars_and_panels_have_what_was_known(archived: Lakehouse) -> None:
    moment = datetime(2024, 1, 3, 12, tzinfo=UTC)
    stored = archived.bars(LISTED, "1h", market="um", known_by=moment, available_at=True, format="polars")
    computed = archived.bars(LISTED, "2h", market="um", known_by=moment, format="polars")
    assert stored["available_at"].max() == datetime(2024, 1, 3, 11, 0, 5, tzinfo=UTC)
    assert computed["open_time"].max() == datetime(2024, 1, 3, 8, tzinfo=UTC)
    assert "available_at" not in computed.columns
    for interval, last in (("1h", 10), ("2h", 8), ("1m", 11)):
        panel = archived.panel("close", LISTED, interval, market="um", known_by=moment, format="polars")
        assert panel["open_time"].max().hour == last  # type: ignore[union-attr]
    # The third file was seen three days late, so bars of its day are missing although the fourth day is known.
    of_archive = archived.panel(
        "close", LISTED, "1h", market="um", known_by=seen(DAYS[3], LISTED), mode="archive", format="polars"
    )
    assert of_archive.drop_nulls()["open_time"].dt.date().unique().sort().to_list() == [DAYS[0], DAYS[1], DAYS[3]]
    days = archived.iter_days("gold.bars_1h", market="um", symbols=LISTED, known_by=moment, format="polars")
    assert sum(frame.height for _, frame in days) == stored.height


def test_the_universe_knows_no_later_listing(archived: Lakehouse) -> None:
    moment = datetime(2024, 1, 3, 12, tzinfo=UTC)
    listed = archived.universe("um", known_by=moment, format="polars")
    assert (listed["symbol"].to_list(), listed["last_day"].to_list()) == ([LISTED], [DAYS[1]])
    days = archived.universe("um", start="2024-01-01", known_by=moment, format="polars")
    assert days.select("date", "symbol").rows() == [(DAYS[0], LISTED), (DAYS[0], GONE), (DAYS[1], LISTED)]
    with pytest.raises(ValueError, match=r"listed on 2024-01-03 was not known by .*ask for 2024-01-02 or earlier"):
        archived.universe("um", on="2024-01-03", known_by=moment)
    with pytest.raises(ValueError, match=r"had not seen the files of any day"):
        archived.universe("um", known_by="2024-01-01T12:00", mode="archive")
    # The file of the third day was seen on the seventh: by then it is in the universe of its day, before it is not.
    on = {"on": str(DAYS[2]), "mode": "archive", "format": "polars"}
    assert archived.universe("um", known_by=seen(DAYS[3], LISTED), **on).is_empty()
    assert archived.universe("um", known_by=seen(DAYS[2], LISTED), **on)["symbol"].to_list() == [LISTED]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "archived"}, "mode 'archived' is not one of live, archive"),
        ({"mode": "archive"}, "pass known_by as well, or request the column available_at"),
        ({"known_by": "yesterday"}, "known_by 'yesterday' is not an ISO 8601 time"),
        ({"start": "2024-01-03", "known_by": "2024-01-02"}, "is not before known_by"),
    ],
)
def test_wrong_arguments_are_errors_that_say_what_to_pass(
    archived: Lakehouse, arguments: dict[str, Any], message: str
) -> None:
    for read in (
        lambda: archived.read("gold.bars_1h", market="um", **arguments),
        lambda: archived.bars(LISTED, "1h", market="um", **arguments),
    ):
        with pytest.raises(ValueError, match=message):
            read()


def test_tables_about_the_archive_have_no_live_time(archived: Lakehouse) -> None:
    with pytest.raises(ValueError, match=r"gold\.witnesses is about files of the archive.*pass mode='archive'"):
        archived.read("gold.witnesses", market="um", known_by="2024-01-03")


def test_rows_of_an_older_version_stay_known_if_a_later_one_cannot_be_used(tmp_path: Path) -> None:
    store, funding = LakeStore.open(str(tmp_path / "lake")), feed("binance", "um", "klines_1m")
    write_partition(store, TableSlice.of_feed("silver", funding).partition("2024-01-01"), klines([LISTED], DAYS[0], 2))
    record_files(store, funding, "2024-01-01", [ledger_row(LISTED)], seen(DAYS[0], LISTED))
    bad = ledger_row(LISTED, status="quarantined", sha256="2" * 64, reason="checksum_mismatch")
    record_files(store, funding, "2024-01-01", [bad], seen(DAYS[4], LISTED))
    known = rows(Lakehouse(store.uri), "silver.klines_1m", mode="archive")
    assert known["available_at"].to_list() == [seen(DAYS[0], LISTED)] * 2


@pytest.mark.parametrize("status", ["failed", "quarantined", "no_file"])
def test_a_file_is_known_once_it_can_be_used_not_once_it_is_listed(tmp_path: Path, status: str) -> None:
    """Its CHECKSUM may be that of other bytes for days."""
    store, key = LakeStore.open(str(tmp_path / "lake")), str(DAYS[0])
    write_partition(store, TableSlice.of_feed("silver", UM_1M).partition(key), klines([LISTED], DAYS[0], 1440))
    bad = ledger_row(LISTED, status=status, sha256=None, rows=0, reason="checksum_mismatch")
    record_files(store, UM_1M, key, [bad], seen(DAYS[0], LISTED))
    record_files(store, UM_1M, key, [ledger_row(LISTED)], seen(DAYS[4], LISTED))
    (made,) = ContinuousMinutes(store, UM, GapRule()).days([key])
    write_partition(store, TableSlice("gold", "binance", "um", "continuous_1m").partition(key), made.rows)
    lake = Lakehouse(store.uri)
    for table in ("silver.klines_1m", "gold.continuous_1m"):
        assert rows(lake, table, mode="archive")["available_at"].unique().to_list() == [seen(DAYS[4], LISTED)], table
    assert rows(lake, "silver.klines_1m", mode="archive", known_by=seen(DAYS[3], LISTED)).is_empty()


@pytest.mark.parametrize("table", ["witnesses", "missing_minutes"])
def test_verdicts_are_known_once_they_are_stored(tmp_path: Path, table: str) -> None:
    """They follow from monthly files, answers and listings that come long after the file of the day."""
    store = LakeStore.open(str(tmp_path / "lake"))
    store_a_row(store, "gold", table, "um")
    record_files(store, UM_1M, str(DAYS[0]), [ledger_row(LISTED)], seen(DAYS[0], LISTED))
    lake = Lakehouse(store.uri)
    before = datetime.now(UTC) - timedelta(minutes=5)
    (since,) = rows(lake, f"gold.{table}", mode="archive")["available_at"]
    assert before < since <= datetime.now(UTC)
    assert rows(lake, f"gold.{table}", mode="archive", known_by=before).is_empty()


@pytest.mark.parametrize("market", ["spot", "um", "cm", "option"])
def test_every_table_has_the_column(tmp_path: Path, market: str) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    names = [(layer, table) for layer, table in table_names() if layer in ("bronze", "silver", "gold")]
    kept = [name for name in names if is_known(*name, market) and ("klines" not in name[1] or name[1] in SOME_KLINES)]
    for layer, table in kept:
        store_a_row(store, layer, table, market)
    lake, after = Lakehouse(store.uri), datetime(2024, 3, 1, tzinfo=UTC)
    for layer, table in kept:
        if table in ("witnesses", "missing_minutes"):
            continue
        read = partial(rows, lake, f"{layer}.{table}", market=market)
        (time,) = read()["available_at"]
        # In bronze the times of these rows are the number 7, which is none.
        assert layer == "bronze" or datetime(2024, 1, 1, 12, tzinfo=UTC) <= time <= after, table
        assert layer == "bronze" or read(known_by=after).height == 1, table
        # No ledger knows the files of these rows; answers state when they came.
        (seen,) = read(mode="archive")["available_at"]
        assert seen is None or table.endswith("_rest"), table


SOME_KLINES = ("klines_1m", "klines_3d", "klines_1mo", "klines_1m_rest", "premium_klines_1h", "index_klines_1w")


def is_known(layer: str, table: str, market: str) -> bool:
    """Whether the market has a table."""
    entry = find_gold_table(table) if layer == "gold" else None
    sources = entry.sources if entry else [table.removesuffix("_rest")]
    return all(("binance", market, source) in FEEDS for source in sources)


def test_the_command_reads_what_was_known(archived: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_LAKE_URI", archived.uri)
    read = ["read", "gold.bars_1h", "--market", "um", "--symbols", LISTED, "--from", "2024-01-02", "--to", "2024-01-02"]
    read += ["--columns", "open_time,available_at", "--format", "csv", "--known-by"]
    live = CliRunner().invoke(app, [*read, "2024-01-02T03:00"])
    assert live.stdout.splitlines()[1:] == [
        f"2024-01-02T0{hour}:00:00Z,2024-01-02T0{hour + 1}:00:05Z" for hour in range(2)
    ]
    assert CliRunner().invoke(app, [*read, "2024-01-03T01:00", "--mode", "archive"]).stdout.splitlines()[1:] == []
    wrong = CliRunner().invoke(app, [*read, "2024-01-03T01:00", "--mode", "both"])
    assert wrong.exit_code == 2
    assert "mode 'both' is not one of live, archive" in wrong.stderr


@pytest.mark.parametrize("mode", ["live", "archive"])
@pytest.mark.parametrize("table", ["silver.funding_rates", "bronze.funding_rates"])
def test_a_market_without_the_table_has_no_rows(archived: Lakehouse, table: str, mode: str) -> None:
    with pytest.warns(LakeWarning, match="spot"):
        rows = archived.read(
            table, market="spot", start="2024-12-28", end="2024-12-29", known_by="2025-01-01", mode=mode
        )
    assert rows.empty
