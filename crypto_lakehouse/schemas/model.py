"""What a table schema is: columns with types, units and words, the primary key and the order of rows.

The tables themselves are described one module each beside this one. No I/O and no frames here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
FLOAT = pa.float64()
INT = pa.int64()
TEXT = pa.string()
FLAG = pa.bool_()

# Ten symbol-days of one-minute klines: large enough to compress, small enough to skip by symbol.
BAR_ROWS = 14_400
# Rows of a row group in tables of events, of which one symbol alone may have millions a day.
EVENT_ROWS = 100_000
# Minutes and bars are read again and again, and decode in two fifths of the time for a tenth more bytes than with zstd.
BAR_CODEC = "lz4"
# Events take the most room and are read seldom; lz4 would take nearly half as much again (benchmarks/layout.py).
EVENT_CODEC = "zstd"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: Arrow type, unit (``UTC``, ``base asset``, ``1``), meaning, and whether it may be null."""

    name: str
    type: pa.DataType
    unit: str
    doc: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns of a kind of table in order; ``primary_key`` also is the order of rows in a partition.

    ``archive_symbol`` is the column with the symbol under which the archive files a row; ``row_group_rows``
    is about how many rows a row group of the Parquet holds, and ``codec`` how it is compressed. ``id_column`` is
    the integer part of the key by which the rows of one symbol, of which there may be very many, are read and
    worked on in pieces.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    time_column: str
    archive_symbol: str = "symbol"
    row_group_rows: int = BAR_ROWS
    codec: str = BAR_CODEC
    id_column: str | None = None

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, in column order; strings are plain, times are ``timestamp[us, UTC]``."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        return [c.name for c in self.columns]
