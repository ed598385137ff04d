"""Fetched files to bronze rows that name their source: many small files in one go, a large one block by block.

This module reads files and reports the result. ``partitions.py`` decides which files belong to a partition and what to
record. No writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.archive.containers import iter_csv
from crypto_lakehouse.archive.inflate import LARGE_MAX_BYTES, MAX_BYTES, BadContainer, verified
from crypto_lakehouse.archive.model import FetchedFile, RejectedFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.concurrency.prefetch import prefetch
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.parse import ParsedRows, RejectedRow, UnusableFile, parse_blocks, parse_joined

JOINED_BYTES = 2 * 1024**2
"""Zips up to this size in bytes are read together; a larger one is read in blocks."""

# Chunks (at most 1 MB each) to inflate ahead of the parser.
_CHUNKS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows (bronze schema) of usable files, file by file, with the number of rows and the rejected lines of each."""

    files: list[FetchedFile]
    rows: pa.Table
    heights: list[int]
    refused: list[list[RejectedRow]]


Read: TypeAlias = Reading | RejectedFile


def read_together(feed: Feed, files: Sequence[FetchedFile | RejectedFile]) -> list[Read]:
    """Read small files, in order: one Reading for all if every file has the usual form, else one per file.

    An unusable file gives a RejectedFile; so does a file that was already rejected.
    """
    usable = [file for file in files if isinstance(file, FetchedFile)]
    texts: list[bytes] = []
    if len(usable) == len(files):
        try:
            texts = [b"".join(_csv(feed, file, MAX_BYTES)) for file in usable]
        except BadContainer:
            texts = []
    if texts and (joined := parse_joined(texts, feed.file_format)):
        rows, heights = joined
        return [Reading(usable, _with_source(feed, rows, usable, heights), heights, [[] for _ in usable])]
    return [result for file in files for result in read_blocks(feed, file)]


def read_blocks(feed: Feed, file: FetchedFile | RejectedFile) -> Iterator[Read]:
    """Read one file in blocks of bounded size; yields a RejectedFile if the file is unusable."""
    if isinstance(file, RejectedFile):
        yield file
        return
    limit = LARGE_MAX_BYTES if feed.file_format.large else MAX_BYTES
    with closing(prefetch(verified(partial(_csv, feed, file, limit)), _CHUNKS_AHEAD)) as chunks:
        blocks = parse_blocks(chunks, feed.file_format)
        try:
            # The parser detects faults of the whole file before it yields the first rows.
            first = next(blocks)
        except (BadContainer, UnusableFile) as error:
            yield RejectedFile(file.file, error.reason, error.detail, file.sha256)
            return
        for parsed in chain([first], blocks):
            yield _reading(feed, file, parsed)


def _reading(feed: Feed, file: FetchedFile, parsed: ParsedRows) -> Reading:
    heights = [parsed.rows.height]
    return Reading([file], _with_source(feed, parsed.rows, [file], heights), heights, [parsed.rejected])


def _with_source(feed: Feed, rows: pl.DataFrame, files: Sequence[FetchedFile], heights: Sequence[int]) -> pa.Table:
    """The rows in the feed's bronze columns, with the symbol, key and sha256 of each row's file.

    These three are Arrow dictionaries: as text they would take more than half of the bytes.
    """
    codes = pa.array(np.repeat(np.arange(len(files), dtype=np.int32), heights))
    table = rows.to_arrow()
    for name, values in (
        ("symbol", [file.file.symbol for file in files]),
        ("source_key", [file.file.object_key for file in files]),
        ("source_sha256", [file.sha256 for file in files]),
    ):
        table = table.append_column(name, pa.DictionaryArray.from_arrays(codes, pa.array(values)))
    return table.select(bronze_schema(feed).column_names)


def _csv(feed: Feed, file: FetchedFile, max_bytes: int) -> Iterator[bytes]:
    return iter_csv(feed.container, file.path, file.file.object_key, max_bytes)
