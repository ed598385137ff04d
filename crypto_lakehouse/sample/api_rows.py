"""Rows of a folder in the archive's format, by symbol and time or id: the source of a local exchange API.

It is a ``RowSource`` of ``exchange_api``. Contains no JSON (``exchange_api``) and no HTTP (``api_server.py``). Times
are in milliseconds since the epoch.
"""

from __future__ import annotations

import csv
import heapq
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, parse_partition
from crypto_lakehouse.catalog.binance import SPOT
from crypto_lakehouse.catalog.model import FieldType, FileFormat
from crypto_lakehouse.exchange_api.rows import Listed, Row
from crypto_lakehouse.sample.format import file_key

_MICROSECONDS_FROM = 10**14


class ArchiveRows:
    """The rows of an archive's folder. Files that appear or change later are seen at the next call."""

    def __init__(self, directory: Path) -> None:
        self._root = directory

    def symbols(self, feed: Feed) -> list[str]:
        """Symbols with a folder for the feed, sorted."""
        names: set[str] = set()
        for folder in self._folders(feed):
            names |= {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
        return sorted(names)

    def knows(self, market: str, symbol: str) -> bool:
        """Whether the symbol has a folder in the market."""
        return any(self._has(feed, symbol) for feed in {feed.archive_type: feed for feed in _feeds(market)}.values())

    def _has(self, feed: Feed, symbol: str) -> bool:
        return any((folder / symbol).is_dir() for folder in self._folders(feed))

    def _folders(self, feed: Feed) -> list[Path]:
        """The folders of the feed's archive type, of all intervals."""
        return [self._root / file_key(replace(feed, cadence=each), "x", "").split("/x/")[0] for each in Cadence]

    def forward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows whose time is in [start, end], both inclusive, the oldest first."""
        if symbol is None:
            yield from self._merged(feed, False, start, end)
            return
        time, last = feed.file_format.time_columns[0], start - 1
        for _, path in self._files(feed, symbol, start, end):
            # Two files may both have the row of midnight.
            rows = [row for row in _rows(feed, path) if last < row[time] <= end]
            yield from rows
            last = max([last, *(row[time] for row in rows[-1:] if not feed.file_format.id_column)])

    def backward(self, feed: Feed, symbol: str | None, start: int, end: int) -> Iterator[Row]:
        """Rows whose time is in [start, end], both inclusive, the newest first."""
        if symbol is None:
            yield from self._merged(feed, True, start, end)
            return
        time, first = feed.file_format.time_columns[0], end + 1
        for _, path in reversed(self._files(feed, symbol, start, end)):
            rows = [row for row in reversed(_rows(feed, path)) if start <= row[time] < first]
            yield from rows
            first = min([first, *(row[time] for row in rows[-1:] if not feed.file_format.id_column)])

    def _merged(self, feed: Feed, is_backward: bool, start: int, end: int) -> Iterator[Row]:
        """The rows of all symbols by time, each with its symbol; of one time in the order of symbols, or backward."""
        read, time = self.backward if is_backward else self.forward, feed.file_format.time_columns[0]

        def rows(symbol: str) -> Iterator[Row]:
            return ({**row, "symbol": symbol} for row in read(feed, symbol, start, end))

        symbols = sorted(self.symbols(feed), reverse=is_backward)
        return heapq.merge(*map(rows, symbols), key=lambda row: int(row[time]), reverse=is_backward)

    def from_id(self, feed: Feed, symbol: str, first: int) -> Iterator[Row]:
        """Rows with the id ``first`` or a greater one, in the order of ids."""
        key = feed.file_format.id_column or ""
        for _, path in self._files(feed, symbol, 0, 2**62):
            rows = _rows(feed, path)
            if rows and int(rows[-1][key]) >= first:
                yield from (row for row in rows if int(row[key]) >= first)

    def newest(self, feed: Feed, end: int) -> Iterable[Row]:
        """The newest row of each symbol up to ``end``, by symbol."""
        for symbol in self.symbols(feed):
            for row in islice(self.backward(feed, symbol, 0, end), 1):
                yield {**row, "symbol": symbol}

    def mark_prices(self, market: str, symbol: str, times: list[int]) -> Mapping[int, str]:
        """The opens of the mark price's minutes."""
        feed = FEEDS[SPOT.exchange, market, "mark_klines_1m"]
        return {time: str(row["open"]) for time in times for row in self.forward(feed, symbol, time, time)}

    def listed(self, market: str) -> Mapping[str, Listed]:
        """The symbols of a market and the times that their files cover."""
        periods: dict[str, tuple[datetime, datetime]] = {}
        for feed in _feeds(market):
            for symbol in self.symbols(feed):
                # The index of COIN-M is listed by pair, which is no symbol.
                if feed.archive_type != "indexPriceKlines" and (period := self._period(feed, symbol)):
                    first, end = periods.get(symbol, period)
                    periods[symbol] = min(first, period[0]), max(end, period[1])
        return {symbol: Listed(*period) for symbol, period in periods.items()}

    def _period(self, feed: Feed, symbol: str) -> tuple[datetime, datetime] | None:
        """The UTC times [start, end) that the files of a symbol cover; None without files."""
        files = self._files(feed, symbol, 0, 2**62)
        return (files[0][0][0], files[-1][0][1]) if files else None

    def _files(self, feed: Feed, symbol: str, start: int, end: int) -> list[tuple[tuple[datetime, datetime], Path]]:
        """Files that may have rows in [start, end], in order: daily ones, and monthly ones of other months."""
        daily = list(self._listed(replace(feed, cadence=Cadence.DAILY), symbol))
        days = {first for (first, _), _ in daily}
        monthly = [
            (span, path)
            for span, path in self._listed(replace(feed, cadence=Cadence.MONTHLY), symbol)
            if not any(span[0] <= day < span[1] for day in days)
        ]
        # A row may lie one step outside of its file's days: a label at midnight, a trade filed late.
        slack = timedelta(days=1)
        return sorted(
            (span, path)
            for span, path in daily + monthly
            if _ms(span[0] - slack) <= end and start <= _ms(span[1] + slack)
        )

    def _listed(self, feed: Feed, symbol: str) -> Iterator[tuple[tuple[datetime, datetime], Path]]:
        folder = (self._root / file_key(feed, symbol, "")).parent
        name = Path(file_key(feed, symbol, "")).stem
        for path in folder.glob("*.zip") if folder.is_dir() else ():
            try:
                first, end = parse_partition(path.stem.removeprefix(name), feed.cadence)
            except ValueError:
                continue
            midnight = datetime.min.time()
            yield (datetime.combine(first, midnight, UTC), datetime.combine(end, midnight, UTC)), path


def _feeds(market: str) -> list[Feed]:
    return [feed for feed in FEEDS.values() if (feed.exchange, feed.market.name) == (SPOT.exchange, market)]


def _rows(feed: Feed, path: Path) -> Sequence[Row]:
    status = path.stat()
    return _parsed(feed.file_format, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=128)
def _parsed(form: FileFormat, path: Path, _changed: int, _size: int) -> Sequence[Row]:
    """The rows of a file by time, one for each key; the last one in the file is kept."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    names, key = form.column_names, form.order_column
    types = {column.name: column.type for column in form.columns}
    rows: dict[Any, Row] = {}
    for number, fields in enumerate(csv.reader(io.StringIO(text))):
        if number == 0 and not any(character.isdigit() for character in fields[0]):
            continue
        row: Row = dict(zip(names, fields, strict=False))
        for column in form.time_columns:
            row[column] = _time(row[column], types[column])
        if form.id_column:
            row["microseconds"] = int(fields[names.index(form.time_columns[0])][13:] or 0)
        rows[row[key]] = row
    time = form.time_columns[0]
    return sorted(rows.values(), key=lambda row: (row[time], int(row[key]) if key != time else 0))


def _time(text: str, kind: FieldType) -> int:
    if kind is FieldType.STRING:
        return _ms(datetime.fromisoformat(text).replace(tzinfo=UTC))
    number = int(text)
    return number // 1000 if number >= _MICROSECONDS_FROM else number


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
