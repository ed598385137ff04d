"""Reads of named symbols from month files: the same rows as a scan, and no listing while nothing is published."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS, Cadence, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse_tests.unit.test_compaction import SYMBOLS, UM, day_rows, put

pytestmark = pytest.mark.requirement("P5")

FIRST, END = date(2023, 1, 30), date(2023, 4, 5)
NOW = datetime(2023, 5, 1, tzinfo=UTC)
TIMES = st.datetimes(datetime(2023, 1, 29), datetime(2023, 4, 7)).map(lambda at: at.replace(tzinfo=UTC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Days of four months; two of the months have month files."""
    folder = tmp_path_factory.mktemp("months") / "lake"
    store = LakeStore.open(str(folder))
    for key in partition_keys(FIRST, END, Cadence.DAILY):
        put(store, key, day_rows(key))
    for month in ("2023-02", "2023-03"):
        compact_month(store, UM, month)
    _age(folder)
    return folder


def _age(folder: Path) -> None:
    """Date the folders of all files an hour back: recent listings are not remembered."""
    an_hour_ago = time.time() - 3600
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            os.utime(path, (an_hour_ago, an_hour_ago))


@given(
    st.lists(st.sampled_from([*SYMBOLS, "NONEUSDT"]), min_size=1, max_size=4, unique=True),
    st.tuples(TIMES, TIMES).map(sorted),
    st.sampled_from([None, ["close"], ["date", "symbol", "market"], ["open_time", "source", "contracts"]]),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rows_from_month_files_are_those_of_a_scan_of_the_day_files(
    folder: Path, symbols: list[str], span: list[datetime], columns: list[str] | None
) -> None:
    lake = Lakehouse(folder)
    rows = lake.read(
        "silver.klines_1m", market="um", symbols=symbols, start=span[0], end=span[1], columns=columns, format="polars"
    )
    assert isinstance(rows, pl.DataFrame)
    # Without symbols, day files are read.
    every = [*schema_of("silver", "klines_1m").column_names, "exchange", "market", "date"]
    days = lake.scan("silver.klines_1m", market="um", start=span[0], end=span[1], columns=every)
    expected = days.filter(pl.col("symbol").is_in(symbols)).collect().sort("symbol", "open_time")
    assert rows.equals(expected.select(rows.columns), null_equal=True)
    assert rows.schema == expected.select(rows.columns).schema


ENTRIES = st.one_of(
    st.sampled_from([*SYMBOLS, "NONEUSDT"]),
    st.builds(lambda name, n: f"{name[:n]}*", st.sampled_from(SYMBOLS), st.integers(0, 6)),
    st.builds(lambda name, n: f"*{name[n:]}", st.sampled_from(SYMBOLS), st.integers(0, 6)),
)


@given(st.lists(ENTRIES, max_size=3), st.lists(ENTRIES, max_size=2), st.tuples(TIMES, TIMES).map(sorted))
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_patterns_and_exclusions_select_the_same_rows_from_month_files(
    folder: Path, wanted: list[str], unwanted: list[str], span: list[datetime]
) -> None:
    lake, asked = Lakehouse(folder), [*wanted, *(f"!{entry}" for entry in unwanted)]
    frames = [
        lake.read("silver.klines_1m", market="um", symbols=asked, start=span[0], end=span[1], format="polars"),
        lake.scan("silver.klines_1m", market="um", symbols=asked, start=span[0], end=span[1]).collect(),
    ]
    every = lake.scan("silver.klines_1m", market="um", start=span[0], end=span[1]).collect()
    names = SymbolFilter(tuple(wanted), tuple(unwanted)).select(every["symbol"].unique()) if asked else []
    expected = every.filter(pl.col("symbol").is_in(names))
    assert frames[0].equals(expected.sort("symbol", "open_time"), null_equal=True)
    assert frames[1].sort("symbol", "open_time").equals(expected.sort("symbol", "open_time"), null_equal=True)
    assert frames[1]["open_time"].dt.date().is_sorted()


def test_a_published_day_is_seen_by_the_next_read(folder: Path, tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    for key in ("2023-02-01", "2023-02-02"):
        put(store, key, day_rows(key))
    _age(tmp_path / "lake")
    lake = Lakehouse(tmp_path / "lake")

    def close(key: str) -> float:
        day = date.fromisoformat(key)
        rows = lake.read("silver.klines_1m", market="um", start=day, end=day + timedelta(1), format="polars")
        assert isinstance(rows, pl.DataFrame)
        return float(rows["close"][0])

    before = close("2023-02-02")
    assert close("2023-02-02") == before
    put(store, "2023-02-02", day_rows("2023-02-02", seed=7))
    assert close("2023-02-02") == before + 7
    put(store, "2023-02-03", day_rows("2023-02-03"))
    assert close("2023-02-03") > 0


def test_a_repeated_read_lists_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lakehouse(folder)

    def read() -> pl.DataFrame:
        span = {"start": "2023-02-01", "end": "2023-04-01"}
        rows = lake.read("silver.klines_1m", market="um", symbols=SYMBOLS[1], **span, format="polars")  # type: ignore[arg-type]
        assert isinstance(rows, pl.DataFrame)
        return rows

    first = read()
    listed: list[str] = []
    monkeypatch.setattr(LakeStore, "list", lambda store, path="", recursive=True: listed.append(path) or [])
    assert read().equals(first)
    assert listed == []


def test_a_new_row_of_the_ledger_is_seen_by_the_next_read(tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    facts = {"symbol": "BTCUSDT", "period": "2023-02-01", "rows": 3, "rejected_rows": 0, "status": "ingested"}
    lake = Lakehouse(tmp_path / "lake")
    for number in (1, 2, 3):
        record_files(store, FEEDS["binance", "um", "klines_1m"], "2023-02-01", [{"key": f"{number}.zip", **facts}], NOW)
        rows = lake.read("ledger.files", market="um", format="polars")
        assert len(rows) == number
        _age(tmp_path / "lake")
        assert len(lake.read("ledger.files", market="um", format="polars")) == number


def test_a_damaged_month_file_is_named_as_by_a_scan(folder: Path, tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path / "lake"))
    for key in partition_keys(date(2023, 2, 1), date(2023, 3, 1), Cadence.DAILY):
        put(store, key, day_rows(key))
    compact_month(store, UM, "2023-02")
    [path] = (tmp_path / "lake" / "compacted").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    lake = Lakehouse(tmp_path / "lake")
    with pytest.raises(Exception, match=r"is damaged: .*crypto-lakehouse compact"):
        lake.read("silver.klines_1m", market="um", symbols=SYMBOLS[1], start="2023-02-01", end="2023-03-01")
