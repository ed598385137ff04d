"""Bronze tables of REST answers: ``bronze.klines_1m_rest`` holds the rows of the answers about ``klines_1m``.

The columns are the answer's own fields, in its order. Parsing is in ``transforms/rest``, what was asked in the ledger
of answers (``answers.py``).
"""

from __future__ import annotations

from datetime import timedelta

from crypto_lakehouse.catalog import Cadence, Feed, FieldType
from crypto_lakehouse.catalog.rest import rest_endpoint_of
from crypto_lakehouse.schemas.model import FLOAT, INT, TEXT, TIME, Column, Schema

REST_SUFFIX = "_rest"
"""What the name of a table of answers has in addition to that of the table that they complete."""

_TYPES = {FieldType.INT64: INT, FieldType.FLOAT64: FLOAT, FieldType.STRING: TEXT}
_KLINES = ("klines", "price_klines")
_PROVENANCE = (
    Column("symbol", TEXT, "name", "Symbol that was asked for, as the archive writes it."),
    Column("source_key", TEXT, "path and query", "The request, as in ledger.answers."),
    Column("source_sha256", TEXT, "hex", "sha256 of the body of the answer."),
    Column("source_line", INT, "1", "Number of the row in the answer, from 1."),
    Column("fetched_at", TIME, "UTC", "When the answer came."),
)


def has_answers(feed: Feed) -> bool:
    """Whether the feed can be completed from REST answers."""
    if feed.schema not in _KLINES or feed.cadence is not Cadence.DAILY:
        return False
    endpoint = rest_endpoint_of(feed)
    # Bars of several days do not start on a day's first instant.
    return endpoint is not None and endpoint.step is not None and endpoint.step <= timedelta(days=1)


def rest_table(table: str) -> str:
    """The name of the bronze table of answers about a table.

    >>> rest_table("klines_1m")
    'klines_1m_rest'
    """
    return f"{table}{REST_SUFFIX}"


def rest_schema(feed: Feed) -> Schema:
    """Schema of the answers about a feed: the fields of an answer's row, then its provenance."""
    fields = tuple(
        Column(column.name, _TYPES[column.type], "as in the answer", "As the exchange answers it.", nullable=True)
        for column in feed.file_format.columns
    )
    return Schema(
        name=f"rest_{feed.file_format.name}",
        doc=f"Rows of REST answers about {feed.archive_type}, typed, one to one; rows of several answers stay.",
        columns=(*fields, *_PROVENANCE),
        primary_key=("symbol", "source_key", "source_line"),
        time_column=feed.file_format.time_columns[0],
    )
