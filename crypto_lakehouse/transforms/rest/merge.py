"""Silver rows of the archive and of REST answers as one table: rows of the archive win, REST fills the missing keys.

Which rows are given, and what becomes of differences, is decided in ``pipeline/silver.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.transforms.silver.clean import REJECTED_COLUMNS, REJECTED_TYPES, Cleaned

REST = "rest"
"""Value of the silver column ``source`` of rows from REST answers."""

DIFFERS = "archive_differs"
"""Reason of REST rows that the archive replaced by a row with other values."""

_ARCHIVE = " of the archive"
_SOURCES = ("source_key", "source_sha256", "source_line")


class RestRows:
    """Silver rows of the REST answers about one partition, merged piece by piece into those of the archive.

    ``tolerances`` map columns to the greatest difference that is none: that of rounding, or any number where answers do
    not have the column. ``finish`` completes merged rows of whole symbols. ``filled`` counts the REST rows that were
    merged so far.
    """

    def __init__(
        self,
        cleaned: Cleaned,
        schema: Schema,
        tolerances: Mapping[str, float],
        finish: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    ) -> None:
        rows = cleaned.rows.with_columns(pl.lit(REST).alias("source"))
        self._waiting = pl.concat([rows, cleaned.sources.select(_SOURCES)], how="horizontal")
        self._schema, self._tolerances, self._finish = schema, tolerances, finish
        self.filled = 0
        self._differing: list[dict[str, Any]] = []

    def merged(self, archive: pl.DataFrame) -> pl.DataFrame:
        """A piece of the archive's rows with the REST rows up to its last key. Pieces come in order of the key."""
        if archive.is_empty() or self._waiting.is_empty():
            return archive
        is_here = self._is_up_to(archive.row(-1, named=True))
        here, self._waiting = self._waiting.filter(is_here), self._waiting.filter(~is_here)
        if here.is_empty():
            return archive
        key = list(self._schema.primary_key)
        rows = archive.with_columns(pl.col(pl.Categorical).cast(pl.String))
        self._differing += self._differences(here.join(rows, on=key, suffix=_ARCHIVE))
        new = here.join(rows, on=key, how="anti")
        if new.is_empty():
            return archive
        self.filled += new.height
        return self._finish(pl.concat([rows, new.select(rows.columns)]).sort(key))

    def others(self) -> pl.DataFrame | None:
        """The REST rows after the last piece; None if there are none."""
        if self._waiting.is_empty():
            return None
        self.filled += self._waiting.height
        return self._finish(self._waiting.select(self._schema.column_names))

    @property
    def differing(self) -> pl.DataFrame:
        """The rows, of the pieces so far, whose values differ from those of the archive's row: REJECTED_COLUMNS."""
        return pl.DataFrame(self._differing, schema=REJECTED_TYPES)

    def _is_up_to(self, last: Mapping[str, Any]) -> pl.Expr:
        """Whether the key of a row is at most that of another row."""
        is_up_to = pl.lit(True)
        for name in reversed(self._schema.primary_key):
            is_up_to = (pl.col(name) < last[name]) | ((pl.col(name) == last[name]) & is_up_to)
        return is_up_to

    def _differences(self, pairs: pl.DataFrame) -> Iterator[dict[str, Any]]:
        key = self._schema.primary_key
        names = [c.name for c in self._schema.columns if c.name not in key and pairs.schema[c.name].is_numeric()]
        distances = [
            ((pl.col(n) - pl.col(n + _ARCHIVE)).abs() > self._tolerances.get(n, 0.0)).fill_null(False) for n in names
        ]
        for row in pairs.filter(pl.any_horizontal(distances)).iter_rows(named=True):
            of_row = {name: (row[name], row[name + _ARCHIVE]) for name in names}
            name, (ours, theirs) = max(of_row.items(), key=lambda item: _relative(*item[1]))
            where = ", ".join(f"{each} {row[each]}" for each in key if each != "symbol")
            detail = f"{where}: {name} is {ours} by REST and {theirs} in the archive, whose row is used"
            found = {"symbol": row["symbol"], **{each: row[each] for each in _SOURCES}}
            yield {**dict.fromkeys(REJECTED_COLUMNS), **found, "reason": DIFFERS, "detail": detail}


def _relative(ours: float | None, theirs: float | None) -> float:
    """The distance of two numbers relative to the greater one; 0 if one is missing."""
    if ours is None or theirs is None or ours == theirs:
        return 0.0
    return float(abs(ours - theirs) / max(abs(ours), abs(theirs)))
