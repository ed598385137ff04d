"""Reads of a lake as it was: versions of replaced partitions, snapshots, differences and purged versions."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_lakehouse import DamagedFile, Lakehouse
from crypto_lakehouse.lake.storage.as_of import AsOfStore, ChangedSnapshot, NoVersion, PurgedVersion
from crypto_lakehouse.lake.storage.compaction import compact_month
from crypto_lakehouse.lake.storage.partitions import read_partition, write_partition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.revisions import keep, kept_versions, purge
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.unit.lake_rows import klines

pytestmark = pytest.mark.requirement("F6.19")

UM = TableSlice("silver", "binance", "um", "klines_1m")
DAY = date(2024, 1, 1)
TABLE = "silver.klines_1m"


def rows(version: int, day: date = DAY) -> pl.DataFrame:
    return klines(["BTCUSDT", "ETHUSDT"], day, 5).with_columns(close=pl.lit(100.0 + version), high=pl.lit(200.0))


def write(store: LakeStore, version: int, day: date = DAY, fingerprint: str = "") -> datetime:
    """Store a version of a day, and return a time at which the lake holds it."""
    write_partition(store, UM.partition(f"{day}"), rows(version, day), Provenance(fingerprint or f"of {version}"))
    time.sleep(0.01)
    now = datetime.now(UTC)
    time.sleep(0.01)
    return now


def closes(lake: Lakehouse, **asked: object) -> list[float]:
    read = lake.read(TABLE, market="um", format="polars", **asked)  # type: ignore[arg-type]
    return read["close"].unique().to_list()


@pytest.fixture
def times(store: LakeStore) -> list[datetime]:
    """A lake that held three versions of a day, and a time of each."""
    return [write(store, version) for version in (1, 2, 3)]


def test_three_versions_give_three_reads_at_three_times(store: LakeStore, times: list[datetime]) -> None:
    lake = Lakehouse(store.uri)
    query = f"SELECT DISTINCT close FROM {TABLE}"
    for version, moment in enumerate(times, start=1):
        expected = [100.0 + version]
        assert closes(lake, as_of=moment) == expected
        assert closes(lake.at(moment)) == expected
        assert closes(Lakehouse(store.uri, as_of=moment.isoformat())) == expected
        assert lake.sql(query, as_of=moment)["close"].to_list() == expected
        # What mentions COPY is answered without access to files.
        assert lake.sql(f"{query} --copy", as_of=moment)["close"].to_list() == expected
        with lake.duckdb(as_of=moment) as connection:
            assert connection.sql(query).fetchall() == [(expected[0],)]
        assert lake.scan(TABLE, as_of=moment).select("close").unique().collect()["close"].to_list() == expected
        (day,) = lake.iter_days(TABLE, market="um", format="polars", as_of=moment)
        assert day[1]["close"].unique().to_list() == expected
        batches = lake.record_batches(TABLE, market="um", as_of=moment).read_all()
        assert batches["close"].unique().to_pylist() == expected
        assert lake.klines("BTCUSDT", market="um", interval="1m", as_of=moment)["close"].unique().tolist() == expected
        assert lake.symbols("um", table=TABLE, as_of=moment) == ["BTCUSDT", "ETHUSDT"]
        assert lake.coverage("BTCUSDT", as_of=moment)["rows"].to_list() == [5]
    assert closes(lake) == [103.0]
    assert lake.sql(query)["close"].to_list() == [103.0]
    assert lake.at(times[0]).at(times[1]).read(TABLE, format="polars")["close"].unique().to_list() == [102.0]


def test_a_time_before_the_first_version_is_an_error_that_names_it(store: LakeStore) -> None:
    before = datetime.now(UTC) - timedelta(hours=1)
    write(store, 1)
    lake = Lakehouse(store.uri, as_of=before)
    for read in (
        lambda: lake.read(TABLE),
        lambda: lake.scan(TABLE),
        lambda: lake.sql(f"FROM {TABLE}"),
        lambda: lake.tables(),
        lambda: lake.bars("BTCUSDT", "1h", market="um"),
        lambda: lake.universe("um", on="2024-01-01"),
        lambda: lake.symbols("um"),
        lambda: lake.coverage("BTCUSDT"),
        lambda: lake.latest(),
    ):
        with pytest.raises(NoVersion, match=rf"first version is of {datetime.now(UTC):%Y-%m-%d}"):
            read()
    with pytest.raises(ValueError, match=r"as_of .* is in the future"):
        lake.at(datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(ValueError, match="as_of 'yesterday' is not"):
        lake.at("yesterday")


def test_a_table_that_was_stored_later_is_an_error_and_not_empty(store: LakeStore) -> None:
    moment = write(store, 1)
    write_partition(store, TableSlice("gold", "binance", "um", "bars_1h").partition("2024-01-01"), _bars())
    lake = Lakehouse(store.uri, as_of=moment)
    with pytest.raises(NoVersion, match=r"gold\.bars_1h in .* has no version of .*: its first version is of"):
        lake.read("gold.bars_1h", market="um")
    with pytest.raises(NoVersion, match=r"gold\.bars_1h"):
        lake.sql("FROM gold.bars_1h")
    assert lake.tables()["table"].to_list() == ["klines_1m"]
    assert lake.latest()["table"].to_list() == ["klines_1m"]


def _bars() -> pl.DataFrame:
    from crypto_lakehouse_tests.unit.small_lake import day_of_bars

    return day_of_bars(DAY, ["BTCUSDT"])


def test_the_same_rows_keep_nothing_and_are_known_from_the_first_time_on(store: LakeStore) -> None:
    first = write(store, 1)
    for fingerprint in ("of 1", "of another version of the code"):
        second = write(store, 1, fingerprint=fingerprint)
    assert closes(Lakehouse(store.uri), as_of=first) == closes(Lakehouse(store.uri), as_of=second) == [101.0]
    (mark,) = (file for file in Path(store.root, "_revisions").rglob("*") if file.is_file())
    assert mark.stat().st_size == 0
    third = write(store, 2)
    assert [closes(Lakehouse(store.uri), as_of=at) for at in (first, second, third)] == [[101.0], [101.0], [102.0]]
    write(store, 2)
    assert closes(Lakehouse(store.uri), as_of=third) == [102.0]
    assert len(kept_versions(store, UM.folder)[UM.partition(f"{DAY}").path]) == 2


def test_a_first_publication_leaves_nothing_beside_it(store: LakeStore) -> None:
    write(store, 1)
    assert not Path(store.root, "_revisions").exists()


def test_a_partition_that_was_added_later_is_not_there_before(store: LakeStore) -> None:
    first = write(store, 1)
    write(store, 1, date(2024, 1, 2))
    assert Lakehouse(store.uri, as_of=first).read(TABLE, format="polars").height == 10
    assert Lakehouse(store.uri).read(TABLE, format="polars").height == 20


def test_month_files_are_used_only_for_the_days_that_they_were_written_of(store: LakeStore) -> None:
    days = [date(2024, 1, number) for number in range(1, 7)]
    for day in days:
        moment = write(store, 1, day)
    past = (datetime.now(UTC) - timedelta(minutes=1)).timestamp()
    for file in Path(store.root).rglob("part-0.parquet"):
        os.utime(file, (past, past))
    compact_month(store, UM, "2024-01")
    lake, asked = Lakehouse(store.uri), {"symbols": "BTCUSDT", "start": "2024-01-01", "end": "2024-01-07"}
    assert closes(lake, as_of=moment, **asked) == [101.0]
    write(store, 2, days[2])
    assert sorted(closes(lake, as_of=moment, **asked)) == [101.0]
    assert sorted(closes(lake, **asked)) == [101.0, 102.0]
    compact_month(store, UM, "2024-01")
    assert sorted(closes(lake, as_of=moment, **asked)) == [101.0]
    sql = f"SELECT DISTINCT close FROM {TABLE} WHERE symbol = 'BTCUSDT' ORDER BY close"
    assert lake.sql(sql, as_of=moment)["close"].to_list() == [101.0]
    assert lake.sql(sql)["close"].to_list() == [101.0, 102.0]


def test_a_snapshot_reads_the_same_rows_later(store: LakeStore) -> None:
    write(store, 1)
    lake = Lakehouse(store.uri)
    before = {path.relative_to(store.root) for path in Path(store.root).rglob("*")}
    snapshot = lake.snapshot()
    assert {path.relative_to(store.root) for path in Path(store.root).rglob("*")} == before
    write(store, 2)
    write(store, 1, date(2024, 1, 2))
    assert closes(lake, as_of=snapshot) == [101.0]
    assert lake.at(snapshot).snapshot() == snapshot
    assert lake.sql(f"SELECT count(*) AS n FROM {TABLE}", as_of=snapshot)["n"].to_list() == [10]
    assert lake.snapshot() != snapshot
    shutil.rmtree(Path(store.root, "_revisions"))
    with pytest.raises(ChangedSnapshot, match=snapshot):
        lake.read(TABLE, as_of=snapshot)


def test_a_purged_version_is_named_and_other_rows_are_not_returned(store: LakeStore, times: list[datetime]) -> None:
    lake, path = Lakehouse(store.uri), UM.partition(f"{DAY}").path
    snapshot = lake.at(times[0]).snapshot()
    purge(store, kept_versions(store, UM.folder)[path][0])
    for asked in (times[0], snapshot):
        with pytest.raises(PurgedVersion, match=r"were purged: 2024-01-01 \(held from .* until .*\)"):
            lake.read(TABLE, as_of=asked)
        with pytest.raises(PurgedVersion):
            lake.sql(f"FROM {TABLE}", as_of=asked)
        with pytest.raises(PurgedVersion):
            lake.scan(TABLE, as_of=asked)
    assert closes(lake, as_of=times[1]) == [102.0]
    assert closes(lake) == [103.0]
    with pytest.raises(PurgedVersion):
        lake.diff(times[0], table=TABLE)


def test_diff_lists_the_partitions_whose_rows_differ(store: LakeStore) -> None:
    first = write(store, 1)
    write(store, 1, date(2024, 1, 3))
    second = write(store, 1, date(2024, 1, 2))
    frame = rows(2).filter(pl.col("symbol") == "BTCUSDT")
    write_partition(store, UM.partition(f"{DAY}"), frame, Provenance("of 2"))
    write(store, 1, date(2024, 1, 3), fingerprint="again")
    lake = Lakehouse(store.uri)
    changed = lake.diff(second, table=TABLE)
    assert changed.select("partition", "added", "removed", "changed").rows() == [("2024-01-01", 0, 5, 5)]
    assert changed["largest_price_move"].to_list() == pytest.approx([1 / 101])
    assert changed["from"][0] < first < changed["to"][0]
    assert lake.diff(first, second)["partition"].to_list() == ["2024-01-02", "2024-01-03"]
    assert lake.diff(first, second, market="spot").is_empty()
    assert lake.diff(second, lake.snapshot(), market="um").equals(changed)


def test_a_read_that_saw_a_later_version_is_repeated(store: LakeStore) -> None:
    moment = write(store, 1)
    earlier = AsOfStore.at(store, moment)
    files = earlier.list(UM.folder)
    write(store, 2)
    assert earlier.has_changed([file.path for file in files])
    assert read_partition(earlier, UM.partition(f"{DAY}")).equals(rows(1))


def test_every_method_that_reads_takes_a_time() -> None:
    methods = [name for name, _ in inspect.getmembers(Lakehouse, inspect.isfunction) if not name.startswith("_")]
    without = {name for name in methods if "as_of" not in inspect.signature(getattr(Lakehouse, name)).parameters}
    # These are about two times, about now, or about no rows.
    assert without == {"describe", "diff", "snapshot"}


def test_a_damaged_version_is_named_and_no_command_is_recommended_for_it(
    store: LakeStore, times: list[datetime]
) -> None:
    (version, *_) = kept_versions(store, UM.folder)[UM.partition(f"{DAY}").path]
    Path(store.path(version.object_path)).write_bytes(b"PAR1 no more")
    with pytest.raises(DamagedFile, match=rf"{version.object_path} is damaged.* set as_of to another time"):
        Lakehouse(store.uri).read(TABLE, as_of=times[0])
    assert closes(Lakehouse(store.uri), as_of=times[1]) == [102.0]


def test_a_damaged_file_is_replaced_and_not_kept_as_rows(store: LakeStore) -> None:
    moment = write(store, 1)
    Path(store.path(UM.partition(f"{DAY}").path)).write_bytes(b"PAR1 no more")
    write(store, 1)
    assert not list(Path(store.root, "_revisions").rglob("*.parquet"))
    assert closes(Lakehouse(store.uri)) == [101.0]
    with pytest.raises(NoVersion):
        Lakehouse(store.uri).read(TABLE, as_of=moment)


@hypothesis_settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 3)),
            # A run that is killed before it publishes.
            st.tuples(st.just("keep"), st.integers(1, 3)),
            st.tuples(st.just("purge"), st.just(0)),
        ),
        max_size=8,
    )
)
def test_any_sequence_of_replacements_is_read_as_it_was(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, drafts = LakeStore.open(f"{folder}/lake"), LakeStore.open(f"{folder}/drafts")
        partition, lake = UM.partition(f"{DAY}"), Lakehouse(f"{folder}/lake")
        held: list[tuple[datetime, str, int]] = []
        purged_until = datetime.min.replace(tzinfo=UTC)
        version = 1
        write_partition(store, partition, rows(1))
        for action, number in steps:
            if action == "write":
                write_partition(store, partition, rows(number))
                version = number
            elif action == "keep":
                keep(store, partition, Path(write_partition(drafts, partition, rows(number)).uri))
            else:
                for each in kept_versions(store, UM.folder).get(partition.path, []):
                    if each.has_rows and each.known_to is not None:
                        purge(store, each)
                        purged_until = each.known_to
            held.append((datetime.now(UTC), lake.snapshot(), version))
        for moment, snapshot, expected in held:
            for asked in (moment, snapshot):
                if moment < purged_until:
                    with pytest.raises(PurgedVersion):
                        closes(lake, as_of=asked)
                else:
                    assert closes(lake, as_of=asked) == [100.0 + expected]
        assert closes(lake) == [100.0 + version]
