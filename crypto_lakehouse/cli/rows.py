"""Rows of a command, on stdout or in a file, in the format that the user chooses.

Only rows are written here. Commands get them from the reader, and print messages on stderr (``pipe.note``).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_lakehouse.cli.common import fail
from crypto_lakehouse.cli.console import counted
from crypto_lakehouse.cli.pipe import note, send

if TYPE_CHECKING:
    import polars as pl

STDOUT = "-"
_BLOCK = 10_000


class Format(StrEnum):
    """Formats of rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"
    MARKDOWN = "markdown"


_BINARY = (Format.PARQUET, Format.ARROW)
_SUFFIXES = {
    **{f".{each}": each for each in Format},
    **{".txt": Format.TABLE, ".ndjson": Format.JSONL, ".feather": Format.ARROW, ".md": Format.MARKDOWN},
}

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Format of the rows; by default that of the file's name, on stdout a table."),
]
OutOption = Annotated[str, typer.Option("--out", metavar="FILE", help="File to write; - is stdout.")]


@dataclass(frozen=True, slots=True)
class Output:
    """Where rows go, and their format."""

    format: Format
    out: str

    @classmethod
    def parse(cls, format: Format | None, out: str) -> Output:
        """Check the two options. Ends with exit code 2 if the format is unclear, or binary on a terminal."""
        if format is None and out != STDOUT and Path(out).suffix.lower() not in _SUFFIXES:
            fail(f"the name {out} does not show a format: add --format {'|'.join(Format)}", 2)
        chosen = format or (Format.TABLE if out == STDOUT else _SUFFIXES[Path(out).suffix.lower()])
        if chosen in _BINARY and out == STDOUT and sys.stdout.isatty():
            fail(f"{chosen} is binary, and stdout is a terminal: add --out FILE, or redirect with > FILE", 2)
        return cls(chosen, out)

    def write(self, rows: pl.DataFrame) -> None:
        """Write the rows. A file appears when it is complete, and replaces an older one."""
        blocks = rendered(self.format, rows)
        if self.out == STDOUT:
            send(blocks)
            return
        path = Path(self.out)
        # A device or a named pipe cannot be replaced.
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb") as file:
                file.writelines(blocks)
        else:
            publish(path, blocks)
        note(f"{counted(rows.height, 'row')} written to {path}")


def rendered(format: Format, rows: pl.DataFrame) -> Iterator[bytes]:
    """The bytes of rows in a format."""
    return _WRITERS[format](rows)


def publish(path: Path, blocks: Iterator[bytes]) -> None:
    """Write a file, which appears when it is complete. Ends with exit code 1 if its folder is missing."""
    if not path.parent.is_dir():
        fail(f"there is no folder {path.parent}: create it first, or name another folder", 1)
    if path.is_dir():
        fail(f"{path} is a folder: name a file in it", 1)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            file.writelines(blocks)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _table(rows: pl.DataFrame) -> Iterator[bytes]:
    """Columns of text, as wide as their widest value; numbers are aligned to the right."""
    texts, is_number = _texts(rows), [kind.is_numeric() for kind in rows.dtypes]
    width = [max(map(len, (name, *values)), default=0) for name, values in texts.items()]

    def line(values: tuple[str, ...]) -> str:
        padded = (v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, width, is_number, strict=True))
        return "  ".join(padded).rstrip()

    yield from _lines(map(line, _header_and_rows(texts)))


def _markdown(rows: pl.DataFrame) -> Iterator[bytes]:
    texts = _texts(rows)
    under = tuple("---:" if kind.is_numeric() else "---" for kind in rows.dtypes)

    def lines() -> Iterator[str]:
        for number, values in enumerate(_header_and_rows(texts)):
            yield f"| {' | '.join(value.replace('|', chr(92) + '|') for value in values)} |"
            if number == 0:
                yield f"| {' | '.join(under)} |"

    yield from _lines(lines())


def _header_and_rows(texts: dict[str, list[str]]) -> Iterator[tuple[str, ...]]:
    yield tuple(texts)
    yield from zip(*texts.values(), strict=True)


def _texts(rows: pl.DataFrame) -> dict[str, list[str]]:
    """The values of each column as text on one line."""
    return {
        column.name: ["" if value is None else " ".join(_text(value).split("\n")) for value in column]
        for column in _plain(rows, nested=False).iter_columns()
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(lines: Iterator[str]) -> Iterator[bytes]:
    return (f"{line}\n".encode("utf-8", "backslashreplace") for line in lines)


def _csv(rows: pl.DataFrame) -> Iterator[bytes]:
    return _blocks(_plain(rows, nested=False), lambda block, first: block.write_csv(include_header=first))


def _jsonl(rows: pl.DataFrame) -> Iterator[bytes]:
    return _blocks(_plain(rows, nested=True), lambda block, _: block.write_ndjson())


def _json(rows: pl.DataFrame) -> Iterator[bytes]:
    """An array with one object on each line."""
    separator = b"[\n"
    for lines in _jsonl(rows):
        yield separator + lines.rstrip(b"\n").replace(b"\n", b",\n")
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _blocks(rows: pl.DataFrame, write: Callable[[pl.DataFrame, bool], str]) -> Iterator[bytes]:
    for start in range(0, max(rows.height, 1), _BLOCK):
        if text := write(rows.slice(start, _BLOCK), start == 0):
            yield text.encode()


def _parquet(rows: pl.DataFrame) -> Iterator[bytes]:
    file = BytesIO()
    rows.write_parquet(file, compression="zstd")
    yield file.getvalue()


def _arrow(rows: pl.DataFrame) -> Iterator[bytes]:
    """The file format of Arrow, which is also Feather, version 2."""
    from polars import CompatLevel

    file = BytesIO()
    rows.write_ipc(file, compat_level=CompatLevel.oldest())
    yield file.getvalue()


_WRITERS: dict[Format, Callable[[pl.DataFrame], Iterator[bytes]]] = {
    Format.TABLE: _table,
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.JSONL: _jsonl,
    Format.PARQUET: _parquet,
    Format.ARROW: _arrow,
    Format.MARKDOWN: _markdown,
}


def _plain(rows: pl.DataFrame, nested: bool) -> pl.DataFrame:
    """The rows as numbers, booleans and text: times in ISO 8601, NaN as null, lists as JSON unless ``nested``."""
    return rows.with_columns(_plain_column(column, nested) for column in rows.iter_columns())


def _plain_column(column: pl.Series, nested: bool) -> pl.Series:
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        is_whole = (column.dt.nanosecond() == 0).all()
        zone = "Z" if kind.time_zone in ("UTC", "Etc/UTC") else "%:z" if kind.time_zone else ""
        return column.dt.strftime(f"%Y-%m-%dT%H:%M:%S{'' if is_whole else '%.6f'}{zone}")
    if kind.is_float():
        return column.fill_nan(None)
    if isinstance(kind, pl.Duration):
        return column.dt.to_string("iso")
    if isinstance(kind, pl.Decimal):
        # DuckDB's sum of whole numbers is one.
        whole = column.cast(pl.Int64, strict=False)
        is_exact = kind.scale == 0 and whole.null_count() == column.null_count()
        return whole if is_exact else column.cast(pl.Float64)
    if kind.is_numeric() or kind in (pl.Boolean, pl.String):
        return column
    if kind.is_nested() and nested:
        return column
    if kind == pl.Binary:
        return column.bin.encode("hex")
    if kind.is_nested() or kind == pl.Object:
        texts = [None if value is None else json.dumps(_unpacked(value), default=str) for value in column]
        return pl.Series(column.name, texts, pl.String)
    return column.cast(pl.String)


def _unpacked(value: Any) -> Any:
    return value.to_list() if hasattr(value, "to_list") else value
