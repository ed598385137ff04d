"""Checks and normal forms of the reader's arguments, and the formats of its results.

The methods that take them are in ``methods/``; times are in ``times.py``, symbols in ``symbols.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.near import did_you_mean, near
from crypto_lakehouse.lake.storage.describe import check_markets
from crypto_lakehouse.schemas import Schema

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["pandas", "polars", "arrow"]
FORMATS = ("pandas", "polars", "arrow")
TimeUnit = Literal["us", "ns"]

_HIVE = ("exchange", "market")


def check_text(argument: str, value: object, examples: str) -> None:
    """Raise TypeError if ``value`` is not text."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be text such as {examples}, not {value!r}")


def check_listed(argument: str, value: str | Iterable[str] | None) -> list[str] | None:
    """Return one text or several as a list; None stays None. Raises TypeError on anything else."""
    if value is None:
        return None
    if not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be text or a list of texts, not {value!r}")
    return [value] if isinstance(value, str) else list(value)


def check_one_market(method: str, exchange: str, market: str) -> None:
    """Raise TypeError if ``market`` is not text, KeyError if the exchange has no such market."""
    if not isinstance(market, str):
        raise TypeError(f"{method} takes one market, such as 'um', not {market!r}")
    check_markets(exchange, market)


def check_columns(table: str, schema: Schema, from_path: Iterable[str], columns: Sequence[str] | None) -> list[str]:
    """Return the columns of the result; None means those of the schema, exchange and market.

    Raises KeyError on unknown columns.
    """
    if columns is None:
        return [*schema.column_names, *_HIVE]
    if isinstance(columns, str):
        raise ValueError(f"columns must be a list of names; did you mean [{columns!r}]?")
    if not isinstance(columns, Iterable):
        raise TypeError(f"columns must be a list of names, not {columns!r}")
    known = [*schema.column_names, *from_path]
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise KeyError(_no_column(table, unknown, known))
    return list(dict.fromkeys(columns))


def _no_column(table: str, unknown: Sequence[str], known: Sequence[str]) -> str:
    close = list(dict.fromkeys(similar for name in unknown for similar in near(name, known)))
    hint = f"{did_you_mean(close)} The columns are" if close else "the columns are"
    return f"{table} has no column {', '.join(map(repr, unknown))}; {hint} {', '.join(known)}"


def check_format(format: str) -> None:
    """Raise ValueError if the format is unknown."""
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is not one of {', '.join(FORMATS)}")


def check_limit(limit: int | None, argument: str = "limit") -> int | None:
    """Return the most rows to read; None means all. Raises ValueError unless it is a number of rows."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not hasattr(limit, "__index__") or index(limit) < 0:
        raise ValueError(f"{argument} must be a number of rows, such as 10, not {limit!r}")
    return index(limit)


def as_format(frame: pl.DataFrame, format: Format) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Convert the frame to the requested format."""
    if format == "polars":
        return frame
    return frame.to_pandas() if format == "pandas" else frame.to_arrow(compat_level=pl.CompatLevel.oldest())


@dataclass(frozen=True, slots=True)
class Output:
    """The form of a result: its format, the columns of a pandas index, and the unit of its times."""

    format: Format
    index: tuple[str, ...] = ()
    time_unit: TimeUnit = "us"

    @classmethod
    def parse(cls, format: Format, index: str | Sequence[str] | None = None, time_unit: TimeUnit = "us") -> Output:
        """Check the arguments. Raises ValueError if they do not fit together."""
        check_format(format)
        if time_unit not in ("us", "ns"):
            raise ValueError(f"time_unit {time_unit!r} is not one of us, ns (micro- and nanoseconds)")
        names = tuple(check_listed("index", index) or ())
        if names and format != "pandas":
            raise ValueError(f"only pandas has an index: leave out index={index!r}, or pass format='pandas'")
        return cls(format, names, time_unit)

    def convert(self, frame: pl.DataFrame) -> pd.DataFrame | pl.DataFrame | pa.Table:
        """Return the frame in this form. Raises KeyError if a column of the index is unknown."""
        if self.time_unit == "ns":
            frame = frame.with_columns(pl.selectors.datetime().dt.cast_time_unit("ns"))
        if unknown := [name for name in self.index if name not in frame.columns]:
            raise KeyError(_no_column("the result", unknown, frame.columns))
        converted: Any = as_format(frame, self.format)
        return (
            converted.set_index(list(self.index) if len(self.index) > 1 else self.index[0]) if self.index else converted
        )
