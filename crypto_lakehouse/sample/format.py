"""Common properties of files of the sample archive: keys, header lines and time units, by the epoch registry.

The modules of each archive type write the rows, ``files.py`` the zips and checksums.
"""

from __future__ import annotations

from datetime import date

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.binance import SPOT, UM
from crypto_lakehouse.catalog.epochs import Topic, epoch_value
from crypto_lakehouse.sample.text import Column, Ints, integer

_MICROSECONDS = {"us": 1, "ms": 1_000}


def file_key(feed: Feed, symbol: str, period: str) -> str:
    """Key of the file of a period (``2024-12-27`` or ``2024-12``)."""
    interval = feed.interval.name if feed.interval else ""
    folder = f"data/{feed.market.archive_path}/{feed.cadence.value}/{feed.archive_type}/{symbol}/"
    return folder + (f"{interval}/" if interval else "") + f"{symbol}-{interval or feed.archive_type}-{period}.zip"


def header(feed: Feed, day: date) -> bytes:
    """The header line of the file that starts on ``day``, or an empty text."""
    rule = epoch_value(feed, Topic.HEADER, day)
    if rule == "never" or (rule == "sniff" and _made_without(feed, day)):
        return b""
    # The column ``file_symbol`` of the format is called ``symbol`` in the file.
    names = (name.removeprefix("file_") for name in feed.file_format.column_names)
    return ",".join(names).encode() + b"\n"


def _made_without(feed: Feed, day: date) -> bool:
    # Whether real futures files have the line depends on when they were written: readers must detect it.
    return day.toordinal() % 4 == 0 and (feed.market is UM or feed.archive_type != "klines")


def microseconds(feed: Feed, day: date) -> int:
    """Microseconds per time unit of the file that starts on ``day``."""
    return _MICROSECONDS[epoch_value(feed, Topic.TIME_UNIT, day) or "ms"]


def time(feed: Feed, day: date, since_epoch: Ints) -> Column:
    """Times, given in microseconds since the epoch, in the unit of the file that starts on ``day``."""
    return integer(since_epoch // microseconds(feed, day))


def places(feed: Feed) -> int:
    """Number of decimals to which numbers are padded with zeros."""
    return 8 if feed.market is SPOT else 0
