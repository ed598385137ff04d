"""Tables of rows, as Polars or Arrow holds them, symbol names, which repeat in them, and sums of their numbers.

Transforms take and return these types. ``lake/storage/parquet.py`` reads and writes them as Parquet.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Frame: TypeAlias = pl.DataFrame | pa.Table
"""A table of rows; text may be categorical, or an Arrow dictionary, which saves work for repeated values."""


def symbols_in(rows: Frame) -> set[str]:
    """Return the distinct symbols of rows."""
    return set(pl.DataFrame(rows.select(["symbol"]))["symbol"].cast(pl.String).unique())


def ordered_sum(values: pl.Expr) -> pl.Expr:
    """The sum of floats, added in the order of the rows; nulls count as 0.

    It has the same last digits in every run and on every machine. ``sum`` and ``mean`` have not: they add in blocks
    whose ends depend on the threads.

    >>> pl.DataFrame({"x": [0.5, None, 0.25]}).select(ordered_sum(pl.col("x"))).item()
    0.75
    """
    return values.fill_null(0.0).cum_sum().last()


def coded(places: npt.NDArray[Any], names: pl.Series) -> pa.DictionaryArray:
    """The names at these positions, as a dictionary array."""
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), names.to_arrow().cast(pa.string()))


def together(*names: pl.Series) -> pl.Series:
    """The union of series of names, ascending and without duplicates; each series must be so too."""
    if all(series.equals(names[0]) for series in names):
        return names[0]
    return pl.concat(names).unique().sort()


def places_of(names: pl.Series, among: pl.Series) -> npt.NDArray[np.int64]:
    """The positions of the names in ``among``, which is ascending and holds all of them."""
    if names.equals(among):
        return np.arange(len(names))
    return among.search_sorted(names).to_numpy().astype(np.int64)
