"""Rows of a table one partition at a time, and as a stream of Arrow batches, for data that does not fit in memory.

What is read is prepared in ``rows.py``; the public methods are in ``methods/streams.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

import polars as pl
import pyarrow as pa

from crypto_lakehouse.lake.reader.arguments import Output
from crypto_lakehouse.lake.reader.incomplete import partition_warnings
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import files_of, prepare
from crypto_lakehouse.lake.reader.scan import Selection
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.describe import StoredFile
from crypto_lakehouse.lake.storage.store import LakeStore

_Build = Callable[[Sequence[StoredFile]], pl.LazyFrame]


def partitions(store: LakeStore, request: RowRequest, output: Output, method: str) -> Iterator[tuple[date, Any]]:
    """Yield the first UTC day and the rows of each partition; warn about missing ones before the first.

    Rows of a partition are sorted like those of ``Lakehouse.read``. If a run replaces a partition meanwhile, its new
    rows are read.
    """
    order = [*(["market"] if len(request.slices) > 1 else []), *request.schema.primary_key]
    wide = replace(request, columns=tuple(dict.fromkeys([*request.columns, *order])), limit=None)
    build, selections = _prepared(store, wide, method)
    return _each(store, wide, request, output, order, build, selections)


def _each(
    store: LakeStore,
    wide: RowRequest,
    request: RowRequest,
    output: Output,
    order: Sequence[str],
    build: _Build,
    selections: Sequence[Selection],
) -> Iterator[tuple[date, Any]]:
    left = request.limit
    for key, group in _by_key(selections):
        listed: list[tuple[_Build, list[StoredFile]]] = [(build, group)]

        def read(key: str = key, listed: list[tuple[_Build, list[StoredFile]]] = listed) -> pl.DataFrame:
            # A second attempt lists the files again.
            rebuilt, files = listed.pop() if listed else _again(store, wide, key)
            with reading(store, [file.path for file in files]):
                return rebuilt(files).collect()

        rows = unchanged(read, lambda key=key: _again(store, wide, key)[1])  # type: ignore[misc]
        rows = rows.sort(order, maintain_order=True).select(request.columns)
        if left is not None:
            rows, left = rows.head(left), max(0, left - rows.height)
        yield group[0].start, output.convert(rows)
        if left == 0:
            return


def record_batches(
    store: LakeStore, request: RowRequest, output: Output, rows: int, method: str
) -> pa.RecordBatchReader:
    """Return a stream of batches with the rows in the order of ``Lakehouse.scan``; warn about missing partitions."""
    build, selections = _prepared(store, replace(request, limit=None), method)
    empty: Any = output.convert(build([]).collect())
    schema: pa.Schema = empty.schema

    def batches() -> Iterator[pa.RecordBatch]:
        left = request.limit
        for _, group in _by_key(selections):
            with reading(store, [file.path for file in group]):
                for frame in build(group).collect_batches(chunk_size=rows, maintain_order=True, lazy=True):
                    if left is not None:
                        frame, left = frame.head(left), max(0, left - frame.height)
                    converted: Any = output.convert(frame)
                    yield from converted.cast(schema).combine_chunks().to_batches(max_chunksize=rows)
                    if left == 0:
                        return

    return pa.RecordBatchReader.from_batches(schema, batches())


def _prepared(store: LakeStore, request: RowRequest, method: str) -> tuple[_Build, list[Selection]]:
    build, span, selections = prepare(store, request, ordered=False, months=False)
    markets = [selection.slice.market for selection in selections if selection.files]
    if not request.is_market_named and len(markets) > 1:
        raise ValueError(
            f"{request.table} has rows of several markets ({', '.join(markets)}): pass one to {method}, such as"
            f" market={markets[-1]!r}, or a list of markets to read the rows of all of them"
        )
    for warning in partition_warnings(store, request, span, selections):
        warn(warning)
    return build, selections


def _again(store: LakeStore, request: RowRequest, key: str) -> tuple[_Build, list[StoredFile]]:
    build, _, selections = prepare(store, request, ordered=False, months=False)
    return build, [file for file in files_of(selections) if file.key == key]


def _by_key(selections: Sequence[Selection]) -> Iterator[tuple[str, list[StoredFile]]]:
    """Yield the key of each partition and its files of all markets, in order."""
    files = sorted(files_of(selections), key=attrgetter("key", "slice.market", "path"))
    return ((key, list(group)) for key, group in groupby(files, key=attrgetter("key")))
