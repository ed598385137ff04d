"""Rows one step outside the day of their file: each is stored in the day of its label, in any order of runs."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.partitions import BronzeIngest
from crypto_lakehouse.pipeline.silver import silver_partition, stale_successors
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.system.realdata import ARCHIVE, csv_rows, needs_real_archive
from crypto_lakehouse_tests.system.runs import digests, failures, read, run, settings

pytestmark = pytest.mark.requirement("D15")

UM = feed("binance", "um", "open_interest")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
FIVE = timedelta(minutes=5)
REAL = "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-01-02.zip"
SEAM = date(2026, 6, 25)
DAYS = [f"{SEAM + timedelta(days=n)}" for n in range(-2, 2)]


def put(archive: Path, of: Feed, symbol: str, day: str, rows: Sequence[str]) -> str:
    """Write an archive file of these lines with its CHECKSUM; return its key."""
    name = f"{symbol}-{of.archive_type}-{day}"
    key = f"data/{of.market.archive_path}/daily/{of.archive_type}/{symbol}/{name}.zip"
    header = ",".join(of.file_format.column_names).replace("file_symbol", "symbol")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr(f"{name}.csv", "\n".join([header, *rows]) + "\n")
    path = archive / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    path.with_name(f"{path.name}.CHECKSUM").write_text(
        f"{hashlib.sha256(packed.getvalue()).hexdigest()}  {path.name}\n"
    )
    return key


def labels(begin: datetime, count: int = 288) -> list[datetime]:
    return [begin + n * FIVE for n in range(count)]


def metrics(symbol: str, times: Sequence[datetime], value: float = 1.0) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M:%S},{symbol},{value},2.0,1.5,1.5,1.5,1.5" for time in times]


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """Files before and after the change of labels: labels of AUSDT are ends before it, those of BUSDT never are."""
    folder = tmp_path_factory.mktemp("archive")
    for number, day in enumerate(DAYS):
        late = FIVE if date.fromisoformat(day) < SEAM else timedelta(0)
        put(folder, UM, "AUSDT", day, metrics("AUSDT", labels(midnight(day) + late), number))
        put(folder, UM, "BUSDT", day, metrics("BUSDT", labels(midnight(day)), number))
    with ArchiveServer(folder) as running:
        yield running


def ingest(server: ArchiveServer, lake: Path, of: Feed, keys: Sequence[str], break_off: int = -1) -> None:
    """What a run does for a feed, in the same order, without Dagster; ended by ``break_off`` after so many writes."""
    store, source = LakeStore.open(str(lake)), BinanceArchive(server.url, server.listing_url)
    place = (of.exchange, of.market.name, of.table)
    bronze = BronzeIngest(of, source, store, RawStore(store, "binance", keep=True), SymbolFilter.parse(""), lambda: NOW)
    silver = (silver_partition(of, key, store, NOW) for key in keys)
    made = chain(
        (("bronze", part) for part in bronze.partitions(keys)),
        (("silver", part) for part in chain(silver, stale_successors(of, keys, store, NOW))),
    )
    for layer, part in (one for one in made if one[1].unchanged is None):
        if break_off == 0:
            return
        break_off -= 1
        write_partition(store, TableSlice(layer, *place).partition(part.key), part.rows, part.provenance)


def silver_of(lake: Path, of: Feed, day: str) -> pl.DataFrame:
    start = midnight(day)
    return read(
        Lakehouse(lake), f"silver.{of.table}", market=of.market.name, start=start, end=start + timedelta(days=1)
    )


@needs_real_archive
@pytest.mark.requirement("D8")
@pytest.mark.parametrize("last", ["2024-01-02", "2024-01-03"], ids=["one day", "a range"])
def test_every_row_of_the_real_file_is_in_silver(last: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / Path(REAL).parent
    shutil.copytree(ARCHIVE / Path(REAL).parent, folder)
    with ArchiveServer(tmp_path / "archive") as server:
        environment = settings(server, tmp_path / "lake", tables="open_interest")
        result = run(environment, "um", "2024-01-02" if last == "2024-01-02" else "2024-01-01", last)
    assert result.success, failures(result)
    lake = Lakehouse(tmp_path / "lake")
    rows = read(lake, "silver.open_interest", market="um", start="2024-01-02", end="2024-01-03")
    assert rows["label_time"].to_list() == labels(midnight("2024-01-02"))
    assert rows["open_interest"].to_list() == [float(fields[2]) for fields in csv_rows(REAL)]
    assert read(lake, "silver.open_interest", market="um").height == 288
    assert read(lake, "quarantine.rejected").is_empty()
    # The file cannot show which end its labels are: no row counts as known before the later reading.
    assert not rows["is_label_proven"].any()
    assert rows["known_time"].to_list() == [label + FIVE for label in rows["label_time"]]


@pytest.fixture(scope="module")
def wide(server: ArchiveServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that one run over all days has built."""
    lake = tmp_path_factory.mktemp("wide")
    ingest(server, lake, UM, DAYS)
    return lake


def test_every_day_between_two_files_has_288_rows_across_the_change(wide: Path) -> None:
    for day in DAYS:
        rows = silver_of(wide, UM, day)
        for symbol, its in rows.partition_by("symbol", as_dict=True).items():
            expected = labels(midnight(day))
            # Of the first day's files, the one that begins at 00:05 has no file before it.
            assert its["label_time"].to_list() == expected[int(symbol == ("AUSDT",) and day == DAYS[0]) :]
        ends = rows.filter(symbol="AUSDT")["is_label_proven"].to_list()
        assert set(ends) == {date.fromisoformat(day) < SEAM}
        assert not rows.filter(symbol="BUSDT")["is_label_proven"].any()


def test_no_row_is_available_before_its_period_has_ended(wide: Path) -> None:
    rows = pl.concat(silver_of(wide, UM, day) for day in DAYS)
    assert (rows["known_time"] >= rows["period_start"] + FIVE).all()
    assert (
        rows["known_time"] - rows["label_time"]
        == pl.select(pl.when(rows["is_label_proven"]).then(timedelta(0)).otherwise(FIVE)).to_series()
    ).all()
    # The registry says what the labels of the file's day are, also of a row that lies in the next day.
    said = {day: FIVE if date.fromisoformat(day) < SEAM else timedelta(0) for day in DAYS}
    for day in DAYS:
        shifts = silver_of(wide, UM, day).select(pl.col("label_time") - pl.col("period_start")).to_series().unique()
        assert shifts.to_list() == [said[day]]


def test_if_two_files_hold_one_label_the_file_of_that_date_wins(wide: Path) -> None:
    rows = silver_of(wide, UM, f"{SEAM}").filter(symbol="AUSDT")
    # Values are the numbers of the files' days.
    assert set(rows["open_interest"]) == {2.0}
    rejected = read(Lakehouse(wide), "quarantine.rejected")
    last = f"{SEAM - timedelta(days=1)}"
    assert rejected.select("period", "symbol", "reason", "source_line").rows() == [
        (f"{SEAM}", "AUSDT", "duplicate", 289)
    ]
    assert rejected["source_key"][0].endswith(f"AUSDT-metrics-{last}.zip")


@pytest.mark.requirement("D6", "T4")
@hypothesis_settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_order_of_ranges_with_interrupted_runs_writes_the_same_bytes(
    server: ArchiveServer, wide: Path, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(DAYS))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(DAYS) - 1))))
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder)
        for begin, end in zip([0, *cuts], [*cuts, len(DAYS)], strict=True):
            for _ in range(data.draw(st.integers(0, 1))):
                ingest(server, lake, UM, order[begin:end], data.draw(st.integers(0, 6)))
            ingest(server, lake, UM, order[begin:end])
        ingest(server, lake, UM, data.draw(st.lists(st.sampled_from(DAYS), max_size=2, unique=True)))
        assert digests(lake) == digests(wide)


@pytest.mark.requirement("D6")
@pytest.mark.parametrize("days", [DAYS, DAYS[::-1]], ids=["day by day", "in reverse order"])
def test_real_runs_of_single_days_write_the_same_bytes_as_one_range(
    days: list[str], server: ArchiveServer, wide: Path, tmp_path: Path
) -> None:
    environment = settings(server, tmp_path, tables="open_interest")
    for day in days:
        result = run(environment, "um", day, day)
        assert result.success, failures(result)
    assert digests(tmp_path) == digests(wide)
    rebuilt = {
        event.partition
        for event in result.all_events
        if event.is_step_materialization
        and event.asset_key == dg.AssetKey(["silver", "binance", "um", "open_interest"])
    }
    # The files of the 25th hold no row of another day; that of the 24th has one of the 25th.
    assert rebuilt == ({DAYS[-1]} if days == DAYS else {DAYS[0], DAYS[1]})


@pytest.mark.requirement("F4.2")
def test_a_replaced_file_removes_its_row_from_the_next_day(server: ArchiveServer, tmp_path: Path) -> None:
    shutil.copytree(server.directory, tmp_path / "archive")
    with ArchiveServer(tmp_path / "archive") as own:
        ingest(own, tmp_path / "lake", UM, DAYS)
        before = silver_of(tmp_path / "lake", UM, DAYS[1])
        put(tmp_path / "archive", UM, "AUSDT", DAYS[0], metrics("AUSDT", labels(midnight(DAYS[0])), 7.0))
        ingest(own, tmp_path / "lake", UM, DAYS[:1])
    after = silver_of(tmp_path / "lake", UM, DAYS[1])
    missing = before.join(after, on=["symbol", "label_time"], how="anti")
    assert missing.select("symbol", "label_time", "open_interest").rows() == [("AUSDT", midnight(DAYS[1]), 0.0)]
    assert silver_of(tmp_path / "lake", UM, DAYS[0]).filter(symbol="AUSDT").height == 288


def test_two_runs_at_once_lose_no_row(server: ArchiveServer, wide: Path, tmp_path: Path) -> None:
    store, place = LakeStore.open(str(tmp_path)), (UM.exchange, UM.market.name, UM.table)
    # The run of the second day plans its silver, and is not done when that of the first day runs from start to end.
    ingest(server, tmp_path, UM, DAYS[1:2], break_off=1)
    slow = silver_partition(UM, DAYS[1], store, NOW)
    ingest(server, tmp_path, UM, DAYS[:1])
    write_partition(store, TableSlice("silver", *place).partition(slow.key), slow.rows, slow.provenance)
    for part in stale_successors(UM, DAYS[1:2], store, NOW):
        write_partition(store, TableSlice("silver", *place).partition(part.key), part.rows, part.provenance)
    assert digests(tmp_path).items() <= digests(wide).items()


@pytest.mark.requirement("D6", "T5")
def test_days_in_reverse_order_on_s3_equal_a_local_range(
    server: ArchiveServer, wide: Path, s3_lake: tuple[str, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, endpoint, env = s3_lake
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    uri = f"{base}/midnight"
    environment = settings(server, uri, tables="open_interest", s3_endpoint_url=endpoint)
    for day in reversed(DAYS):
        result = run(environment, "um", day, day)
        assert result.success, failures(result)
    store = LakeStore.open(uri, endpoint)
    for path in digests(wide):
        assert store.read_bytes(path) == (wide / path).read_bytes(), path
