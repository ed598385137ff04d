"""Feeds that have ended: the archive is not asked for files that will not come, and what is stored stays."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse.catalog import feed
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.orchestration.jobs import RECONCILIATION_JOB
from crypto_lakehouse.orchestration.launch import plan
from crypto_lakehouse.schemas import bronze_schema, silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse_tests.orchestration.conftest import Platform
from crypto_lakehouse_tests.system.runs import WatchedServer

pytestmark = pytest.mark.requirement("F5.7")

# Ended on 2023-10-23.
OPTIONS = feed("binance", "option", "option_summaries")
LAST_DAYS = ("2023-10-20", "2023-10-21", "2023-10-22", "2023-10-23")
FOLDER = "data/option/daily/EOHSummary/BTCUSDT"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchedServer]:
    """An archive that lists one symbol of the ended feed, with a file beyond its last date."""
    folder = tmp_path / "archive" / FOLDER
    folder.mkdir(parents=True)
    (folder / "BTCUSDT-EOHSummary-2023-10-25.zip").write_bytes(b"what is not to come")
    with WatchedServer(tmp_path / "archive") as watched:
        yield watched


@pytest.fixture
def platform(server: WatchedServer, tmp_path: Path) -> Platform:
    settings = {"tables": OPTIONS.table}
    return Platform(tmp_path / "lake", tmp_path / "archive", server.url, server.listing_url, settings=settings)


def _make(platform: Platform, key: str, layers: tuple[str, ...] = ("bronze", "silver")) -> None:
    """An empty partition in the lake and in Dagster's records, as a run leaves it."""
    schemas = {"bronze": bronze_schema(OPTIONS), "silver": silver_schema(OPTIONS)}
    for layer in layers:
        rows = pl.DataFrame(schemas[layer].arrow.empty_table())
        write_partition(platform.store, TableSlice(layer, "binance", "option", OPTIONS.table).partition(key), rows)
        asset = dg.AssetKey([layer, "binance", "option", OPTIONS.table])
        platform.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


def _tick(platform: Platform) -> tuple[list[dg.RunRequest], str]:
    defs = platform.defs()
    repository = defs.get_repository_def()
    resources = {name: (defs.resources or {})[name] for name in ("lake", "archive")}
    with dg.build_sensor_context(instance=platform.instance, repository_def=repository, resources=resources) as context:
        data = repository.get_sensor_def("binance_option_option_summaries_sensor").evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def test_a_sensor_of_a_made_feed_asks_nothing_and_says_when_it_ended(platform: Platform, server: WatchedServer) -> None:
    for key in LAST_DAYS:
        _make(platform, key)
    # Someone made a later date by hand: it is empty, and counts for nothing.
    _make(platform, "2023-11-05")
    requests, reason = _tick(platform)
    assert requests == []
    assert reason == "binance/option/option_summaries ended on 2023-10-23, and all of it is stored"
    assert server.listings == []
    assert server.requests == []


def test_a_sensor_goes_on_to_ask_while_something_lacks(platform: Platform, server: WatchedServer) -> None:
    for key in LAST_DAYS[:-1]:
        _make(platform, key)
    requests, reason = _tick(platform)
    assert requests == []
    assert "nothing new from 2023-10-20 to 2023-10-23" in reason
    # One for the symbols and one for the files of one symbol, from the first date that is made on.
    assert len(server.listings) == 2
    assert "marker=data/option/daily/EOHSummary/BTCUSDT/BTCUSDT-EOHSummary-2023-10-20" in server.listings[1]


def test_a_feed_with_a_failed_or_half_made_date_is_not_done(platform: Platform, server: WatchedServer) -> None:
    for key in LAST_DAYS[:-1]:
        _make(platform, key)
    _make(platform, LAST_DAYS[-1], ("silver", "bronze"))
    requests, _ = _tick(platform)
    # Bronze is newer than silver.
    assert [r.tags["dagster/asset_partition_range_start"] for r in requests] == [LAST_DAYS[-1]]
    _make(platform, LAST_DAYS[-1])
    asked = len(server.listings)
    assert _tick(platform)[0] == []
    assert len(server.listings) == asked
    row = {
        "table": OPTIONS.table,
        "key": f"{FOLDER}/BTCUSDT-EOHSummary-{LAST_DAYS[1]}.zip",
        "symbol": "BTCUSDT",
        "period": LAST_DAYS[1],
        "size": 1,
        "etag": "e",
        "last_modified": datetime(2023, 10, 22, tzinfo=UTC),
        "sha256": None,
        "rows": 0,
        "rejected_rows": 0,
        "status": "failed",
        "reason": "timeout",
        "detail": "no answer",
    }
    record_files(platform.store, OPTIONS, LAST_DAYS[1], [row], datetime.now(UTC))
    _tick(platform)
    assert len(server.listings) == asked + 2


def test_a_sensor_asks_for_no_date_beyond_the_last(platform: Platform, server: WatchedServer) -> None:
    # Nothing is made: the whole range is looked at, and the file of 2023-10-25 is not asked for.
    requests, reason = _tick(platform)
    assert requests == []
    assert "nothing new from 2023-05-18 to 2023-10-23" in reason
    assert server.zips() == []


def test_checks_of_an_ended_feed(platform: Platform, server: WatchedServer) -> None:
    for key in (*LAST_DAYS, "2023-11-05"):
        _make(platform, key)
    found = {e.check_name: e for e in _archive_checks(platform)}
    assert all(e.passed for e in found.values())
    assert found["freshness"].metadata["note"].value == "the feed ended on 2023-10-23"
    # The reconciliation asks for what is made and covered: no hole after the end, no file of 2023-10-25.
    assert found["reconciliation"].metadata["partitions"].value == "4: 2023-10-20 to 2023-10-23"
    assert len(server.listings) == 2


def test_freshness_of_an_unfinished_feed_stops_at_its_end(platform: Platform, server: WatchedServer) -> None:
    for key in LAST_DAYS[:2]:
        _make(platform, key)
    late = server.directory / FOLDER / f"BTCUSDT-EOHSummary-{LAST_DAYS[3]}.zip"
    late.write_bytes(b"one that is still to be made")
    freshness = next(e for e in _archive_checks(platform) if e.check_name == "freshness")
    table = str(freshness.metadata["table"].value)
    assert f"| {LAST_DAYS[3]} |" in table
    assert "2023-10-25" not in table


def _archive_checks(platform: Platform) -> list[dg.AssetCheckEvaluation]:
    run = platform.defs().resolve_job_def(RECONCILIATION_JOB).execute_in_process(instance=platform.instance)
    names = ("freshness", "reconciliation")
    return [e for e in run.get_asset_check_evaluations() if e.check_name in names and e.asset_key.path[2] == "option"]


def test_a_backfill_is_refused_outside_the_dates_of_the_feed() -> None:
    settings = Settings.load(env="test", tables="book_ticker,funding_rates")
    today = date(2026, 1, 1)

    def keys(table: str, first: date, last: date) -> tuple[str, ...]:
        return plan("binance", "um", table, first, last, settings, today).keys

    assert keys("book_ticker", date(2024, 3, 29), date(2024, 3, 30)) == ("2024-03-29", "2024-03-30")
    for first, last in ((date(2024, 3, 30), date(2024, 3, 31)), (date(2023, 5, 15), date(2023, 5, 16))):
        with pytest.raises(ValueError, match="um/book_ticker has data from 2023-05-16 to 2024-03-30"):
            keys("book_ticker", first, last)
    with pytest.raises(ValueError, match="um/funding_rates has data from 2020-01-01 to now"):
        keys("funding_rates", date(2019, 12, 31), date(2020, 1, 31))
    assert len(keys("funding_rates", date(2020, 1, 1), today - timedelta(days=1))) == 72
