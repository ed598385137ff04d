"""The coverage of a table: the state of each symbol on each day, from partitions, ledger and quarantine.

What the archive had is in the ledger, what the lake has is in its listing, and the filled minutes of a day are in its
daily bars. No other partition is opened, so a lake of years and hundreds of symbols takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed, parse_partition, partition_keys
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.pictures import style
from crypto_lakehouse.lake.pictures.picture import Picture
from crypto_lakehouse.lake.reader.times import TimeRange
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.building import ways_to_build
from crypto_lakehouse.lake.storage.damage import reading
from crypto_lakehouse.lake.storage.describe import StoredFile, list_slice_files, require_lake, split_table, stored_file
from crypto_lakehouse.lake.storage.partitions import collect_partitions, scan
from crypto_lakehouse.lake.storage.paths import log_folder
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.gold import find_gold_table
from crypto_lakehouse.schemas.slices import TableSlice

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

STATES = tuple(style.STATES)
"""In the order of the legend; ``data`` has them as the Enum ``state``."""
_THERE, _FILLED, _NOT_IN_LAKE, _NOT_IN_ARCHIVE, _QUARANTINED = STATES
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
FILLED_MINUTES = 60
"""A day without trades in so many minutes counts as filled."""
_MINUTES, _DAILY_BARS = "klines_1m", "bars_1d"
# Of several files of a symbol and period, the best one counts.
_ORDER = ("ingested", "quarantined", "failed")


class Coverage(Picture):
    """The state of each symbol (rows) in each partition (columns) of a table."""

    def __init__(self, title: str, data: pl.DataFrame, cadence: Cadence) -> None:
        super().__init__(title, data)
        self.cadence = cadence

    def matrix(self) -> tuple[list[str], list[date], pl.DataFrame]:
        """Return the symbols, the first days of all partitions, and one column of state numbers per symbol."""
        first, last = self.data["date"].min(), self.data["date"].max()
        assert isinstance(first, date)
        assert isinstance(last, date)
        keys = partition_keys(first, last + _DAY, self.cadence)
        days = [parse_partition(key, self.cadence)[0] for key in keys]
        numbers = self.data.select("symbol", "date", pl.col("state").to_physical().cast(pl.Int8))
        wide = numbers.pivot("symbol", index="date", values="state")
        return self.symbols, days, pl.DataFrame({"date": days}).join(wide, on="date", how="left").select(self.symbols)

    @property
    def symbols(self) -> list[str]:
        """The symbols, sorted."""
        return sorted(self.data["symbol"].unique())

    def _plotly(self) -> go.Figure:
        from crypto_lakehouse.lake.pictures.coverage_plotly import draw

        return draw(self.title, *self.matrix(), self.cadence is Cadence.MONTHLY)

    def _matplotlib(self, size: tuple[float, float] | None) -> Figure:
        from crypto_lakehouse.lake.pictures.coverage_png import draw

        return draw(self.title, *self.matrix(), size)


@dataclass(frozen=True, slots=True)
class _Request:
    store: LakeStore
    table: TableSlice
    feed: Feed
    start: date | None
    end: date | None

    def shown(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        """The files whose day or month overlaps the range."""
        start, end = self.start or date.min, self.end or date.max
        return [file for file in files if file.start < end and file.end > start]

    def logged(self, layer: str, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of the log objects of the feed in the range, by one listing, oldest row first."""
        schema, folder = schema_of(layer, name), log_folder(layer, name, self.feed)
        paths = [file.path for file in self.shown([*filter(None, map(stored_file, self.store.list(folder)))])]
        with reading(self.store, paths):
            rows = scan(self.store, schema, paths).select(*columns, schema.time_column)
            return rows.sort(schema.time_column, maintain_order=True).collect()


def coverage_picture(
    store: LakeStore,
    table: str,
    exchange: str,
    market: str,
    symbols: str | Sequence[str] | None,
    times: TimeRange,
) -> Coverage:
    """Return the coverage of ``layer.table`` on the days that the range overlaps.

    Raises KeyError on an unknown table or market, ValueError if the table has no files of symbols or nothing is known.
    """
    request = _request(store, table, exchange, market, times)
    rows = coverage_rows(request)
    if not rows.is_empty() and not _stored(request):
        start, end = (
            None if day is None else datetime.combine(day, time(), UTC) for day in (request.start, request.end)
        )
        place = f"{table} of {exchange}/{market} in {store.uri}"
        warn(f"{place} has no partitions{ways_to_build(store, [(request.table, start, end)])}")
    if symbols is not None:
        wanted = SymbolFilter.parse(symbols if isinstance(symbols, str) else ",".join(symbols))
        rows = rows.filter(pl.col("symbol").is_in(wanted.select(rows["symbol"].unique())))
    if rows.is_empty():
        require_lake(store)
        raise ValueError(
            f"the lake {store.uri} knows no files of {table} in {exchange}/{market} in this range: there is nothing to"
            " draw. lake.tables() lists what it holds"
        )
    first, last = rows["date"].min(), rows["date"].max()
    cadence = request.table.cadence
    span = " to ".join(str(day)[: 7 if cadence is Cadence.MONTHLY else 10] for day in (first, last))
    count = rows["symbol"].n_unique()
    return Coverage(f"{table}, {exchange} {market}, {count} symbol{'s'[: count > 1]}, {span}", rows, cadence)


def _request(store: LakeStore, table: str, exchange: str, market: str, times: TimeRange) -> _Request:
    layer, name, _ = split_table(table)
    table_slice = TableSlice(layer, exchange, market, name)
    if layer == "gold":
        entry = find_gold_table(name)
        source = entry.sources[0] if entry and entry.sources else ""
        feed = None if entry is None or entry.is_of_listing else FEEDS.get((exchange, market, source))
    else:
        feed = table_slice.feed
    if feed is None:
        raise ValueError(
            f"{table} has no archive files of symbols in {exchange}/{market}: name a table such as silver.klines_1m or"
            " gold.bars_1h"
        )
    newest = [] if times.last is None else list_slice_files(store, table_slice)[-1:]
    first, stop = times.within(file.end for file in newest)
    # A day counts if a part of it is in the range.
    end = None if stop is None else (stop - _MICROSECOND).date() + _DAY
    return _Request(store, table_slice, feed, None if first is None else first.date(), end)


def coverage_rows(request: _Request) -> pl.DataFrame:
    """Return one row per symbol and partition of the range, from the symbol's first to its last file.

    Columns: symbol, date (first UTC day of the partition), state, rows (of the archive file), filled (minutes),
    rejected (rows), reason.
    """
    current, stored = _current(request), {file.key for file in request.shown(_stored(request))}
    files = _best(current)
    if files.is_empty():
        return _frame(pl.DataFrame(), request)
    built = set(files["period"])
    files = files.filter(pl.col("status") != "no_file")
    known = sorted(built | stored)
    first, last = (parse_partition(key, request.feed.cadence) for key in (known[0], known[-1]))
    start, end = request.start or first[0], request.end or last[1]
    keys = [
        key
        for key in partition_keys(start, end, request.feed.cadence)
        if request.feed.covers(parse_partition(key, request.feed.cadence)[0])
    ]
    spans = files.group_by("symbol").agg(first=pl.col("period").min(), last=pl.col("period").max())
    # A symbol that has a file of the oldest or newest day known may have older or newer ones.
    spans = spans.with_columns(
        since=pl.when(pl.col("first") == min(built)).then(pl.lit("")).otherwise("first"),
        until=pl.when(pl.col("last") == max(built)).then(pl.lit("9999")).otherwise("last"),
    )
    calendar = pl.DataFrame({"period": keys}, schema={"period": pl.String}).with_columns(
        stored=pl.col("period").is_in(list(stored)), built=pl.col("period").is_in(list(built))
    )
    grid = spans.join(calendar, how="cross").filter(pl.col("period").is_between("since", "until"))
    rows = grid
    for facts in (files, _silver_rejects(request, current), _filled(request)):
        rows = rows.join(facts, on=["symbol", "period"], how="left")
    return _frame(rows, request)


def _stored(request: _Request) -> list[StoredFile]:
    return list_slice_files(request.store, request.table)


def _current(request: _Request) -> pl.DataFrame:
    """The newest row of the ledger for each archive file and partition."""
    columns = ("key", "symbol", "period", "status", "sha256", "rows", "rejected_rows", "reason")
    return request.logged("ledger", "files", columns).unique(["key", "period"], keep="last", maintain_order=True)


def _best(current: pl.DataFrame) -> pl.DataFrame:
    """The state of each symbol and period, by the best of its files."""
    order = pl.col("status").replace_strict(_ORDER, range(len(_ORDER)), default=len(_ORDER))
    states = current.sort(order, maintain_order=True).group_by("symbol", "period", maintain_order=True)
    return states.agg(pl.col("status", "reason").first(), pl.col("rows", "rejected_rows").sum())


def _silver_rejects(request: _Request, current: pl.DataFrame) -> pl.DataFrame:
    """Rows that silver rejected, of the files as they are now; earlier versions of a file do not count."""
    where = ("source_key", "source_sha256", "source_line", "reason")
    rows = request.logged("quarantine", "rejected", ("layer", "symbol", "period", *where))
    rows = rows.filter(pl.col("layer") == "silver").unique(where)
    rows = rows.join(current, left_on=where[:2], right_on=["key", "sha256"], how="semi")
    return rows.group_by("symbol", "period").agg(silver_rejected=pl.len(), silver_reason=pl.col("reason").first())


def _filled(request: _Request) -> pl.DataFrame:
    """Minutes of each day in which nothing was traded, by the daily bars that the lake has."""
    daily = TableSlice("gold", request.table.exchange, request.table.market, _DAILY_BARS)
    keys = []
    if request.feed.table == _MINUTES:
        keys = [file.key for file in request.shown(list_slice_files(request.store, daily))]
    return collect_partitions(
        request.store,
        daily,
        keys,
        lambda rows: rows.group_by("symbol", period="date").agg(filled=pl.col("n_filled").sum()),
    )


def _frame(rows: pl.DataFrame, request: _Request) -> pl.DataFrame:
    kind = pl.Enum(STATES)
    if rows.is_empty():
        schema: dict[str, pl.DataType] = {"symbol": pl.String(), "date": pl.Date(), "state": kind}
        schema |= {name: pl.Int64() for name in ("rows", "filled", "rejected")}
        return pl.DataFrame(schema={**schema, "reason": pl.String()})
    filled, interval = pl.col("filled"), request.feed.interval
    if interval is not None and interval.length is not None and request.feed.cadence is Cadence.DAILY:
        # A symbol's own first and last day are seldom whole.
        inner = (pl.col("period") != pl.col("since")) & (pl.col("period") != pl.col("until"))
        absent = (_DAY // interval.length - pl.col("rows")) * (interval.length // timedelta(minutes=1))
        filled = pl.coalesce(filled, pl.when(inner).then(absent))
    rejected = pl.col("rejected_rows").fill_null(0) + pl.col("silver_rejected").fill_null(0)
    state = (
        pl.when((pl.col("status") == "quarantined") | (rejected > 0))
        .then(pl.lit(_QUARANTINED))
        .when((pl.col("status") == "ingested") & pl.col("stored"))
        .then(pl.when(filled >= FILLED_MINUTES).then(pl.lit(_FILLED)).otherwise(pl.lit(_THERE)))
        .when(pl.col("status").is_null() & pl.col("built"))
        .then(pl.lit(_NOT_IN_ARCHIVE))
        .otherwise(pl.lit(_NOT_IN_LAKE))
    )
    first_day = pl.col("period") if request.feed.cadence is Cadence.DAILY else pl.col("period") + "-01"
    return rows.select(
        "symbol",
        first_day.str.to_date().alias("date"),
        state.cast(kind).alias("state"),
        pl.col("rows").fill_null(0),
        filled.alias("filled"),
        rejected.cast(pl.Int64).alias("rejected"),
        pl.coalesce("reason", "silver_reason").alias("reason"),
    ).sort("symbol", "date")
