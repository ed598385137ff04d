"""Days from monthly files have the values of daily files, whichever runs built them, and follow changes of the archive.

The sample has BTCUSDT and ETHUSDT from 2024-01-30 to 2024-03-04: two months are over.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import FEEDS, Cadence, partition_keys
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.reconcile import compare
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.monthly import (
    UM,
    daily_file,
    edit,
    ingest,
    ledger,
    monthly_file,
    put,
    quarantined,
    silver,
    text_of,
    up_to_date,
    values,
)
from crypto_lakehouse_tests.system.runs import WatchedServer, digests, read

START, END = date(2024, 1, 30), date(2024, 3, 5)
DAYS = partition_keys(START, END, Cadence.DAILY)
FEBRUARY = [day for day in DAYS if day.startswith("2024-02")]
B, E = "BTCUSDT", "ETHUSDT"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder, 2, (END - START).days, START, tables=["klines_1h"], markets=["um"], monthly=True)
    return folder


@pytest.fixture(scope="module")
def shared(sample: Path) -> Iterator[WatchedServer]:
    with WatchedServer(sample) as running:
        yield running


@pytest.fixture(scope="module")
def lakes(shared: WatchedServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A lake for each setting, built by one range."""
    folder = tmp_path_factory.mktemp("lakes")
    for files in ("daily", "monthly", "monthly-then-daily"):
        ingest(shared, folder / files, DAYS, files)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def archive(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "archive"))


@pytest.fixture
def server(archive: Path) -> Iterator[WatchedServer]:
    with WatchedServer(archive) as running:
        yield running


@pytest.mark.requirement("D16", "D6")
@pytest.mark.parametrize("files", ["monthly", "monthly-then-daily"])
def test_only_the_source_of_rows_differs_from_daily_files(files: str, lakes: dict[str, Path]) -> None:
    daily, monthly = silver(lakes["daily"]), silver(lakes[files])
    assert monthly.height == 24 * 2 * len(DAYS)
    assert monthly.drop("source").equals(daily.drop("source"))
    assert daily["source"].unique().to_list() == ["archive_daily"]
    by_month = monthly.group_by("source", maintain_order=True).agg(pl.col("open_time").dt.date().unique().sort())
    assert dict(by_month.iter_rows()) == {
        "archive_monthly": [date.fromisoformat(day) for day in DAYS if day < "2024-03"],
        "archive_daily": [date.fromisoformat(day) for day in DAYS if day >= "2024-03"],
    }


def test_each_monthly_file_is_downloaded_once_and_no_daily_file_of_its_days(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    ingest(server, tmp_path / "lake", DAYS)
    expected = [monthly_file(archive, symbol, month) for symbol in (B, E) for month in ("2024-01", "2024-02")]
    expected += [daily_file(archive, symbol, day) for symbol in (B, E) for day in DAYS if day >= "2024-03"]
    assert sorted(server.zips()) == sorted(f"/{path.relative_to(archive)}" for path in expected)
    server.requests.clear()
    ingest(server, tmp_path / "forced", FEBRUARY[:2], keep=False, force=True)
    assert len(server.zips()) == 2


@pytest.mark.requirement("D16")
def test_by_default_monthly_files_are_neither_listed_nor_fetched(server: WatchedServer, tmp_path: Path) -> None:
    for _ in range(2):
        ingest(server, tmp_path / "lake", DAYS[:3], "daily")
    assert server.listings
    assert not [text for text in (*server.listings, *server.requests) if "monthly" in text]


@pytest.mark.requirement("D16", "D6")
@hypothesis_settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_any_order_of_ranges_and_repetitions_writes_the_same_bytes(
    shared: WatchedServer, lakes: dict[str, Path], data: st.DataObject
) -> None:
    some = [*DAYS[:4], *FEBRUARY[-2:], *DAYS[-3:]]
    order = data.draw(st.permutations(some))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(some) - 1))))
    files = data.draw(st.sampled_from(["monthly", "monthly-then-daily"]))
    again = data.draw(st.lists(st.sampled_from(some), max_size=2, unique=True))
    whole = {
        path: sha for path, sha in digests(lakes["monthly"]).items() if any(f"date={day}/" in path for day in some)
    }
    with tempfile.TemporaryDirectory() as name:
        lake = Path(name)
        for begin, end in zip([0, *cuts], [*cuts, len(some)], strict=True):
            ingest(shared, lake, order[begin:end], files)
        ingest(shared, lake, again, files) if again else None
        assert digests(lake) == whole
        assert up_to_date(shared, lake, order, files) == set(some)


@pytest.mark.requirement("D16", "P2")
def test_a_second_run_finds_everything_up_to_date(
    server: WatchedServer, lakes: dict[str, Path], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ingest(server, lake, DAYS)
    assert digests(lake) == digests(lakes["monthly"])
    assert up_to_date(server, lake, DAYS) == set(DAYS)
    server.requests.clear()
    assert ingest(server, lake, DAYS) == []
    assert server.requests == []


@pytest.mark.requirement("D16", "P2", "D6")
def test_a_replaced_monthly_file_rebuilds_its_days_and_no_others(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ingest(server, lake, DAYS)
    edit(monthly_file(archive, B, "2024-02"), lambda lines: lines[:-1])
    assert up_to_date(server, lake, DAYS) == set(DAYS) - set(FEBRUARY)
    server.requests.clear()
    assert ingest(server, lake, DAYS, keep=False) == FEBRUARY
    assert [path.rpartition("/")[2] for path in server.zips()] == ["BTCUSDT-1h-2024-02.zip"]
    assert silver(lake).height == 24 * 2 * len(DAYS) - 1
    ingest(server, tmp_path / "fresh", DAYS)
    assert digests(lake) == digests(tmp_path / "fresh")


@pytest.mark.requirement("D16", "D6")
def test_preferring_daily_files_again_rebuilds_from_them_and_values_stay(
    server: WatchedServer, lakes: dict[str, Path], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    ingest(server, lake, DAYS)
    before = values(lake)
    assert up_to_date(server, lake, DAYS, "daily") == {day for day in DAYS if day >= "2024-03"}
    assert ingest(server, lake, DAYS, "daily") == [day for day in DAYS if day < "2024-03"]
    assert digests(lake) == digests(lakes["daily"])
    assert values(lake).equals(before)
    superseded = ("monthly", "superseded", "daily_file")
    expected = [(B, "daily", "ingested", None), (B, *superseded), (E, "daily", "ingested", None), (E, *superseded)]
    assert ledger(lake, "2024-02-07") == expected
    assert quarantined(lake, "2024-02-07") == []
    # What is stored from daily files stays, whatever is preferred.
    for files in ("daily", "monthly", "monthly-then-daily"):
        assert ingest(server, lake, DAYS, files) == []


def test_a_bad_daily_file_does_not_replace_the_rows_of_a_monthly_one(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    lake, day = tmp_path / "lake", "2024-02-07"
    ingest(server, lake, [day], symbols=B)
    before = values(lake)
    put(daily_file(archive, B, day), b"no zip")
    for _ in range(2):
        ingest(server, lake, [day], "daily", symbols=B)
        assert values(lake).equals(before)
        assert ledger(lake, day) == [(B, "daily", "quarantined", "not_a_zip"), (B, "monthly", "ingested", None)]
    # Another symbol writes the partition again.
    ingest(server, lake, [day], "daily")
    assert values(lake).filter(symbol=B).equals(before)
    assert values(lake).height == 48


def test_a_day_without_a_daily_file_stays_as_it_is_when_daily_files_are_preferred(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    lake, day = tmp_path / "lake", "2024-02-07"
    daily_file(archive, B, day).unlink()
    ingest(server, lake, [day], symbols=B)
    assert ingest(server, lake, [day], "daily", symbols=B) == []
    edit(monthly_file(archive, B, "2024-02"), lambda lines: lines[:-1])
    assert ingest(server, lake, [day], "daily", symbols=B) == [day]
    assert values(lake).height == 24


@pytest.mark.requirement("D16", "F3.3")
def test_a_day_that_the_monthly_file_misses_is_named_or_read_from_its_daily_file(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    day = "2024-02-07"
    of_day = set(text_of(daily_file(archive, B, day)).splitlines(keepends=True))
    edit(monthly_file(archive, B, "2024-02"), lambda lines: [line for line in lines if line not in of_day])
    ingest(server, tmp_path / "monthly", FEBRUARY)
    assert ledger(tmp_path / "monthly", day)[0] == (B, "monthly", "quarantined", "day_missing")
    assert quarantined(tmp_path / "monthly", day) == [("bronze", B, "day_missing", None)]
    assert silver(tmp_path / "monthly").height == 24 * (2 * len(FEBRUARY) - 1)
    server.requests.clear()
    ingest(server, tmp_path / "both", FEBRUARY, "monthly-then-daily")
    assert [path.rpartition("/")[2] for path in server.zips() if "/daily/" in path] == [f"{B}-1h-{day}.zip"]
    assert ledger(tmp_path / "both", day)[:2] == [
        (B, "daily", "ingested", None),
        (B, "monthly", "superseded", "day_missing"),
    ]
    assert silver(tmp_path / "both").height == 24 * 2 * len(FEBRUARY)
    for lake, files in (("monthly", "monthly"), ("both", "monthly-then-daily")):
        assert ingest(server, tmp_path / lake, FEBRUARY, files) == []
    # With the other setting the missing day is filled, and nothing else is fetched.
    server.requests.clear()
    assert ingest(server, tmp_path / "monthly", FEBRUARY, "monthly-then-daily") == [day]
    assert len(server.zips()) == 1
    assert values(tmp_path / "monthly").equals(values(tmp_path / "both"))


@pytest.mark.requirement("D16")
def test_sensors_and_the_reconciliation_see_the_files_that_the_setting_chooses(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    lake, store = tmp_path / "lake", LakeStore.open(str(tmp_path / "lake"))
    ingest(server, lake, DAYS)
    source = BinanceArchive(server.url, server.listing_url)

    def different(files: str) -> list[tuple[str, str, str]]:
        found = compare(UM, source, store, SymbolFilter(), START, END, files=ArchiveFiles(files))
        return [(one.period, one.symbol, one.problem) for one in found]

    assert different("monthly") == different("monthly-then-daily") == []
    assert different("daily") == [(day, symbol, "new") for day in DAYS if day < "2024-03" for symbol in (B, E)]
    edit(monthly_file(archive, B, "2024-02"), lambda lines: lines[:-1])
    assert different("monthly") == [(day, B, "replaced") for day in FEBRUARY]


def test_days_before_a_symbol_was_listed_are_no_fault(server: WatchedServer, archive: Path, tmp_path: Path) -> None:
    for files in ("monthly", "monthly-then-daily"):
        lake = tmp_path / files
        ingest(server, lake, ["2024-01-29", "2024-01-30"], files)
        assert {row[1:] for row in ledger(lake, "2024-01-29")} == {("monthly", "no_file", "not_in_month")}
        assert quarantined(lake, "2024-01-29") == []
        assert silver(lake).height == 48
        assert up_to_date(server, lake, ["2024-01-29", "2024-01-30"], files) == {"2024-01-29", "2024-01-30"}
    # A daily file of the day is published later.
    put(daily_file(archive, B, "2024-01-29"), text_of(daily_file(archive, B, "2024-01-30")))
    assert ingest(server, tmp_path / "monthly-then-daily", ["2024-01-29"], "monthly-then-daily") == ["2024-01-29"]
    assert (B, "daily", "ingested", None) in ledger(tmp_path / "monthly-then-daily", "2024-01-29")


@pytest.mark.requirement("D16", "F3.3")
def test_a_monthly_file_with_a_wrong_checksum_is_tried_again_or_replaced_by_daily_files(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    days = FEBRUARY[:3]
    path = monthly_file(archive, B, "2024-02")
    checksum = path.with_name(f"{path.name}.CHECKSUM").read_text()
    put(path, path.read_bytes(), checksum="0" * 64)
    ingest(server, tmp_path / "monthly", days)
    assert {ledger(tmp_path / "monthly", day)[0] for day in days} == {(B, "monthly", "failed", "checksum_mismatch")}
    assert silver(tmp_path / "monthly")["symbol"].unique().to_list() == [E]
    ingest(server, tmp_path / "both", days, "monthly-then-daily")
    assert {ledger(tmp_path / "both", day)[0] for day in days} == {(B, "daily", "ingested", None)}
    assert silver(tmp_path / "both").height == 24 * 2 * len(days)
    path.with_name(f"{path.name}.CHECKSUM").write_text(checksum)
    assert ingest(server, tmp_path / "monthly", days) == days
    assert values(tmp_path / "monthly").equals(values(tmp_path / "both"))
    assert ingest(server, tmp_path / "both", days, "monthly-then-daily") == []


@pytest.mark.requirement("D16", "F3.3", "D6")
def test_rows_of_another_month_and_broken_lines_go_to_the_quarantine_once(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    march = text_of(daily_file(archive, B, "2024-03-01")).splitlines(keepends=True)[-1]

    def spoilt(lines: list[str]) -> list[str]:
        first = 0 if lines[0][0].isdigit() else 1
        # After the first row of February 2: a row of March, and a line that is no row.
        return [*lines[: first + 25], march, "1,2,3\n", *lines[first + 25 :]]

    edit(monthly_file(archive, B, "2024-02"), spoilt)
    ingest(server, tmp_path / "range", FEBRUARY[:3])
    for day in reversed(FEBRUARY[:3]):
        ingest(server, tmp_path / "days", [day])
    for lake in (tmp_path / "range", tmp_path / "days"):
        first = 0 if text_of(monthly_file(archive, B, "2024-02"))[0].isdigit() else 1
        assert quarantined(lake, "2024-02-02") == [
            ("bronze", B, "column_count", first + 27),
            ("silver", B, "outside_partition", first + 26),
        ]
        assert quarantined(lake, "2024-02-01") == quarantined(lake, "2024-02-03") == []
        assert silver(lake).height == 24 * 2 * 3
    assert digests(tmp_path / "range") == digests(tmp_path / "days")


def test_a_file_of_another_month_is_refused_as_a_whole(server: WatchedServer, archive: Path, tmp_path: Path) -> None:
    put(monthly_file(archive, B, "2024-02"), text_of(monthly_file(archive, B, "2024-01")))
    ingest(server, tmp_path / "monthly", FEBRUARY[:1])
    assert quarantined(tmp_path / "monthly", FEBRUARY[0]) == [("bronze", B, "foreign_month", None)]
    ingest(server, tmp_path / "both", FEBRUARY[:1], "monthly-then-daily")
    assert silver(tmp_path / "both").height == 48


def test_a_bad_new_version_of_a_monthly_file_removes_no_rows(
    server: WatchedServer, archive: Path, tmp_path: Path
) -> None:
    lake, days = tmp_path / "lake", FEBRUARY[:2]
    ingest(server, lake, days)
    before = silver(lake)
    sound = monthly_file(archive, B, "2024-02").read_bytes()
    put(monthly_file(archive, B, "2024-02"), b"no zip")
    for files in ("monthly", "monthly"):
        ingest(server, lake, days, files)
        assert silver(lake).equals(before)
        assert quarantined(lake, days[0]) == [("bronze", B, "not_a_zip", None)]
    put(monthly_file(archive, B, "2024-02"), sound)
    ingest(server, lake, days)
    assert silver(lake).equals(before)
    # Where daily files may be used, they replace the rows.
    put(monthly_file(archive, B, "2024-02"), b"no zip")
    ingest(server, lake, days, "monthly-then-daily")
    assert silver(lake).filter(symbol=B)["source"].unique().to_list() == ["archive_daily"]
    assert values(lake).equals(before.drop("source"))


def test_rows_out_of_order_are_sorted_into_their_days(
    server: WatchedServer, archive: Path, lakes: dict[str, Path], tmp_path: Path
) -> None:
    def shuffled(lines: list[str]) -> list[str]:
        rows = [line for line in lines if line[0].isdigit()]
        return rows[1::2] + rows[::2]

    edit(monthly_file(archive, B, "2024-02"), shuffled)
    ingest(server, tmp_path / "lake", FEBRUARY)
    within = pl.col("open_time").dt.month() == 2
    assert silver(tmp_path / "lake").equals(silver(lakes["monthly"]).filter(within))


@pytest.mark.requirement("D16")
def test_every_market_and_kind_of_klines_has_the_values_of_daily_files(tmp_path: Path) -> None:
    tables = ["klines_1h", "mark_klines_1h", "index_klines_1h", "premium_klines_1h"]
    make_sample(tmp_path / "archive", 1, 34, date(2024, 12, 29), tables=tables, monthly=True)
    # Spot has microseconds from 2025 on.
    days = ["2024-12-29", "2024-12-31", "2025-01-01", "2025-01-17", "2025-01-31"]
    feeds = [feed for feed in FEEDS.values() if feed.table in tables]
    assert len(feeds) == 9
    with WatchedServer(tmp_path / "archive") as server:
        for feed in feeds:
            for files in ("daily", "monthly"):
                ingest(server, tmp_path / files, days, files, feed=feed)
    for table in tables:
        daily, monthly = (read(Lakehouse(tmp_path / files), f"silver.{table}") for files in ("daily", "monthly"))
        assert daily["market"].n_unique() == (3 if table == "klines_1h" else 2)
        assert monthly["source"].unique().to_list() == ["archive_monthly"]
        assert monthly.drop("source").equals(daily.drop("source"))
