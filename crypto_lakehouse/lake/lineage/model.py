"""The values that ``Lakehouse.explain`` returns: rows of a table, the rows that they were made of, and their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

import polars as pl
from polars._typing import PolarsDataType

_TIME = pl.Datetime("us", "UTC")
_SHOWN = 6
TRACE: dict[str, PolarsDataType] = {
    "time": _TIME,
    "partition": pl.String,
    "use": pl.String,
    "source": pl.String,
    "source_key": pl.String,
    "source_sha256": pl.String,
    "source_line": pl.Int64,
}
"""Columns of ``Step.trace``. ``use`` is made, traded, filled, kept, or rejected with the reason."""

_OF_FILES: dict[str, PolarsDataType] = {
    "status": pl.String,
    "etag": pl.String,
    "last_modified": _TIME,
    "first_seen": _TIME,
    "ingested_at": _TIME,
}


@dataclass(frozen=True, slots=True)
class StoredIn:
    """A partition that holds rows of a step: its key, its path below the root of the lake, and when it was written.

    ``written`` is None if the partition is missing, as for bars that are computed when they are read.
    """

    key: str
    path: str
    written: datetime | None


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One state of a file in the ledger."""

    sha256: str | None
    etag: str | None
    last_modified: datetime | None
    size: int | None
    status: str
    reason: str | None
    first_seen: datetime
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that rows come from.

    ``sha256`` is that of the bytes from which bronze took the rows, ``lines`` are the lines of these rows in the CSV.
    ``version`` is the file's newest state in the ledger; None if the ledger does not know the file. ``earlier`` are the
    states before it, newest first. ``raw`` is the path of the kept bytes below the root of the lake, if they are kept.
    ``quarantined`` are the rows of ``quarantine.rejected`` of the same file.
    """

    key: str
    sha256: str
    partition: str
    lines: tuple[int, ...]
    version: FileVersion | None
    earlier: tuple[FileVersion, ...]
    raw: str | None
    quarantined: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """Rows of one table in a chain, and the steps that they were made of.

    ``rows`` has the columns of the table, ``trace`` has a row for each of them with the columns TRACE. Of many rows
    (all trades of a day) both are empty, and ``summary`` counts them.
    """

    table: str
    summary: str
    rows: pl.DataFrame
    trace: pl.DataFrame
    partitions: tuple[StoredIn, ...]
    code: str
    notes: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    inputs: tuple[Step, ...] = field(default=())

    def steps(self) -> Iterator[Step]:
        """This step and all those below it, from the top."""
        yield self
        for step in self.inputs:
            yield from step.steps()


@dataclass(frozen=True, eq=False, slots=True)
class Explanation:
    """Where rows of a table come from: what ``Lakehouse.explain`` returns.

    ``row`` is the step with the rows that were asked for; follow ``inputs`` down to bronze and its ``files``. Printed,
    it is a text; ``frame`` has all rows of all steps.
    """

    exchange: str
    market: str
    symbol: str
    row: Step

    def steps(self) -> Iterator[Step]:
        """All steps, from the row down."""
        return self.row.steps()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files that the rows come from, each once."""
        files = {(file.key, file.sha256, file.partition): file for step in self.steps() for file in step.files}
        return tuple(files.values())

    def frame(self) -> pl.DataFrame:
        """Return a row for each row of each step: its table, time, partition and use, and of bronze the line of the
        file and what the ledger says of the file.
        """
        traces = [step.trace.with_columns(table=pl.lit(step.table)) for step in self.steps()]
        rows = pl.concat(traces).select("table", pl.lit(self.symbol).alias("symbol"), *TRACE)
        known = [
            (file.key, file.partition, *(getattr(file.version, name) for name in _OF_FILES))
            for file in self.files
            if file.version is not None
        ]
        names = {"source_key": pl.String, "partition": pl.String, **_OF_FILES}
        files = pl.DataFrame(known, schema=names, orient="row").unique(["source_key", "partition"], keep="first")
        return rows.join(files, on=["source_key", "partition"], how="left", maintain_order="left")

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.symbol} of {self.exchange}/{self.market}", *_step_lines(self.row, "", with_values=True)]
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _step_lines(step: Step, indent: str, with_values: bool = False) -> Iterator[str]:
    yield f"{indent}{step.table}: {step.summary}"
    inner = f"{indent}  "
    if with_values:
        for row in step.rows.head(_SHOWN).iter_rows(named=True):
            values = (f"{name} {_text(value)}" for name, value in row.items() if value is not None)
            yield f"{inner}row: {', '.join(values)}"
    for each in step.partitions[:_SHOWN]:
        written = f"written {_text(each.written)}" if each.written else "not stored"
        yield f"{inner}partition {each.key}, {written}: {each.path}"
    if len(step.partitions) > _SHOWN:
        yield f"{inner}and {len(step.partitions) - _SHOWN} more partitions up to {step.partitions[-1].key}"
    yield f"{inner}made by code version {step.code}"
    for note in step.notes:
        yield f"{inner}{note}"
    for file in step.files[:_SHOWN]:
        yield from _file_lines(file, inner)
    if len(step.files) > _SHOWN:
        yield f"{inner}and {len(step.files) - _SHOWN} more files: see frame()"
    for below in step.inputs:
        yield from _step_lines(below, inner)


def _file_lines(file: SourceFile, indent: str) -> Iterator[str]:
    # The key of an answer is the request.
    kind, unit = ("answer", "row") if file.key.startswith("/") else ("file", "line")
    yield f"{indent}{kind} {file.key}"
    inner = f"{indent}  "
    yield f"{inner}{_lines(file.lines, unit)}; sha256 {file.sha256}"
    if file.version is None:
        yield f"{inner}the ledger does not know this {kind}"
    else:
        if file.version.sha256 != file.sha256:
            yield f"{inner}the ledger knows another version of it: build the partition again"
        yield f"{inner}{_state(file.version)}"
    for version in file.earlier[:_SHOWN]:
        yield f"{inner}earlier: {_state(version, with_hash=True)}"
    if file.raw is not None:
        yield f"{inner}bytes kept in {file.raw}"
    for row in file.quarantined[:_SHOWN]:
        line = f"line {row['source_line']}" if row["source_line"] is not None else "the file"
        yield f"{inner}quarantined: {line}, {row['reason']} ({row['layer']}): {row['detail']}"
    if len(file.quarantined) > _SHOWN:
        yield f"{inner}quarantined: and {len(file.quarantined) - _SHOWN} more rows"


def _state(version: FileVersion, with_hash: bool = False) -> str:
    facts = {
        "sha256": version.sha256 if with_hash else None,
        "reason": version.reason,
        "first seen": version.first_seen,
        "ingested" if version.status == "ingested" else "recorded": version.ingested_at,
        "etag": version.etag,
        "last modified": version.last_modified,
    }
    return (
        f"{version.status}, {', '.join(f'{name} {_text(value)}' for name, value in facts.items() if value is not None)}"
    )


def _lines(lines: tuple[int, ...], unit: str = "line") -> str:
    """Numbers of lines as ranges.

    >>> _lines((2, 3, 4, 9))
    'lines 2 to 4, 9'
    """
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and runs[-1][1] + 1 == line:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs[:_SHOWN])
    more = f", and {len(runs) - _SHOWN} more ranges" if len(runs) > _SHOWN else ""
    return f"{unit if len(lines) == 1 else f'{unit}s'} {shown}{more}" if lines else "rows are counted, not listed"


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(sep=" ").removesuffix("+00:00")
    return str(value).lower() if isinstance(value, bool) else str(value)


def trace_of(rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """Return the columns TRACE of rows, null where ``columns`` does not name an expression."""
    return rows.select(columns.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in TRACE.items())
