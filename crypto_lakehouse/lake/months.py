"""Month files as readers see them: where one is, and whether it holds what the day files hold now.

A month file holds the rows of all day files of a month, in order of symbol. Day files stay the truth: the name of
a month file tells the day files that it was made from, so one listing shows whether it may be read in their place.
How month files are made is in ``compaction.py``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence
from crypto_lakehouse.lake.describe import Part
from crypto_lakehouse.lake.partitions import scan_hive
from crypto_lakehouse.lake.paths import COMPACTED, month_dir, months_dir
from crypto_lakehouse.lake.store import LakeFile, LakeStore
from crypto_lakehouse.schemas import Schema

LEAST_DAYS = 4
"""Of so many days of a month on, named symbols are read from its month file: fewer day files are read as fast."""

# Part of every identity: raise it when month files of the same days are to be other ones.
_VERSION = "1"


def month_of(key: str) -> str:
    """The month (``YYYY-MM``) that the key of a day lies in."""
    return key[: len("YYYY-MM")]


def month_path(layer: str, table: str, exchange: str, market: str, month: str, days: Iterable[Part]) -> str:
    """Where the month file lies that is made from these day files, and no others: all that the month has.

    Path, size and time of last change of each are in the name; a day that is added, removed or written again
    gives another one. Raises ValueError on unsafe names.
    """
    words = sorted(f"{day.path} {day.size} {day.modified.isoformat()}" for day in days)
    identity = hashlib.sha256("\n".join((_VERSION, *words)).encode()).hexdigest()[:32]
    return f"{month_dir(layer, table, exchange, market, month)}/days-{identity}.parquet"


def is_compacted(layer: str, table: str, exchange: str, market: str) -> bool:
    """Whether the slice has month files at all."""
    feed = FEEDS.get((exchange, market, table))
    return layer == "silver" and feed is not None and feed.compacted


def is_month_file(part: Part) -> bool:
    """Whether a file that ``with_months`` gave is one of a month, not of a day."""
    return part.path.startswith(f"{COMPACTED}/")


def with_months(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, stored: Sequence[Part], asked: Sequence[Part]
) -> list[Part]:
    """Files to read the days ``asked`` from, of one slice: a month file for at least ``LEAST_DAYS`` days of a month.

    ``stored`` are all its day files, as listed now. A month file may hold more days than are asked for; one that
    was made from other day files than the listed ones is left alone.
    """
    wanted = _by_month(asked)
    if all(len(days) < LEAST_DAYS for days in wanted.values()):
        return list(asked)
    files = current_months(store, layer, table, exchange, market, stored)
    parts: list[Part] = []
    for month, days in wanted.items():
        file = files.get(month)
        if file is None or len(days) < LEAST_DAYS:
            parts += days
        else:
            column = Cadence.MONTHLY.partition_column
            place = replace(days[0], column=column, key=month)
            parts.append(replace(place, path=file.path, size=file.size, modified=file.modified))
    return parts


def current_months(
    store: LakeStore, layer: str, table: str, exchange: str, market: str, stored: Iterable[Part]
) -> dict[str, LakeFile]:
    """The month file of each month that has one of just its day files in ``stored``, which are all of the slice."""
    there = {file.path: file for file in store.list(months_dir(layer, table, exchange, market))}
    paths = {
        month: month_path(layer, table, exchange, market, month, days) for month, days in _by_month(stored).items()
    }
    return {month: there[path] for month, path in paths.items() if path in there}


def scan_months(
    store: LakeStore, schema: Schema, paths: Sequence[str], from_path: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """Lazy rows of month files, with the columns that day files have from their path; ``date`` is told by the time."""
    names = [name for name in from_path if name != "date"]
    frame = scan_hive(store, schema, paths, {name: from_path[name] for name in names})
    return frame.with_columns(date=pl.col(schema.time_column).dt.date()).select(*schema.column_names, *from_path)


def _by_month(days: Iterable[Part]) -> dict[str, list[Part]]:
    months: dict[str, list[Part]] = defaultdict(list)
    for day in days:
        months[month_of(day.key)].append(day)
    return months
