"""Rows of named symbols from month files on disk, faster than a scan: one row group of a month file is one symbol.

Footers are kept in memory by path, size and time of change, so a repeated read opens only the row groups of its
symbols, and columns of text with a single value are not decoded. Whatever is unusual is left to the scan in
``rows.py``, which also finds the words for damaged files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_lakehouse.lake.storage.describe import StoredFile
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema

# Months whose footers are kept: years of several tables.
_FOOTERS = 512


def read_months(
    store: LakeStore, schema: Schema, files: Sequence[StoredFile], symbols: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame | None:
    """Return the rows of ``symbols``, in order of symbol and file, from month files of one slice in order of month.

    None if the lake is not on disk, or if a file is not like those that this version writes: read it by a scan.
    """
    if not store.is_local:
        return None
    try:
        footers = [_footer(store.path(file.path), file.size, file.modified.timestamp()) for file in files]
        pieces = [
            _Piece(footer, groups, symbol)
            for symbol in sorted(set(symbols))
            for footer in footers
            if (groups := footer.groups_of(symbol))
        ]
        types = {field.name: field.type for field in schema.arrow}
        if not all(footer.types.get(name) == types[name] for footer in footers for name in columns):
            return None
        constants = {name: value for name in columns if (value := _only_value(schema, pieces, name)) is not None}
        decoded = [name for name in columns if name not in constants and name != "symbol"]
        tables = _read_all(pieces, decoded)
    except (pa.ArrowException, OSError, _Unusual):
        return None
    if not tables:
        return pl.DataFrame(schema.empty()).select(columns)
    frame = pl.from_arrow(pa.concat_tables(tables), rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    names = {piece.symbol for piece in pieces}
    made: dict[str, pl.Expr] = {name: pl.lit(value).alias(name) for name, value in constants.items()}
    if len(names) == 1:
        made["symbol"] = pl.lit(names.pop()).alias("symbol")
    elif "symbol" in columns:
        frame = frame.with_columns(_symbols(pieces).alias("symbol"))
    return frame.select(made.get(name, pl.col(name)) for name in columns)


def _read_all(pieces: Sequence[_Piece], columns: Sequence[str]) -> list[pa.Table]:
    """The rows of all pieces, in order. Each task of a thread reads several: a task costs as much as a column."""
    threads = os.cpu_count() or 1
    count = -(-len(pieces) // (2 * threads)) or 1
    tasks = [pieces[at : at + count] for at in range(0, len(pieces), count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(lambda task: [piece.read(columns) for piece in task], tasks)))


def _symbols(pieces: Sequence[_Piece]) -> pl.Series:
    """The symbol of each row."""
    return pl.concat([pl.repeat(piece.symbol, piece.rows, dtype=pl.String, eager=True) for piece in pieces])


class _Unusual(Exception):
    """A month file has row groups of several symbols, or none that says which."""


class _Footer:
    """The footer of a month file, and its row groups by symbol."""

    def __init__(self, path: str) -> None:
        self.path = path
        with pq.ParquetFile(path) as file:
            self.metadata, schema = file.metadata, file.schema_arrow
        self.types = {field.name: field.type for field in schema}
        self._column = {name: number for number, name in enumerate(schema.names)}
        self._groups: dict[str, list[int]] = {}
        for group in range(self.metadata.num_row_groups):
            if (symbol := self.only_value(group, "symbol")) is None:
                raise _Unusual
            self._groups.setdefault(symbol, []).append(group)

    def groups_of(self, symbol: str) -> list[int]:
        """The row groups of a symbol."""
        return self._groups.get(symbol, [])

    def only_value(self, group: int, column: str) -> str | None:
        """The value of a text column if a row group has only one; None otherwise, or if it is unknown."""
        values = self.metadata.row_group(group).column(self._column[column]).statistics
        if values is None or not values.has_min_max or values.null_count or values.min != values.max:
            return None
        # A longer minimum or maximum may be cut.
        return values.min if isinstance(values.min, str) and len(values.min) <= _SHORT else None


_SHORT = 32


@lru_cache(_FOOTERS)
def _footer(path: str, size: int, modified: float) -> _Footer:
    """The footer of a file; size and time of change are only there to tell versions apart."""
    del size, modified
    return _Footer(path)


class _Piece(NamedTuple):
    """The rows of a symbol in a file."""

    footer: _Footer
    groups: list[int]
    symbol: str

    @property
    def rows(self) -> int:
        return sum(self.footer.metadata.row_group(group).num_rows for group in self.groups)

    def read(self, columns: Sequence[str]) -> pa.Table:
        with pq.ParquetFile(self.footer.path, metadata=self.footer.metadata, memory_map=True) as file:
            return file.read_row_groups(self.groups, columns=list(columns), use_threads=False)


def _only_value(schema: Schema, pieces: Sequence[_Piece], column: str) -> str | None:
    """The value of a text column if it has only one in all pieces."""
    if column == "symbol" or not pa.types.is_string(schema.arrow.field(column).type):
        return None
    values = set(_values(pieces, column))
    return values.pop() if len(values) == 1 else None


def _values(pieces: Sequence[_Piece], column: str) -> Iterator[str | None]:
    return (piece.footer.only_value(group, column) for piece in pieces for group in piece.groups)
