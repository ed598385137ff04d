"""Discover which symbols an archive has for a feed, for which dates, and in which files.

Selecting, counting and ordering belong here. ``archive`` lists files, ``catalog/instruments.py`` parses symbol names,
and the command line owns text, JSON and exit codes.
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

# No exchange's archive starts before this day. The bound avoids requests for thousands of days without files.
_EARLIEST = date(2010, 1, 1)
# Symbols whose files are in memory at once: about 200,000 files where each symbol has ten years of days.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Coverage:
    """The files of one symbol in the archive.

    ``first`` and ``last`` are periods, both inclusive: days, or months for a monthly feed; None without files.
    ``missing`` counts the periods between them that have no file.
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

    Parameters
    ----------
    exchange, market
        Names such as ``binance`` and ``um``.
    table
        A table of the lake. Give either ``table`` or ``archive_type``.
    archive_type, interval
        A type of the archive, with its interval if the type has intervals.
    monthly
        Return the feed of the monthly files instead of the files that the lake reads.

    Raises
    ------
    ValueError
        No feed has these names; the text lists the known ones.

    Examples
    --------

    >>> find_feed("binance", "um", archive_type="klines", interval="1m").table
    'klines_1m'
    """
    if (table is None) == (archive_type is None):
        raise ValueError("name a table (--table klines_1m) or an archive type (--type klines --interval 1m), not both")
    if table is not None:
        if interval is not None:
            raise ValueError(f"the name of table {table} includes the interval: leave out --interval")
        try:
            chosen = feed(exchange, market, table)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
    else:
        chosen = _of_type(exchange, market, str(archive_type), interval)
    if not monthly:
        return chosen
    if Cadence.MONTHLY not in chosen.archived:
        raise ValueError(f"the archive has no monthly files of {chosen.name}, only {chosen.cadence} ones")
    return replace(chosen, cadence=Cadence.MONTHLY)


def _of_type(exchange: str, market: str, archive_type: str, interval: str | None) -> Feed:
    try:
        find_market(exchange, market)
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    in_market = [feed for feed in FEEDS.values() if (feed.exchange, feed.market.name) == (exchange, market)]
    of_type = [feed for feed in in_market if feed.archive_type == archive_type]
    if not of_type:
        known = list(dict.fromkeys(feed.archive_type for feed in in_market))
        raise ValueError(unknown_name("type", archive_type, known, scope=f"{exchange}/{market}"))
    for candidate in of_type:
        if interval == (candidate.interval.name if candidate.interval else None):
            return candidate
    intervals = ", ".join(feed.interval.name for feed in of_type if feed.interval)
    raise ValueError(
        f"{archive_type} in {exchange}/{market} "
        + (f"needs an --interval: one of {intervals}" if intervals else "has no intervals: leave out --interval")
    )


def span(cadence: Cadence, first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """The UTC days [start, end) to list in an archive. ``first`` and ``last`` are inclusive; None means no bound.

    A monthly range starts on the first of its month. Raises ValueError if ``last`` is before ``first``.
    """
    if first and last and last < first:
        raise ValueError(f"the range ends ({last}) before it starts ({first}): swap --from and --to")
    start = max(first or _EARLIEST, _EARLIEST)
    # No time zone is more than two days ahead, so the archive cannot have later files.
    end = min(last or date.max, today + timedelta(days=2)) + timedelta(days=1)
    return (start.replace(day=1) if cadence is Cadence.MONTHLY else start), end


def split_known(names: Iterable[str], available: Iterable[str]) -> tuple[list[str], list[str]]:
    """The available names, sorted, and the unavailable ones, in the given order; without duplicates."""
    known, wanted = set(available), list(dict.fromkeys(names))
    return sorted(known.intersection(wanted)), [name for name in wanted if name not in known]


def in_order(symbols: Iterable[str], arriving: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Yield the values of ``arriving`` in the order of ``symbols``, each as early as that order allows.

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
    """The coverage of a symbol, from its sorted periods.

    >>> coverage(Cadence.DAILY, "BTCUSDT", ["2024-02-28", "2024-03-01"])
    Coverage(symbol='BTCUSDT', first='2024-02-28', last='2024-03-01', files=2, missing=1)
    """
    if not periods:
        return Coverage(symbol, None, None, 0, 0)
    start, _ = parse_partition(periods[0], cadence)
    _, end = parse_partition(periods[-1], cadence)
    missing = len(partition_keys(start, end, cadence)) - len(periods)
    return Coverage(symbol, periods[0], periods[-1], len(periods), missing)


def files_in_order(
    source: ArchiveSource, feed: Feed, symbols: Sequence[str], first: date, end: date
) -> Iterator[tuple[int, list[ArchiveFile]]]:
    """Yield (number of symbols, their files of the days [first, end) by symbol and period), some symbols at a time.

    The files of a whole market over years do not fit in memory. Raises ArchiveError.
    """
    names = list(dict.fromkeys(symbols))
    for start in range(0, len(names), _AT_ONCE):
        chunk = names[start : start + _AT_ONCE]
        rank = {name: number for number, name in enumerate(chunk)}
        files = source.files(feed, chunk, first, end)
        yield len(chunk), sorted(files, key=lambda file: (rank[file.symbol], file.period))


def file_url(archive_url: str, key: str) -> str:
    """The URL of a file, without the user and password of ``archive_url``, so that no output shows them.

    >>> file_url("https://user:secret@host/", "data/spot/é.zip")
    'https://host/data/spot/%C3%A9.zip'
    """
    base, _ = split_credentials(archive_url)
    return f"{base.rstrip('/')}/{quote(key)}"
