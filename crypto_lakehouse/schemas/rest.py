"""Bronze tables of REST answers: ``bronze.klines_1m_rest`` holds the rows of the answers about ``klines_1m``.

The columns are the answer's own fields, in its order. Parsing is in ``transforms/rest``, what was asked in the ledger
of answers (``answers.py``).
"""

from __future__ import annotations

from datetime import timedelta

from crypto_lakehouse.catalog import Cadence, Feed, FieldType
from crypto_lakehouse.catalog.rest import Paging, RestEndpoint, rest_endpoint_of, rest_endpoints_of
from crypto_lakehouse.schemas.model import (
    BAR_CODEC,
    BAR_ROWS,
    EVENT_CODEC,
    EVENT_ROWS,
    FLOAT,
    INT,
    TEXT,
    TIME,
    Column,
    Schema,
)

REST_SUFFIX = "_rest"
"""What the name of a table of answers has in addition to that of the table that they complete."""

_TYPES = {FieldType.INT64: INT, FieldType.FLOAT64: FLOAT, FieldType.STRING: TEXT}
_BARS, _OTHERS = ("klines", "price_klines"), ("funding_rates", "open_interest", "agg_trades")
_PROVENANCE = (
    Column("symbol", TEXT, "name", "Symbol that was asked for, as the archive writes it."),
    Column("source_key", TEXT, "path and query", "The request, as in ledger.answers."),
    Column("source_sha256", TEXT, "hex", "sha256 of the body of the answer."),
    Column("source_line", INT, "1", "Number of the row in the answer, from 1."),
    Column("fetched_at", TIME, "UTC", "When the answer came."),
)


def has_answers(feed: Feed) -> bool:
    """Whether the feed can be completed from REST answers."""
    endpoint = rest_endpoint_of(feed)
    if endpoint is None or feed.schema not in _BARS:
        return endpoint is not None and feed.schema in _OTHERS
    # Bars of several days do not start on a day's first instant.
    return feed.cadence is Cadence.DAILY and endpoint.step is not None and endpoint.step <= timedelta(days=1)


def rest_table(table: str) -> str:
    """The name of the bronze table of answers about a table.

    >>> rest_table("klines_1m")
    'klines_1m_rest'
    """
    return f"{table}{REST_SUFFIX}"


def answer_column(endpoint: RestEndpoint, field: str) -> str:
    """The bronze column of a field of an answer: its own name, or that of the archive where fields are single letters.

    Letters such as ``m`` and ``M`` differ in case only, which SQL does not see.

    >>> from crypto_lakehouse.catalog import feed
    >>> trades, funding = (rest_endpoint_of(feed("binance", "um", name)) for name in ("agg_trades", "funding_rates"))
    >>> answer_column(trades, "T"), answer_column(funding, "fundingTime")
    ('transact_time', 'fundingTime')
    """
    return endpoint.archive_columns.get(field, field) if endpoint.paging is Paging.ID else field


def rest_schema(feed: Feed, *others: Feed) -> Schema:
    """Schema of the answers about a feed: the fields of all its endpoints' rows, then the provenance of a row.

    With ``others``, the feeds of other markets, it has the columns of all of them: null where a market has none.
    """
    endpoints = [endpoint for each in (feed, *others) for endpoint in rest_endpoints_of(each)]
    columns = {answer_column(each, column.name): column for each in endpoints for column in each.answer.columns}
    fields = tuple(
        Column(name, _TYPES[column.type], "as in the answer", "As the exchange answers it.", nullable=True)
        for name, column in columns.items()
    )
    return Schema(
        name=f"rest_{feed.file_format.name}",
        doc=f"Rows of REST answers about {feed.archive_type}, typed, one to one; rows of several answers stay.",
        columns=(*fields, *_PROVENANCE),
        primary_key=("symbol", "source_key", "source_line"),
        time_column=answer_column(endpoints[0], endpoints[0].time_column),
        row_group_rows=EVENT_ROWS if feed.file_format.large else BAR_ROWS,
        codec=EVENT_CODEC if feed.file_format.large else BAR_CODEC,
    )
