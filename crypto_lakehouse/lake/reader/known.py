"""What was known at a time: the column ``available_at`` of rows, and the last day whose state was known.

Live, it follows from the row alone (``transforms/known.py``). By the archive, a row is known once this lake has seen
the files that it was made of. The ledger says when; a file that is published again keeps the time of its first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal, get_args

import polars as pl

from crypto_lakehouse.catalog import FEEDS, Cadence, Feed
from crypto_lakehouse.catalog.bars import ActivityBars
from crypto_lakehouse.catalog.delays import DELAYS, LISTED
from crypto_lakehouse.lake.reader.times import Time, TimeRange, utc
from crypto_lakehouse.lake.storage.as_of import present_versions
from crypto_lakehouse.lake.storage.describe import remembered_slice_files
from crypto_lakehouse.lake.storage.ledger import latest, read_ledger
from crypto_lakehouse.lake.storage.partitions import collect_partitions, find_keys
from crypto_lakehouse.lake.storage.revisions import folder_of
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.gold import GoldTable, find_gold_table, split_name
from crypto_lakehouse.schemas.rest import REST_SUFFIX, has_answers
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.known import (
    AVAILABLE,
    OF_ARCHIVE,
    live_of_answers,
    live_of_bronze,
    live_of_gold,
    live_of_silver,
)
from crypto_lakehouse.transforms.rest.merge import REST
from crypto_lakehouse.transforms.silver.clean import epoch_to_time
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES

Mode = Literal["live", "archive"]
MODES: tuple[str, ...] = get_args(Mode)

_DAY = timedelta(days=1)
_LOGS = ("ledger", "quarantine")
_KLINES, _FUNDING = "klines_1m", "funding_rates"
_WINDOWS = {"gaps": ("gap_begin", "gap_end")}
# The values of a row of an answer.
_VALUES = pl.struct(pl.exclude("symbol", "source_key", "source_sha256", "source_line", "fetched_at"))
# Listing so many folders of the ledger takes as long as listing all.
_FOLDERS = 31


@dataclass(frozen=True, slots=True)
class Known:
    """The arguments ``known_by`` and ``mode`` of a read. ``by`` is None if only the column was requested."""

    by: datetime | None
    mode: str

    @classmethod
    def parse(cls, known_by: Time | None, mode: str, has_column: bool = False) -> Known | None:
        """Check the arguments; None if neither a time nor the column is requested. Raises ValueError."""
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
        if known_by is None and not has_column:
            if mode != MODES[0]:
                raise ValueError(
                    f"mode={mode!r} says when rows count as known: pass known_by as well, or request the column"
                    f" {AVAILABLE}"
                )
            return None
        return cls(utc("known_by", known_by), mode)

    def last_day(self, store: LakeStore, exchange: str, market: str, with_minutes: bool = False) -> date | None:
        """The last UTC day whose listing was known or, ``with_minutes``, all minutes of it and of the days before.

        By the archive, a day is known with its last file of minutes. None if there is no such day.
        """
        assert self.by is not None
        if self.mode == "live":
            return (self.by - (DELAYS["klines"] if with_minutes else LISTED).after).date() - _DAY
        feed = FEEDS.get((exchange, market, _KLINES))
        if feed is None:
            return None
        days = _seen(store, [feed], None).group_by("period").agg(pl.col("seen").max()).sort("period")
        if with_minutes:
            days = days.with_columns(pl.col("seen").cum_max())
        newest = days.filter(pl.col("seen") <= self.by)["period"].max()
        return date.fromisoformat(str(newest)) if newest is not None else None


def late_files(store: LakeStore, exchange: str, market: str, known: Known) -> pl.DataFrame:
    """Return symbol and ``date`` of the minutes' files that this lake had not seen by the time."""
    feed = FEEDS.get((exchange, market, _KLINES))
    seen = _seen(store, [feed] if feed else [], None)
    late = seen.group_by("symbol", "period").agg(pl.col("seen").max()).filter(pl.col("seen") > known.by)
    return late.select("symbol", date=pl.col("period").str.to_date())


def known_range(times: TimeRange, known: Known | None) -> TimeRange:
    """Return the part of a range before the time by which rows must be known, because rows are known after their time.

    Raises ValueError if the range starts after it.
    """
    if known is None or known.by is None:
        return times
    if times.start is not None and times.start >= known.by:
        raise ValueError(
            f"start {times.start} is not before known_by {known.by}: nothing of the range was known then. Pass a later"
            " known_by, or an earlier start"
        )
    return replace(times, end=known.by if times.end is None else min(times.end, known.by))


def add_known(
    store: LakeStore,
    rows: pl.LazyFrame,
    known: Known,
    layer: str,
    table: str,
    schema: Schema,
    exchange: str,
    markets: Sequence[str],
    keys: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """Add AVAILABLE to rows as ``with_available_at`` does, and leave out rows that were not known by the time."""
    found = with_available_at(store, rows, layer, table, schema, exchange, markets, known.mode, keys)
    return found if known.by is None else found.filter(pl.col(AVAILABLE) <= pl.lit(known.by, pl.Datetime("us", "UTC")))


def with_available_at(
    store: LakeStore,
    rows: pl.LazyFrame,
    layer: str,
    table: str,
    schema: Schema,
    exchange: str,
    markets: Sequence[str],
    mode: str,
    keys: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """Add AVAILABLE to rows, which have the columns of the table, ``market`` and the key of the partition.

    ``keys`` are the partitions of the rows, if known. AVAILABLE is null if it cannot be said. Raises ValueError if the
    table is about files of the archive and the mode is ``live``.
    """
    if layer in _LOGS:
        return rows.with_columns(pl.col(schema.time_column).alias(AVAILABLE))
    slices = (TableSlice(layer, exchange, market, table) for market in markets)
    feeds = [each.feed for each in slices if each.feed is not None]
    entry = find_gold_table(table) if layer == "gold" else None
    if not feeds and layer != "gold":
        # None of the markets has the table, so there are no rows.
        return rows.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(AVAILABLE))
    if mode == "live":
        return rows.with_columns(_live(layer, table, schema, feeds, entry).alias(AVAILABLE))
    if entry is not None and entry.name in OF_ARCHIVE:
        return _since_stored(store, rows, [TableSlice("gold", exchange, market, table) for market in markets])
    if entry is not None:
        return _archive_of_gold(store, rows, entry, exchange, markets)
    if table.endswith(REST_SUFFIX):
        return rows.with_columns(pl.col("fetched_at").alias(AVAILABLE))
    if layer == "bronze":
        return _archive_of_bronze(store, rows, feeds, keys)
    return _archive_of_silver(store, rows, schema, feeds, keys)


def _live(layer: str, table: str, schema: Schema, feeds: Sequence[Feed], entry: GoldTable | None) -> pl.Expr:
    if entry is not None:
        live = live_of_gold(entry, schema.time_column)
        if live is None:
            raise ValueError(
                f"gold.{table} is about files of the archive, which a live reader does not have: pass mode='archive'"
            )
        return live
    if layer == "silver":
        return live_of_silver(feeds[0], schema.time_column)
    return live_of_answers(feeds[0], schema.time_column) if table.endswith(REST_SUFFIX) else live_of_bronze(feeds[0])


def _seen(store: LakeStore, feeds: Sequence[Feed], keys: Sequence[str] | None) -> pl.DataFrame:
    """When the files that rows come from were first ingested: market, symbol, key, period, ``seen``."""
    few = keys if keys is not None and len(keys) <= _FOLDERS else None
    names = ["market", "symbol", "key", "period"]
    frames = [pl.DataFrame(schema={**dict.fromkeys(names, pl.String), "seen": pl.Datetime("us", "UTC")})]
    for feed in feeds:
        ledger = read_ledger(store, feed, few)
        # A file may be seen long before it can be used. If a later version cannot be used, the earlier rows stay.
        ingested = ledger.filter(pl.col("status") == "ingested").group_by("key", "period")
        first = ingested.agg(seen=pl.col("ingested_at").min())
        files = latest(ledger).filter(pl.col("status") != "superseded").join(first, on=["key", "period"])
        frames.append(files.with_columns(market=pl.lit(feed.market.name)).select(*names, "seen"))
    return pl.concat(frames)


def _fetched(store: LakeStore, feeds: Sequence[Feed]) -> pl.DataFrame | None:
    """When the rows of REST answers that silver holds came: market, symbol, period, time, ``seen``. None without any.

    Of equal answers the first counts; of different ones the last, because the row may have values of any of them.
    """
    frames = []
    for feed in filter(has_answers, feeds):
        answers, silver = TableSlice.of_answers(feed), TableSlice.of_feed("silver", feed)
        stored = [file.key for file in remembered_slice_files(store, answers)]
        if not stored:
            continue
        time, market = silver.schema.time_column, pl.lit(feed.market.name).alias("market")
        used = collect_partitions(
            store,
            silver,
            list(find_keys(store, silver, stored)),
            lambda rows, time=time: rows.filter(pl.col("source") == REST).select("symbol", time=time),  # type: ignore[misc]
        )
        came = collect_partitions(
            store,
            answers,
            stored,
            lambda rows, column=answers.schema.time_column: rows.select(  # type: ignore[misc]
                "symbol", time=epoch_to_time(column), seen="fetched_at", values=_VALUES.hash()
            ),
        )
        is_same = pl.col("values").n_unique() == 1
        seen = pl.when(is_same).then(pl.col("seen").min()).otherwise(pl.col("seen").max())
        rows = used.join(came.group_by("symbol", "time").agg(seen.alias("seen")), on=["symbol", "time"], how="left")
        period = pl.col("time").dt.strftime("%Y-%m-%d" if feed.cadence is Cadence.DAILY else "%Y-%m").alias("period")
        frames.append(rows.select(market, "symbol", period, "time", "seen"))
    return pl.concat(frames) if frames else None


def _archive_of_bronze(
    store: LakeStore, rows: pl.LazyFrame, feeds: Sequence[Feed], keys: Sequence[str] | None
) -> pl.LazyFrame:
    column = feeds[0].cadence.partition_column
    seen = _seen(store, feeds, keys).select("market", source_key="key", period="period", seen="seen")
    on = ["market", "source_key", "period"]
    return _joined(rows, seen.unique(on), {"period": pl.col(column).cast(pl.String)}, on)


def _archive_of_silver(
    store: LakeStore, rows: pl.LazyFrame, schema: Schema, feeds: Sequence[Feed], keys: Sequence[str] | None
) -> pl.LazyFrame:
    """By the file of the symbol and partition; next to midnight also by the neighbour's, which may hold the row."""
    feed = feeds[0]
    rule = EDGE_RULES.get(feed.schema)
    seen = _seen(store, feeds, None if rule is not None else keys)
    fetched = _fetched(store, feeds)
    by_symbol = seen.group_by("market", "symbol", "period").agg(pl.col("seen").max())
    symbol, column = schema.archive_symbol, feed.cadence.partition_column
    names = ["market", "file_symbol_", "period_"]
    files = by_symbol.rename({"symbol": "file_symbol_", "period": "period_"})
    period = pl.col(column).cast(pl.String)
    found = _joined(rows, files, {"file_symbol_": pl.col(symbol), "period_": period}, names)
    if fetched is not None:
        on = ["market", "symbol", schema.time_column]
        answers = fetched.drop("period").rename({"time": schema.time_column, "seen": "fetched_"}).lazy()
        found = found.join(answers, on=on, how="left", maintain_order="left")
        of_rest = pl.when(pl.col("source") == REST).then("fetched_").otherwise(AVAILABLE)
        found = found.with_columns(of_rest.alias(AVAILABLE)).drop("fetched_")
    if rule is None:
        return found
    day, time_of_row = pl.col(column), pl.col(schema.time_column)
    start = day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    for near, other in (
        (time_of_row < start + rule.step, day.dt.offset_by("-1d")),
        (time_of_row >= start + _DAY - rule.step, day.dt.offset_by("1d")),
    ):
        found = _joined(
            found, files, {"file_symbol_": pl.col(symbol), "period_": other.cast(pl.String)}, names, "neighbour_"
        )
        latest_of_both = pl.max_horizontal(AVAILABLE, "neighbour_")
        found = found.with_columns(pl.when(near).then(latest_of_both).otherwise(AVAILABLE).alias(AVAILABLE))
        found = found.drop("neighbour_")
    return found


def _joined(
    rows: pl.LazyFrame,
    seen: pl.DataFrame,
    keys: dict[str, pl.Expr],
    on: Sequence[str],
    name: str = AVAILABLE,
) -> pl.LazyFrame:
    """Add the column ``seen`` as ``name``, joined on computed ``keys``, in the order of the rows."""
    files = seen.lazy().rename({"seen": name})
    return rows.with_columns(**keys).join(files, on=on, how="left", maintain_order="left").drop(*keys)


def _since_stored(store: LakeStore, rows: pl.LazyFrame, slices: Sequence[TableSlice]) -> pl.LazyFrame:
    """By the time from which its partition has these rows: they follow from all that the lake held by then."""
    since = [
        {"market": each.market, "period": folder_of(version.path).rpartition("=")[2], "seen": version.known_from}
        for each in slices
        for version in present_versions(store, each.folder)
    ]
    on = ["market", "period"]
    known = pl.DataFrame(since, schema={**dict.fromkeys(on, pl.String()), "seen": pl.Datetime("us", "UTC")})
    return _joined(rows, known, {"period": pl.col("date").cast(pl.String)}, on)


def _archive_of_gold(
    store: LakeStore, rows: pl.LazyFrame, entry: GoldTable, exchange: str, markets: Sequence[str]
) -> pl.LazyFrame:
    """The latest of the files of the days of the row's window, and of the funding of its months if it has funding.

    A day on which the symbol has no file counts as known with the last file of that day; a day without any file has no
    rows.
    """
    tables = source_tables(entry)
    names = ((exchange, market, table) for market in markets for table in tables)
    feeds = [FEEDS[name] for name in names if name in FEEDS]
    daily = [feed for feed in feeds if feed.cadence is Cadence.DAILY]
    monthly = [feed for feed in feeds if feed.cadence is Cadence.MONTHLY]
    first, last = _window(entry)
    numbered = rows.with_columns(first_day_=first, last_day_=last)
    has_symbol = "symbol" in entry.schema.column_names
    found = _latest_of_days(numbered, _of_files_and_answers(store, daily), has_symbol)
    if monthly:
        found = _with_months(found, _of_files_and_answers(store, monthly), has_funding=_has_funding(entry))
    return found.drop("first_day_", "last_day_")


def _of_files_and_answers(store: LakeStore, feeds: Sequence[Feed]) -> pl.DataFrame:
    """When what rows come from was first seen: market, symbol, period, ``seen``. An answer counts like a file."""
    names = ["market", "symbol", "period", "seen"]
    seen, fetched = _seen(store, feeds, None).select(names), _fetched(store, feeds)
    return seen if fetched is None else pl.concat([seen, fetched.select(names)])


def source_tables(entry: GoldTable) -> list[str]:
    """The tables with files that rows of a gold table depend on, optional ones included."""
    names: list[str] = []
    for layer, table in map(split_name, (*entry.inputs, *entry.optional)):
        below = find_gold_table(table) if layer == "gold" else None
        names += source_tables(below) if below else [table]
    return list(dict.fromkeys(names))


def _window(entry: GoldTable) -> tuple[pl.Expr, pl.Expr]:
    """The first and the last day whose files a row depends on."""
    if isinstance(entry.bars, ActivityBars):
        # Activity counts from the start of the month.
        return pl.col("open_time").dt.truncate("1mo").dt.date(), pl.col("close_time").dt.date()
    if entry.bars is not None:
        return pl.col("open_time").dt.date(), pl.col("close_time").dt.date()
    if entry.name in _WINDOWS:
        first, last = _WINDOWS[entry.name]
        return pl.col(first).dt.date(), pl.col(last).dt.date()
    if entry.name == "continuous_1m":
        return pl.col("open_time").dt.date(), pl.col("open_time").dt.date()
    return pl.col("date"), pl.col("date")


def _latest_of_days(rows: pl.LazyFrame, seen: pl.DataFrame, has_symbol: bool) -> pl.LazyFrame:
    of_symbol = ["symbol"] if has_symbol else []
    window = ["market", *of_symbol, "first_day_", "last_day_"]
    files = seen.with_columns(day_=pl.col("period").str.to_date())
    whole = files.group_by("market", "day_").agg(whole_=pl.col("seen").max())
    own = files.group_by("market", *of_symbol, "day_").agg(own_=pl.col("seen").max())
    days = (
        rows.select(window)
        .unique()
        .with_columns(day_=pl.date_ranges("first_day_", "last_day_"))
        .explode("day_")
        .join(own.lazy(), on=["market", *of_symbol, "day_"], how="left")
        .join(whole.lazy(), on=["market", "day_"], how="left")
        .group_by(window)
        .agg(pl.coalesce("own_", "whole_").max().alias(AVAILABLE))
    )
    return rows.join(days, on=window, how="left", maintain_order="left")


def _with_months(rows: pl.LazyFrame, seen: pl.DataFrame, has_funding: pl.Expr) -> pl.LazyFrame:
    """The latest of AVAILABLE and of the monthly files of the window, in rows that have funding."""
    files = seen.group_by("market", "symbol", month_="period").agg(funding_=pl.col("seen").max())
    for day in ("first_day_", "last_day_"):
        month = pl.col(day).dt.strftime("%Y-%m")
        rows = rows.with_columns(month_=month).join(
            files.lazy(), on=["market", "symbol", "month_"], how="left", maintain_order="left"
        )
        both = pl.max_horizontal(AVAILABLE, "funding_")
        rows = rows.with_columns(pl.when(has_funding).then(both).otherwise(AVAILABLE).alias(AVAILABLE))
        rows = rows.drop("month_", "funding_")
    return rows


def _has_funding(entry: GoldTable) -> pl.Expr:
    """Whether a row holds funding; other tables of monthly files depend on these in every row."""
    names = entry.schema.column_names
    column = next((name for name in ("funding_rate", "funding_sum") if name in names), None)
    if entry.bars is not None and "funding_sum" in names:
        column = "funding_sum"
    if column is None:
        return pl.lit(entry.maker not in ("continuous", "bars"))
    return pl.col(column).is_not_null()
