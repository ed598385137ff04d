"""Rows of REST answers in the columns and units of the archive's files, so that the same cleaner takes both.

Answers are parsed in ``transforms/answers.py``; the rules of silver rows are in ``transforms/silver``.
"""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.catalog import Feed, FieldType
from crypto_lakehouse.catalog.epochs import epochs_of
from crypto_lakehouse.catalog.model import Topic
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoint_of
from crypto_lakehouse.transforms.silver.clean import SOURCE_COLUMNS, midnight
from crypto_lakehouse.transforms.silver.funding import MARK_PRICE

_TYPES = {FieldType.INT64: pl.Int64(), FieldType.FLOAT64: pl.Float64(), FieldType.STRING: pl.String()}
_US_OF_MS = 1000
_INTERVAL, _USUAL_HOURS = "funding_interval_hours", 8


def archive_rows(answers: pl.DataFrame, feed: Feed, endpoint: RestEndpoint) -> pl.DataFrame:
    """Bronze rows of REST answers in the columns of the archive's files and SOURCE_COLUMNS, for the feed's cleaner.

    Columns that the answer does not have are null, but for the hours between funding events, which cleaning requires:
    ``with_intervals`` corrects them. Answers of funding have a mark price, which files do not have. REST has times in
    milliseconds. Where the archive has microseconds, they are scaled, and the last instant of a bar is the last
    microsecond before the next, as in the archive.
    """
    names = _names(endpoint)
    times = {endpoint.archive_columns.get(name, name) for name in endpoint.answer.time_columns}
    since = _first_day_in_microseconds(feed)
    columns = []
    for column in feed.file_format.columns:
        if column.name not in names:
            missing = _USUAL_HOURS if column.name == _INTERVAL else None
            columns.append(pl.lit(missing, _TYPES[column.type]).alias(column.name))
            continue
        value = pl.col(names[column.name])
        if column.name in times and since is not None:
            # A close is the last instant of its bar, in the unit of the file.
            scaled = (value + 1) * _US_OF_MS - 1 if column.name == "close_time" else value * _US_OF_MS
            value = pl.when(value >= since).then(scaled).otherwise(value)
        columns.append(value.cast(_TYPES[column.type]).alias(column.name))
    more = [MARK_PRICE] if MARK_PRICE in answers.columns else []
    return answers.select(*columns, *more, *SOURCE_COLUMNS)


def endpoint_columns(feed: Feed) -> dict[str, str]:
    """The column of an answer that each column of the archive's files is taken from; empty without an endpoint."""
    endpoint = rest_endpoint_of(feed)
    return {} if endpoint is None else _names(endpoint) | {name: name for name in SOURCE_COLUMNS}


def _names(endpoint: RestEndpoint) -> dict[str, str]:
    return {endpoint.archive_columns.get(name, name): name for name in endpoint.answer.column_names}


def _first_day_in_microseconds(feed: Feed) -> int | None:
    """Start of the first day whose files have microseconds, in milliseconds since the epoch; None if none have."""
    days = [epoch.first for epoch in epochs_of(feed, Topic.TIME_UNIT) if epoch.value == "us" and epoch.first]
    return round(midnight(min(days)).timestamp() * 1000) if days else None
