"""Which file each symbol and day is built from, where the archive has both daily and monthly files.

``choose`` is the rule; the other functions list the files that it chooses from. ``bronze/month_files.py`` reads days
from monthly files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, MonthDay
from crypto_lakehouse.catalog import Cadence, Feed, parse_partition, partition_keys
from crypto_lakehouse.catalog.archive_files import ArchiveFiles

Row = Mapping[str, Any]
States = Mapping[str, Mapping[str, Row]]

# A monthly file with one of these for a day has no rows of it; a daily file may have been published since.
_USELESS = ("quarantined", "no_file")


def choose(
    feed: Feed, daily: ArchiveFile | None, monthly: MonthDay | None, rows: Sequence[Row], files: ArchiveFiles
) -> ArchiveFile | None:
    """The file of one symbol and day.

    A day that is stored from a daily file keeps it, whatever is preferred, so that nothing is fetched twice. A day that
    is stored from a monthly file keeps it until that file changes, or until a daily file exists and is preferred.

    Parameters
    ----------
    daily, monthly
        The files that the archive lists. A monthly file counts only if its month was over when it was written.
    rows
        The ledger rows of the symbol and day.
    """
    if monthly is not None and not is_complete(monthly.month):
        monthly = None
    is_ingested = {feed.is_monthly_file(row["key"]) for row in rows if row["status"] == "ingested"}
    if False in is_ingested or monthly is None:
        return daily
    if files is ArchiveFiles.DAILY:
        return daily or (monthly if True in is_ingested else None)
    is_useless = any(row["status"] in _USELESS and _is_of(monthly, row) for row in rows)
    return daily or monthly if files is ArchiveFiles.MONTHLY_THEN_DAILY and is_useless else monthly


def uses_months(feed: Feed, states: States, files: ArchiveFiles) -> bool:
    """Whether partitions with these ledger rows may need monthly files."""
    if not feed.monthly_folder:
        return False
    return files is not ArchiveFiles.DAILY or bool(_symbols_by_month(feed, states))


def available_symbols(feed: Feed, source: ArchiveSource, files: ArchiveFiles) -> list[str]:
    """The symbols of the archive, sorted. Raises ArchiveError if it cannot be listed."""
    symbols = source.symbols(feed)
    if files is ArchiveFiles.DAILY or not feed.monthly_folder:
        return symbols
    return sorted({*symbols, *source.symbols(monthly_feed(feed))})


def chosen_files(
    feed: Feed,
    source: ArchiveSource,
    symbols: Sequence[str],
    start: date,
    end: date,
    states: States,
    files: ArchiveFiles,
) -> list[ArchiveFile]:
    """The files of the symbols for the partitions that start in [start, end), sorted by (period, symbol).

    ``states`` are the ledger rows of these partitions. Monthly files are only listed where they may be chosen. Raises
    ArchiveError if a listing fails.
    """
    daily = source.files(feed, symbols, start, end)
    if not uses_months(feed, states, files):
        return daily
    by_month = set(symbols) if files is not ArchiveFiles.DAILY else _symbols_by_month(feed, states)
    months = source.files(monthly_feed(feed), sorted(by_month.intersection(symbols)), start.replace(day=1), end)
    of_day = {(file.period, file.symbol): file for file in daily}
    of_month: dict[tuple[str, str], MonthDay] = {}
    for month in months:
        first, after = parse_partition(month.period, Cadence.MONTHLY)
        for key in partition_keys(max(first, start), min(after, end), feed.cadence):
            if feed.covers(date.fromisoformat(key)):
                of_month[key, month.symbol] = MonthDay.of(month, key, of_day.get((key, month.symbol)))
    rows: dict[tuple[str, str], list[Row]] = {}
    for key, state in states.items():
        for row in state.values():
            rows.setdefault((key, row["symbol"]), []).append(row)
    chosen = (
        choose(feed, of_day.get(place), of_month.get(place), rows.get(place, ()), files)
        for place in sorted({*of_day, *of_month})
    )
    return [file for file in chosen if file is not None]


def replaced_rows(feed: Feed, file: ArchiveFile, rows: Iterable[Row]) -> list[Row]:
    """Ledger rows of the monthly file that a daily file of the same symbol and day replaces, if it is ingested."""
    return [
        row
        for row in rows
        if row["status"] == "ingested" and row["key"] != file.object_key and feed.is_monthly_file(row["key"])
    ]


def monthly_feed(feed: Feed) -> Feed:
    """The feed of the monthly files of a table."""
    return replace(feed, cadence=Cadence.MONTHLY)


def _symbols_by_month(feed: Feed, states: States) -> set[str]:
    """Symbols with a partition that is stored from a monthly file."""
    return {
        row["symbol"]
        for state in states.values()
        for row in state.values()
        if row["status"] == "ingested" and feed.is_monthly_file(row["key"])
    }


def is_complete(month: ArchiveFile) -> bool:
    """Whether the month of a monthly file was over when the file was written."""
    _, end = parse_partition(month.period, Cadence.MONTHLY)
    return month.last_modified >= datetime.combine(end, time(), UTC)


def _is_of(file: ArchiveFile, row: Row) -> bool:
    facts = (row["key"], row["etag"], row["size"], row["last_modified"])
    return facts == (file.object_key, file.etag, file.size, file.last_modified)
