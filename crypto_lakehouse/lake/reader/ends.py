"""Ends of series: readers leave out rows that were forward-filled after the last trade, and mark later silver rows.

A day of continuous minutes does not know later days, so after a delisting or before a gap a symbol is forward-filled
for up to two gap thresholds. ``transforms/gold/continuous.py`` decides which series are over. Here readers leave out
these minutes and the bars that consist only of them, and mark silver rows after the end of trading.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.lake.reader.known import Known
from crypto_lakehouse.lake.storage.describe import remembered_slice_files
from crypto_lakehouse.lake.storage.partitions import MissingPartition, read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.ended import AFTER_END, marked_after_end, of_pairs, untraded_times
from crypto_lakehouse.transforms.known import AVAILABLE

CONTINUOUS, STATES = "continuous_1m", "symbol_states"
KEY = ("exchange", "market", "symbol", "segment")
"""The columns that identify a series, in the rows and in ``find_ends``; ``last_time`` is its last traded minute."""

_COLUMNS = ("symbol", "segment", "last_time")
_GO_ON = ("funding_rates", "open_interest", "price_klines")


def untraded(layer: str, table: str) -> str | None:
    """Return the SQL condition of rows in which nothing was traded.

    None for tables whose rows cannot be forward-filled after the end of their series.
    """
    if layer != "gold":
        return None
    if table == CONTINUOUS:
        return "is_filled"
    return "first_minute IS NULL" if bars_in(layer, table) else None


def find_ends(store: LakeStore, exchange: str, markets: Iterable[str], known: Known | None = None) -> pl.DataFrame:
    """Return the ended series (KEY and ``last_time``), from each market's newest partition of gold.symbol_states.

    With ``known``, from the newest partition that was known at its time: later ones know later ends.
    """
    ends = [_ends(store, exchange, market, known) for market in markets]
    return pl.concat([_no_ends(), *ends])


def without_filled_ends(rows: pl.LazyFrame, ends: pl.DataFrame, untraded: str) -> pl.LazyFrame:
    """Return the rows in their order, without ``untraded`` rows that open after the last trade of an ended series."""
    if ends.is_empty():
        return rows
    known = ends.lazy().rename({"last_time": "end_of_series"})
    joined = rows.join(known, on=KEY, how="left", maintain_order="left")
    after = (pl.col("open_time") > pl.col("end_of_series")).fill_null(False)
    return joined.filter(~(after & pl.sql_expr(untraded))).drop("end_of_series")


def goes_on_after_end(layer: str, table: str) -> bool:
    """Whether the archive publishes rows of a silver table after a contract is settled.

    It does for funding, open interest, and mark, index and premium prices.
    """
    return layer == "silver" and any(name == table and feed.schema in _GO_ON for (_, _, name), feed in FEEDS.items())


def made_columns(layer: str, table: str) -> list[str]:
    """Return the columns that readers compute only if they are requested by name."""
    return [AVAILABLE, *([AFTER_END] if goes_on_after_end(layer, table) else [])]


def find_untraded(store: LakeStore, exchange: str, market: str, table: str, known: Known | None = None) -> pl.DataFrame:
    """Return when the symbols of a silver table were not traded: market, symbol, ``last_time`` and ``resumes``.

    The times come from the newest partition of gold.symbol_states, with ``known`` as in ``find_ends``.
    """
    states = _newest_states(store, exchange, market, known)
    feed = FEEDS.get((exchange, market, table))
    if feed is not None and feed.market.inverse and feed.archive_type == "indexPriceKlines":
        # COIN-M names the index after the pair of its contracts.
        states = of_pairs(states)
    return untraded_times(states).select(pl.lit(market).alias("market"), pl.all())


def with_after_end(
    store: LakeStore, exchange: str, markets: Iterable[str], table: str, rows: pl.LazyFrame, known: Known | None = None
) -> pl.LazyFrame:
    """Add the column AFTER_END to the rows of a silver table; null where the market has no states that say it."""
    untraded = pl.concat(find_untraded(store, exchange, market, table, known) for market in markets)
    stated = [market for market in markets if _newest_states(store, exchange, market, known).height]
    time = schema_of("silver", table).time_column
    marked = marked_after_end(rows, time, untraded, ("market", "symbol")).drop("last_time")
    return marked.with_columns(pl.when(pl.col("market").is_in(stated)).then(AFTER_END).alias(AFTER_END))


def _ends(store: LakeStore, exchange: str, market: str, known: Known | None) -> pl.DataFrame:
    location = (pl.lit(value).alias(name) for name, value in (("exchange", exchange), ("market", market)))
    return _newest_states(store, exchange, market, known).filter("has_ended").select(*location, *_COLUMNS)


def _newest_states(store: LakeStore, exchange: str, market: str, known: Known | None) -> pl.DataFrame:
    """Return the newest partition of a market's states; empty if there is none or if it has no column ``has_ended``."""
    table_slice = TableSlice("gold", exchange, market, STATES)
    keys = [file.key for file in remembered_slice_files(store, table_slice)]
    if known is not None and known.by is not None:
        # The state of a day follows from all days before it.
        last = known.last_day(store, exchange, market, with_minutes=True)
        keys = [key for key in keys if last is not None and key <= last.isoformat()]
    newest = max(keys, default=None)
    empty = pl.DataFrame(schema_of("gold", STATES).empty())
    if newest is None:
        return empty
    try:
        states = read_partition(store, table_slice.partition(newest))
    except MissingPartition:
        return empty
    return states if "has_ended" in states.columns else empty


def _no_ends() -> pl.DataFrame:
    time = pl.Datetime("us", "UTC")
    return pl.DataFrame(schema=dict(zip((*KEY, "last_time"), (*[pl.String] * 3, pl.Int64, time), strict=True)))
