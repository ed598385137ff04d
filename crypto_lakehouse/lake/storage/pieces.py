"""Reads of a partition in pieces of bounded size, which can be processed one by one.

This module decides where a partition may be cut, from the statistics of its row groups. ``pipeline`` and ``transforms``
process the pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse.lake.storage.parquet import frame_of
from crypto_lakehouse.lake.storage.partitions import open_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.model import TEXT
from crypto_lakehouse.schemas.slices import Partition

PIECE_ROWS = 200_000
"""Approximate rows of a piece: several copies of a piece are in memory while it is cleaned."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: its number and rows, and the least and greatest symbol and value of the ordering column."""

    number: int
    rows: int
    symbols: tuple[str, str]
    span: tuple[Any, Any]


def read_pieces(
    store: LakeStore,
    partition: Partition,
    order: str | None = None,
    rows: int = PIECE_ROWS,
    columns: Sequence[str] | None = None,
    symbol: str | None = None,
    groups: Collection[int] | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of one partition in order of symbol, in frames of whole symbols of about ``rows`` rows.

    Parameters
    ----------
    order
        An integer column by which a symbol with more rows may be cut. All rows of one value are in one frame, and
        frames come in order of the values, whatever the order of the rows. So memory is bounded, unless one value (or,
        without ``order``, one symbol) has very many rows.
    rows
        Approximate number of rows of a frame.
    columns
        Columns to read; None means all.
    symbol
        Skip row groups that cannot contain this symbol; the frames may contain other symbols too.
    groups
        Read only the row groups with these numbers; None means all.

    Raises
    ------
    MissingPartition
        The partition does not exist.
    """
    with open_partition(store, partition) as source:
        text = [column.name for column in partition.slice.schema.columns if column.type == TEXT]
        parquet = pq.ParquetFile(source, read_dictionary=text)
        chosen = [
            group
            for group in _groups(parquet, order)
            if (symbol is None or group.symbols[0] <= symbol <= group.symbols[1])
            and (groups is None or group.number in groups)
        ]
        for piece in _pieces(_atoms(chosen, within_symbols=order is not None), rows):
            numbers = [group.number for group in piece]
            if order is None or len(piece) == 1 or sum(group.rows for group in piece) <= 2 * rows:
                yield _read(parquet, numbers, columns)
            else:
                yield from _by_ranges(parquet, piece, order, rows, columns)


def column_spans(store: LakeStore, partition: Partition, column: str) -> list[tuple[Any, Any] | None]:
    """Return the least and greatest value of a column in each row group of a partition, None where it has no value.

    They come from the footer or, if it has no statistics of the column, from its values. Raises MissingPartition if the
    partition does not exist.
    """
    with open_partition(store, partition) as source:
        parquet = pq.ParquetFile(source)
        return [_span(parquet, number, column) for number in range(parquet.metadata.num_row_groups)]


def _span(parquet: pq.ParquetFile, number: int, column: str) -> tuple[Any, Any] | None:
    position = parquet.schema_arrow.names.index(column)
    statistics = parquet.metadata.row_group(number).column(position).statistics
    if statistics is not None and statistics.has_min_max:
        return statistics.min, statistics.max
    values = pc.min_max(parquet.read_row_group(number, columns=[column])[column]).as_py()
    return None if values["min"] is None else (values["min"], values["max"])


def _groups(parquet: pq.ParquetFile, order: str | None) -> list[_Group]:
    names, metadata = parquet.schema_arrow.names, parquet.metadata

    def span(number: int, name: str) -> tuple[Any, Any]:
        statistics = metadata.row_group(number).column(names.index(name)).statistics
        return statistics.min, statistics.max

    return [
        _Group(number, metadata.row_group(number).num_rows, span(number, "symbol"), span(number, order or "symbol"))
        for number in range(metadata.num_row_groups)
        if metadata.row_group(number).num_rows
    ]


def _atoms(groups: Sequence[_Group], within_symbols: bool) -> Iterator[list[_Group]]:
    """Yield row groups that must stay together: those of one symbol, or its groups with overlapping spans."""
    for run in _symbol_runs(groups):
        if not within_symbols:
            yield run
            continue
        least = list(accumulate((group.span[0] for group in reversed(run)), min))[::-1]
        greatest = list(accumulate((group.span[1] for group in run), max))
        start = 0
        for end in range(1, len(run) + 1):
            if end == len(run) or greatest[end - 1] < least[end]:
                yield run[start:end]
                start = end


def _symbol_runs(groups: Sequence[_Group]) -> Iterator[list[_Group]]:
    run: list[_Group] = []
    for group in groups:
        if run and group.symbols[0] != run[-1].symbols[1]:
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _pieces(atoms: Iterable[list[_Group]], rows: int) -> Iterator[list[_Group]]:
    """Join atoms into pieces of at most ``rows`` rows."""
    piece: list[_Group] = []
    for atom in atoms:
        if piece and sum(group.rows for group in (*piece, *atom)) > rows:
            yield piece
            piece = []
        piece += atom
    if piece:
        yield piece


def _by_ranges(
    parquet: pq.ParquetFile, groups: Sequence[_Group], order: str, rows: int, columns: Sequence[str] | None
) -> Iterator[pl.DataFrame]:
    """Yield unordered rows of one symbol by ranges of ``order``; a range is halved until it holds at most ``rows``."""

    def halves(low: int, high: int) -> Iterator[pl.DataFrame]:
        overlapping = [group for group in groups if group.span[0] <= high and group.span[1] >= low]
        within = pl.col(order).is_between(low, high)
        counts = [
            _read(parquet, [group.number], [order])
            .filter(within)
            .select(pl.len(), pl.min(order).alias("least"), pl.max(order).alias("greatest"))
            .row(0)
            for group in overlapping
        ]
        count = sum(n for n, _, _ in counts)
        if not count:
            return
        least, greatest = min(at for n, at, _ in counts if n), max(at for n, _, at in counts if n)
        if count <= rows or least == greatest:
            yield pl.concat([_read(parquet, [group.number], columns).filter(within) for group in overlapping])
            return
        middle = (least + greatest) // 2
        yield from halves(least, middle)
        yield from halves(middle + 1, greatest)

    yield from halves(min(group.span[0] for group in groups), max(group.span[1] for group in groups))


def _read(parquet: pq.ParquetFile, numbers: Sequence[int], columns: Sequence[str] | None) -> pl.DataFrame:
    return frame_of(parquet.read_row_groups(numbers, columns=columns))
