"""Rows of REST answers in the columns and units of the archive's files, so that the same cleaner takes both.

Answers are parsed in ``transforms/answers.py``; the rules of silver rows are in ``transforms/silver``.
"""

from __future__ import annotations

import polars as pl

from crypto_lakehouse.catalog import Feed, FieldType
from crypto_lakehouse.catalog.epochs import epochs_of
from crypto_lakehouse.catalog.model import Topic
from crypto_lakehouse.catalog.rest import RestEndpoint, rest_endpoints_of
from crypto_lakehouse.schemas.rest import answer_column
from crypto_lakehouse.transforms.silver.clean import SOURCE_COLUMNS, midnight
from crypto_lakehouse.transforms.silver.funding import MARK_PRICE

_TYPES = {FieldType.INT64: pl.Int64(), FieldType.FLOAT64: pl.Float64(), FieldType.STRING: pl.String()}
_US_OF_MS = 1000
_INTERVAL, _USUAL_HOURS = "funding_interval_hours", 8
_FILE_SYMBOL, _TAKER_RATIO = "file_symbol", "sum_taker_long_short_vol_ratio"
_BOUGHT, _SOLD = "takerBuyVol", "takerSellVol"
_SECONDS = "%Y-%m-%d %H:%M:%S"


def archive_rows(answers: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """Bronze rows of REST answers in the columns of the archive's files and SOURCE_COLUMNS, for the feed's cleaner.

    Columns that the answer does not have are null, but for the hours between funding events, which cleaning requires:
    ``with_intervals`` corrects them. Answers of funding have a mark price, which files do not have. REST has times in
    milliseconds. Where the archive has microseconds, they are scaled, and the last instant of a bar is the last
    microsecond before the next, as in the archive. Where several endpoints answer the columns of a file, rows of one
    symbol and time become one, whose source is the first endpoint that answered the time.
    """
    endpoints = rest_endpoints_of(feed)
    if len(endpoints) == 1:
        return _shaped(answers, feed, endpoints[0])
    return _joined(pl.concat(_shaped(_of_endpoint(answers, each), feed, each) for each in endpoints), feed)


def _of_endpoint(answers: pl.DataFrame, endpoint: RestEndpoint) -> pl.DataFrame:
    return answers.filter(pl.col("source_key").cast(pl.String).str.starts_with(f"{endpoint.path}?"))


def _shaped(answers: pl.DataFrame, feed: Feed, endpoint: RestEndpoint) -> pl.DataFrame:
    """Rows of one endpoint in the columns of the archive's files."""
    names = _names(endpoint)
    times = {endpoint.archive_columns.get(name, name) for name in endpoint.answer.time_columns}
    since = _first_day_in_microseconds(feed)
    columns = []
    for column in feed.file_format.columns:
        kind = _TYPES[column.type]
        if column.name == _FILE_SYMBOL:
            # Answers may state the pair.
            value = pl.col("symbol")
        elif column.name == _TAKER_RATIO and _BOUGHT in answers.columns and column.name not in names:
            # COIN-M answers the volumes.
            value = pl.when(pl.col(_SOLD) > 0).then(pl.col(_BOUGHT) / pl.col(_SOLD))
        elif column.name not in names:
            value = pl.lit(_USUAL_HOURS if column.name == _INTERVAL else None, kind)
        elif column.name in times and column.type is FieldType.STRING:
            value = pl.from_epoch(names[column.name], "ms").dt.strftime(_SECONDS)
        elif column.name in times and since is not None:
            time = pl.col(names[column.name])
            # A close is the last instant of its bar, in the unit of the file.
            scaled = (time + 1) * _US_OF_MS - 1 if column.name == "close_time" else time * _US_OF_MS
            value = pl.when(time >= since).then(scaled).otherwise(time)
        else:
            value = pl.col(names[column.name])
        columns.append(value.cast(kind).alias(column.name))
    more = [MARK_PRICE] if MARK_PRICE in answers.columns else []
    return answers.select(*columns, *more, *SOURCE_COLUMNS)


def endpoint_columns(feed: Feed) -> dict[str, str]:
    """The column of an answer that each column of the archive's files is taken from; empty without an endpoint."""
    columns: dict[str, str] = {}
    for endpoint in rest_endpoints_of(feed):
        columns = _names(endpoint) | columns
    return columns | {name: name for name in SOURCE_COLUMNS} if columns else {}


def _names(endpoint: RestEndpoint) -> dict[str, str]:
    """The bronze column of answers that each column of the archive's files is taken from."""
    names = endpoint.answer.column_names
    return {endpoint.archive_columns.get(name, name): answer_column(endpoint, name) for name in names}


def _joined(rows: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """One row of each symbol and time: of each column the first value, in the order of endpoints."""
    key = ["symbol", feed.file_format.time_columns[0]]
    values = [name for name in feed.file_format.column_names if name not in key]
    joined = rows.group_by(key, maintain_order=True).agg(
        *(pl.col(name).drop_nulls().first() for name in values),
        *(pl.col(name).first() for name in SOURCE_COLUMNS if name not in key),
    )
    return joined.select(*feed.file_format.column_names, *SOURCE_COLUMNS)


def _first_day_in_microseconds(feed: Feed) -> int | None:
    """Start of the first day whose files have microseconds, in milliseconds since the epoch; None if none have."""
    days = [epoch.first for epoch in epochs_of(feed, Topic.TIME_UNIT) if epoch.value == "us" and epoch.first]
    return round(midnight(min(days)).timestamp() * 1000) if days else None
