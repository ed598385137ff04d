"""The check ``epochs`` on stored partitions: it names file, band or day, and says what is known."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from crypto_lakehouse.catalog import Feed, feed
from crypto_lakehouse.lake.storage.ledger import record_files
from crypto_lakehouse.lake.storage.partitions import write_partition
from crypto_lakehouse.orchestration.jobs import RECONCILIATION_JOB
from crypto_lakehouse.schemas import bronze_schema, silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.orchestration.conftest import Platform

pytestmark = [pytest.mark.slow, pytest.mark.requirement("D12", "F5.4")]

UM_BOOK, UM_OPEN = feed("binance", "um", "book_depth"), feed("binance", "um", "open_interest")
UM_FUNDING, SPOT_HOURS = feed("binance", "um", "funding_rates"), feed("binance", "spot", "klines_1h")


def _store(platform: Platform, layer: str, entry: Feed, key: str, rows: dict[str, Any]) -> None:
    """Write a partition; columns that ``rows`` lacks are null or, where that is not allowed, 1 or ``x``."""
    schema = bronze_schema(entry) if layer == "bronze" else silver_schema(entry)
    empty = pl.DataFrame(schema.arrow.empty_table())
    frame = pl.DataFrame(rows)
    columns = [
        (pl.col(c.name) if c.name in rows else pl.lit(None if c.nullable else _filler(empty.schema[c.name])))
        .cast(empty.schema[c.name])
        .alias(c.name)
        for c in schema.columns
    ]
    where = (entry.exchange, entry.market.name, entry.table)
    write_partition(platform.store, TableSlice(layer, *where).partition(key), frame.select(columns))


def _filler(kind: pl.DataType) -> object:
    return "x" if kind == pl.String else datetime(2026, 1, 1, tzinfo=UTC) if kind == pl.Datetime("us", "UTC") else 1


def _epochs(platform: Platform, entry: Feed, layer: str = "silver") -> dg.AssetCheckEvaluation:
    job = platform.defs(tables=entry.table).resolve_job_def(RECONCILIATION_JOB)
    key = dg.AssetKey([layer, entry.exchange, entry.market.name, entry.table])
    run = job.execute_in_process(instance=platform.instance)
    (found,) = (e for e in run.get_asset_check_evaluations() if (e.asset_key, e.check_name) == (key, "epochs"))
    return found


def test_a_bronze_file_in_the_wrong_unit_is_named(empty: Platform) -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    for key, day in (("2024-12-31", begin - timedelta(days=1)), ("2025-01-01", begin)):
        times = [int(day.timestamp()) * 1000 + 3_600_000 * hour for hour in range(24)]
        rows = {"symbol": ["BTCUSDT"] * 24, "source_key": [f"BTCUSDT-1h-{key}.zip"] * 24, "open_time": times}
        _store(empty, "bronze", SPOT_HOURS, key, {**rows, "close_time": times, "source_line": range(24)})
    found = _epochs(empty, SPOT_HOURS, "bronze")
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["failing_partitions"].value == "2025-01-01"
    table = str(found.metadata["table"].value)
    assert (
        "| 2025-01-01 | BTCUSDT | BTCUSDT-1h-2025-01-01.zip: 24 times in open_time are not in us; the registry says us"
        in table
    )


def test_a_frozen_band_is_found_and_known(empty: Platform) -> None:
    looks = [
        {
            "symbol": "SOLUSDT",
            "time": datetime(2026, 9, 4, tzinfo=UTC) + timedelta(seconds=30 * look),
            "percentage": band,
            "depth": 5.0 if band == 1 else 5.0 + look,
            "notional": 7.0 if band == 1 else 7.0 + look,
        }
        for look in range(40)
        for band in (-1.0, 1.0, 2.0)
    ]
    _store(empty, "silver", UM_BOOK, "2026-09-04", pl.DataFrame(looks).to_dict(as_series=True))
    found = _epochs(empty, UM_BOOK)
    table = str(found.metadata["table"].value)
    assert "| 2026-09-04 | SOLUSDT | frozen: band +1 % never changes in 40 rows, while others do; known: The" in table
    assert "issues/496" in table
    assert found.metadata["findings"].value == 1


def test_short_days_and_late_funding_are_found(empty: Platform) -> None:
    times = [datetime(2024, 2, 16, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(163)]
    _store(empty, "silver", UM_OPEN, "2024-02-16", {"symbol": ["BTCUSDT"] * 163, "label_time": times})
    table = str(_epochs(empty, UM_OPEN).metadata["table"].value)
    assert "| 2024-02-16 | BTCUSDT | 163 rows; a whole day has 288; known: BTCUSDT ends at 13:30" in table
    hours = [datetime(2024, 2, 1, hour, tzinfo=UTC) for hour in (0, 8, 16)]
    events = {"symbol": ["BTCUSDT"] * 3, "funding_hour": hours, "interval_hours": [8, 8, 8]}
    late = [hours[0], hours[1], hours[2] + timedelta(milliseconds=14)]
    _store(empty, "silver", UM_FUNDING, "2024-02", {**events, "funding_time": late})
    table = str(_epochs(empty, UM_FUNDING).metadata["table"].value)
    assert "| 2024-02 | BTCUSDT | 1 events more than 13 ms after the hour, first 2024-02-16" not in table
    text = "1 events more than 13 ms after the hour, first 2024-02-01 16:00:00; the registry says 13"
    assert f"| 2024-02 | BTCUSDT | {text}" in table


def test_findings_of_other_checks_say_what_is_known_of_the_day(empty: Platform) -> None:
    day = date(2026, 7, 9)
    for layer in ("bronze", "silver"):
        _store(empty, layer, UM_OPEN, f"{day}", {"symbol": []})
    file = {
        "table": UM_OPEN.table,
        "key": "STXXUSDT-metrics-2026-07-09.zip",
        "symbol": "STXXUSDT",
        "period": f"{day}",
        "size": 1,
        "etag": "e",
        "last_modified": datetime(2026, 7, 15, tzinfo=UTC),
        "sha256": None,
        "rows": 0,
        "rejected_rows": 0,
        "status": "failed",
        "reason": "checksum_mismatch",
        "detail": "two sums",
    }
    record_files(empty.store, UM_OPEN, f"{day}", [file], datetime.now(UTC))
    job = empty.defs(tables="open_interest").resolve_job_def(RECONCILIATION_JOB)
    found = job.execute_in_process(instance=empty.instance).get_asset_check_evaluations()
    (completeness,) = (e for e in found if e.check_name == "completeness" and e.asset_key.path[2] == "um")
    assert "two sums; known: Checksums of STXXUSDT and HBARUSDC did not match" in str(
        completeness.metadata["table"].value
    )
