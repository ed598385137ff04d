"""Fetched zips to bronze rows that name their source: many small files in one go, a large one block by block.

Here belongs how files are read and what a reading says of them. Which files make a partition, and what is recorded of
them, is in ``bronze.py``; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from crypto_lakehouse.archive.model import FetchedFile, RejectedFile
from crypto_lakehouse.archive.unzip import LARGE_MAX_BYTES, MAX_BYTES, BadZip, read_member, verified_member
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.pipeline.ahead import ahead
from crypto_lakehouse.schemas import bronze_schema
from crypto_lakehouse.transforms.parse import ParsedRows, RejectedRow, UnusableFile, parse_blocks, parse_joined

JOINED_BYTES = 2 * 1024**2
"""Zips of up to so many bytes are read together; a larger one is read in blocks."""

# Pieces of a megabyte or less that are inflated while those before them are parsed.
_CHUNKS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows (bronze schema) of files of use, file by file, and for each file how many and the lines refused."""

    files: list[FetchedFile]
    rows: pa.Table
    heights: list[int]
    refused: list[list[RejectedRow]]


Read: TypeAlias = Reading | RejectedFile


def read_together(feed: Feed, files: Sequence[FetchedFile | RejectedFile]) -> list[Read]:
    """What comes of small files, in their order: one reading of all where all are as usual, else one a file.

    Files of no use are RejectedFile, as those that came as such are.
    """
    usable = [file for file in files if isinstance(file, FetchedFile)]
    texts: list[bytes] = []
    if len(usable) == len(files):
        try:
            texts = [read_member(file.path, _member(file), MAX_BYTES) for file in usable]
        except BadZip:
            texts = []
    if texts and (joined := parse_joined(texts, feed.file_format)):
        rows, heights = joined
        return [Reading(usable, _with_source(feed, rows, usable, heights), heights, [[] for _ in usable])]
    return [result for file in files for result in read_blocks(feed, file)]


def read_blocks(feed: Feed, file: FetchedFile | RejectedFile) -> Iterator[Read]:
    """What comes of one file, in blocks of bounded size, or the RejectedFile that it is."""
    if isinstance(file, RejectedFile):
        yield file
        return
    limit = LARGE_MAX_BYTES if feed.file_format.large else MAX_BYTES
    with closing(ahead(verified_member(file.path, _member(file), limit), _CHUNKS_AHEAD)) as chunks:
        blocks = parse_blocks(chunks, feed.file_format)
        try:
            # What is wrong with a file as a whole shows before its first rows are given.
            first = next(blocks)
        except (BadZip, UnusableFile) as error:
            yield RejectedFile(file.file, error.reason, error.detail, file.sha256)
            return
        for parsed in chain([first], blocks):
            yield _reading(feed, file, parsed)


def _reading(feed: Feed, file: FetchedFile, parsed: ParsedRows) -> Reading:
    heights = [parsed.rows.height]
    return Reading([file], _with_source(feed, parsed.rows, [file], heights), heights, [parsed.rejected])


def _with_source(feed: Feed, rows: pl.DataFrame, files: Sequence[FetchedFile], heights: Sequence[int]) -> pa.Table:
    """The rows in the feed's bronze columns: with the symbol, key and sha256 of the file that each is from.

    These are Arrow dictionaries: as text they would be more than half of the bytes.
    """
    codes = pa.array(np.repeat(np.arange(len(files), dtype=np.int32), heights))
    table = rows.to_arrow()
    for name, values in (
        ("symbol", [file.file.symbol for file in files]),
        ("source_key", [file.file.key for file in files]),
        ("source_sha256", [file.sha256 for file in files]),
    ):
        table = table.append_column(name, pa.DictionaryArray.from_arrays(codes, pa.array(values)))
    return table.select(bronze_schema(feed).column_names)


def _member(file: FetchedFile) -> str:
    return f"{Path(file.file.key).stem}.csv"
