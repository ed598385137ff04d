"""The classes of a table schema: columns with types, units and descriptions, primary key and order of rows.

The tables are in the other modules of this package. No I/O and no frames here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from crypto_lakehouse.catalog.near import unknown_name

TIME = pa.timestamp("us", tz="UTC")
FLOAT = pa.float64()
INT = pa.int64()
TEXT = pa.string()
FLAG = pa.bool_()

# Ten symbol-days of one-minute klines: large enough to compress, small enough to skip by symbol.
BAR_ROWS = 14_400
# Rows of a row group in tables of events; one symbol may have millions of events a day.
EVENT_ROWS = 100_000
# Minutes and bars are read often. With lz4 they decode in two fifths of the time of zstd, for a tenth more bytes.
BAR_CODEC = "lz4"
# Events take the most space and are read rarely; lz4 would take nearly 50 % more (benchmarks/layout.py).
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
    """Columns of a kind of table, in order; ``primary_key`` is also the order of rows in a partition.

    ``archive_symbol`` is the column with the symbol of the archive folder; ``row_group_rows`` is the approximate
    number of rows in a Parquet row group, and ``codec`` its compression. ``id_column`` is an integer column of the
    key: tables that may have very many rows per symbol are read and processed in ranges of it. Raises ValueError if a
    column is repeated, or if one of these names is not a column.
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

    def __post_init__(self) -> None:
        names = self.column_names
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"schema {self.name} has the columns {', '.join(repeated)} more than once")
        for name in (*self.primary_key, self.time_column, *filter(None, [self.id_column])):
            if name not in names:
                raise ValueError(f"schema {self.name}: {unknown_name('column', name, names)}")

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, in column order; strings are plain, times are ``timestamp[us, UTC]``."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    def empty(self) -> pa.Table:
        """A table without rows. Unlike ``pyarrow.Schema.empty_table`` this does not import pandas."""
        return pa.Table.from_batches([], schema=self.arrow)

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        return [c.name for c in self.columns]
