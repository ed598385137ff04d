"""Gold tables whose day is a function of stored days: one module for each, with the name of the table.

A module has the function ``rows(day, ...)``: the start of the UTC day, then the rows of each input in the order of the
registry (``schemas/gold.py``), and returns the rows of the table. It may have ``CHECKS``: functions from the stored
rows to findings (symbol, text), by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias

import polars as pl

RowsFunction: TypeAlias = Callable[..., pl.LazyFrame]
RowsCheck: TypeAlias = Callable[[pl.DataFrame], list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of a table's module."""

    rows: RowsFunction
    checks: Mapping[str, RowsCheck]


def functions_of(table: str) -> Functions:
    """The functions of a table. Raises ImportError if it has no module here."""
    module = import_module(f"{__name__}.{table}")
    return Functions(module.rows, getattr(module, "CHECKS", {}))
