"""Days of gold.witnesses: fetch the daily and the monthly files of klines, and compare their rows.

This module chooses files, reads them one symbol at a time, and keeps the rows of symbols that a run does not compare.
``transforms/gold/witnesses.py`` has the rules. Neither bronze nor silver nor the ledger changes. No Dagster.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from crypto_lakehouse.archive.model import ArchiveFile, ArchiveSource, FetchedFile, RejectedFile
from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, Market, parse_partition
from crypto_lakehouse.catalog.archive_files import ArchiveFiles
from crypto_lakehouse.catalog.symbols import ChosenSymbols, SymbolFilter
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.leftovers import TEMPORARY
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.raw import RawStore
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.bronze.download_queue import DownloadQueue
from crypto_lakehouse.pipeline.bronze.parsing import read_blocks
from crypto_lakehouse.pipeline.bronze.results import TRANSIENT
from crypto_lakehouse.pipeline.chosen_files import available_symbols, is_complete, monthly_feed
from crypto_lakehouse.pipeline.completion.silver_rows import answered_keys, rest_rows, stored_answers
from crypto_lakehouse.pipeline.discover import files_in_order
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols, input_fingerprint, sources_fingerprint
from crypto_lakehouse.pipeline.gold.trade_ids import rebuilt_klines, stored_trades
from crypto_lakehouse.pipeline.silver import cleaner_of
from crypto_lakehouse.pipeline.symbols import check_symbols_exist
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.schemas.witnesses import WITNESSES
from crypto_lakehouse.transforms.gold.witnesses import Difference, differences, verdict, with_volume

TABLE = WITNESSES.name

_DAY = timedelta(days=1)
_SCHEMA = pl.DataFrame(WITNESSES.empty()).schema
_TABLES = "tables"
_SOURCE = ("source_key", "source_sha256")
_Row: TypeAlias = Mapping[str, Any]
_Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class WitnessDay:
    """One day in the table's schema. If its rows have not changed, ``unchanged`` is the stored partition."""

    key: str
    rows: pl.DataFrame
    provenance: Provenance
    unchanged: StoredPartition | None = None


@dataclass(frozen=True, slots=True)
class _Witness:
    """The silver rows of one file, by day; ``etag`` is None if the file is to be tried again."""

    days: Mapping[date, pl.DataFrame]
    sha256: str | None = None
    etag: str | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored day, its rows by (symbol, table), and whether this version of the code has made them."""

    partition: StoredPartition | None
    rows: Mapping[_Place, _Row]
    is_usable: bool

    def has_compared(self, symbol: str, table: str) -> bool:
        """Whether an earlier run has compared the symbol, also if no file had a row of it."""
        if self.partition is None or table not in self.partition.provenance.facts.get(_TABLES, ()):
            return False
        return bool(chosen_symbols(self.partition).select([symbol]))


@dataclass(slots=True)
class Witnesses:
    """Compare the files of some klines tables of a market.

    Attributes
    ----------
    feeds
        Daily feeds whose archive also has monthly files.
    symbols
        The symbols to compare. Stored rows of other symbols stay.
    named_for_feed
        The user selected ``symbols`` for this run, not in the settings for all markets.
    force
        Compare also files whose stored verdict is of the versions that the archive lists.
    unknown
        Names and patterns that match nothing in the archive; set before the first day.
    """

    market: Market
    feeds: Sequence[Feed]
    source: ArchiveSource
    store: LakeStore
    raw: RawStore
    symbols: SymbolFilter
    named_for_feed: bool = False
    force: bool = False
    unknown: list[str] = field(default_factory=list, init=False)
    _rest: dict[tuple[str, str], pl.DataFrame] = field(default_factory=dict, init=False)
    _answered_keys: dict[str, frozenset[str]] = field(default_factory=dict, init=False)

    def days(self, keys: Sequence[str]) -> Iterator[WitnessDay]:
        """Yield the days ``keys``, in order of time. A monthly file is fetched once for all of its days.

        Raises ArchiveError if the archive cannot be listed, UnknownSymbolsError if it does not have a symbol.
        """
        listed = {feed.table: self._listed(feed) for feed in self.feeds}
        with (
            tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder,
            closing(DownloadQueue(self.source, self.raw, Path(folder))) as downloads,
        ):
            for _, group in groupby(sorted(keys), key=lambda key: key[:7]):
                of_month = list(group)
                self._rest.clear()
                stored = {key: self._stored(key) for key in of_month}
                selected = {feed.table: self._selected(feed, listed[feed.table], stored) for feed in self.feeds}
                found: dict[str, dict[_Place, _Row]] = {key: {} for key in of_month}
                for feed in self.feeds:
                    for key, row in self._month(feed, selected[feed.table], stored, downloads):
                        found[key][row["symbol"], row["table"]] = row
                compared = {(symbol, table) for table, symbols in selected.items() for symbol in symbols}
                for key in of_month:
                    yield self._day(key, stored[key], found[key], compared)

    def _listed(self, feed: Feed) -> list[str]:
        """The symbols of the archive's daily or monthly files."""
        available = available_symbols(feed, self.source, ArchiveFiles.MONTHLY)
        self.unknown += check_symbols_exist(
            feed, self.source, self.store, self.symbols, available, for_feed=self.named_for_feed
        )
        return available

    def _selected(self, feed: Feed, listed: Sequence[str], stored: Mapping[str, _Stored]) -> list[str]:
        """The symbols to compare: the chosen ones, and those whose stored rows are of another version."""
        outdated = {
            symbol
            for day in stored.values()
            for symbol, table in ([] if day.is_usable else day.rows)
            if table == feed.table
        }
        return sorted({*self.symbols.select(listed), *outdated.intersection(listed)})

    def _stored(self, key: str) -> _Stored:
        partition = stored_partition(self.store, self._slice.partition(key))
        if partition is None:
            return _Stored(None, {}, is_usable=True)
        rows = read_partition(self.store, self._slice.partition(key))
        is_usable = rows.schema == _SCHEMA and input_fingerprint(partition) == self._fingerprint(key, rows)
        by_symbol = {(row["symbol"], row["table"]): row for row in rows.iter_rows(named=True)}
        return _Stored(partition, by_symbol, is_usable)

    def _day(self, key: str, stored: _Stored, found: Mapping[_Place, _Row], compared: set[_Place]) -> WitnessDay:
        """The rows found, and the stored ones of what this run has not compared."""
        kept = {place: row for place, row in stored.rows.items() if place not in compared and stored.is_usable}
        rows = pl.DataFrame([*{**kept, **found}.values()], schema=_SCHEMA).sort(WITNESSES.primary_key)
        chosen, tables = ChosenSymbols.of_filter(self.symbols), {feed.table for feed in self.feeds}
        if stored.partition is not None:
            chosen |= chosen_symbols(stored.partition)
            tables |= {*stored.partition.provenance.facts.get(_TABLES, ())}
        verdicts = {f"{name}_days": count for name, count in sorted(rows["verdict"].value_counts().iter_rows())}
        provenance = Provenance(self._fingerprint(key, rows), {_TABLES: sorted(tables), **verdicts, **chosen.facts()})
        is_same = stored.partition is not None and stored.partition.provenance == provenance and not self.force
        return WitnessDay(key, rows, provenance, stored.partition if is_same else None)

    def _month(
        self, feed: Feed, symbols: Sequence[str], stored: Mapping[str, _Stored], downloads: DownloadQueue
    ) -> Iterator[tuple[str, _Row]]:
        """Yield (day, row) of each symbol that has a file, for days of one month."""
        keys = list(stored)
        start, end = date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]) + _DAY
        first = start.replace(day=1)
        states = read_states(self.store, feed, keys)
        known = {name: row for state in states.values() for name, row in state.items()}
        months = files_in_order(self.source, monthly_feed(feed), symbols, first, first + _DAY)
        for (_, daily), (_, monthly) in zip(
            files_in_order(self.source, feed, symbols, start, end), months, strict=True
        ):
            of_day: dict[str, dict[str, ArchiveFile]] = {}
            for file in daily:
                if file.period in stored:
                    of_day.setdefault(file.symbol, {})[file.period] = file
            of_month = {file.symbol: file for file in monthly if is_complete(file)}
            to_read = []
            for symbol in sorted({*of_day, *of_month}):
                files, month = of_day.get(symbol, {}), of_month.get(symbol)
                rows = self._unchanged(feed, symbol, files, month, stored)
                if rows is None:
                    to_read.append(symbol)
                else:
                    yield from rows
            wanted = [
                file
                for symbol in to_read
                for file in filter(None, [of_month.get(symbol), *of_day.get(symbol, {}).values()])
            ]
            downloads.want((file, known.get(file.object_key)) for file in wanted)
            for symbol in to_read:
                yield from self._symbol(feed, symbol, keys, of_day.get(symbol, {}), of_month.get(symbol), downloads)

    def _unchanged(
        self,
        feed: Feed,
        symbol: str,
        daily: Mapping[str, ArchiveFile],
        monthly: ArchiveFile | None,
        stored: Mapping[str, _Stored],
    ) -> list[tuple[str, _Row]] | None:
        """The stored rows of a symbol if they compare the listed versions of its files; None if any day does not."""
        rows = []
        for key, day in stored.items():
            if self.force or not day.is_usable or not day.has_compared(symbol, feed.table):
                return None
            file, row = daily.get(key), day.rows.get((symbol, feed.table))
            etags = (file and file.etag, monthly and monthly.etag)
            if row is not None and (row["daily_etag"], row["monthly_etag"]) == etags:
                rows.append((key, row))
            elif row is not None or file is not None:
                return None
        # Without any row, the version of the monthly file that was compared is not known.
        return rows or None

    def _symbol(
        self,
        feed: Feed,
        symbol: str,
        keys: Sequence[str],
        daily: Mapping[str, ArchiveFile],
        monthly: ArchiveFile | None,
        downloads: DownloadQueue,
    ) -> Iterator[tuple[str, _Row]]:
        """Read the files of a symbol, and yield (day, row)."""
        month = self._take(monthly_feed(feed), monthly, downloads) if monthly else None
        for key in keys:
            file, day = daily.get(key), date.fromisoformat(key)
            own = self._take(feed, file, downloads) if file else None
            if own is not None or (month is not None and (day in month.days or (month.faults and not month.days))):
                yield key, self._compared(feed, symbol, day, own, month)

    def _compared(self, feed: Feed, symbol: str, day: date, daily: _Witness | None, month: _Witness | None) -> _Row:
        schema = silver_schema(feed)
        empty = pl.DataFrame(schema.empty())
        left, right = (each.days.get(day, empty) if each else empty for each in (daily, month))
        files = pl.concat([left, right.join(left, on="open_time", how="anti")])
        has_both = bool(left.height and right.height)
        found = differences(left, right, schema)
        faults = [
            f"{name} file: {fault}"
            for name, each in (("daily", daily), ("monthly", month))
            if each
            for fault in each.faults
        ]
        return {
            "symbol": symbol,
            "table": feed.table,
            "day": datetime.combine(day, time(), UTC),
            "verdict": verdict(left.height, right.height, found).value,
            "daily_rows": left.height if daily and (daily.days or not daily.faults) else None,
            "monthly_rows": right.height if month and (month.days or not month.faults) else None,
            "missing_in_daily": found.only_right,
            "missing_in_monthly": found.only_left,
            **_difference("monthly", found if has_both else None),
            **self._against_rest(feed, symbol, day, files),
            **self._against_trades(feed, symbol, day, files),
            "daily_sha256": daily and daily.sha256,
            "monthly_sha256": month and month.sha256,
            "daily_etag": daily and daily.etag,
            "monthly_etag": month and month.etag,
            "detail": "; ".join(faults) or None,
        }

    def _against_rest(self, feed: Feed, symbol: str, day: date, klines: pl.DataFrame) -> dict[str, Any]:
        rows = self._rest_of(feed, day.isoformat()).filter(pl.col("symbol") == symbol)
        if rows.is_empty():
            return {"rest_rows": None, "rest_only": None, **_difference("rest", None)}
        found = differences(klines, rows, silver_schema(feed))
        return {"rest_rows": rows.height, "rest_only": found.only_right, **_difference("rest", found)}

    def _rest_of(self, feed: Feed, key: str) -> pl.DataFrame:
        """The rows of the day's REST answers, of all symbols. They are read once for all symbols of a month."""
        place = feed.table, key
        if place not in self._rest:
            rows = rest_rows(feed, key, self.store)[0].others() if key in self._answered(feed) else None
            self._rest[place] = pl.DataFrame(silver_schema(feed).empty()) if rows is None else rows
        return self._rest[place]

    def _answered(self, feed: Feed) -> frozenset[str]:
        if feed.table not in self._answered_keys:
            self._answered_keys[feed.table] = answered_keys(feed, self.store)
        return self._answered_keys[feed.table]

    def _against_trades(self, feed: Feed, symbol: str, day: date, klines: pl.DataFrame) -> dict[str, Any]:
        key = day.isoformat()
        trades = stored_trades(self.store, self.market, key) if feed.table == "klines_1m" else None
        rebuilt = list(rebuilt_klines(self.store, trades, key, symbol=symbol)) if trades else []
        if trades is None or not rebuilt:
            nothing = {"trades_table": None, "trades_rows": None, "trades_missing": None}
            return {**nothing, **_difference("trades", None)}
        rows, traded = pl.concat(rebuilt), with_volume(klines)
        found = differences(traded, with_volume(rows), silver_schema(feed), rounded=True)
        return {
            "trades_table": trades.table,
            "trades_rows": rows.height,
            "trades_missing": found.only_left + found.only_right,
            **_difference("trades", found),
        }

    def _take(self, feed: Feed, file: ArchiveFile, downloads: DownloadQueue) -> _Witness:
        """Read a wanted file, keep its bytes in the raw layer, and release it."""
        fetched = downloads.take(file)
        try:
            return self._read(feed, fetched)
        finally:
            downloads.drop(file)

    def _read(self, feed: Feed, fetched: FetchedFile | RejectedFile) -> _Witness:
        start, end = parse_partition(fetched.file.period, feed.cadence)
        parts, refused = [], 0
        for read in read_blocks(feed, fetched):
            if isinstance(read, RejectedFile):
                etag = None if read.reason in TRANSIENT else read.file.etag
                return _Witness({}, read.sha256, etag, (f"{read.reason}: {read.detail}",))
            refused += sum(map(len, read.refused))
            rows = pl.DataFrame(read.rows)
            parts.append(rows.with_columns(pl.col(name).cast(pl.String) for name in ("symbol", *_SOURCE)))
        assert isinstance(fetched, FetchedFile)
        self.raw.put(fetched.file.object_key, fetched.sha256, fetched.path)
        cleaned = cleaner_of(feed)(pl.concat(parts), feed, start, end)
        rejected = cleaned.rejected["reason"].value_counts().sort("reason").iter_rows()
        faults = [f"{count} rows {reason}" for reason, count in rejected]
        faults += [f"{refused} lines are no rows"] if refused else []
        days = cleaned.rows.group_by(pl.col("open_time").dt.date().alias("day"), maintain_order=True)
        by_day = {day: rows for (day,), rows in days}
        return _Witness(by_day, fetched.sha256, fetched.file.etag, tuple(faults))

    def _fingerprint(self, key: str, rows: pl.DataFrame) -> str:
        """The files have no sha256 before they are fetched, so the rows, which name them, stand for them."""
        inputs = [hashlib.sha256(rows.write_csv().encode()).hexdigest()]
        if trades := stored_trades(self.store, self.market, key):
            partition = TableSlice.of_feed("silver", trades).partition(key)
            inputs.append(input_fingerprint(stored_partition(self.store, partition)))
        for table in rows["table"].unique().sort():
            feed = FEEDS[self.market.exchange, self.market.name, table]
            if key in self._answered(feed):
                inputs += [f"{table} {words}" for words in stored_answers(feed, key, self.store)[1]]
        return sources_fingerprint("gold", WITNESSES, inputs)

    @property
    def _slice(self) -> TableSlice:
        return TableSlice.of_market("gold", self.market, TABLE)


def compared_feeds(feeds: Sequence[Feed]) -> list[Feed]:
    """Those of ``feeds`` whose daily files can be compared with monthly ones."""
    return [feed for feed in feeds if feed.monthly_folder and feed.cadence is Cadence.DAILY]


def _difference(source: str, found: Difference | None) -> dict[str, Any]:
    values = asdict(found) if found is not None else {}
    names = {"different": "different_rows", "largest": "largest", "column": "column", "time": "time"}
    return {f"{source}_{column}": values.get(name) for name, column in names.items()}
