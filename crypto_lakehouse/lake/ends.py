"""Series that are over, as the newest day knows them, and rows without what was filled after their ends.

A day of continuous minutes knows nothing of later days, so a symbol that is delisted, or pauses up to a gap, is filled
on for up to two gap thresholds. Which series are over is said by ``transforms/continuous.py``; here belongs how
readers leave those minutes out, and the bars that are made of nothing else, and how they mark silver rows that go on.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crypto_lakehouse.catalog import FEEDS
from crypto_lakehouse.catalog.bars import bars_of_table
from crypto_lakehouse.lake.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.ended import AFTER_END, marked_after_end, of_pairs, untraded_times

CONTINUOUS, STATES = "continuous_1m", "symbol_states"
KEY = ("exchange", "market", "symbol", "segment")
"""What names a series, in the rows and in ``find_ends``; ``last_time`` is its last traded minute."""

_COLUMNS = ("symbol", "segment", "last_time")
_GO_ON = ("funding_rates", "open_interest", "price_klines")


def untraded(layer: str, table: str) -> str | None:
    """Of a table whose rows may have been filled after the end of their series: in which rows nothing was traded, as a
    condition in SQL. None for other tables.
    """
    if layer != "gold":
        return None
    if table == CONTINUOUS:
        return "is_filled"
    return "first_minute IS NULL" if bars_of_table(table) else None


def find_ends(store: LakeStore, exchange: str, markets: Iterable[str]) -> pl.DataFrame:
    """The series that are over (KEY and ``last_time``), from each market's newest partition of gold.symbol_states."""
    found = [_ends(store, exchange, market) for market in markets]
    return pl.concat([_no_ends(), *found])


def without_filled_ends(rows: pl.LazyFrame, ends: pl.DataFrame, untraded: str) -> pl.LazyFrame:
    """The rows in their order, without those ``untraded`` that open after the last trade of a series that is over."""
    if ends.is_empty():
        return rows
    known = ends.lazy().rename({"last_time": "end_of_series"})
    joined = rows.join(known, on=KEY, how="left", maintain_order="left")
    after = (pl.col("open_time") > pl.col("end_of_series")).fill_null(False)
    return joined.filter(~(after & pl.sql_expr(untraded))).drop("end_of_series")


def goes_on_after_end(layer: str, table: str) -> bool:
    """Whether the archive goes on to have rows of a silver table when a contract is settled: funding, open interest,
    and prices other than of trades.
    """
    return layer == "silver" and any(name == table and feed.schema in _GO_ON for (_, _, name), feed in FEEDS.items())


def made_columns(layer: str, table: str) -> list[str]:
    """Columns that readers make where they are asked for by name."""
    return [AFTER_END] if goes_on_after_end(layer, table) else []


def find_untraded(store: LakeStore, exchange: str, market: str, table: str) -> pl.DataFrame:
    """When the symbols of a silver table were not traded: market, symbol, ``last_time`` and ``resumes``, from the
    newest partition of gold.symbol_states.
    """
    states = _newest_states(store, exchange, market)
    feed = FEEDS.get((exchange, market, table))
    if feed is not None and feed.market.inverse and feed.archive_type == "indexPriceKlines":
        # COIN-M names the index after the pair of its contracts.
        states = of_pairs(states)
    return untraded_times(states).select(pl.lit(market).alias("market"), pl.all())


def with_after_end(
    store: LakeStore, exchange: str, markets: Iterable[str], table: str, rows: pl.LazyFrame
) -> pl.LazyFrame:
    """The rows of a silver table with the column AFTER_END."""
    untraded = pl.concat(find_untraded(store, exchange, market, table) for market in markets)
    time = schema_of("silver", table).time_column
    return marked_after_end(rows, time, untraded, ("market", "symbol")).drop("last_time")


def _ends(store: LakeStore, exchange: str, market: str) -> pl.DataFrame:
    place = (pl.lit(value).alias(name) for name, value in (("exchange", exchange), ("market", market)))
    return _newest_states(store, exchange, market).filter("has_ended").select(*place, *_COLUMNS)


def _newest_states(store: LakeStore, exchange: str, market: str) -> pl.DataFrame:
    """The newest partition of a market's states; no rows where it has none, or of a version that did not tell ends."""
    newest = max(list_keys(store, "gold", STATES, exchange, market), default=None)
    empty = pl.DataFrame(schema_of("gold", STATES).arrow.empty_table())
    if newest is None:
        return empty
    try:
        states = read_partition(store, "gold", STATES, exchange, market, newest)
    except MissingPartition:
        return empty
    return states if "has_ended" in states.columns else empty


def _no_ends() -> pl.DataFrame:
    time = pl.Datetime("us", "UTC")
    return pl.DataFrame(schema=dict(zip((*KEY, "last_time"), (*[pl.String] * 3, pl.Int64, time), strict=True)))
