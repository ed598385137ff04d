"""CSV bytes of one archive file to typed rows, and the rows that could not be typed.

Sniffing of the header line and typing by position belong here; what a value *means* (units, rules,
duplicates) belongs to ``klines.py`` and ``funding.py``.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from crypto_lakehouse.catalog import FieldType, FileFormat

_ARROW = {FieldType.INT64: pa.int64(), FieldType.FLOAT64: pa.float64(), FieldType.STRING: pa.string()}
_POLARS = {FieldType.INT64: pl.Int64, FieldType.FLOAT64: pl.Float64, FieldType.STRING: pl.String}
_INT64_MAX = 2**63 - 1
_BOM = b"\xef\xbb\xbf"


class UnusableFile(Exception):
    """The whole file is of no use: ``reason`` is a code for the quarantine, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A line that is no row of the format; ``line`` counts from 1, a header line included."""

    line: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """``rows`` has the file's columns in file order and ``source_line``; order and duplicates as in the file."""

    rows: pl.DataFrame
    rejected: list[RejectedRow]
    has_header: bool


def parse_csv(data: bytes, file_format: FileFormat) -> ParsedFile:
    """Parse the CSV of one archive file by position.

    The first line is a header iff its first field and most others are text that is no number. Raises
    UnusableFile with reason ``empty_file``, ``header_only``, ``column_count`` (of the header, or of the
    first line where no line is good) or ``unexpected_header``; single bad lines, the first included, are
    returned as rejected rows (``column_count``, ``not_a_number``, ``bad_csv``).

    >>> from crypto_lakehouse.catalog.binance_files import FUNDING_RATE
    >>> parse_csv(b"1775001600000,8,-0.00003449\\n", FUNDING_RATE).rows.row(0)
    (1775001600000, 8, -3.449e-05, 1)
    """
    data = data.removeprefix(_BOM)
    if not data.strip():
        raise UnusableFile("empty_file", "the CSV holds no line")
    first_line = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    fields = [field.strip().strip('"') for field in first_line.split(",")]
    expected = len(file_format.columns)
    wrong_count = UnusableFile(
        "column_count", f"{len(fields)} columns where {file_format.name} has {expected}: {first_line[:200]!r}"
    )
    has_header = _is_header(fields)
    if has_header:
        if len(fields) != expected:
            raise wrong_count
        _check_header(fields, file_format)
        if b"\n" not in data or not data.split(b"\n", 1)[1].strip():
            raise UnusableFile("header_only", "the CSV holds a header line and no row")
    rows = _parse_fast(data, file_format, has_header)
    if rows is not None:
        return ParsedFile(rows, [], has_header)
    parsed = _parse_line_by_line(data, file_format, has_header)
    if len(fields) != expected and parsed.rows.is_empty():
        raise wrong_count
    return parsed


def _is_header(fields: list[str]) -> bool:
    texts = [bool(field) and not _is_number(field) for field in fields]
    return texts[0] and 2 * sum(texts) > len(texts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace(" ", "")


def _check_header(fields: list[str], file_format: FileFormat) -> None:
    for position, (found, column) in enumerate(zip(fields, file_format.columns, strict=True), start=1):
        if _plain(found) not in {_plain(name) for name in (column.name, *column.aliases)}:
            raise UnusableFile(
                "unexpected_header", f"column {position} is called {found!r} where {column.name!r} belongs"
            )


def _parse_fast(data: bytes, file_format: FileFormat, has_header: bool) -> pl.DataFrame | None:
    """The usual case in C++; None where any line needs a closer look."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(data) + 1,
                column_names=list(file_format.column_names),
                skip_rows=int(has_header),
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={c.name: _ARROW[c.type] for c in file_format.columns}, null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines - has_header:
        return None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    first = 1 + has_header
    return frame.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias("source_line"))


def _parse_line_by_line(data: bytes, file_format: FileFormat, has_header: bool) -> ParsedFile:
    columns = file_format.columns
    values: list[list[int | float | str]] = []
    rejected: list[RejectedRow] = []
    for line, raw in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        text = raw.rstrip("\r")
        if not text.strip() or (line == 1 and has_header):
            continue
        try:
            fields = next(csv.reader([text]))
        except csv.Error as error:
            rejected.append(RejectedRow(line, "bad_csv", str(error), text))
            continue
        if len(fields) != len(columns):
            detail = f"{len(fields)} fields where {len(columns)} belong"
            rejected.append(RejectedRow(line, "column_count", detail, text))
            continue
        try:
            row = [_convert(field.strip(), column.type) for field, column in zip(fields, columns, strict=True)]
        except ValueError as error:
            rejected.append(RejectedRow(line, "not_a_number", str(error), text))
            continue
        values.append([*row, line])
    schema = {**{c.name: _POLARS[c.type] for c in columns}, "source_line": pl.Int64}
    return ParsedFile(pl.DataFrame(values, schema=schema, orient="row"), rejected, has_header)


def _convert(field: str, kind: FieldType) -> int | float | str:
    """One field; integers may be written ``493.0``. Raises ValueError that quotes the field."""
    if kind is FieldType.STRING:
        return field
    if "_" in field or not field:
        raise ValueError(f"{field!r} is no number")
    try:
        if kind is FieldType.FLOAT64:
            return float(field)
        number = int(field) if field.lstrip("+-").isdigit() else float(field)
        if number != int(number) or abs(number) > _INT64_MAX:
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        raise ValueError(f"{field!r} is no {'number' if kind is FieldType.FLOAT64 else 'integer'}") from None
