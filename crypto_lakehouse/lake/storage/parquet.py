"""The lake's Parquet format: conversion of rows to a schema, encodings, and the ends of row groups.

Paths and publishing of files are in ``partitions.py`` and ``store.py``.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.model import BAR_CODEC, BAR_ROWS, FLOAT, INT, TEXT, TIME


def conform(frame: pl.DataFrame | pa.Table, schema: Schema, nulls_allowed: bool) -> pa.Table:
    """Return the rows as ``schema.arrow``, in primary key order.

    Text stays an Arrow dictionary if it is one, or becomes one if it consists of long runs. Raises ValueError on
    missing or unknown columns, on values that do not fit their type and, unless ``nulls_allowed``, on nulls in a
    column that must have none.
    """
    table = _table(frame) if isinstance(frame, pl.DataFrame) else frame
    if set(table.column_names) != set(schema.column_names) or table.num_columns != len(schema.columns):
        missing = sorted(set(schema.column_names) - set(table.column_names))
        unknown = sorted(set(table.column_names) - set(schema.column_names))
        raise ValueError(f"columns do not fit {schema.name}: missing {missing}, unknown or duplicate {unknown}")
    arrays, fields = [], []
    for column in schema.columns:
        values = table[column.name]
        aware = not pa.types.is_timestamp(column.type) or getattr(values.type, "tz", None) is not None
        if not (aware or pa.types.is_null(values.type)):
            raise ValueError(f"column {column.name} is {values.type}: it must have times in the time zone UTC")
        try:
            wanted = _TEXT_CODES if _is_coded(values, column.type) else column.type
            values = values if values.type == wanted else values.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"column {column.name} is {values.type} and does not fit {column.type}: {error}"
            ) from error
        if values.null_count and not (nulls_allowed or column.nullable):
            raise ValueError(f"column {column.name} has {values.null_count} nulls and must have none")
        arrays.append(values)
        fields.append(pa.field(column.name, values.type, nullable=nulls_allowed or column.nullable))
    return _sorted(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), schema)


def _table(frame: pl.DataFrame) -> pa.Table:
    """Convert rows to Arrow; text in runs becomes a dictionary, which is written faster into the same bytes."""
    return pa.table({name: _arrow(frame[name]) for name in frame.columns})


def _arrow(column: pl.Series) -> pa.Array:
    coded = _runs(column) if column.dtype == pl.String else None
    return column.to_arrow() if coded is None else coded


def _runs(text: pl.Series) -> pa.DictionaryArray | None:
    """Return text as a dictionary, None if it has nulls, few rows or short runs."""
    if len(text) < _LONG_TEXT or text.null_count():
        return None
    runs = text.rle().struct.unnest()
    if runs.height * _LONG_RUN > len(text):
        return None
    coded = runs["value"].to_arrow().cast(pa.string()).dictionary_encode()
    codes = np.repeat(coded.indices.to_numpy(), runs["len"].to_numpy())
    return pa.DictionaryArray.from_arrays(pa.array(codes), coded.dictionary)


def frame_of(table: pa.Table) -> pl.DataFrame:
    """Convert rows to Polars, with plain text; text that was read as a dictionary converts faster."""
    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(values.type):
            coded = values.unify_dictionaries().combine_chunks()
            columns[name] = pl.Series(coded.dictionary).gather(pl.Series(coded.indices))
        else:
            columns[name] = pl.Series(values)
    return pl.DataFrame(columns)


def symbol_runs(table: pa.Table) -> list[tuple[str, int]]:
    """Return the symbols of rows that are in order of symbol, each with its number of rows."""
    symbols = table["symbol"].unify_dictionaries().combine_chunks()
    # A table without rows may have no chunk, or one.
    if not len(symbols):
        return []
    coded = pa.types.is_dictionary(symbols.type)
    runs = pc.run_end_encode(symbols.indices if coded else symbols)
    values = symbols.dictionary.take(runs.values) if coded else runs.values
    ends = runs.run_ends.to_pylist()
    return [(symbol, end - start) for symbol, start, end in zip(values.to_pylist(), [0, *ends[:-1]], ends, strict=True)]


def encode(table: pa.Table, schema: Schema) -> bytes:
    """Return the table as Parquet bytes in the lake's format; a symbol that fits in one row group is not split."""
    sink = io.BytesIO()
    writer = GroupWriter(sink, schema, ahead=False)
    writer.write(table)
    writer.close()
    return sink.getvalue()


class GroupWriter:
    """Writes rows in order of symbol to Parquet, in row groups of at most ``schema.row_group_rows``.

    A group holds whole symbols, or a part of one symbol that is larger than a group. The ends of groups depend only on
    the rows, not on how they are divided into tables. With ``ahead``, a thread encodes a group while the next one is
    filled, which saves time if the caller computes rows meanwhile.
    """

    def __init__(self, sink: io.BytesIO | pa.NativeFile, schema: Schema, ahead: bool) -> None:
        self._schema, self._sink = schema, sink
        self._limit = schema.row_group_rows
        self._writer: pq.ParquetWriter | None = None
        self._encoder = ThreadPoolExecutor(1, "lakehouse-encode") if ahead else None
        self._encoding: deque[Future[None]] = deque()
        # Waiting rows, in order: whole symbols that share the next group, then the symbol that is being written, then
        # other rows of the last table.
        self._waiting: deque[pa.Table] = deque()
        self._whole = self._open = 0
        self._symbol: str | None = None
        self._in_parts = False

    def write(self, table: pa.Table) -> list[tuple[str, int]]:
        """Add rows that come after all earlier rows; return their ``symbol_runs``."""
        self._waiting.append(table)
        runs = symbol_runs(table)
        for symbol, length in runs:
            if symbol != self._symbol:
                self._end_symbol()
                self._symbol = symbol
            self._open += length
            self._spill()
        return runs

    def close(self, footer: Mapping[bytes, bytes] | None = None) -> None:
        """Write the waiting rows and finish the file; ``footer`` holds keys and values for its metadata."""
        self._end_symbol()
        self._flush(self._whole)
        self._end()
        writer = self._writer or self._opened(self._schema.arrow)
        writer.add_key_value_metadata(dict(footer or {}))
        writer.close()

    def abandon(self) -> None:
        """Close the file without finishing it."""
        if self._encoder:
            self._encoder.shutdown()
        with suppress(OSError):
            if self._writer:
                self._writer.close()

    def _end_symbol(self) -> None:
        if self._in_parts:
            self._flush(self._open)
        else:
            self._whole += self._open
        self._open, self._in_parts = 0, False

    def _spill(self) -> None:
        if self._whole and self._whole + self._open > self._limit:
            self._flush(self._whole)
            self._whole = 0
        while self._open > self._limit:
            self._in_parts = True
            self._flush(self._limit)
            self._open -= self._limit

    def _flush(self, count: int) -> None:
        if not count:
            return
        if self._encoder is None:
            self._encode(self._taken(count))
            return
        # One group waits while another is encoded, so that the encoder never waits for the caller.
        self._wait(1)
        self._encoding.append(self._encoder.submit(self._encode, self._taken(count)))

    def _taken(self, count: int) -> list[pa.Table]:
        """Remove and return the first ``count`` waiting rows."""
        taken: list[pa.Table] = []
        while count:
            table = self._waiting.popleft()
            if table.num_rows > count:
                self._waiting.appendleft(table.slice(count))
                table = table.slice(0, count)
            taken.append(table)
            count -= table.num_rows
        return taken

    def _wait(self, left: int) -> None:
        """Wait until at most ``left`` groups are not encoded."""
        while len(self._encoding) > left:
            self._encoding.popleft().result()

    def _end(self) -> None:
        self._wait(0)
        if self._encoder:
            self._encoder.shutdown()

    def _encode(self, tables: list[pa.Table]) -> None:
        # One chunk, because the ends of chunks would change the pages.
        rows = _joined(tables)
        self._writer = self._writer or self._opened(rows.schema)
        if rows.schema != self._writer.schema:
            # All groups have the text type of the first, plain or dictionary; the bytes are the same.
            rows = rows.cast(self._writer.schema)
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))

    def _opened(self, arrow: pa.Schema) -> pq.ParquetWriter:
        columns = self._schema.arrow
        return pq.ParquetWriter(
            self._sink,
            arrow,
            compression=self._schema.codec,
            use_dictionary=[field.name for field in columns if _repeats(field)],
            column_encoding={field.name: _ENCODINGS[field.type] for field in columns if _is_number(field)},
            # Readers skip row groups by names, times and ids, never by amounts.
            write_statistics=[field.name for field in columns if self._is_looked_for(field)],
            # Writes a whole column of a group at once; the bytes do not depend on it.
            write_batch_size=BAR_ROWS,
            # A page checksum shows a bit flipped on disk (integrity.py).
            write_page_checksum=True,
            store_schema=False,
        )

    def _is_looked_for(self, field: pa.Field) -> bool:
        if field.name in self._schema.primary_key or field.type in (TEXT, TIME):
            return True
        # The integers of minutes and bars are counts, not ids.
        return field.type == INT and self._schema.codec != BAR_CODEC


_PRICES = ("open", "high", "low", "close")
# In amounts and ratios only the high bytes repeat.
_ENCODINGS = {INT: "DELTA_BINARY_PACKED", TIME: "DELTA_BINARY_PACKED", FLOAT: "BYTE_STREAM_SPLIT"}


def _repeats(field: pa.Field) -> bool:
    """Whether values are stored as a dictionary: text, and prices of candles, which repeat a few ticks."""
    return pa.types.is_string(field.type) or field.name in _PRICES


def _is_number(field: pa.Field) -> bool:
    return field.type in _ENCODINGS and not _repeats(field)


_TEXT_CODES = pa.dictionary(pa.int32(), pa.string())
# From these lengths of runs and columns on, a dictionary saves more time than it costs.
_LONG_RUN, _LONG_TEXT = 8, 4_096


def _is_coded(values: pa.ChunkedArray, wanted: pa.DataType) -> bool:
    return pa.types.is_dictionary(values.type) and pa.types.is_string(wanted)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows in one chunk; dictionaries hold only the used text, in order of first use."""
    if any(table.schema != tables[0].schema for table in tables):
        plain = pa.schema([f.with_type(pa.string()) if f.type == _TEXT_CODES else f for f in tables[0].schema])
        tables = [table.cast(plain) for table in tables]
    rows = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    for position, field in enumerate(rows.schema):
        if field.type == _TEXT_CODES and rows.num_rows:
            (coded,) = rows.column(position).chunks
            rows = rows.set_column(position, field, _pruned(coded))
    return rows


def _pruned(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the same text with a dictionary of only the used text, in order of first use."""
    codes = coded.indices
    if codes.null_count == 0:
        numbers = codes.to_numpy()
        steps = np.diff(numbers)
        # Usually text is in the order of its dictionary and uses one slice of it.
        if not len(steps) or (steps.min() >= 0 and steps.max() <= 1):
            first, last = int(numbers[0]), int(numbers[-1])
            dictionary = coded.dictionary.slice(first, last - first + 1)
            return pa.DictionaryArray.from_arrays(pa.array(numbers - first), dictionary)
    used = codes.dictionary_encode()
    return pa.DictionaryArray.from_arrays(used.indices, coded.dictionary.take(used.dictionary))


def _sorted(table: pa.Table, schema: Schema) -> pa.Table:
    keys = {name: _comparable(table[name]) for name in schema.primary_key}
    if _in_order(list(keys.values())):
        return table
    # Nulls sort first.
    order = pl.DataFrame(keys).select(pl.arg_sort_by(list(keys), maintain_order=True)).to_series()
    return table.take(order.to_arrow())


def _in_order(keys: Sequence[pa.Array]) -> bool:
    """Whether no row is less than the one before it; False if there are nulls."""
    if any(key.null_count for key in keys):
        return False
    # Whether an earlier column of the key differs from the previous row.
    differs: npt.NDArray[np.bool_] = np.zeros(max(len(keys[0]) - 1, 0), bool)
    for position, key in enumerate(keys):
        values = key.to_numpy()
        if np.greater(values[1:] < values[:-1], differs).any():
            return False
        if position < len(keys) - 1:
            differs |= values[1:] != values[:-1]
    return True


def _comparable(column: pa.ChunkedArray) -> pa.Array:
    """Return numbers in the same order as the values."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if not pa.types.is_dictionary(column.type):
        return column.combine_chunks()
    codes = column.unify_dictionaries().combine_chunks()
    ranks = pc.rank(codes.dictionary, sort_keys="ascending", tiebreaker="dense")
    # Usually the dictionary itself is in order.
    in_order = not len(ranks) or pc.all(pc.less(ranks[:-1], ranks[1:])).as_py()
    return codes.indices if in_order else ranks.take(codes.indices)
