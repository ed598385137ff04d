"""The IO manager with small assets on a real lake: what it stores, refuses and loads."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition
from crypto_lakehouse.orchestration import io_manager
from crypto_lakehouse.orchestration.io_manager import (
    LakeParquetIOManager,
    NewPartition,
    PartitionStream,
    _watched,
    require_partitions,
)
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.commands import parsed, recommended
from crypto_lakehouse_tests.orchestration.conftest import DAYS, Platform, failure_text

WHERE = TableSlice("silver", "binance", "um", "klines_1m")
KEY = dg.AssetKey(["silver", "binance", "um", "klines_1m"])
DAILY = dg.DailyPartitionsDefinition("2024-12-30")


def _rows(platform: Platform, day: str) -> pl.DataFrame:
    return read_partition(platform.store, WHERE.partition(day))


def _store(lake: Path, value: Any, first: str, last: str) -> dg.ExecuteInProcessResult:
    @dg.asset(
        key=KEY,
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=dg.RetryPolicy(max_retries=3),
    )
    def klines() -> Any:
        return value

    return _materialize(lake, klines, first, last)


def _materialize(
    lake: Path, asset: dg.AssetsDefinition, first: str, last: str, instance: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset],
        instance=instance,
        resources={"io_manager": LakeParquetIOManager(lake=LakeResource(uri=str(lake)))},
        tags={RANGE_START_TAG: first, RANGE_END_TAG: last},
        raise_on_error=False,
    )


@pytest.mark.requirement("T3")
def test_a_mapping_is_stored_with_metadata_of_each_partition(filled: Platform, tmp_path: Path) -> None:
    frames = {day: _rows(filled, day) for day in DAYS[:2]}
    result = _store(tmp_path / "new", frames, *DAYS[:2])
    assert result.success
    found = {str(e.partition): e.materialization.metadata for e in result.get_asset_materialization_events()}
    assert set(found) == set(DAYS[:2])
    filled.lake = tmp_path / "new"
    for day, metadata in found.items():
        assert _rows(filled, day).equals(frames[day])
        assert metadata["dagster/partition_row_count"].value == frames[day].height
        assert metadata["bytes"].value == list_keys(filled.store, WHERE)[day][0]
        assert metadata["symbols"].value == 2
        assert metadata["min_time"].value == f"{day}T00:00:00+00:00"
        assert metadata["max_time"].value == f"{day}T23:59:00+00:00"
        assert Path(str(metadata["uri"].value)).exists()


@pytest.mark.requirement("T3")
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda rows: pl.concat([rows, rows.tail(1)]), "occurs more than once"),
        (lambda rows: rows.drop("close"), "missing ['close']"),
        (lambda rows: rows.with_columns(close=pl.lit(None, pl.Float64)), "close"),
    ],
)
def test_a_partition_that_does_not_fit_is_named_and_the_others_are_stored_and_recorded(
    filled: Platform, tmp_path: Path, spoil: Callable[[pl.DataFrame], pl.DataFrame], reason: str
) -> None:
    frames = {day: _rows(filled, day) for day in DAYS}
    frames[DAYS[1]] = spoil(frames[DAYS[1]])

    @dg.asset(key=KEY, partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def klines() -> Any:
        return frames

    result = _materialize(tmp_path / "new", klines, DAYS[0], DAYS[-1], filled.instance)
    assert not result.success
    text = failure_text(result)
    assert (
        f"1 of 3 partitions of {KEY.to_user_string()} do not fit the table and were not published: {DAYS[1]}." in text
    )
    assert reason in text
    filled.lake = tmp_path / "new"
    assert set(list_keys(filled.store, WHERE)) == {DAYS[0], DAYS[2]}
    assert filled.instance.get_materialized_partitions(KEY) == {DAYS[0], DAYS[2]}
    records = filled.instance.fetch_materializations(KEY, limit=10).records
    assert {record.partition_key for record in records} == {DAYS[0], DAYS[2]}
    metadata = records[0].asset_materialization.metadata
    assert metadata["dagster/partition_row_count"].value == 2880


@pytest.mark.requirement("T3")
def test_rows_after_an_invalid_partition_are_not_stored_if_they_rely_on_it(filled: Platform, tmp_path: Path) -> None:
    rows = {day: _rows(filled, day) for day in DAYS}
    rows[DAYS[0]] = pl.concat([rows[DAYS[0]], rows[DAYS[0]]])
    result = _store(
        tmp_path / "new", PartitionStream(NewPartition(day, frame) for day, frame in rows.items()), *DAYS[::2]
    )
    assert not result.success
    assert "occurs more than once" in failure_text(result)
    filled.lake = tmp_path / "new"
    assert not list_keys(filled.store, WHERE)


@pytest.mark.requirement("T3")
def test_one_frame_is_stored_where_the_run_is_for_one_partition(filled: Platform, tmp_path: Path) -> None:
    rows = _rows(filled, DAYS[0])
    assert _store(tmp_path / "new", rows, DAYS[0], DAYS[0]).success
    refused = _store(tmp_path / "other", rows, DAYS[0], DAYS[1])
    assert not refused.success
    assert "cannot store a DataFrame for 2 partitions" in failure_text(refused)
    assert not list((tmp_path / "other").rglob("*.parquet"))


@pytest.mark.requirement("F5.8")
def test_a_long_step_shows_how_far_it_is(filled: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_manager, "_SECONDS_BETWEEN_NOTES", -1.0)
    seen: list[list[tuple[str | None, str | None]]] = []

    def rows() -> Iterator[NewPartition]:
        for day in DAYS:
            found = filled.instance.fetch_observations(KEY, limit=10, ascending=True).records
            events = [record.asset_observation for record in found]
            seen.append([(event.partition, event.description) for event in events if event])
            yield NewPartition(day, _rows(filled, day))

    @dg.asset(key=KEY, partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def klines() -> PartitionStream:
        return PartitionStream(rows())

    result = _materialize(tmp_path / "new", klines, DAYS[0], DAYS[-1], filled.instance)
    assert result.success
    rest = "partitions are stored; they are recorded when the step ends"
    first, second = (DAYS[0], f"1 of 3 {rest}"), (DAYS[1], f"2 of 3 {rest}")
    # The last partition ends the step, and needs no word on how far it is.
    assert seen == [[], [first], [first, second]]
    assert len(filled.instance.fetch_observations(KEY, limit=10).records) == 2


@pytest.mark.requirement("T3")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([DAYS[0], "2025-01-05"], "returned partition 2025-01-05, which is not in this run"),
        ([DAYS[0], DAYS[0], DAYS[1]], f"returned partition {DAYS[0]}, which is not in this run or was returned before"),
        ([DAYS[0]], f"did not return 1 partitions of this run, first {DAYS[1]}"),
    ],
)
def test_foreign_repeated_and_missing_keys_are_refused(
    filled: Platform, tmp_path: Path, given: list[str], text: str
) -> None:
    stream = PartitionStream([NewPartition(day, _rows(filled, DAYS[0])) for day in given])
    result = _store(tmp_path / "new", stream, DAYS[0], DAYS[1])
    assert not result.success
    assert text in failure_text(result)
    assert not [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    filled.lake = tmp_path / "new"
    assert "2025-01-05" not in list_keys(filled.store, WHERE)


def _reader(seen: list[pl.LazyFrame]) -> dg.AssetsDefinition:
    @dg.asset(
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=dg.RetryPolicy(max_retries=3),
        ins={"klines": dg.AssetIn(key=KEY)},
        io_manager_key="nothing",
    )
    def reader(klines: pl.LazyFrame) -> None:
        seen.append(klines)

    return reader


def _read(lake: Path, first: str, last: str) -> tuple[dg.ExecuteInProcessResult, list[pl.LazyFrame]]:
    seen: list[pl.LazyFrame] = []
    upstream = dg.AssetSpec(KEY, partitions_def=DAILY).with_io_manager_key("lake")
    manager = LakeParquetIOManager(lake=LakeResource(uri=str(lake)))
    result = dg.materialize(
        [upstream, _reader(seen)],
        resources={"lake": manager, "nothing": dg.mem_io_manager},
        tags={RANGE_START_TAG: first, RANGE_END_TAG: last},
        raise_on_error=False,
    )
    return result, seen


@pytest.mark.requirement("T3")
@pytest.mark.parametrize("last", DAYS)
def test_any_range_is_loaded_lazily_also_of_one(filled: Platform, last: str) -> None:
    result, seen = _read(filled.lake, DAYS[0], last)
    assert result.success
    wanted = DAYS[: DAYS.index(last) + 1]
    assert isinstance(seen[0], pl.LazyFrame)
    rows = seen[0].collect()
    assert rows.drop("date").equals(pl.concat([_rows(filled, day) for day in wanted]))
    assert sorted(rows["date"].unique()) == list(wanted)


@pytest.mark.requirement("T3", "F5.2")
def test_a_missing_upstream_partition_fails_at_once_and_says_what_to_do(filled: Platform) -> None:
    result, seen = _read(filled.lake, DAYS[-1], "2025-01-08")
    assert not result.success
    assert not seen
    text = failure_text(result)
    assert "silver/binance/um/klines_1m has no partition for 7 keys: 2025-01-02, 2025-01-03" in text
    assert "crypto-lakehouse backfill --market um --table klines_1m --from 2025-01-02 --to 2025-01-08" in text
    assert not [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]


@pytest.mark.requirement("T3")
@pytest.mark.parametrize(
    ("layer", "table", "partition", "message"),
    [
        ("silver", "klines_1m", "2999-01-01", "has no partition for 2999-01-01: its days are not over"),
        ("gold", "bars_1h", "2999-01-01", "has no partition for 2999-01-01: its days are not over"),
        ("silver", "funding_rates", "2999-01", "has no partition for 2999-01: its days are not over"),
        ("silver", "klines_1m", "2024-01-01", "Build them first"),
    ],
)
def test_a_partition_that_is_not_there_is_not_loaded_as_empty(
    filled: Platform, layer: str, table: str, partition: str, message: str
) -> None:
    defs = filled.defs(tables="klines_1m,funding_rates")
    key = dg.AssetKey([layer, "binance", "um", table])
    with pytest.raises(dg.Failure, match=message):
        defs.load_asset_value(key, partition_key=partition)


@pytest.mark.requirement("P3")
def test_a_preview_counts_the_rows_of_each_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [pl.DataFrame({"symbol": ["BTCUSDT"]}) for _ in range(200)]
    counted = []
    monkeypatch.setattr(pl.DataFrame, "height", property(lambda frame: counted.append(frame) or 1))
    shown: list[pl.DataFrame] = []
    assert list(_watched(frames, shown, symbols_shown=5)) == frames
    assert len(shown) == len(frames)
    assert len(counted) <= len(frames)


@pytest.mark.requirement("F5.2", "F7.3")
@pytest.mark.parametrize(
    ("table", "missing", "days"),
    [
        ("klines_1m", ["2024-01-30", "2024-01-31"], (date(2024, 1, 30), date(2024, 1, 31))),
        ("funding_rates", ["2024-01", "2024-02"], (date(2024, 1, 1), date(2024, 2, 29))),
    ],
)
def test_the_command_that_builds_missing_partitions_is_one_of_the_command_line(
    filled: Platform, table: str, missing: list[str], days: tuple[date, date]
) -> None:
    key = dg.AssetKey(["silver", "binance", "um", table])
    with pytest.raises(dg.Failure) as failure:
        require_partitions(filled.store, key, missing)
    (command,) = recommended(str(failure.value.description))
    arguments = parsed(command)
    assert (arguments["table"], arguments["first"], arguments["last"]) == (table, *days)
