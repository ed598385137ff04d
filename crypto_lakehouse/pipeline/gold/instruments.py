"""Instruments of a market from its archive: one listing of all symbols, then the rows of any day.

This module chooses the archive folder to list. ``transforms/gold/universe.py`` defines instruments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from crypto_lakehouse.archive.model import ArchiveError, ArchiveSource
from crypto_lakehouse.catalog import Cadence, Market, feed, parse_partition
from crypto_lakehouse.lake.reader.universe import INSTRUMENTS as INSTRUMENTS
from crypto_lakehouse.pipeline.fingerprints import sources_fingerprint
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.gold.universe import instruments, numbered_runs, runs_of

# Every symbol has minutes, whatever other tables it has. The settings do not limit this listing to some symbols.
_LISTED = "klines_1m"


def instrument_partitions(
    source: ArchiveSource, market: Market, keys: Sequence[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The daily partitions ``keys`` of a market's instruments, from one listing of the market up to the last key.

    Raises ArchiveError if the archive cannot be listed or lists no symbol.
    """
    minutes = feed(market.exchange, market.name, _LISTED)
    days = {key: parse_partition(key, Cadence.DAILY) for key in keys}
    symbols = source.symbols(minutes)
    if not symbols:
        raise ArchiveError(
            f"the archive lists no symbol for {minutes.name}: check LAKEHOUSE_ARCHIVE_LISTING_URL, then run again"
        )
    listed = source.periods(minutes, symbols, minutes.first_date, max(end for _, end in days.values()))
    runs = {symbol: runs_of(map(date.fromisoformat, periods)) for symbol, periods in listed}
    numbered = numbered_runs(market, runs)
    for key, (day, _) in days.items():
        yield key, instruments(market, numbered, day)


def instruments_fingerprint(rows: pl.DataFrame) -> str:
    """The input fingerprint of a partition. A listing has no sha256 of its own, so the rows stand for it."""
    digest = hashlib.sha256(rows.write_csv().encode()).hexdigest()
    return sources_fingerprint("gold", schema_of("gold", INSTRUMENTS), [digest])
