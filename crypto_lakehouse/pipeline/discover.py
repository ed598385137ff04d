"""Discovery: which symbols an archive has of a feed, over which dates, in which files.

Here belong choosing, counting and the order of what is found. Listing is the source's work (``archive``), what
names say is in ``catalog/instruments.py``, and words, JSON and exit codes are the command line's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeVar
from urllib.parse import quote

from crypto_lakehouse.archive.addresses import split_credentials
from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource
from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, feed, find_market, parse_partition, partition_keys
from crypto_lakehouse.catalog.near import unknown_name

T = TypeVar("T")

# No exchange's archive begins before this day, which spares asking for thousands of days without files.
_EARLIEST = date(2010, 1, 1)
# Symbols whose files are held at once: some hundred thousand files where each has ten years of days.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the archive has of one symbol: ``first`` and ``last`` are periods (days, or months of a monthly feed).

    ``missing`` counts the periods between them that have no file. Without files, ``first`` and ``last`` are None.
    """

    symbol: str
    first: str | None
    last: str | None
    files: int
    missing: int


def find_feed(
    exchange: str,
    market: str,
    *,
    table: str | None = None,
    archive_type: str | None = None,
    interval: str | None = None,
    monthly: bool = False,
) -> Feed:
    """The feed of a table (``klines_1m``), or of an archive type and its interval (``klines``, ``1m``).

    With ``monthly`` its monthly files instead of those that the lake reads. Raises ValueError that says what
    there is.

    >>> find_feed("binance", "um", archive_type="klines", interval="1m").table
    'klines_1m'
    """
    if (table is None) == (archive_type is None):
        raise ValueError("name either a table (klines_1m) or a type of the archive (klines, with its interval)")
    if table is not None:
        if interval is not None:
            raise ValueError(f"the table {table} has its interval in its name: leave out the interval")
        try:
            found = feed(exchange, market, table)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
    else:
        found = _of_type(exchange, market, str(archive_type), interval)
    if not monthly:
        return found
    if Cadence.MONTHLY not in found.archived:
        raise ValueError(f"the archive has no monthly files of {found.name}, only {found.cadence} ones")
    return replace(found, cadence=Cadence.MONTHLY)


def _of_type(exchange: str, market: str, archive_type: str, interval: str | None) -> Feed:
    try:
        find_market(exchange, market)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    here = [one for one in FEEDS.values() if (one.exchange, one.market.name) == (exchange, market)]
    of_type = [one for one in here if one.archive_type == archive_type]
    if not of_type:
        known = list(dict.fromkeys(one.archive_type for one in here))
        raise ValueError(unknown_name("type", archive_type, known, where=f"{exchange}/{market}"))
    for one in of_type:
        if interval == (one.interval.name if one.interval else None):
            return one
    intervals = ", ".join(one.interval.name for one in of_type if one.interval)
    raise ValueError(
        f"{archive_type} in {exchange}/{market} "
        + (f"comes by interval: one of {intervals}" if intervals else "has no intervals: leave out the interval")
    )


def span(cadence: Cadence, first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """[first day, day after the last) to ask an archive for; without bounds, all that it can have.

    A month counts when any of its days does. Raises ValueError if ``last`` is before ``first``.
    """
    if first and last and last < first:
        raise ValueError(f"the range ends on {last}, before it begins on {first}")
    begin = max(first or _EARLIEST, _EARLIEST)
    # Two days ahead: nothing later can be there, in no time zone.
    end = min(last or date.max, today + timedelta(days=2)) + timedelta(days=1)
    return (begin.replace(day=1) if cadence is Cadence.MONTHLY else begin), end


def split_known(names: Iterable[str], available: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names that are available, sorted, and those that are not, in the order given; each once."""
    known, wanted = set(available), list(dict.fromkeys(names))
    return sorted(known.intersection(wanted)), [name for name in wanted if name not in known]


def in_order(symbols: Iterable[str], arriving: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """What arrives of each symbol, in the order of ``symbols``, as early as that order allows.

    >>> list(in_order(["A", "B"], [("B", 2), ("A", 1)]))
    [('A', 1), ('B', 2)]
    """
    early: dict[str, T] = {}
    left = deque(dict.fromkeys(symbols))
    for symbol, value in arriving:
        early[symbol] = value
        while left and left[0] in early:
            first = left.popleft()
            yield first, early.pop(first)


def coverage(cadence: Cadence, symbol: str, periods: Sequence[str]) -> Coverage:
    """Count what is there of a symbol, from its sorted periods.

    >>> coverage(Cadence.DAILY, "BTCUSDT", ["2024-02-28", "2024-03-01"])
    Coverage(symbol='BTCUSDT', first='2024-02-28', last='2024-03-01', files=2, missing=1)
    """
    if not periods:
        return Coverage(symbol, None, None, 0, 0)
    begin, _ = parse_partition(periods[0], cadence)
    _, end = parse_partition(periods[-1], cadence)
    missing = len(partition_keys(begin, end, cadence)) - len(periods)
    return Coverage(symbol, periods[0], periods[-1], len(periods), missing)


def files_in_order(
    source: ArchiveSource, feed: Feed, symbols: Sequence[str], first: date, end: date
) -> Iterator[tuple[int, list[ArchiveFile]]]:
    """The files of [first, end), by symbol and period, for some symbols at a time, with their number.

    The files of a whole market over years do not fit in memory. Raises ArchiveError.
    """
    names = list(dict.fromkeys(symbols))
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        place = {name: number for number, name in enumerate(some)}
        found = source.files(feed, some, first, end)
        yield len(some), sorted(found, key=lambda file: (place[file.symbol], file.period))


def file_url(archive_url: str, key: str) -> str:
    """Where a file is served; user and password of ``archive_url`` are left out, so that they are shown nowhere.

    >>> file_url("https://user:secret@host/", "data/spot/é.zip")
    'https://host/data/spot/%C3%A9.zip'
    """
    base, _ = split_credentials(archive_url)
    return f"{base.rstrip('/')}/{quote(key)}"
