"""Checks and normal forms of the reader's arguments, and the formats of its results.

The methods that take them are in ``methods/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Literal

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import check_symbol
from crypto_lakehouse.catalog.near import did_you_mean, near
from crypto_lakehouse.lake.storage.describe import check_markets
from crypto_lakehouse.schemas import Schema

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["pandas", "polars", "arrow"]
Time = str | date | datetime

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


def check_symbols(symbols: str | Sequence[str] | None) -> list[str] | None:
    """Return the symbols as a list; None stays None. Raises ValueError on a malformed symbol."""
    names = check_listed("symbols", symbols)
    for name in names or ():
        if not isinstance(name, str):
            raise ValueError(f"symbols must be text such as 'BTCUSDT', not {name!r}")
        check_symbol(name)
    return names


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
        close = list(dict.fromkeys(similar for name in unknown for similar in near(name, known)))
        hint = f"{did_you_mean(close)} The columns are" if close else "the columns are"
        raise KeyError(f"{table} has no column {', '.join(map(repr, unknown))}; {hint} {', '.join(known)}")
    return list(dict.fromkeys(columns))


def check_format(format: str) -> None:
    """Raise ValueError if the format is unknown."""
    if format not in ("pandas", "polars", "arrow"):
        raise ValueError(f"format {format!r} is not one of pandas, polars, arrow")


def as_format(frame: pl.DataFrame, format: Format) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Convert the frame to the requested format."""
    if format == "polars":
        return frame
    return frame.to_pandas() if format == "pandas" else frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def time_range(start: Time | None, end: Time | None) -> tuple[datetime | None, datetime | None]:
    """Return [start, end) in UTC. Raises ValueError if one is not a time or end is before start."""
    first, last = utc("start", start), utc("end", end)
    if first is not None and last is not None and last < first:
        raise ValueError(f"end {last} is before start {first}: pass an end after the start; end is exclusive")
    return first, last


def utc(argument: str, value: Time | None) -> datetime | None:
    """Return a time in UTC; a naive time is taken as UTC, None stays None. Raises ValueError if it is not a time."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"{argument} {value!r} is not an ISO 8601 time such as 2024-01-31 or 2024-01-31T12:00"
            ) from None
    # Only NaN and NaT differ from themselves; NaT is an instance of datetime.
    if value != value:
        raise ValueError(f"{argument} is {value}, which is not a time: omit {argument} or pass a time")
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.min, UTC)
    raise ValueError(f"{argument} must be text, a date or a datetime, not {value!r}")
