"""Rows together, as Polars or as Arrow holds them, and names in them, which repeat.

Here belongs what transforms take and give. How Parquet is read into such rows and written is in ``lake/parquet.py``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Frame: TypeAlias = pl.DataFrame | pa.Table
"""Rows together; text may be categorical, or a dictionary in Arrow, which spares work where it repeats."""


def coded(places: npt.NDArray[Any], names: pl.Series) -> pa.DictionaryArray:
    """The names at these places, as a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), names.to_arrow().cast(pa.string()))


def together(*names: pl.Series) -> pl.Series:
    """All names that are in any of these, ascending and each once; so must each of these be."""
    if all(some.equals(names[0]) for some in names):
        return names[0]
    return pl.concat(names).unique().sort()


def places_of(names: pl.Series, among: pl.Series) -> npt.NDArray[np.int64]:
    """Where the names stand among ascending ones that hold all of them."""
    if names.equals(among):
        return np.arange(len(names))
    return among.search_sorted(names).to_numpy().astype(np.int64)
