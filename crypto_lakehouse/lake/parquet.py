"""What the lake's Parquet looks like: rows as a schema wants them, encodings, and where row groups end.

Where files lie and how they are published is in ``partitions.py`` and ``store.py``.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.schemas import Schema


def conform(frame: pl.DataFrame | pa.Table, schema: Schema, nulls_allowed: bool) -> pa.Table:
    """The rows as exactly ``schema.arrow``, in primary key order.

    Raises ValueError on missing or unknown columns, on values that do not fit their type and, unless
    ``nulls_allowed``, on nulls in a column that must have none.
    """
    table = frame.to_arrow() if isinstance(frame, pl.DataFrame) else frame
    if set(table.column_names) != set(schema.column_names) or table.num_columns != len(schema.columns):
        missing = sorted(set(schema.column_names) - set(table.column_names))
        unknown = sorted(set(table.column_names) - set(schema.column_names))
        raise ValueError(f"columns do not fit {schema.name}: missing {missing}, unknown or double {unknown}")
    arrays = []
    for column in schema.columns:
        values = table[column.name]
        aware = not pa.types.is_timestamp(column.type) or getattr(values.type, "tz", None) is not None
        if not (aware or pa.types.is_null(values.type)):
            raise ValueError(f"column {column.name} is {values.type}: it needs times with the time zone UTC")
        try:
            values = values.cast(column.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"column {column.name} is {values.type} and does not fit {column.type}: {error}"
            ) from error
        if values.null_count and not (nulls_allowed or column.nullable):
            raise ValueError(f"column {column.name} has {values.null_count} nulls and must have none")
        arrays.append(values)
    return _sorted(pa.Table.from_arrays(arrays, schema=schema.arrow), schema)


def encode(table: pa.Table, schema: Schema) -> bytes:
    """The table as Parquet bytes in the lake's layout; row groups do not split a symbol that fits one."""
    sink = io.BytesIO()
    writer = GroupWriter(sink, schema)
    writer.write(table)
    writer.close()
    return sink.getvalue()


class GroupWriter:
    """Rows in order of symbol to Parquet, in row groups of at most ``schema.row_group_rows``.

    A group holds whole symbols, or a part of one symbol that is larger than a group. Where groups end
    depends on the rows alone, not on the tables in which they came.
    """

    def __init__(self, sink: Path | io.BytesIO, schema: Schema) -> None:
        self._limit = schema.row_group_rows
        self._writer = pq.ParquetWriter(
            sink,
            schema.arrow,
            compression="zstd",
            compression_level=1,
            use_dictionary=[field.name for field in schema.arrow if pa.types.is_string(field.type)],
            column_encoding={
                field.name: "PLAIN" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED"
                for field in schema.arrow
                if pa.types.is_floating(field.type)
                or pa.types.is_integer(field.type)
                or pa.types.is_timestamp(field.type)
            },
            write_statistics=True,
            store_schema=False,
        )
        # Whole symbols that share the next group, and the rows so far of the symbol behind them.
        self._whole: list[pa.Table] = []
        self._open: list[pa.Table] = []
        self._symbol: Any = None
        self._in_parts = False

    def write(self, table: pa.Table) -> None:
        """Take rows that follow those before."""
        runs = pl.Series("symbol", table["symbol"]).rle().struct.unnest()
        begin = 0
        for length, symbol in runs.iter_rows():
            if symbol != self._symbol:
                self._end_symbol()
                self._symbol = symbol
            self._open.append(table.slice(begin, length))
            begin += length
            self._spill()

    def close(self) -> None:
        """Write what is held and end the file."""
        self._end_symbol()
        self._flush(self._whole)
        self._whole = []
        self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that is of no use."""
        with suppress(OSError):
            self._writer.close()

    def _end_symbol(self) -> None:
        if self._in_parts:
            self._flush(self._open)
        else:
            self._whole += self._open
        self._open, self._in_parts = [], False

    def _spill(self) -> None:
        open_rows = _rows(self._open)
        if self._whole and _rows(self._whole) + open_rows > self._limit:
            self._flush(self._whole)
            self._whole = []
        if open_rows > self._limit:
            self._in_parts = True
            rows = pa.concat_tables(self._open)
            done = 0
            while rows.num_rows - done > self._limit:
                self._flush([rows.slice(done, self._limit)])
                done += self._limit
            self._open = [rows.slice(done)]

    def _flush(self, tables: list[pa.Table]) -> None:
        if tables:
            # One chunk, because where chunks end would show in the pages.
            rows = pa.concat_tables(tables).combine_chunks()
            self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))


def _rows(tables: list[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)


def _sorted(table: pa.Table, schema: Schema) -> pa.Table:
    keys = pl.DataFrame(table.select(list(schema.primary_key)))
    behind, tied = pl.lit(False), pl.lit(True)
    for name in schema.primary_key:
        # A null orders first; comparing with one gives null, which counts as not sorted.
        now, before = pl.col(name), pl.col(name).shift(1)
        behind |= tied & (now < before)
        tied &= now == before
    if not keys.select(behind.fill_null(True).slice(1).any()).item():
        return table
    order = keys.select(pl.arg_sort_by(list(schema.primary_key), maintain_order=True)).to_series()
    return table.take(order.to_arrow())
