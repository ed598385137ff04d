"""A matrix of time and symbol from one column of bars.

Bars are read in ``bars.py``; the public method is in ``methods/matrices.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.lake.reader.arguments import TimeUnit, check_columns, check_one_market, check_text
from crypto_lakehouse.lake.reader.bars import collect_bars, parse_bars_offset
from crypto_lakehouse.lake.reader.ends import CONTINUOUS
from crypto_lakehouse.lake.reader.known import Known, known_range
from crypto_lakehouse.lake.reader.request import RowRequest
from crypto_lakehouse.lake.reader.rows import collect_rows
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.bars import BARS
from crypto_lakehouse.schemas.continuous import CONTINUOUS as MINUTES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PanelFormat = Literal["pandas", "polars", "numpy"]
Fill = Literal["forward"]

_FORMATS = ("pandas", "polars", "numpy")
_PRICES = ("open", "high", "low", "close", "vwap")
# Their last value stays valid until the next one; the others are sums over a window.
_FILLABLE = (*_PRICES, "funding_rate", "funding_price")
_MINUTE = "1m"
_TRADED = "first_minute"


class Panel(NamedTuple):
    """A matrix in NumPy: ``values[i, j]`` is the value at ``times[i]`` of ``symbols[j]``, NaN where there is none."""

    values: np.ndarray[Any, np.dtype[np.float64]]
    times: np.ndarray[Any, np.dtype[np.datetime64]]
    symbols: list[str]


def read_panel(
    store: LakeStore,
    field: str,
    symbols: str | Sequence[str] | None,
    interval: str,
    exchange: str,
    market: str | None,
    offset: str,
    times: TimeRange,
    fill: Fill | None,
    format: PanelFormat,
    time_unit: TimeUnit,
    known: Known | None = None,
) -> pd.DataFrame | pl.DataFrame | Panel:
    """Return the matrix of ``Lakehouse.panel``, and warn its caller about what is missing."""
    if format not in _FORMATS:
        raise ValueError(f"format {format!r} is not one of {', '.join(_FORMATS)}")
    if time_unit not in ("us", "ns"):
        raise ValueError(f"time_unit {time_unit!r} is not one of us, ns (micro- and nanoseconds)")
    times = known_range(times, known)
    check_text("interval", interval, "'1d' or '1h'")
    schema = MINUTES if interval == _MINUTE else BARS
    _check_field(schema, field, fill)
    choice = SymbolChoice.parse(symbols)
    if interval == _MINUTE:
        rows = _minutes(store, field, symbols, exchange, market, times, known)
    else:
        kind, _ = parse_bars_offset(interval, offset)
        if isinstance(kind, ActivityBars):
            raise ValueError(f"lake.panel takes an interval such as '1d' or '1h', not {interval!r}")
        columns = dict.fromkeys([field, _TRADED])
        rows = collect_bars(
            store, symbols, interval, exchange, market, offset, times, [*columns], "lake.panel", known=known
        )
        rows = rows.with_columns(value=pl.col(field), is_traded=pl.col(_TRADED).is_not_null())
    if field in _PRICES and fill is None:
        # The rows stay, so that panels of all fields have the same index.
        rows = rows.with_columns(value=pl.when("is_traded").then("value"))
    names = None if choice is None else choice.names
    wide = matrix(rows, interval, names, fill is not None)
    return _converted(wide, format, time_unit)


def matrix(rows: pl.DataFrame, interval: str, symbols: Sequence[str] | None, forward: bool) -> pl.DataFrame:
    """Return a column ``open_time`` with every window from the first to the last, and a column for each symbol.

    ``rows`` have symbol, segment, open_time and value. A window of two segments takes the value of the later one.
    With ``forward``, a window without a value takes the last one of the same segment, and none after its last row.
    """
    if rows["segment"].n_unique() > 1:
        rows = rows.sort("symbol", "open_time", "segment")
        rows = rows.unique(["symbol", "open_time"], keep="last", maintain_order=True)
    names = sorted(rows["symbol"].unique()) if symbols is None else list(dict.fromkeys(symbols))
    times = _grid(rows["open_time"], interval)
    values = _wide(rows, times, names, "value")
    if forward:
        segments = _wide(rows, times, names, "segment")
        coming = segments.select(pl.col(name).backward_fill().alias(f"{name} segment") for name in names)
        of_values = pl.concat(
            [values, segments.select(pl.col(name).alias(f"{name} row") for name in names)], how="horizontal"
        )
        values = pl.concat([of_values, coming], how="horizontal").select(
            "open_time", *(_within_segment(name).alias(name) for name in names)
        )
    return values


def _within_segment(name: str) -> pl.Expr:
    """The last value, if the next row belongs to the segment of that value."""
    segment = pl.when(pl.col(name).is_not_null()).then(f"{name} row").forward_fill()
    return pl.when(segment == pl.col(f"{name} segment")).then(pl.col(name).forward_fill())


def _grid(times: pl.Series, interval: str) -> pl.DataFrame:
    if times.is_empty():
        return pl.DataFrame(schema={"open_time": times.dtype})
    grid = pl.datetime_range(times.min(), times.max(), interval, eager=True)  # type: ignore[arg-type]
    return pl.DataFrame({"open_time": grid.cast(times.dtype)})


def _wide(rows: pl.DataFrame, times: pl.DataFrame, names: Sequence[str], column: str) -> pl.DataFrame:
    """Return ``open_time`` and a column for each name. A pivot and a join take several times as long."""
    height, columns = times.height, pl.DataFrame({"symbol": names}, schema={"symbol": pl.String})
    place = (
        rows.select("symbol", "open_time", value=column)
        .join(times.with_row_index("row"), on="open_time")
        .join(columns.with_row_index("column"), on="symbol")
    )
    cells = pl.repeat(None, len(names) * height, dtype=rows.schema[column], eager=True)
    cells.scatter(place["column"] * height + place["row"], place["value"])
    return times.with_columns(cells.slice(index * height, height).alias(name) for index, name in enumerate(names))


def _check_field(schema: Schema, field: str, fill: Fill | None) -> None:
    check_text("field", field, "'close'")
    numbers = [column.name for column in schema.columns if str(column.type) in ("double", "int64", "bool")]
    check_columns("lake.panel", schema, (), [field])
    if field not in numbers:
        raise ValueError(f"lake.panel has columns of numbers, and {field} is none: choose one of {', '.join(numbers)}")
    if fill not in (None, "forward"):
        raise ValueError(f"fill must be None or 'forward', not {fill!r}")
    if fill and field not in _FILLABLE:
        raise ValueError(
            f"{field} cannot be filled forward: it is a value of one window. Leave out fill, or choose one of"
            f" {', '.join(_FILLABLE)}"
        )


def _minutes(
    store: LakeStore,
    field: str,
    symbols: str | Sequence[str] | None,
    exchange: str,
    market: str | None,
    times: TimeRange,
    known: Known | None,
) -> pl.DataFrame:
    if market is None:
        raise ValueError("lake.panel reads one market: pass market='um', for example")
    check_one_market("lake.panel", exchange, market)
    columns = dict.fromkeys(["symbol", "open_time", "segment", "is_filled", field])
    request = RowRequest.parse(
        f"gold.{CONTINUOUS}", exchange, market, symbols, times.start, times.end, times.last, [*columns]
    )
    request = replace(request, known=known)
    rows = collect_rows(store, request)
    return rows.with_columns(value=pl.col(field), is_traded=~pl.col("is_filled"))


def _converted(wide: pl.DataFrame, format: PanelFormat, time_unit: TimeUnit) -> pd.DataFrame | pl.DataFrame | Panel:
    wide = wide.with_columns(pl.col("open_time").dt.cast_time_unit(time_unit), pl.exclude("open_time").cast(pl.Float64))
    if format == "polars":
        return wide
    if format == "pandas":
        frame = wide.to_pandas().set_index("open_time")
        frame.columns.name = "symbol"
        return frame
    names = wide.columns[1:]
    times = wide["open_time"].dt.replace_time_zone(None).to_numpy()
    values = wide.select(pl.col(names).fill_null(float("nan"))).to_numpy() if names else _none(wide.height)
    return Panel(values, times, names)


def _none(rows: int) -> Any:
    import numpy as np

    return np.empty((rows, 0))
