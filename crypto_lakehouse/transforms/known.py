"""The earliest time at which a row could have been known, from the columns of the row alone.

``Lakehouse`` adds it as the column AVAILABLE. What the ledger knows of files is in ``lake/reader/known.py``.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.catalog.delays import DELAYS, LISTED
from crypto_lakehouse.schemas.gold import GoldTable
from crypto_lakehouse.transforms.gold.windows import MINUTE
from crypto_lakehouse.transforms.silver.clean import epoch_to_time, text_to_time
from crypto_lakehouse.transforms.silver.futures import METRICS_PERIOD, metrics_label
from crypto_lakehouse.transforms.silver.options import summary_time

AVAILABLE = "available_at"
"""A column that readers add: the earliest time at which the row could have been known."""

_MICROSECOND = timedelta(microseconds=1)
_OF_MINUTES = ("continuous_1m", "gaps")
OF_ARCHIVE = ("witnesses", "missing_minutes")
"""Gold tables about files of the archive, which a client that follows an exchange live does not have."""


def live_of_bronze(feed: Feed) -> pl.Expr:
    """When bronze rows of a feed could have been known live; null if their time cannot be read."""
    if feed.schema == "open_interest":
        # The file alone does not say whether the label is the start of the five minutes.
        return metrics_label() + METRICS_PERIOD + DELAYS[feed.schema].after
    if feed.schema == "option_summaries":
        return _after(feed, summary_time())
    column = feed.file_format.time_columns[0]
    is_text = next(c for c in feed.file_format.columns if c.name == column).type.value == "string"
    return _after(feed, text_to_time(pl.col(column)) if is_text else epoch_to_time(column))


def live_of_answers(feed: Feed, time_column: str) -> pl.Expr:
    """When rows of REST answers about a feed could have been known live."""
    return _after(feed, epoch_to_time(time_column))


def live_of_silver(feed: Feed, time_column: str) -> pl.Expr:
    """When silver rows of a feed could have been known live."""
    if feed.schema == "open_interest":
        return pl.col("known_time") + DELAYS[feed.schema].after
    return _after(feed, pl.col(time_column))


def live_of_gold(entry: GoldTable, time_column: str) -> pl.Expr | None:
    """When rows of a gold table could have been known live; needs the column ``date`` of the partition.

    None for tables about files of the archive, which a client that follows an exchange live does not have.
    """
    delay = DELAYS["klines"].after
    if entry.name in OF_ARCHIVE:
        return None
    if isinstance(entry.bars, ActivityBars):
        # That a bar is unfinished is known once its month is over.
        month_end = pl.col("close_time").dt.truncate("1mo").dt.offset_by("1mo")
        return pl.when("complete").then(pl.col("close_time") + _MICROSECOND).otherwise(month_end) + delay
    if entry.bars is not None:
        return pl.col("close_time") + _MICROSECOND + delay
    if entry.name in _OF_MINUTES:
        return pl.col(time_column) + MINUTE + delay
    return end_of_day(pl.col("date")) + (LISTED.after if entry.is_of_listing else delay)


def end_of_day(day: pl.Expr) -> pl.Expr:
    """The first instant after UTC days."""
    return day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)


def _after(feed: Feed, time: pl.Expr) -> pl.Expr:
    """The end of the window that starts at a time, or the time of an event, and the delay."""
    if feed.interval is not None:
        end = time.dt.offset_by(feed.interval.name)
    elif feed.schema == "option_summaries":
        end = time + timedelta(hours=1)
    else:
        end = time
    return end + DELAYS[feed.schema].after
