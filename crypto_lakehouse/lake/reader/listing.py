"""Listings as people look at them: frames that show all rows, and the contents of a lake as a small HTML table.

The rows come from ``storage/describe.py`` and ``contents.py``.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from html import escape

import polars as pl

from crypto_lakehouse.lake.storage.describe import StoredFile, existing_tables, holes, list_files
from crypto_lakehouse.lake.storage.store import LakeError, LakeStore
from crypto_lakehouse.schemas.slices import TableSlice

_LEAST_WIDTH = 120
_UNITS = ("B", "kB", "MB", "GB", "TB")
_HEADER = ("table", "exchange", "market", "first", "last", "partitions", "missing", "size")


class Listing(pl.DataFrame):
    """A Polars frame that shows all its rows, columns and texts when it is printed. Methods return plain frames."""

    def __str__(self) -> str:
        # Names of columns in a narrower table would be cut over two lines.
        width = max(_LEAST_WIDTH, shutil.get_terminal_size((_LEAST_WIDTH, 24)).columns)
        with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=10_000, tbl_width_chars=width):
            return super().__str__()

    def __repr__(self) -> str:
        return self.__str__()

    def _repr_html_(self, *, _from_series: bool = False) -> str:
        with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=10_000):
            return super()._repr_html_(_from_series=_from_series)


def lake_html(store: LakeStore) -> str:
    """Return the silver and gold tables of a lake in HTML: range, number of partitions, missing ones, size."""
    title = f"<p>Lakehouse <code>{escape(store.uri)}</code></p>"
    try:
        slices: dict[TableSlice, list[StoredFile]] = defaultdict(list)
        for layer in ("silver", "gold"):
            for table in existing_tables(store, layer):
                for file in list_files(store, layer, table):
                    slices[file.slice].append(file)
    except LakeError as error:
        return f"{title}<p>{escape(str(error))}</p>"
    if not slices:
        return f"{title}<p>no silver or gold tables</p>"
    rows = "".join(_row(_cells(table_slice, files), "td") for table_slice, files in slices.items())
    return f"{title}<table><thead>{_row(_HEADER, 'th')}</thead><tbody>{rows}</tbody></table>"


def _cells(table_slice: TableSlice, files: list[StoredFile]) -> tuple[str, ...]:
    layer, exchange, market, table = table_slice.asset_key
    keys = {file.key for file in files}
    missing = len(holes(table_slice, keys))
    size = _size(sum(file.size for file in files))
    return f"{layer}.{table}", exchange, market, min(keys), max(keys), str(len(keys)), str(missing), size


def _row(cells: tuple[str, ...], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_UNITS[-1]}"
