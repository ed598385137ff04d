"""Answers of a REST API as frames: bytes in, typed columns out, under the answer's own names.

Contains no meaning of columns: silver maps them to those of the archive (``RestEndpoint.archive_columns``).
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from crypto_lakehouse.catalog.model import FieldType, FileColumn
from crypto_lakehouse.catalog.rest import RestEndpoint, RowShape

_TYPES: dict[FieldType, type[pl.DataType]] = {
    FieldType.INT64: pl.Int64,
    FieldType.FLOAT64: pl.Float64,
    FieldType.STRING: pl.String,
}


def answer_frame(endpoint: RestEndpoint, body: bytes) -> pl.DataFrame:
    """The rows of a successful answer, in its order, with ``source_line``, the number of the row from 1.

    Raises ValueError for a body that is not a list of such rows; the error names the row and the field.

    >>> from crypto_lakehouse.catalog import feed
    >>> from crypto_lakehouse.catalog.rest import rest_endpoint_of
    >>> funding = rest_endpoint_of(feed("binance", "um", "funding_rates"))
    >>> body = b'[{"symbol": "BTCUSDT", "fundingTime": 1568102400000, "fundingRate": "0.0001", "markPrice": ""}]'
    >>> answer_frame(funding, body).row(0)
    ('BTCUSDT', 1568102400000, 0.0001, None, None, 1)
    """
    rows = json.loads(body)
    if not isinstance(rows, list):
        raise ValueError(f"the answer of {endpoint.path} is not a list of rows")
    columns = endpoint.answer.columns
    values = [
        _list_row(endpoint, number, row) if endpoint.row_shape is RowShape.LIST else _object_row(endpoint, number, row)
        for number, row in enumerate(rows, 1)
    ]
    schema = {column.name: _TYPES[column.type] for column in columns} | {"source_line": pl.Int64}
    return pl.DataFrame(
        [(*row, number) for number, row in enumerate(values, 1)], schema=schema, orient="row", strict=True
    )


def _list_row(endpoint: RestEndpoint, number: int, row: Any) -> list[Any]:
    columns = endpoint.answer.columns
    if not isinstance(row, list) or len(row) != len(columns):
        raise ValueError(f"row {number} of {endpoint.path} is not a list of {len(columns)} fields")
    return [_value(endpoint, number, column, value) for column, value in zip(columns, row, strict=True)]


def _object_row(endpoint: RestEndpoint, number: int, row: Any) -> list[Any]:
    if not isinstance(row, dict):
        raise ValueError(f"row {number} of {endpoint.path} is not an object")
    return [
        _value(endpoint, number, column, row.get((column.aliases or (column.name,))[0]))
        for column in endpoint.answer.columns
    ]


def _value(endpoint: RestEndpoint, number: int, column: FileColumn, value: Any) -> Any:
    if value is None or value == "":
        if column.may_be_blank:
            return None
    elif column.type is FieldType.STRING:
        return str(value).lower() if isinstance(value, bool) else str(value)
    elif not isinstance(value, bool):
        try:
            # Exact: a float between would change large ids.
            return int(value) if column.type is FieldType.INT64 else float(value)
        except (ValueError, TypeError):
            pass
    raise ValueError(f"row {number} of {endpoint.path}: field {column.name} is {str(value)[:50]!r}")
