"""Real files of the Binance archive, if they are available, and an independent parser for them.

Only the standard library reads the zips here, so that the platform's code does not check itself.
"""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[3] / "shared" / "realdata" / "archive"
needs_real_archive = pytest.mark.skipif(
    not ARCHIVE.is_dir(), reason="no real archive files in ../shared/realdata/archive"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def csv_rows(key: str) -> list[list[str]]:
    """Fields of every data line of the archive file ``key``, in file order, without a header line."""
    with zipfile.ZipFile(ARCHIVE / key) as archive:
        (name,) = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    return rows if rows[0][0].isdigit() else rows[1:]


def instant(text: str) -> datetime:
    """UTC time of a timestamp in ms (13 digits) or µs (16 digits)."""
    return _EPOCH + timedelta(microseconds=int(text) * (1000 if len(text) == 13 else 1))


def klines_key(folder: str, symbol: str, day: str) -> str:
    """Archive key of a day's one-minute klines; ``folder`` is spot, futures/um or futures/cm."""
    return f"data/{folder}/daily/klines/{symbol}/1m/{symbol}-1m-{day}.zip"
