"""Days of trade ids, and of klines rebuilt from trades, from stored silver in bounded memory.

This module chooses the stored rows that a day of ids needs, the later day to rebuild, and the klines to compare the
rebuilt ones with. ``transforms`` computes the results. No Dagster, no writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from crypto_lakehouse.catalog import FEEDS, INTERVALS, Cadence, Feed, Market, parse_partition, partition_key
from crypto_lakehouse.lake.storage.ledger import read_states
from crypto_lakehouse.lake.storage.partitions import (
    collect_partitions,
    partition_exists,
    read_partition,
    scan_partitions,
)
from crypto_lakehouse.lake.storage.pieces import read_pieces
from crypto_lakehouse.lake.storage.provenance import Provenance, StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.quarantine import read_rejected
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import input_fingerprint, is_current, sources_fingerprint
from crypto_lakehouse.pipeline.gold.continuous import MINUTES
from crypto_lakehouse.pipeline.gold.missing import missing_partition
from crypto_lakehouse.schemas import schema_of, silver_schema
from crypto_lakehouse.schemas.klines import KLINES
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.checks.compare import Finding, klines_against_trades
from crypto_lakehouse.transforms.gold.trade_ids import (
    id_continuity,
    id_summary,
    later_ids,
    mark_refused,
    merge_summaries,
    missing_ranges,
    no_ids,
    repeated_ids,
)
from crypto_lakehouse.transforms.gold.trade_klines import klines_from_trades, merge_klines

_IDS = ("symbol", "trade_id", "time")
_TRADED = (*_IDS, "price", "base_quantity", "quote_quantity", "contracts", "is_buyer_maker")
# Rows to process at once; larger batches take more memory and are not faster.
_BATCH_ROWS = 100_000
_SINGLE_IDS = ("first_trade_id", "last_trade_id")


def id_tables(table: str) -> tuple[str, str]:
    """Names of the two gold tables of a silver table: continuity and missing ids."""
    return f"{table}_continuity", f"{table}_missing_ids"


@dataclass(frozen=True, slots=True)
class IdsPartition:
    """One day of both gold tables, each in its schema, and their provenance by table (``provenances``).

    If the inputs have not changed, ``unchanged`` holds the stored partition of each table, and only ``continuity`` has
    rows.
    """

    key: str
    continuity: pl.DataFrame
    missing: pl.DataFrame
    provenances: Mapping[str, Provenance] = field(default_factory=dict)
    unchanged: Mapping[str, StoredPartition] = field(default_factory=dict)

    @property
    def last_ids(self) -> pl.DataFrame:
        """The last ids, with which the next day continues: symbol, last_id, last_time."""
        return self.continuity.select(no_ids().columns)


class TradeIds:
    """Compute days of a feed's id tables from the silver rows of the day and the last ids of the day before.

    ``batch_rows`` is the number of rows to process at once; it does not change results. A stored day whose inputs have
    not changed is skipped, unless ``force``.
    """

    def __init__(self, store: LakeStore, feed: Feed, batch_rows: int = _BATCH_ROWS, force: bool = False) -> None:
        self._store, self._feed, self._batch_rows, self._force = store, feed, batch_rows, force
        self._bronze, self._silver = (TableSlice.of_feed(layer, feed) for layer in ("bronze", "silver"))
        self._continuity, self._missing = (
            TableSlice.of_market("gold", feed.market, table) for table in id_tables(feed.table)
        )

    def days(self, keys: Sequence[str]) -> Iterator[IdsPartition]:
        """Yield the days ``keys``, in order of time. Raises MissingPartition if a day is missing from silver."""
        last: IdsPartition | None = None
        for key in sorted(keys):
            before = last.last_ids if last is not None and last.key == _next(key, -1) else self._ids_before(key)
            last = self._unchanged(key, before) or self._make(key, before)
            yield last

    def up_to_date(self, keys: Sequence[str]) -> set[str]:
        """Those of the days ``keys`` that ``days`` would leave unchanged."""
        return {key for key in keys if self._current(key) and self._unchanged(key, self._ids_before(key))}

    def stale_successors(self, partitions: Sequence[IdsPartition]) -> Iterator[IdsPartition]:
        """Rebuild each stored day right after one of ``partitions`` that was built from other last ids.

        So no stored day depends on the order in which its neighbours were built. Days after these stay valid: the last
        ids of a day do not depend on the days before it.
        """
        keys = {partition.key for partition in partitions}
        for partition in partitions:
            following = _next(partition.key)
            if following not in keys and partition_exists(self._store, self._silver.partition(following)):
                # A day with one of its tables is in the work of another run, or was left by one that ended.
                is_whole = partition_exists(self._store, self._missing.partition(following))
                stored = self._stored(following) if is_whole else None
                if stored is not None and not (_in_line(stored, partition.last_ids) and self._marks_hold(following)):
                    yield self._make(following, partition.last_ids)

    def out_of_line(self, stored: pl.DataFrame, key: str) -> bool:
        """Whether the ``stored`` continuity of a day starts from other last ids than those of the stored day before."""
        before = self._stored(_next(key, -1))
        return before is not None and not _in_line(stored, before.select(no_ids().columns))

    def _unchanged(self, key: str, before: pl.DataFrame) -> IdsPartition | None:
        """The stored day, if neither the last ids ``before`` nor its other inputs have changed since it was built."""
        current = {} if self._force else self._current(key)
        rows = self._stored(key) if current else None
        if rows is None or not (_in_line(rows, before) and self._marks_hold(key)):
            return None
        provenances = {table: stored.provenance for table, stored in current.items()}
        return IdsPartition(key, rows, missing_ranges(_no_rows(), no_ids()), provenances, current)

    def _current(self, key: str) -> dict[str, StoredPartition]:
        """The stored partitions of both tables if they were built from the day's present silver; else none."""
        current = {}
        inputs = self._inputs(key)
        for table, expected in self._input_fingerprint(inputs).items():
            stored = stored_partition(
                self._store, TableSlice.of_market("gold", self._feed.market, table).partition(key)
            )
            if stored is None or not is_current(stored, expected, inputs):
                return {}
            current[table] = stored
        return current

    def _inputs(self, key: str) -> list[StoredPartition | None]:
        """The day's silver and, if stored, its bronze."""
        partitions = [self._silver.partition(key)]
        if partition_exists(self._store, self._bronze.partition(key)):
            partitions.append(self._bronze.partition(key))
        return [stored_partition(self._store, partition) for partition in partitions]

    def _input_fingerprint(self, inputs: Sequence[StoredPartition | None]) -> dict[str, str]:
        """The input fingerprint of each table's partition, without the ids of the day before: its rows hold these."""
        sources = [input_fingerprint(stored) for stored in inputs]
        return {
            table: sources_fingerprint("gold", schema_of("gold", table), sources)
            for table in id_tables(self._feed.table)
        }

    def _make(self, key: str, before: pl.DataFrame) -> IdsPartition:
        if not partition_exists(self._store, self._silver.partition(key)):
            raise missing_partition(self._store, self._silver.partition(key))
        # Take the fingerprint before reading the rows: if another run replaces them meanwhile, the next run sees it.
        sources = self._input_fingerprint(self._inputs(key))
        summaries, missing, repeated, reached = [], [], [], before
        for rows in self._batches(key):
            summaries.append(id_summary(rows))
            missing.append(missing_ranges(rows, reached))
            repeated.append(repeated_ids(rows, before))
            reached = later_ids(reached, summaries[-1])
        ranges = mark_refused(pl.concat(missing), self._refused_ids(key))
        continuity = id_continuity(
            merge_summaries(summaries), ranges, pl.concat(repeated), before, self._bronze_rows(key)
        )
        facts = {name: int(continuity[name].sum()) for name in ("missing_ids", "refused_ids", "repeated_ids")}
        provenances = {name: Provenance(sources[name], own) for name, own in zip(sources, (facts, {}), strict=True)}
        return IdsPartition(key, continuity, ranges, provenances)

    def _batches(self, key: str) -> Iterator[pl.DataFrame]:
        """Ids and times of a silver day in batches. The first one is empty, so at least one batch exists."""
        yield _no_rows()
        yield from _batches(self._store, self._feed, key, _IDS, self._batch_rows)

    def _ids_before(self, key: str) -> pl.DataFrame:
        before = _next(key, -1)
        if not partition_exists(self._store, self._silver.partition(before)):
            return no_ids()
        if not self._force and self._current(before) and (stored := self._stored(before)) is not None:
            return stored.select(no_ids().columns)
        return merge_summaries(id_summary(rows) for rows in self._batches(before)).select(no_ids().columns)

    def _refused_ids(self, key: str) -> pl.DataFrame:
        """Ids (symbol, trade_id) of the rejected rows in the present files of a day and of the day before.

        A missing range may end at the first row of a day; the rejected rows are then the last rows of the day before.
        """
        keys = [_next(key, -1), key]
        present = {
            (name, row["sha256"])
            for files in read_states(self._store, self._feed, keys).values()
            for name, row in files.items()
            if row["status"] == "ingested"
        }
        files = pl.DataFrame(
            sorted(present), schema={"source_key": pl.String, "source_sha256": pl.String}, orient="row"
        )
        rows = read_rejected(self._store, self._feed, keys).join(files, on=["source_key", "source_sha256"])
        # The id is the first field of every file of trades.
        number = pl.col("raw").str.extract(r"^([0-9]+)(?:,|$)").cast(pl.Int64, strict=False)
        return rows.select("symbol", trade_id=number).drop_nulls()

    def _marks_hold(self, key: str) -> bool:
        """Whether the ``refused`` marks of a day's stored missing ids agree with the rejected rows."""
        stored = read_partition(self._store, self._missing.partition(key))
        if stored.is_empty():
            return True
        return "refused" in stored.columns and mark_refused(stored, self._refused_ids(key)).equals(stored)

    def _bronze_rows(self, key: str) -> pl.DataFrame | None:
        if not partition_exists(self._store, self._bronze.partition(key)):
            return None
        rows = scan_partitions(self._store, self._bronze, [key])
        return rows.group_by("symbol").len("len").collect(engine="streaming")

    def _stored(self, key: str) -> pl.DataFrame | None:
        if not partition_exists(self._store, self._continuity.partition(key)):
            return None
        return read_partition(self._store, self._continuity.partition(key))


def stored_trades(store: LakeStore, market: Market, key: str) -> Feed | None:
    """The feed of trades of which the lake has a day: complete trades before aggregates. None if it has neither."""
    for table in ("trades", "agg_trades"):
        trades = FEEDS.get((market.exchange, market.name, table))
        if trades is not None and partition_exists(store, TableSlice.of_feed("silver", trades).partition(key)):
            return trades
    return None


def check_klines(store: LakeStore, feed: Feed, key: str, batch_rows: int = _BATCH_ROWS) -> list[Finding]:
    """Findings (symbol, description): one-minute klines rebuilt from a stored day of trades, against silver.klines_1m.

    Compares symbols that both have on that day; returns none if silver has no klines of the day. The completeness
    check of each table reports missing symbols.
    """
    if not partition_exists(store, TableSlice.of_market("silver", feed.market, MINUTES).partition(key)):
        return []
    findings: list[Finding] = []
    for rebuilt in rebuilt_klines(store, feed, key, batch_rows):
        expected = _klines_of(store, feed, key, rebuilt["symbol"].unique())
        findings += klines_against_trades(expected, rebuilt.join(expected, on="symbol", how="semi"))
    return findings


def _klines_of(store: LakeStore, feed: Feed, key: str, symbols: pl.Series) -> pl.DataFrame:
    minutes, is_wanted = TableSlice.of_market("silver", feed.market, MINUTES), pl.col("symbol").is_in(symbols.implode())
    return collect_partitions(store, minutes, [key], lambda rows: rows.filter(is_wanted).select(KLINES.column_names))


def rebuilt_klines(
    store: LakeStore, feed: Feed, key: str, batch_rows: int = _BATCH_ROWS, symbol: str | None = None
) -> Iterator[pl.DataFrame]:
    """Yield one-minute klines from a stored day of trades: the whole day of some symbols at a time, or of one symbol.

    Raises MissingPartition if the day is not stored.
    """
    columns = (*_TRADED, *_SINGLE_IDS) if feed.schema == "agg_trades" else _TRADED
    unfinished: list[pl.DataFrame] = []
    for rows in _batches(store, feed, key, columns, batch_rows, symbol):
        klines = merge_klines([*unfinished, klines_from_trades(rows, INTERVALS["1m"], feed.market)])
        # Rows are sorted by symbol, so only the last symbol can continue in the next batch.
        goes_on = pl.col("symbol") == rows["symbol"][-1]
        unfinished = [klines.filter(goes_on)]
        finished = klines.filter(~goes_on)
        if finished.height:
            yield finished
    yield from unfinished


def _batches(
    store: LakeStore, feed: Feed, key: str, columns: Sequence[str], batch_rows: int, symbol: str | None = None
) -> Iterator[pl.DataFrame]:
    """Silver rows in order of symbol and id, in batches of at most ``batch_rows``; of one symbol, or of all."""
    partition = TableSlice.of_feed("silver", feed).partition(key)
    order = silver_schema(feed).id_column
    for piece in read_pieces(store, partition, order=order, rows=batch_rows, columns=columns, symbol=symbol):
        rows = piece if symbol is None else piece.filter(pl.col("symbol") == symbol)
        yield from (batch for batch in rows.iter_slices(batch_rows) if batch.height)


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema={"symbol": pl.String, "trade_id": pl.Int64, "time": pl.Datetime("us", "UTC")})


def _in_line(stored: pl.DataFrame, before: pl.DataFrame) -> bool:
    """Whether the symbols of a stored day start from the last ids ``before``."""
    expected = stored.select("symbol").join(before, on="symbol", how="left", maintain_order="left")
    return stored.select("symbol", last_id="before_id", last_time="before_time").equals(expected)


def _next(key: str, days: int = 1) -> str:
    return partition_key(parse_partition(key, Cadence.DAILY)[0] + timedelta(days=days), Cadence.DAILY)
