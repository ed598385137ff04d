"""Which files of an archive the days of a feed are built from, where it has both daily and monthly ones."""

from __future__ import annotations

from enum import StrEnum


class ArchiveFiles(StrEnum):
    """The files that runs prefer. Until a month is over and its file is published, all of them use daily files."""

    DAILY = "daily"
    """Daily files."""
    MONTHLY = "monthly"
    """Monthly files; a day that its monthly file does not have is missing."""
    MONTHLY_THEN_DAILY = "monthly-then-daily"
    """Monthly files, and the daily file of a day for which the monthly file has no rows or cannot be used."""
