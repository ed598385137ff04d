"""A partition read in pieces of bounded size that can be worked on one by one.

Here belongs where a partition may be cut, told from the statistics of its row groups. What is done with a
piece belongs to ``pipeline`` and ``transforms``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_lakehouse.lake.parquet import frame_of
from crypto_lakehouse.lake.partitions import open_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import slice_schema
from crypto_lakehouse.schemas.model import TEXT

PIECE_ROWS = 200_000
"""About how many rows a piece has: several copies of it are in memory while it is cleaned."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group: its number, rows, and the least and greatest of its symbols and of the ordering column."""

    number: int
    rows: int
    symbols: tuple[str, str]
    span: tuple[Any, Any]


def read_pieces(
    store: LakeStore,
    layer: str,
    table: str,
    exchange: str,
    market: str,
    key: str,
    order: str | None = None,
    rows: int = PIECE_ROWS,
    columns: Sequence[str] | None = None,
    symbol: str | None = None,
    groups: Collection[int] | None = None,
) -> Iterator[pl.DataFrame]:
    """Rows of one partition in order of symbol, in frames of whole symbols of about ``rows`` rows.

    A symbol with more rows is cut too if ``order`` names an integer column: between two values of it, so
    that rows of one value are always in one frame and frames come in its order, however disordered the rows
    are. So memory stays bounded, unless one value, or without ``order`` one symbol, has very many rows.
    ``columns`` narrows what is read; with ``symbol``, row groups without it are left out, others not, and with
    ``groups`` those of other numbers are.
    Raises MissingPartition if the partition does not exist.
    """
    with open_partition(store, layer, table, exchange, market, key) as source:
        text = [column.name for column in slice_schema(layer, table, exchange, market).columns if column.type == TEXT]
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


def column_spans(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, key: str, column: str
) -> list[tuple[Any, Any] | None]:
    """The least and greatest value of a column in each row group of a partition; None where it has no value.

    From the footer, and from the column itself where that has no statistics of it. Raises MissingPartition if the
    partition does not exist.
    """
    with open_partition(store, layer, table, exchange, market, key) as source:
        parquet = pq.ParquetFile(source)
        return [_span(parquet, number, column) for number in range(parquet.metadata.num_row_groups)]


def _span(parquet: pq.ParquetFile, number: int, column: str) -> tuple[Any, Any] | None:
    place = parquet.schema_arrow.names.index(column)
    statistics = parquet.metadata.row_group(number).column(place).statistics
    if statistics is not None and statistics.has_min_max:
        return statistics.min, statistics.max
    found = pc.min_max(parquet.read_row_group(number, columns=[column])[column]).as_py()
    return None if found["min"] is None else (found["min"], found["max"])


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
    """Row groups that have to stay together: those of one symbol, or of it those whose spans overlap."""
    for run in _symbol_runs(groups):
        if not within_symbols:
            yield run
            continue
        least = list(accumulate((group.span[0] for group in reversed(run)), min))[::-1]
        greatest = list(accumulate((group.span[1] for group in run), max))
        begin = 0
        for end in range(1, len(run) + 1):
            if end == len(run) or greatest[end - 1] < least[end]:
                yield run[begin:end]
                begin = end


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
    """Atoms joined while they fit."""
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
    """Disordered rows of one symbol by ranges of ``order``, which are halved until they hold few rows."""

    def part(low: int, high: int) -> Iterator[pl.DataFrame]:
        overlapping = [group for group in groups if group.span[0] <= high and group.span[1] >= low]
        within = pl.col(order).is_between(low, high)
        found = [
            _read(parquet, [group.number], [order])
            .filter(within)
            .select(pl.len(), pl.min(order).alias("least"), pl.max(order).alias("greatest"))
            .row(0)
            for group in overlapping
        ]
        count = sum(n for n, _, _ in found)
        if not count:
            return
        least, greatest = min(at for n, at, _ in found if n), max(at for n, _, at in found if n)
        if count <= rows or least == greatest:
            yield pl.concat([_read(parquet, [group.number], columns).filter(within) for group in overlapping])
            return
        middle = (least + greatest) // 2
        yield from part(least, middle)
        yield from part(middle + 1, greatest)

    yield from part(min(group.span[0] for group in groups), max(group.span[1] for group in groups))


def _read(parquet: pq.ParquetFile, numbers: Sequence[int], columns: Sequence[str] | None) -> pl.DataFrame:
    return frame_of(parquet.read_row_groups(numbers, columns=columns))
