"""Days of gold.missing_minutes: the evidence that the lake holds about minutes without a row of the archive.

Listings come from the newest ``gold.instruments``, else from the ledger; files from the ledger; trades, verdicts on the
other file of the day and quarantined rows where they are stored. ``transforms/gold/missing_minutes.py`` has the rules.
No Dagster, no writing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed
from crypto_lakehouse.lake.storage.answers import read_answers
from crypto_lakehouse.lake.storage.ledger import read_ledger, read_state
from crypto_lakehouse.lake.storage.partitions import collect_partitions, list_keys, partition_exists, read_partition
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.lake.storage.quarantine import read_rejected
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols, input_fingerprint
from crypto_lakehouse.pipeline.gold.continuous import MINUTES
from crypto_lakehouse.pipeline.gold.days import TableDays
from crypto_lakehouse.pipeline.gold.instruments import INSTRUMENTS
from crypto_lakehouse.pipeline.gold.missing import missing_partition
from crypto_lakehouse.pipeline.gold.trade_ids import stored_trades
from crypto_lakehouse.pipeline.gold.witnesses import TABLE as WITNESSES
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.gold.missing_minutes import Evidence, Listing, Reason, missing_minutes
from crypto_lakehouse.transforms.silver.clean import epoch_to_time, source_name

_DAY = timedelta(days=1)
# Archives have published files up to eight days late; after that a symbol without newer files has ended.
_LATE = 8 * _DAY
_IDS = ("symbol", "trade_id", "time")
_Span: TypeAlias = tuple[str, date, date]


class MissingMinutes(TableDays):
    """Days of a market's missing minutes, like the days of other tables."""

    def more_inputs(self, key: str) -> list[str]:
        """The listings and files of the day, and other tables that are stored."""
        facts = [(symbol, str(listing)) for symbol, listing in sorted(self._listings(key).items())]
        answers = self._answers(key).sort("symbol", "start", "end").write_csv()
        words = [hashlib.sha256(text.encode()).hexdigest() for text in (json.dumps(facts), answers)]
        for partition in self._others(key):
            stored = stored_partition(self._store, partition)
            words.append(f"{partition.slice.table} {partition.key} {input_fingerprint(stored)}")
        return words

    def rows(self, key: str) -> pl.DataFrame:
        """Compute the rows of a day. Raises MissingPartition if silver has no minutes of the day."""
        minutes = TableSlice.of_feed("silver", self._feed)
        if not partition_exists(self._store, minutes.partition(key)):
            raise missing_partition(self._store, minutes.partition(key))
        rows = collect_partitions(
            self._store, minutes, [key], lambda rows: rows.select("symbol", "open_time", "source")
        )
        day, listings = date.fromisoformat(key), self._listings(key)
        counts = rows.group_by("symbol").len()
        whole = set(counts.filter(pl.col("len") >= _DAY // timedelta(minutes=1))["symbol"])
        symbols = {*listings, *rows["symbol"]} - whole
        trades = stored_trades(self._store, self._market, key) if symbols else None
        more: dict[str, Any] = {}
        if trades is not None:
            before = self._ids(trades, f"{day - _DAY}", symbols).group_by("symbol").agg(pl.col("last_id").max())
            more = {"traded": self._ids(trades, key, symbols), "ids_before": before, "trades_table": trades.table}
        rejected = read_rejected(self._store, self._feed, [key])
        more["refused"], more["refused_rest"] = self._refused(key, rejected), _refused_answers(rejected)
        other, empty = self._other_file(key, rows), self._answers(key)
        return missing_minutes(day, rows, Evidence(listings, other_file=other, empty=empty, **more))

    def stale(self, keys: Sequence[str]) -> list[str]:
        """Stored days other than ``keys`` whose inputs have changed: listings change days at any distance."""
        minutes = list_keys(self._store, TableSlice.of_feed("silver", self._feed))
        others = [key for key in list_keys(self._store, self._slice) if key in minutes and key not in keys]
        return [key for key in others if self.day(key).unchanged is None]

    @property
    def _feed(self) -> Feed:
        return FEEDS[self._market.exchange, self._market.name, MINUTES]

    @cached_property
    def _spans(self) -> tuple[list[_Span], date | None, bool]:
        """The first and last day of each listing, the newest day of all (None without any), and whether the ends of
        listings are known: the first file of the ledger may be later than the first of the archive.
        """
        instruments = TableSlice.of_market("gold", self._market, INSTRUMENTS)
        newest = max(list_keys(self._store, instruments), default="")
        if newest:
            rows = read_partition(self._store, instruments.partition(newest))
            spans = rows.select("symbol", "first_day", "last_day").rows()
        else:
            files = read_ledger(self._store, self._feed).filter(pl.col("status").is_in(["ingested", "quarantined"]))
            days = pl.col("period").str.to_date()
            spans = files.group_by("symbol").agg(first=days.min(), last=days.max()).sort("symbol").rows()
        return spans, max((last for _, _, last in spans), default=None), bool(newest)

    def _listings(self, key: str) -> dict[str, Listing]:
        """The symbols that were listed on a day, or whose file of the day may still come."""
        spans, until, has_ends = self._spans
        day = date.fromisoformat(key)
        states = read_state(self._store, self._feed, key)
        by_symbol: dict[str, list[Mapping[str, Any]]] = {}
        for row in states.values():
            by_symbol.setdefault(row["symbol"], []).append(row)
        near = [(symbol, first, last) for symbol, first, last in spans if first <= day <= last + _LATE]
        bronze = TableSlice.of_feed("bronze", self._feed).partition(key)
        chosen = chosen_symbols(stored_partition(self._store, bronze)).select(symbol for symbol, _, _ in near)
        listings = {}
        for symbol, first, last in near:
            assert until is not None
            has_ended = until > last + _LATE
            files = by_symbol.get(symbol, [])
            if day > last and not files and (has_ended or symbol not in chosen):
                continue
            file = _file_reason(files, symbol in chosen)
            if file is None and day > last and not files:
                file = Reason.NOT_YET_PUBLISHED, {"newest_file": f"{last}", "listed_until": f"{until}"}
            listings[symbol] = Listing(has_ends and day == first, has_ends and day == last and has_ended, file)
        return listings

    def _others(self, key: str) -> Iterator[Partition]:
        """The stored partitions of other tables that a day uses."""
        witnesses = TableSlice.of_market("gold", self._market, WITNESSES).partition(key)
        found = [witnesses]
        if trades := stored_trades(self._store, self._market, key):
            before = f"{date.fromisoformat(key) - _DAY}"
            found += [TableSlice.of_feed("silver", trades).partition(each) for each in (before, key)]
        return (partition for partition in found if partition_exists(self._store, partition))

    def _ids(self, trades: Feed, key: str, symbols: Collection[str]) -> pl.DataFrame:
        """The first and last trade id of each minute of a stored day: symbol, open_time, first_id, last_id."""
        partition = TableSlice.of_feed("silver", trades).partition(key)
        parts = [pl.DataFrame(schema={"symbol": pl.String, "trade_id": pl.Int64, "time": pl.Datetime("us", "UTC")})]
        parts = [_by_minute(part) for part in parts]
        if partition_exists(self._store, partition):
            order = silver_schema(trades).id_column
            for piece in read_pieces(self._store, partition, order=order, columns=_IDS):
                parts.append(_by_minute(piece.filter(pl.col("symbol").is_in(list(symbols)))))
        return pl.concat(parts).group_by("symbol", "open_time").agg(pl.col("first_id").min(), pl.col("last_id").max())

    def _refused(self, key: str, rejected: pl.DataFrame) -> pl.DataFrame:
        """The minutes of quarantined rows of the present files of a day."""
        states = read_state(self._store, self._feed, key)
        present = [(name, row["sha256"]) for name, row in states.items() if row["status"] == "ingested"]
        files = pl.DataFrame(present, schema={"source_key": pl.String, "source_sha256": pl.String}, orient="row")
        return _minutes(rejected.join(files, on=["source_key", "source_sha256"]))

    def _answers(self, key: str) -> pl.DataFrame:
        """The times about which REST has no other rows than silver: symbol, start, end."""
        rows = read_answers(self._store, self._feed, [key]).filter(pl.col("status").is_in(["answered", "empty"]))
        return rows.select("symbol", "start", "end").unique()

    def _other_file(self, key: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of each symbol that only the file has from which its day was not built."""
        partition = TableSlice.of_market("gold", self._market, WITNESSES).partition(key)
        if not partition_exists(self._store, partition):
            return pl.DataFrame(schema={"symbol": pl.String, "rows": pl.Int64})
        monthly = rows.filter(pl.col("source") == source_name(Cadence.MONTHLY))["symbol"].unique()
        is_monthly = pl.col("symbol").is_in(monthly.implode())
        only = pl.when(is_monthly).then("missing_in_monthly").otherwise("missing_in_daily")
        verdicts = read_partition(self._store, partition).filter(pl.col("table") == MINUTES)
        return verdicts.select("symbol", rows=only)


def _refused_answers(rejected: pl.DataFrame) -> pl.DataFrame:
    """The minutes of quarantined rows of REST answers, whose source is the request."""
    return _minutes(rejected.filter(pl.col("source_key").str.starts_with("/")))


def _minutes(rejected: pl.DataFrame) -> pl.DataFrame:
    """The minutes of quarantined rows: symbol, open_time. The open time is the first field of all klines."""
    times = rejected.with_columns(raw=pl.col("raw").str.extract(r"^([0-9]+)(?:,|$)").cast(pl.Int64, strict=False))
    return times.select("symbol", open_time=epoch_to_time("raw").dt.truncate("1m")).drop_nulls()


def _by_minute(rows: pl.DataFrame) -> pl.DataFrame:
    minute = pl.col("time").dt.truncate("1m").alias("open_time")
    return rows.group_by("symbol", minute).agg(first_id=pl.col("trade_id").min(), last_id=pl.col("trade_id").max())


def _file_reason(files: Collection[Mapping[str, Any]], is_chosen: bool) -> tuple[Reason, Mapping[str, Any]] | None:
    """Why this lake does not have the file of a symbol and day; None if it has it, or if the archive has none."""
    if any(row["status"] == "ingested" for row in files):
        return None
    for row in files:
        if row["status"] in ("failed", "quarantined"):
            return Reason.NOT_FETCHED, {name: row[name] for name in ("status", "reason", "key")}
    return None if is_chosen else (Reason.NOT_FETCHED, {"chosen": False})
