"""CSV bytes of one archive file to typed rows, and the rows that could not be typed.

This module detects the header line and types fields by position. The tables' own modules (``silver/klines.py``,
``silver/funding.py``, ...) define the meaning of values: units, rules, duplicates.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from crypto_lakehouse.catalog import FieldType, FileColumn, FileFormat

_ARROW = {FieldType.INT64: pa.int64(), FieldType.FLOAT64: pa.float64(), FieldType.STRING: pa.string()}
_POLARS = {FieldType.INT64: pl.Int64, FieldType.FLOAT64: pl.Float64, FieldType.STRING: pl.String}
BLOCK_BYTES = 4 * 1024**2
"""The approximate size of the blocks in which a file that comes in chunks is parsed."""

# Bytes that the CSV reader processes at a time; it is fastest if they fit in the CPU cache.
_READ_AT_ONCE = 1024**2
_THREADED_FROM = 4 * 1024**2
_SHOWN = 4000
_INT64_MAX = 2**63 - 1
_BOM = b"\xef\xbb\xbf"


class UnusableFile(Exception):
    """The whole file is unusable: ``reason`` is a code for the quarantine, ``detail`` is a text for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A line that is not a valid row of the format; ``line`` counts from 1, including a header line."""

    line: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """``rows`` has the file's columns in file order and ``source_line``; order and duplicates as in the file."""

    rows: pl.DataFrame
    rejected: list[RejectedRow]


def parse_csv(data: bytes, file_format: FileFormat) -> ParsedRows:
    """Parse the CSV of one archive file by position.

    The first line is a header iff its first field and most of its fields are text and not numbers. Blank fields are
    null in columns that may be blank. Single bad lines, the first included, are returned as rejected rows:
    ``column_count``, ``not_a_number``, ``bad_csv``, or ``cut_off`` for a last line without a line end, whose last field
    may miss digits. Raises UnusableFile with the reason ``empty_file``, ``header_only``, ``column_count`` (of the
    header, or of the first line if no line is good) or ``unexpected_header``.

    >>> from crypto_lakehouse.catalog.binance_files import FUNDING_RATE
    >>> parse_csv(b"1775001600000,8,-0.00003449\\n", FUNDING_RATE).rows.row(0)
    (1775001600000, 8, -3.449e-05, 1)
    """
    (parsed,) = parse_blocks([data], file_format, block_bytes=len(data) + 1)
    return parsed


def parse_blocks(
    chunks: Iterable[bytes], file_format: FileFormat, block_bytes: int = BLOCK_BYTES
) -> Iterator[ParsedRows]:
    """Parse a CSV that comes in chunks, in blocks of whole lines of about ``block_bytes``, in bounded memory.

    Together the blocks equal the result of ``parse_csv`` for the whole file. Raises UnusableFile before the first
    block, from the content of that block: if no line of it is good, the file counts as unusable.
    """
    line, first = 1, True
    for block in _blocks(chunks, block_bytes):
        has_header = False
        if first:
            block = block.removeprefix(_BOM)
            has_header = _has_header(block, file_format)
        parsed = _parse_fast(block, file_format, has_header, line)
        parsed = parsed or _parse_line_by_line(block, file_format, has_header, line)
        if first and parsed.rows.is_empty():
            _refuse_wrong_count(block, file_format)
        yield parsed
        line, first = line + block.count(b"\n"), False
    if first:
        raise UnusableFile("empty_file", "the CSV holds no line")


def parse_joined(texts: Sequence[bytes], file_format: FileFormat) -> tuple[pl.DataFrame, list[int]] | None:
    """Parse several whole CSVs in one pass. Returns their rows, in order, and the number of rows of each.

    The result equals ``parse_csv`` of each file, at a fraction of the cost if files are small. Returns None if any file
    is unusual (an odd header, a bad, blank or cut line, quotes, carriage returns): then parse the files one by one.

    >>> from crypto_lakehouse.catalog.binance_files import FUNDING_RATE
    >>> rows, heights = parse_joined([b"1775001600000,8,0.1\\n", b"1775001600000,8,0.2\\n"], FUNDING_RATE)
    >>> rows["last_funding_rate"].to_list(), heights
    ([0.1, 0.2], [1, 1])
    """
    bodies: list[memoryview] = []
    heights: list[int] = []
    first_lines: list[int] = []
    headers: set[bytes] = set()
    for text in texts:
        begin = _usual_begin(text, file_format, headers)
        if begin is None or begin == len(text) or not text.endswith(b"\n"):
            return None
        bodies.append(memoryview(text)[begin:])
        heights.append(text.count(b"\n", begin))
        first_lines.append(1 + (begin > 0))
    joined = b"".join(bodies)
    rows = _read(joined, file_format, use_threads=False)
    # In usual text each non-blank line is one row, so equal sums mean equal counts for each file.
    if rows is None or not _is_usual(joined) or rows.height != sum(heights):
        return None
    begins = np.cumsum(heights) - heights
    lines = np.arange(rows.height) + np.repeat(np.array(first_lines) - begins, heights)
    return rows.with_columns(pl.Series("source_line", lines, pl.Int64)), heights


def _usual_begin(text: bytes, file_format: FileFormat, headers: set[bytes]) -> int | None:
    """The position of the first row, after a header if the file has one; None if the file is unusual."""
    if text[: text.find(b",")].isdigit():
        return 0
    end = text.find(b"\n") + 1
    if text[:end] in headers:
        return end
    try:
        if text.startswith(_BOM):
            return None
        if not _has_header(text, file_format):
            return 0
    except UnusableFile:
        return None
    headers.add(text[:end])
    return end


def _blocks(chunks: Iterable[bytes], block_bytes: int) -> Iterator[bytes]:
    """Join the chunks and cut them again after the last line end of each block; a longer line is cut anywhere."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= block_bytes:
            block = b"".join(waiting)
            cut = block.rfind(b"\n") + 1 or len(block)
            yield block[:cut]
            waiting, size = [block[cut:]], len(block) - cut
    if size:
        yield b"".join(waiting)


def _has_header(block: bytes, file_format: FileFormat) -> bool:
    """Whether the first line is a header. Raises UnusableFile if that line shows that the file is unusable."""
    if not block.strip():
        raise UnusableFile("empty_file", "the CSV holds no line")
    fields = _first_fields(block)
    if not _is_header(fields):
        return False
    if len(fields) != len(file_format.columns):
        raise _wrong_count(fields, block, file_format)
    _check_header(fields, file_format)
    if b"\n" not in block or not block.split(b"\n", 1)[1].strip():
        raise UnusableFile("header_only", "the CSV holds a header line and no row")
    return True


def _first_fields(block: bytes) -> list[str]:
    return [field.strip().strip('"') for field in _first_line(block).split(",")]


def _first_line(block: bytes) -> str:
    return block.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")


def _wrong_count(fields: list[str], block: bytes, file_format: FileFormat) -> UnusableFile:
    expected = len(file_format.columns)
    return UnusableFile(
        "column_count",
        f"{len(fields)} columns where {file_format.name} has {expected}: {_first_line(block)[:200]!r}",
    )


def _refuse_wrong_count(block: bytes, file_format: FileFormat) -> None:
    fields = _first_fields(block)
    if len(fields) != len(file_format.columns):
        raise _wrong_count(fields, block, file_format)


def _is_header(fields: list[str]) -> bool:
    texts = [bool(field) and not _is_number(field) for field in fields]
    return texts[0] and 2 * sum(texts) > len(texts)


def _is_number(text: str) -> bool:
    """Whether a field of the first line is a number. Digits of other scripts count: their line is rejected as a row."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace(" ", "")


def _check_header(fields: list[str], file_format: FileFormat) -> None:
    for position, (title, column) in enumerate(zip(fields, file_format.columns, strict=True), start=1):
        if _plain(title) not in {_plain(name) for name in (column.name, *column.aliases)}:
            raise UnusableFile(
                "unexpected_header", f"column {position} is called {title[:_SHOWN]!r} where {column.name!r} belongs"
            )


def _parse_fast(data: bytes, file_format: FileFormat, has_header: bool, first_line: int) -> ParsedRows | None:
    """Parse the usual case in C++; None if any line needs the line-by-line parser."""
    if not data.endswith(b"\n"):
        return None
    begin = data.find(b"\n") + 1 if has_header else 0
    rows = _read(data[begin:], file_format, use_threads=len(data) > _THREADED_FROM)
    if rows is None or rows.height != data.count(b"\n") - has_header:
        return None
    first = first_line + has_header
    return ParsedRows(rows.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias("source_line")), [])


def _is_usual(data: bytes) -> bool:
    return b'"' not in data and b"\r" not in data


def _read(data: bytes, file_format: FileFormat, use_threads: bool) -> pl.DataFrame | None:
    """The lines in the format's columns, by Polars or Arrow; None if a line does not fit.

    Polars takes three quarters of Arrow's time, but fills short lines with nulls, and quotes are switched off here.
    """
    if any(column.may_be_blank for column in file_format.columns) or not _is_usual(data):
        return _read_by_arrow(data, file_format, use_threads)
    schema = {column.name: _POLARS[column.type] for column in file_format.columns}
    try:
        rows = pl.read_csv(data, has_header=False, schema=schema, quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    return None if any(column.null_count() for column in rows) else rows


def _read_by_arrow(data: bytes, file_format: FileFormat, use_threads: bool) -> pl.DataFrame | None:
    columns = file_format.columns
    if any(column.type is FieldType.INT64 for column in columns) and _may_hold_hexadecimal(data):
        return None
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(data),
            read_options=pa_csv.ReadOptions(
                use_threads=use_threads, block_size=_READ_AT_ONCE, column_names=list(file_format.column_names)
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={column.name: _ARROW[column.type] for column in columns},
                null_values=[""] if any(column.may_be_blank for column in columns) else [],
            ),
        )
    except pa.ArrowInvalid:
        return None
    if any(table[column.name].null_count for column in columns if not column.may_be_blank):
        return None
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _may_hold_hexadecimal(data: bytes) -> bool:
    """Whether the text may hold integers like 0x1F, which only Arrow accepts as numbers.

    Searching a single character first is many times faster than searching a pair.
    """
    return any(mark in data and b"0" + mark in data for mark in (b"x", b"X"))


def _parse_line_by_line(data: bytes, file_format: FileFormat, has_header: bool, first_line: int) -> ParsedRows:
    columns = file_format.columns
    values: list[list[int | float | str | None]] = []
    rejected: list[RejectedRow] = []
    lines = data.decode("utf-8", "replace").split("\n")
    for line, raw in enumerate(lines, start=first_line):
        text = raw.rstrip("\r")
        if not text.strip() or (line == 1 and has_header):
            continue
        shown = text[:_SHOWN]
        if line == first_line + len(lines) - 1:
            rejected.append(RejectedRow(line, "cut_off", "the line has no end: the file breaks off in it", shown))
            continue
        try:
            fields = next(csv.reader([text]))
        except csv.Error as error:
            rejected.append(RejectedRow(line, "bad_csv", str(error), shown))
            continue
        if len(fields) != len(columns):
            detail = f"{len(fields)} fields where {len(columns)} belong"
            rejected.append(RejectedRow(line, "column_count", detail, shown))
            continue
        try:
            row = [_convert(field, column) for field, column in zip(fields, columns, strict=True)]
        except ValueError as error:
            rejected.append(RejectedRow(line, "not_a_number", str(error), shown))
            continue
        values.append([*row, line])
    schema = {**{c.name: _POLARS[c.type] for c in columns}, "source_line": pl.Int64}
    return ParsedRows(pl.DataFrame(values, schema=schema, orient="row"), rejected)


def _convert(field: str, column: FileColumn) -> int | float | str | None:
    """One field; integers may be written ``493.0``. Raises ValueError that quotes the field."""
    if column.type is FieldType.STRING:
        return field
    # Of the three parsers only Python accepts full-width and other digits as numbers, and blanks of other scripts.
    if not field.isascii():
        raise ValueError(f"{field[:_SHOWN]!r} is no number: digits are 0 to 9")
    field = field.strip()
    if not field and column.may_be_blank:
        return None
    if "_" in field or not field:
        raise ValueError(f"{field[:_SHOWN]!r} is no number")
    try:
        if column.type is FieldType.FLOAT64:
            return float(field)
        number = int(field) if field.lstrip("+-").isdigit() else float(field)
        if number != int(number) or not -_INT64_MAX - 1 <= number <= _INT64_MAX:
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        kind = "number" if column.type is FieldType.FLOAT64 else "integer"
        raise ValueError(f"{field[:_SHOWN]!r} is no {kind}") from None
