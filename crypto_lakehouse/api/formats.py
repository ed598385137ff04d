"""The formats of an answer: which one a client accepts, and rows as its bytes, batch by batch.

Every writer keeps one batch, or one row group of Parquet, in memory. Compression is in ``compression.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.api.pieces import Pieces
from crypto_lakehouse.api.problems import Problem


class Form(StrEnum):
    """A format that an answer can have, as ``format=`` names it."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


MEDIA_TYPES = {
    Form.JSON: "application/json",
    Form.JSONL: "application/x-ndjson",
    Form.CSV: "text/csv",
    Form.ARROW: "application/vnd.apache.arrow.stream",
    Form.PARQUET: "application/vnd.apache.parquet",
}
_ALIASES = {"application/jsonl": Form.JSONL, "application/x-jsonlines": Form.JSONL, "application/jsonlines": Form.JSONL}
_BY_MEDIA_TYPE = {media_type: form for form, media_type in MEDIA_TYPES.items()} | _ALIASES

ROW_GROUP = 65_536


def negotiate(accept: str, wanted: Form | None) -> Form:
    """The format of an answer: that of the argument ``format``, else the best one of the Accept header.

    Raises Problem if no format is accepted.

    >>> str(negotiate("text/csv;q=0.5, application/x-ndjson", None)), str(negotiate("*/*", None))
    ('jsonl', 'json')
    """
    if wanted is not None:
        return wanted
    ranked = sorted(_accepted(accept or "*/*"), key=lambda pair: -pair[1])
    for media_type, quality in ranked:
        if quality <= 0:
            continue
        if media_type in _BY_MEDIA_TYPE:
            return _BY_MEDIA_TYPE[media_type]
        if media_type in ("*/*", "application/*"):
            return Form.JSON
        if media_type == "text/*":
            return Form.CSV
    raise Problem("no-format", f"available are {', '.join(MEDIA_TYPES.values())}, or the argument format")


def _accepted(header: str) -> Iterator[tuple[str, float]]:
    for entry in header.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        yield media_type, quality_of(parameters)


def quality_of(parameters: Iterable[str]) -> float:
    """The value of ``q=`` in the parameters of an entry of Accept or Accept-Encoding."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def encoded(
    form: Form, schema: pa.Schema, batches: Iterable[pa.RecordBatch], facts: Mapping[str, Any]
) -> Iterator[bytes]:
    """Yield the bytes of an answer. In JSON the ``facts``, such as the cursor, follow the rows."""
    if form is Form.JSON:
        return _json(batches, facts)
    return _WRITERS[form](schema, batches)


def _json(batches: Iterable[pa.RecordBatch], facts: Mapping[str, Any]) -> Iterator[bytes]:
    """An object with ``rows``, a row on each line, then the facts."""
    separator = b'{"rows":[\n'
    for batch in batches:
        if batch.num_rows:
            lines = _plain(batch, nested=True).write_ndjson().encode()
            # A line break within a text is escaped, so each one ends a row.
            yield separator + lines.rstrip(b"\n").replace(b"\n", b",\n")
            separator = b",\n"
    start = b'{"rows":[' if separator.startswith(b"{") else b"\n"
    yield start + b"]," + json.dumps(facts).encode()[1:] + b"\n"


def _jsonl(_: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    for batch in batches:
        if batch.num_rows:
            yield _plain(batch, nested=True).write_ndjson().encode()


def _csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    empty = pl.DataFrame(schema=schema.names)
    yield empty.write_csv().encode()
    for batch in batches:
        if batch.num_rows:
            yield _plain(batch, nested=False).write_csv(include_header=False).encode()


def _arrow(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    pieces = Pieces()
    with pa.ipc.new_stream(pa.PythonFile(pieces, "w"), schema) as writer:
        yield pieces.take()
        for batch in batches:
            writer.write_batch(batch)
            yield pieces.take()
    yield pieces.take()


def _parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    pieces = Pieces()
    with pq.ParquetWriter(pa.PythonFile(pieces, "w"), schema, compression="zstd") as writer:
        group: list[pa.RecordBatch] = []
        for batch in batches:
            group.append(batch)
            if sum(each.num_rows for each in group) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(group, schema))
                group = []
                yield pieces.take()
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))
    yield pieces.take()


_WRITERS = {Form.JSONL: _jsonl, Form.CSV: _csv, Form.ARROW: _arrow, Form.PARQUET: _parquet}


def _plain(batch: pa.RecordBatch, nested: bool) -> pl.DataFrame:
    """The rows as numbers, booleans and text: times in ISO 8601, NaN as null, lists as JSON unless ``nested``."""
    frame = pl.DataFrame(batch)
    return frame.with_columns(_plain_column(column, nested) for column in frame.iter_columns())


def _plain_column(column: pl.Series, nested: bool) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        return column.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.6f{'Z' if kind.time_zone else ''}")
    if kind.is_float():
        # JSON has neither NaN nor infinity.
        return column.to_frame().select(pl.when(pl.col(column.name).is_finite()).then(pl.col(column.name))).to_series()
    if isinstance(kind, pl.Duration):
        return column.dt.to_string("iso")
    if isinstance(kind, pl.Decimal):
        return column.cast(pl.Float64)
    if kind.is_numeric() or kind in (pl.Boolean, pl.String):
        return column
    if kind == pl.Binary:
        return column.bin.encode("hex")
    if kind.is_nested():
        values = [None if value is None else _unpacked(value) for value in column]
        if nested:
            return pl.Series(column.name, [json.loads(json.dumps(value, default=str)) for value in values])
        return pl.Series(
            column.name, [None if v is None else json.dumps(v, default=str) for v in values], dtype=pl.String
        )
    return column.cast(pl.String)


def _unpacked(value: Any) -> Any:
    return value.to_list() if hasattr(value, "to_list") else value
