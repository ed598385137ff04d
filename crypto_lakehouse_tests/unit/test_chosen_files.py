"""Which file a day is built from, by what the archive lists, what is stored, and the setting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crypto_lakehouse.archive.model import ArchiveFile, MonthDay
from crypto_lakehouse.catalog import feed, feeds
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.pipeline.chosen_files import choose, uses_months

UM = feed("binance", "um", "klines_1m")
DAY = "2024-05-07"
FOLDER = "data/futures/um/{}/klines/BTCUSDT/1m/BTCUSDT-1m-{}.zip"
AFTER, WITHIN = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 5, 31, 23, 59, tzinfo=UTC)

DAILY = ArchiveFile(FOLDER.format("daily", DAY), "BTCUSDT", DAY, 10, "d", AFTER)
MONTH = ArchiveFile(FOLDER.format("monthly", "2024-05"), "BTCUSDT", "2024-05", 300, "m", AFTER)
MONTHLY = MonthDay.of(MONTH, DAY, DAILY)


def row(file: ArchiveFile, status: str, etag: str = "") -> dict[str, Any]:
    return {
        "key": file.object_key,
        "symbol": file.symbol,
        "etag": etag or file.etag,
        "size": file.size,
        "last_modified": file.last_modified,
        "status": status,
    }


def chosen(files: str, daily: ArchiveFile | None, monthly: MonthDay | None, *rows: dict[str, Any]) -> str:
    file = choose(UM, daily, monthly, rows, ArchiveFiles(files))
    return "none" if file is None else "monthly" if isinstance(file, MonthDay) else "daily"


# For each setting: what is chosen.
ALL = ("daily", "monthly", "monthly-then-daily")
CASES: dict[str, tuple[tuple[str, str, str], ArchiveFile | None, MonthDay | None, list[dict[str, Any]]]] = {
    "both are new": (("daily", "monthly", "monthly"), DAILY, MONTHLY, []),
    "no monthly file yet": (("daily", "daily", "daily"), DAILY, None, []),
    "no daily file": (("none", "monthly", "monthly"), None, MONTHLY, []),
    "no file": (("none", "none", "none"), None, None, []),
    "stored from the daily file": (("daily", "daily", "daily"), DAILY, MONTHLY, [row(DAILY, "ingested")]),
    "stored from an older daily file": (("daily", "daily", "daily"), DAILY, MONTHLY, [row(DAILY, "ingested", "old")]),
    "stored from a daily file that is gone": (("none", "none", "none"), None, MONTHLY, [row(DAILY, "ingested")]),
    "stored from the monthly file": (("daily", "monthly", "monthly"), DAILY, MONTHLY, [row(MONTHLY, "ingested")]),
    "stored from the monthly file, no daily file": (
        ("monthly", "monthly", "monthly"),
        None,
        MONTHLY,
        [row(MONTHLY, "ingested")],
    ),
    "stored from a monthly file that is gone": (("daily", "daily", "daily"), DAILY, None, [row(MONTHLY, "ingested")]),
    "the daily file failed": (("daily", "monthly", "monthly"), DAILY, MONTHLY, [row(DAILY, "failed")]),
    "the monthly file is known to miss the day": (
        ("daily", "monthly", "daily"),
        DAILY,
        MONTHLY,
        [row(MONTHLY, "quarantined")],
    ),
    "an older version missed the day": (
        ("daily", "monthly", "monthly"),
        DAILY,
        MONTHLY,
        [row(MONTHLY, "quarantined", "old")],
    ),
    "the monthly file misses the day, no daily file": (
        ("none", "monthly", "monthly"),
        None,
        MONTHLY,
        [row(MONTHLY, "quarantined")],
    ),
    "neither file has the day": (("none", "monthly", "monthly"), None, MONTHLY, [row(MONTHLY, "no_file")]),
    "the daily file was published later": (("daily", "monthly", "daily"), DAILY, MONTHLY, [row(MONTHLY, "no_file")]),
    "a daily file has replaced the monthly one": (
        ("daily", "daily", "daily"),
        DAILY,
        MONTHLY,
        [row(MONTHLY, "superseded"), row(DAILY, "ingested")],
    ),
}


@pytest.mark.requirement("D16")
@pytest.mark.parametrize("case", CASES)
def test_the_file_of_a_day_follows_from_listing_ledger_and_setting(case: str) -> None:
    expected, daily, monthly, rows = CASES[case]
    assert tuple(chosen(files, daily, monthly, *rows) for files in ALL) == expected


@pytest.mark.parametrize("files", ALL)
def test_a_monthly_file_that_was_written_within_its_month_is_not_used(files: str) -> None:
    early = MonthDay.of(ArchiveFile(MONTH.object_key, "BTCUSDT", "2024-05", 300, "m", WITHIN), DAY, DAILY)
    assert chosen(files, DAILY, early) == "daily"


def test_months_are_cut_only_where_they_are_small() -> None:
    cut = {feed.table for feed in feeds() if feed.monthly_folder}
    assert {"klines_1m", "klines_1d", "mark_klines_1m", "index_klines_1h", "premium_klines_5m"} <= cut
    assert not cut & {"klines_1s", "klines_1w", "agg_trades", "trades", "book_ticker", "open_interest", "funding_rates"}


def test_monthly_files_are_not_listed_without_need() -> None:
    by_month = {DAY: {MONTHLY.object_key: row(MONTHLY, "ingested")}}
    by_day = {DAY: {DAILY.object_key: row(DAILY, "ingested")}}
    assert [uses_months(UM, states, ArchiveFiles.DAILY) for states in ({}, by_day, by_month)] == [False, False, True]
    assert uses_months(UM, by_day, ArchiveFiles.MONTHLY)
    assert not uses_months(feed("binance", "um", "trades"), {}, ArchiveFiles.MONTHLY)
