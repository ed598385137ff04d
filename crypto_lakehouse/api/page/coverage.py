"""The coverage of a market in few bytes: runs of equal states, which the browser turns into a picture."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from typing import Any, cast

import numpy as np
import polars as pl

from crypto_lakehouse.api.answers import Service
from crypto_lakehouse.catalog import Cadence
from crypto_lakehouse.lake.pictures.coverage import STATES, Coverage
from crypto_lakehouse.lake.storage.describe import split_table
from crypto_lakehouse.schemas.slices import TableSlice

NOTHING = "no file"
"""Before the first and after the last file of a symbol."""

_ORDER = (NOTHING, "there", "filled", "missing in the archive", "missing in the lake", "quarantined")
# Of many cells in one point of the screen the last of these is drawn, so a small fault is never hidden.
_NUMBERS = np.array([_ORDER.index(state) for state in STATES], dtype=np.uint8)
_KEPT = 8


class CoverageAnswers:
    """The newest answers of this process. Reading the ledger of years takes seconds, listing it does not."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, table: str, exchange: str, market: str) -> str:
        """A text that changes when something that the coverage depends on does. Raises KeyError."""
        layer, name, _ = split_table(table)
        slices = [(layer, name), ("gold", "bars_1d"), ("ledger", "files"), ("quarantine", "rejected")]
        digest = hashlib.sha256(repr((table, exchange, market)).encode())
        for each in slices:
            for file in self._service.store.list(TableSlice(each[0], exchange, market, each[1]).folder):
                digest.update(f"{file.path} {file.size} {file.modified.timestamp()}\n".encode())
        return digest.hexdigest()

    def get(self, table: str, exchange: str, market: str, digest: str) -> bytes:
        """The bytes of a picture, read if no recent answer has this digest."""
        with self._lock:
            if digest in self._answers:
                self._answers.move_to_end(digest)
                return self._answers[digest]
        picture = cast(Coverage, self._service.lake.plot_coverage(table, market=market, exchange=exchange))
        data = encode_coverage(picture)
        with self._lock:
            self._answers[digest] = data
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return data


def encode_coverage(picture: Coverage) -> bytes:
    """The bytes of a picture.

    A little-endian uint32 with the length of a JSON header; the header, padded with spaces to a multiple of 4; the
    lengths of all runs (uint32) and their states (uint8, a position in ``states``). Cells are row by row: a row is a
    symbol, a column a day or month from ``first`` on.
    """
    symbols, columns, cells = _matrix(picture)
    starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
    lengths = np.diff(np.append(starts, len(cells))).astype("<u4")
    header: dict[str, Any] = {
        "title": picture.title,
        "symbols": symbols,
        "columns": columns,
        "first": str(picture.data["date"].min()),
        "monthly": picture.cadence is Cadence.MONTHLY,
        "states": _ORDER,
        "runs": len(starts),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return len(text).to_bytes(4, "little") + text + lengths.tobytes() + cells[starts].tobytes()


def _matrix(picture: Coverage) -> tuple[list[str], int, np.ndarray]:
    """The symbols, the number of columns, and the state of each cell, row by row."""
    data, symbols = picture.data, picture.symbols
    day = pl.col("date")
    if picture.cadence is Cadence.MONTHLY:
        number = day.dt.year().cast(pl.Int64) * 12 + day.dt.month()
    else:
        number = day.cast(pl.Int64)
    cells = data.select(
        row=pl.col("symbol").cast(pl.Enum(symbols)).to_physical().cast(pl.Int64),
        column=number - number.min(),
        state=pl.col("state").to_physical().cast(pl.Int64),
    )
    columns = int(cells.select(pl.col("column").max()).item()) + 1
    matrix = np.zeros(len(symbols) * columns, dtype=np.uint8)
    position = cells["row"].to_numpy() * columns + cells["column"].to_numpy()
    matrix[position] = _NUMBERS[cells["state"].to_numpy()]
    return symbols, columns, matrix
