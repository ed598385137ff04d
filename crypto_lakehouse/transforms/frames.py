"""Rows together, as Polars or as Arrow holds them, and text in them that repeats.

Here belongs what transforms take and give. How Parquet is read into such rows and written is in ``lake/parquet.py``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt
import polars as pl
import pyarrow as pa

Frame: TypeAlias = pl.DataFrame | pa.Table
"""Rows together; text may be categorical, or a dictionary in Arrow, which spares work where it repeats."""


def coded(places: npt.NDArray[Any], names: pl.Series) -> pa.DictionaryArray:
    """The names at these places, as a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), names.to_arrow().cast(pa.string()))
