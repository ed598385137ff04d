"""The partitions that used a file: bronze by its rows, silver by its days, gold by the inputs that tables declare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from crypto_lakehouse.catalog import Cadence, Feed, feeds, parse_partition, partition_key, partition_keys
from crypto_lakehouse.catalog.bars import closing_lag
from crypto_lakehouse.catalog.near import near
from crypto_lakehouse.lake.lineage.silver import stored_rows
from crypto_lakehouse.lake.reader.listing import Listing
from crypto_lakehouse.lake.storage.answers import read_answers
from crypto_lakehouse.lake.storage.describe import existing_tables, require_lake
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger
from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.paths import months_folder
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.gold import LISTING, GoldTable, find_gold_table, split_name
from crypto_lakehouse.schemas.rest import has_answers
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.rest.merge import REST
from crypto_lakehouse.transforms.silver.clean import epoch_to_time
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES, visiting_rows

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAY = timedelta(days=1)
# Comparing a misspelt key with more keys than this takes long.
_COMPARED = 100_000
_COLUMNS = {
    "layer": pl.String,
    "table": pl.String,
    "exchange": pl.String,
    "market": pl.String,
    "first": pl.String,
    "last": pl.String,
    "partitions": pl.Int64,
    "symbol": pl.String,
    "use": pl.String,
}
# Tables that pass something from day to day, and what.
_CARRIED = {
    "continuous": "only the state: last trade, last close and segment of earlier days",
    "trade_ids": "only the last ids of earlier days",
}


@dataclass(frozen=True, slots=True)
class _Use:
    """One file in a market, or one REST answer, and the days of its partition."""

    store: LakeStore
    feed: Feed
    symbol: str
    period: str
    is_answer: bool = False

    def lines(self, key: str, sha256: str | None, status: str) -> Iterator[tuple[TableSlice, list[str], str]]:
        """Yield a slice, keys of its partitions, and how they used the file."""
        bronze, silver = (TableSlice.of_feed(layer, self.feed) for layer in ("bronze", "silver"))
        bronze = TableSlice.of_answers(self.feed) if self.is_answer else bronze
        of_file = (pl.col("symbol") == self.symbol) & (pl.col("source_key") == key)
        rows = stored_rows(self.store, bronze, self.period, of_file)
        if rows.is_empty():
            yield bronze, self._stored(bronze, [self.period]), f"no rows: the status is {status}"
            return
        versions = rows["source_sha256"].unique().to_list()
        other = "" if sha256 is None or versions == [sha256] else f" of another version, sha256 {versions[0]}"
        yield bronze, [self.period], f"{rows.height} {'row' if rows.height == 1 else 'rows'}{other}"
        visited = [] if self.is_answer else list(self._neighbours(rows))
        if self.is_answer:
            filled = self._filled(silver, rows)
            yield silver, self._stored(silver, [self.period]), f"rows that no file has: {filled}"
            if not filled:
                return
        else:
            yield silver, self._stored(silver, [self.period]), "cleaned from the rows"
        if visited:
            yield silver, self._stored(silver, visited), "rows next to midnight that belong to this partition"
        days = self._days([self.period, *visited])
        yield from self._gold(days)
        yield from self._months(days)

    def _filled(self, silver: TableSlice, rows: pl.DataFrame) -> int:
        """How many rows of the answer silver holds."""
        of_rest = (pl.col("symbol") == self.symbol) & (pl.col("source") == REST)
        filled = stored_rows(self.store, silver, self.period, of_rest)[silver.schema.time_column]
        times = rows.select(epoch_to_time(TableSlice.of_answers(self.feed).schema.time_column)).to_series()
        return times.filter(times.is_in(filled.implode())).len()

    def _neighbours(self, rows: pl.DataFrame) -> Iterator[str]:
        """The partitions next to the file's own one that hold rows of the file."""
        rule = EDGE_RULES.get(self.feed.schema)
        if rule is None:
            return
        start, end = parse_partition(self.period, self.feed.cadence)
        for day, offset in ((start - _DAY, 1), (end, -1)):
            other = partition_key(day, self.feed.cadence)
            if visiting_rows(rows, rule, *parse_partition(other, self.feed.cadence), offset).height:
                yield other

    def _days(self, keys: Sequence[str]) -> list[str]:
        spans = (parse_partition(key, self.feed.cadence) for key in sorted(keys))
        return [day for start, end in spans for day in partition_keys(start, end, Cadence.DAILY)]

    def _gold(self, days: Sequence[str]) -> Iterator[tuple[TableSlice, list[str], str]]:
        for table in existing_tables(self.store, "gold"):
            entry = find_gold_table(table)
            if entry is None:
                continue
            table_slice = TableSlice.of_market("gold", self.feed.market, table)
            stored = list_keys(self.store, table_slice)
            if entry.maker == "witnesses":
                yield table_slice, self._stored(table_slice, days), "compared with the other file of the day"
                continue
            if _is_listed(entry, self.feed.table):
                yield table_slice, [key for key in stored if key >= days[0]], "the listing up to the day has the file"
                continue
            if not depends(entry, self.feed.table):
                continue
            used = self._stored(table_slice, [*days, *_later(entry, days[-1])])
            yield table_slice, used, _window(entry)
            carried = _CARRIED.get(entry.maker)
            if carried and f"silver.{self.feed.table}" in entry.inputs:
                yield table_slice, [key for key in stored if key > days[-1]], carried

    def _months(self, days: Sequence[str]) -> Iterator[tuple[TableSlice, list[str], str]]:
        """Month files of the tables that have the rows."""
        months = sorted({day[:7] for day in days})
        gold = TableSlice.of_market("gold", self.feed.market, "continuous_1m")
        for table_slice in (TableSlice.of_feed("silver", self.feed), gold):
            entry = find_gold_table(table_slice.table) if table_slice.layer == "gold" else None
            if table_slice.is_compacted and (entry is None or depends(entry, self.feed.table)):
                kept = [month for month in months if self.store.list(months_folder(table_slice, month))]
                yield table_slice, kept, "compacted: a copy of the days of the month"

    def _stored(self, table_slice: TableSlice, keys: Sequence[str]) -> list[str]:
        stored = list_keys(self.store, table_slice)
        return sorted(key for key in set(keys) if key in stored)


def partitions_using(store: LakeStore, file: str, exchange: str) -> pl.DataFrame:
    """Return the stored partitions of ``Lakehouse.uses``. Raises like it."""
    column = "sha256" if _SHA256.fullmatch(file) else "key"
    rows, known = [], set[str]()
    for feed in (each for each in feeds() if each.exchange == exchange):
        ledger = read_ledger(store, feed)
        known.update(ledger["key"].unique())
        # A hash may be that of an earlier version; what counts is the file, and the state that it has now.
        named = ledger.filter(pl.col(column) == file).select("key", "period").unique()
        for state in latest(ledger.join(named, on=["key", "period"], how="semi")).iter_rows(named=True):
            sha256 = file if column == "sha256" else state["sha256"]
            use = _Use(store, feed, state["symbol"], state["period"])
            for table_slice, keys, text in use.lines(state["key"], sha256, state["status"]):
                if keys:
                    rows.append(_row(table_slice, keys, state["symbol"], text))
        rows += _of_answers(store, feed, file, column)
    if not known:
        require_lake(store)
    if not rows:
        names = near(file, sorted(known)) if len(known) < _COMPARED else []
        similar = f"; did you mean {names[0]}?" if names else ""
        raise ValueError(
            f"the ledger of {store.uri} knows no file of {exchange} with the {column} {file}, or no stored partition"
            f" used it{similar}. Keys are those of the archive: data/futures/um/daily/klines/..."
        )
    return Listing(pl.DataFrame(rows, schema=_COLUMNS, orient="row"))


def _of_answers(store: LakeStore, feed: Feed, file: str, column: str) -> Iterator[tuple[Any, ...]]:
    """The rows of the result for REST answers with this request or sha256."""
    if not has_answers(feed):
        return
    named = "request" if column == "key" else column
    answers = read_answers(store, feed).filter(pl.col(named) == file).unique("period", keep="last", maintain_order=True)
    for row in answers.iter_rows(named=True):
        use = _Use(store, feed, row["symbol"], row["period"], is_answer=True)
        for table_slice, keys, text in use.lines(row["request"], row["sha256"], row["status"]):
            if keys:
                yield _row(table_slice, keys, row["symbol"], text)


def _row(table_slice: TableSlice, keys: Sequence[str], symbol: str, use: str) -> tuple[Any, ...]:
    layer = "compacted" if use.startswith("compacted") else table_slice.layer
    place = (layer, table_slice.table, table_slice.exchange, table_slice.market)
    return (*place, keys[0], keys[-1], len(keys), symbol, use)


def depends(entry: GoldTable, table: str) -> bool:
    """Whether rows of a gold table are made from those of silver ``table``, directly or through other gold tables.

    >>> depends(find_gold_table("bars_1h"), "funding_rates"), depends(find_gold_table("bars_1h"), "trades")
    (True, False)
    """
    for layer, name in map(split_name, (*entry.inputs, *entry.optional)):
        below = find_gold_table(name) if layer == "gold" else None
        if (layer in ("bronze", "silver") and name == table) or (below is not None and depends(below, table)):
            return True
    return False


def _is_listed(entry: GoldTable, table: str) -> bool:
    return f"{LISTING}.{table}" in entry.inputs


def _later(entry: GoldTable, day: str) -> list[str]:
    """The days after ``day`` whose partitions have bars that include it."""
    if entry.bars is None:
        return []
    days = closing_lag(entry.bars).days + (closing_lag(entry.bars) % _DAY > timedelta(0))
    return [str(date.fromisoformat(day) + _DAY * (n + 1)) for n in range(days)]


def _window(entry: GoldTable) -> str:
    return "bars that include minutes of the day" if entry.bars is not None else "rows of the day"
