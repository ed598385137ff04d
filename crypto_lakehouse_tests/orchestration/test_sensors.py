"""The feed sensor against a served archive: what it asks for, and what it leaves alone.

Requests are executed for real between the ticks, with the tags that the daemon would give their runs.
"""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.store import LakeError
from crypto_lakehouse.orchestration.partitions import RANGE_END_TAG, RANGE_START_TAG
from crypto_lakehouse.orchestration.processes import PROCESS_TAG
from crypto_lakehouse.orchestration.sensors import FEED_TAG, month_ranges
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.orchestration.conftest import DAYS, START, Platform
from crypto_lakehouse_tests.orchestration.test_processes import of_a_dead_process

pytestmark = pytest.mark.slow

SENSOR = "binance_um_klines_1m_sensor"
JOB = "update_binance_um_daily"
UM_1M = feed("binance", "um", "klines_1m")
NOWHERE = {"archive_url": "http://127.0.0.1:1", "archive_listing_url": "http://127.0.0.1:1/listing"}

Span = tuple[str, str]


def _tick(platform: Platform, **settings: str) -> tuple[list[dg.RunRequest], str]:
    """Requests of a tick, and why it skipped."""
    defs = platform.defs(**settings)
    repository = defs.get_repository_def()
    resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}
    with dg.build_sensor_context(instance=platform.instance, repository_def=repository, resources=resources) as context:
        data = repository.get_sensor_def(SENSOR).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def _spans(requests: list[dg.RunRequest]) -> list[Span]:
    return [(r.tags[RANGE_START_TAG], r.tags[RANGE_END_TAG]) for r in requests]


def _execute(platform: Platform, requests: list[dg.RunRequest], **settings: str) -> list[bool]:
    job = platform.defs(**settings).resolve_job_def(JOB)
    return [
        job.execute_in_process(
            instance=platform.instance,
            tags=dict(request.tags),
            asset_selection=list(request.asset_selection or []),
            raise_on_error=False,
        ).success
        for request in requests
    ]


def _caught_up(platform: Platform) -> None:
    requests, _ = _tick(platform)
    assert all(_execute(platform, requests))


@pytest.mark.requirement("F5.3")
def test_each_calendar_month_is_one_request_of_all_layers(empty: Platform) -> None:
    requests, _ = _tick(empty)
    assert _spans(requests) == [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])]
    assert {r.tags[FEED_TAG] for r in requests} == {UM_1M.name}
    gold = {("gold", table) for table in ("continuous_1m", "gaps", "symbol_states", "bars_1h", "bars_1d")}
    wanted = {("bronze", "klines_1m"), ("silver", "klines_1m")} | gold
    for request in requests:
        assert {(k.path[0], k.path[3]) for k in request.asset_selection or []} == wanted
    assert _execute(empty, requests) == [True, True]
    key = dg.AssetKey(["gold", "binance", "um", "bars_1d"])
    assert empty.instance.get_materialized_partitions(key) == set(DAYS)


@pytest.mark.requirement("F5.3")
def test_a_new_date_is_asked_for_exactly_and_once(empty: Platform) -> None:
    _caught_up(empty)
    make_sample(empty.archive, symbols=2, days=4, start=START)
    requests, _ = _tick(empty)
    assert _spans(requests) == [("2025-01-02", "2025-01-02")]
    assert _execute(empty, requests) == [True]
    assert _tick(empty) == ([], _tick(empty)[1])
    assert "nothing new from" in _tick(empty)[1]


@pytest.mark.requirement("F5.3")
@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_a_date_in_flight_is_not_asked_for_again(empty: Platform, status: dg.DagsterRunStatus) -> None:
    requests, _ = _tick(empty)
    job = empty.defs().resolve_job_def(JOB)
    # The daemon records the run of the first request; its second is still to be launched.
    run = empty.instance.create_run_for_job(job, tags=dict(requests[0].tags), status=status)
    assert _spans(_tick(empty)[0]) == [(DAYS[2], DAYS[2])]
    empty.instance.report_run_canceled(run)
    again, _ = _tick(empty)
    assert _spans(again) == _spans(requests)
    # A run key that was used already would be dropped by the daemon.
    assert again[0].run_key != requests[0].run_key


@pytest.mark.requirement("F5.3")
def test_a_date_whose_process_was_killed_is_asked_for_again(empty: Platform) -> None:
    requests, _ = _tick(empty)
    job = empty.defs().resolve_job_def(JOB)
    tags = {**requests[0].tags, PROCESS_TAG: of_a_dead_process()}
    run = empty.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert _spans(_tick(empty)[0]) == _spans(requests)
    assert empty.instance.get_run_record_by_id(run.run_id).dagster_run.status is dg.DagsterRunStatus.FAILURE


@pytest.mark.requirement("F5.3")
def test_two_ticks_before_a_run_is_recorded_give_the_same_run_key(empty: Platform) -> None:
    assert [r.run_key for r in _tick(empty)[0]] == [r.run_key for r in _tick(empty)[0]]


@pytest.mark.requirement("F5.3")
def test_a_replaced_file_leads_to_its_date_again(empty: Platform, replace_file: Callable[[Path, str], None]) -> None:
    _caught_up(empty)
    replace_file(empty.archive, f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[1]}.zip")
    requests, _ = _tick(empty)
    assert _spans(requests) == [(DAYS[1], DAYS[1])]
    assert _execute(empty, requests) == [True]
    assert _tick(empty)[0] == []


def _make(platform: Platform, day: str, layer: str) -> None:
    """Make one layer of a day, as a run that was killed after it leaves the lake; by hand, not by the sensor."""
    job = platform.defs().resolve_job_def(JOB)
    tags = {RANGE_START_TAG: day, RANGE_END_TAG: day}
    key = dg.AssetKey([layer, "binance", "um", "klines_1m"])
    assert job.execute_in_process(instance=platform.instance, tags=tags, asset_selection=[key]).success


@pytest.mark.requirement("F5.3")
def test_a_date_whose_run_ended_after_bronze_is_asked_for_exactly(empty: Platform) -> None:
    _caught_up(empty)
    make_sample(empty.archive, symbols=2, days=4, start=START)
    _make(empty, "2025-01-02", "bronze")
    requests, _ = _tick(empty)
    assert _spans(requests) == [("2025-01-02", "2025-01-02")]
    # What fails after bronze is given up after as many attempts as any other failure.
    shutil.rmtree(empty.lake / "bronze/klines_1m/exchange=binance/market=um/date=2025-01-02")
    assert _execute(empty, requests, retries="1", **NOWHERE) == [False]
    assert "given up: 2025-01-02" in _tick(empty, sensor_attempts="1")[1]
    assert _execute(empty, _tick(empty)[0]) == [True]
    assert _tick(empty)[0] == []


@pytest.mark.requirement("F5.3")
def test_a_half_made_date_without_files_is_asked_for_like_any_other(empty: Platform) -> None:
    for path in empty.archive.glob(f"data/futures/um/daily/klines/*/1m/*-{DAYS[1]}.zip*"):
        path.unlink()
    _make(empty, DAYS[1], "bronze")
    requests, _ = _tick(empty)
    assert _spans(requests) == [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])]
    assert _execute(empty, requests) == [True, True]
    # Attempts are counted since the newest file appeared, also where there is none.
    shutil.rmtree(empty.lake / f"silver/klines_1m/exchange=binance/market=um/date={DAYS[1]}")
    assert _spans(_tick(empty)[0]) == [(DAYS[1], DAYS[1])]
    assert f"given up: {DAYS[1]}" in _tick(empty, sensor_attempts="1")[1]


@pytest.mark.requirement("F5.3")
def test_a_layer_that_is_older_than_the_one_before_is_made_again(
    empty: Platform, replace_file: Callable[[Path, str], None]
) -> None:
    _caught_up(empty)
    replace_file(empty.archive, f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[1]}.zip")
    for layer in ("bronze", "silver"):
        _make(empty, DAYS[1], layer)
        requests, _ = _tick(empty)
        assert _spans(requests) == [(DAYS[1], DAYS[1])]
    assert _execute(empty, requests) == [True]
    assert _tick(empty)[0] == []


@pytest.mark.requirement("F5.3", "F4.2")
def test_days_are_made_again_when_their_funding_rates_have_come(empty: Platform) -> None:
    tables = {"tables": "klines_1m,funding_rates"}
    assert all(_execute(empty, _tick(empty, **tables)[0], **tables))
    assert _tick(empty, **tables)[0] == []
    assert empty.run("update_binance_um_monthly", "2024-12", "2024-12", **tables).success
    requests, _ = _tick(empty, **tables)
    assert _spans(requests) == [(DAYS[0], DAYS[1])]
    assert all(_execute(empty, requests, **tables))
    assert _tick(empty, **tables)[0] == []


@pytest.mark.requirement("F5.3", "F3.3")
def test_a_file_whose_checksum_comes_later_is_asked_for_again(empty: Platform) -> None:
    checksum = empty.archive / f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[1]}.zip.CHECKSUM"
    text = checksum.read_text()
    checksum.unlink()
    _caught_up(empty)
    requests, _ = _tick(empty)
    assert _spans(requests) == [(DAYS[1], DAYS[1])]
    checksum.write_text(text)
    assert _execute(empty, requests) == [True]
    assert _tick(empty)[0] == []


@pytest.mark.requirement("F5.3")
@pytest.mark.parametrize(
    "tags", [{RANGE_START_TAG: DAYS[0], RANGE_END_TAG: DAYS[1]}, {"dagster/partition": DAYS[0]}], ids=["range", "one"]
)
def test_a_date_that_anyone_is_making_is_not_asked_for(empty: Platform, tags: dict[str, str]) -> None:
    job = empty.defs().resolve_job_def(JOB)
    run = empty.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    first = [] if RANGE_END_TAG in tags else [(DAYS[1], DAYS[1])]
    assert _spans(_tick(empty)[0]) == [*first, (DAYS[2], DAYS[2])]
    empty.instance.report_run_canceled(run)
    assert _spans(_tick(empty)[0]) == [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])]


@pytest.mark.requirement("F5.3")
def test_a_request_names_the_checks_of_what_is_stored_and_none_of_the_archive(empty: Platform) -> None:
    for request in _tick(empty)[0]:
        names = {check.name for check in request.asset_check_keys or []}
        assert {"schema", "primary_key", "completeness"} <= names
        assert not names & {"freshness", "reconciliation"}


@pytest.mark.requirement("F5.3")
def test_an_archive_that_is_down_skips_and_the_next_tick_goes_on(empty: Platform) -> None:
    requests, reason = _tick(empty, **NOWHERE)
    assert requests == []
    assert UM_1M.name in reason
    assert "127.0.0.1:1" in reason
    assert len(_tick(empty)[0]) == 2


@pytest.mark.requirement("F5.3")
def test_a_lake_that_cannot_be_read_fails_the_tick(empty: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    with pytest.raises(LakeError, match=r"cannot .* s3://bucket/lake.*127\.0\.0\.1:1"):
        _tick(empty, lake_uri="s3://bucket/lake", s3_endpoint_url="http://127.0.0.1:1")


@pytest.mark.requirement("F5.3")
def test_a_date_that_fails_so_often_is_given_up_and_named(empty: Platform) -> None:
    for _ in range(2):
        requests, _ = _tick(empty, sensor_attempts="2")
        assert _spans(requests) == [(DAYS[0], DAYS[1]), (DAYS[2], DAYS[2])]
        assert _execute(empty, requests, retries="1", **NOWHERE) == [False, False]
    requests, reason = _tick(empty, sensor_attempts="2")
    assert requests == []
    assert f"given up: {', '.join(DAYS)}" in reason


@pytest.mark.requirement("F5.3")
def test_a_newer_file_gives_a_date_that_was_given_up_new_attempts(
    empty: Platform, replace_file: Callable[[Path, str], None]
) -> None:
    requests, _ = _tick(empty)
    _execute(empty, requests, retries="1", **NOWHERE)
    assert _tick(empty, sensor_attempts="1")[0] == []
    key = f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[2]}.zip"
    replace_file(empty.archive, key)
    # Listings tell whole seconds: the new file is plainly younger than the failed run.
    later = (datetime.now(UTC) + timedelta(seconds=60)).timestamp()
    for name in (key, f"{key}.CHECKSUM"):
        _touch(empty.archive / name, later)
    assert _spans(_tick(empty, sensor_attempts="1")[0]) == [(DAYS[2], DAYS[2])]


@pytest.mark.requirement("F5.3")
@pytest.mark.parametrize("is_recorded", [True, False], ids=["failing file", "failing run"])
def test_a_date_whose_file_is_of_the_future_is_given_up_too(empty: Platform, is_recorded: bool) -> None:
    path = empty.archive / f"data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{DAYS[2]}.zip"
    path.with_name(f"{path.name}.CHECKSUM").unlink()
    _touch(path, (datetime.now(UTC) + timedelta(days=365)).timestamp())
    where = {} if is_recorded else {"retries": "1", **NOWHERE}
    for _ in range(2):
        requests, _ = _tick(empty, sensor_attempts="2")
        assert _spans(requests)[-1] == (DAYS[2], DAYS[2])
        _execute(empty, requests, **where)
    requests, reason = _tick(empty, sensor_attempts="2")
    assert requests == []
    assert DAYS[2] in reason.partition("given up: ")[2]
    # A newer version is tried again, also one that is of the future.
    if is_recorded:
        _touch(path, (datetime.now(UTC) + timedelta(days=366)).timestamp())
        assert _spans(_tick(empty, sensor_attempts="2")[0]) == [(DAYS[2], DAYS[2])]


def _touch(path: Path, seconds: float) -> None:

    os.utime(path, (seconds, seconds))


@pytest.mark.requirement("F5.3")
def test_days_that_are_not_over_are_not_asked_for(empty: Platform) -> None:
    today = datetime.now(UTC).date()
    make_sample(empty.archive, symbols=2, days=4, start=today - timedelta(days=1))
    asked = {last for _, last in _spans(_tick(empty)[0])}
    assert f"{today - timedelta(days=1)}" in asked
    # The day may have turned since: only days that are over now can have been asked for.
    assert max(asked) < f"{datetime.now(UTC).date()}"


@pytest.mark.requirement("F5.3")
def test_month_ranges_break_at_holes_and_months() -> None:
    days = ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-03"]
    assert list(month_ranges(days, UM_1M)) == [days[:2], days[2:3], days[3:]]
    assert list(month_ranges([], UM_1M)) == []
