"""Find the row that a caller asks about, and build its chain; ``gold.py`` builds the steps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import time as time_of_day

import polars as pl

from crypto_lakehouse.catalog import MARKETS, partition_key
from crypto_lakehouse.catalog.bars import LONGEST_MONTH, TimeBars, closing_lag
from crypto_lakehouse.lake.lineage.gold import PARTITION, Tracer
from crypto_lakehouse.lake.lineage.model import Explanation
from crypto_lakehouse.lake.lineage.silver import ROW_TIME
from crypto_lakehouse.lake.reader.arguments import check_one_market, check_text
from crypto_lakehouse.lake.reader.bars import find_bars
from crypto_lakehouse.lake.reader.symbols import SymbolChoice
from crypto_lakehouse.lake.reader.times import Time, TimeRange, utc
from crypto_lakehouse.lake.storage.building import ways_to_build
from crypto_lakehouse.lake.storage.describe import list_slice_files, require_lake, split_table
from crypto_lakehouse.lake.storage.partitions import MissingPartition, list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.gold import bars_in
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.windows import MINUTE
from crypto_lakehouse.transforms.silver.clean import epoch_to_time, text_to_time
from crypto_lakehouse.transforms.silver.edges import EDGE_RULES

_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_MISSING = "missing_minutes"
_STATES = ("instruments", "symbol_states")


def explain_row(
    store: LakeStore, table: str, symbol: str, time: Time, exchange: str, market: str | None
) -> Explanation:
    """Return the chain of ``Lakehouse.explain``. Raises like it."""
    check_text("table", table, "'gold.bars_1h'")
    check_text("symbol", symbol, "'BTCUSDT'")
    layer, name, _ = split_table(table)
    if layer not in ("bronze", "silver", "gold"):
        raise ValueError(f"rows of {table} come from no other rows: read them with lake.read({table!r})")
    moment = utc("time", time)
    if moment is None:
        raise ValueError("time must be the time of a row, such as 2024-01-31T12:00")
    table_slice = TableSlice(layer, exchange, _market(store, layer, name, exchange, market), name)
    tracer = Tracer(store, exchange, table_slice.market, symbol)
    rows = _rows_at(tracer, table_slice, moment)
    return Explanation(exchange, table_slice.market, symbol, tracer.step(table_slice, rows))


def _market(store: LakeStore, layer: str, table: str, exchange: str, market: str | None) -> str:
    if market is not None:
        check_one_market("lake.explain", exchange, market)
        return market
    prefix = f"{layer}/{table}/exchange={exchange}"
    names = [folder.removeprefix("market=") for folder in store.folders(prefix)]
    if len(names) == 1:
        return names[0]
    if not names:
        require_lake(store)
    known = ", ".join(names or [name for each, name in MARKETS if each == exchange])
    raise ValueError(f"lake.explain explains a row of one market: pass one of {known}, such as market='um'")


def _rows_at(tracer: Tracer, table_slice: TableSlice, moment: datetime) -> pl.DataFrame:
    """The rows of the symbol at a time: that start there, or else whose window contains it."""
    bars = bars_in(table_slice.layer, table_slice.table)
    if bars is not None and not list_slice_files(tracer.store, table_slice):
        return _on_demand(tracer, table_slice, moment)
    keys = _keys(table_slice, moment)
    rows = tracer.read(table_slice, keys)
    if table_slice.layer == "bronze":
        rows = rows.with_columns(_bronze_time(table_slice).alias(ROW_TIME))
    found = _at(table_slice, rows, moment)
    if found.is_empty():
        raise _no_row(tracer, table_slice, rows, keys, moment)
    return found


def _keys(table_slice: TableSlice, moment: datetime) -> list[str]:
    """The partitions that may hold a row whose window contains the time."""
    bars, feed = bars_in(table_slice.layer, table_slice.table), table_slice.feed
    back = ahead = timedelta(0)
    if bars is not None:
        ahead = closing_lag(bars)
    elif feed is not None and feed.interval is not None:
        back = feed.interval.length or LONGEST_MONTH
    first, last = (moment - back).date(), (moment + ahead).date()
    days = ((last - first).days) + 1
    return list(dict.fromkeys(partition_key(first + n * _DAY, table_slice.cadence) for n in range(days)))


def _at(table_slice: TableSlice, rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    if table_slice.table in _STATES and table_slice.layer == "gold":
        return rows
    time = ROW_TIME if table_slice.layer == "bronze" else table_slice.schema.time_column
    exact = rows.filter(pl.col(time) == moment)
    if exact.is_empty() and "funding_hour" in rows.columns:
        exact = rows.filter(pl.col("funding_hour") == moment)
    if not exact.is_empty():
        return exact
    feed = table_slice.feed
    if "close_time" in rows.columns and table_slice.layer != "bronze":
        close = pl.col("close_time")
    elif table_slice.table == "continuous_1m":
        close = pl.col(time) + MINUTE - _MICROSECOND
    elif table_slice.table == _MISSING:
        close = pl.col("end") - _MICROSECOND
    elif feed is not None and feed.interval is not None:
        close = pl.col(time).dt.offset_by(feed.interval.name) - pl.duration(microseconds=1)
    else:
        # Most other gold tables have a row per symbol and day.
        return rows if table_slice.layer == "gold" and moment.time() == time_of_day() else exact
    around = rows.filter((pl.col(time) <= moment) & (close >= moment))
    return around.filter(pl.col(time) == pl.col(time).max())


def _bronze_time(table_slice: TableSlice) -> pl.Expr:
    feed = table_slice.feed
    assert feed is not None
    if feed.schema in EDGE_RULES:
        return EDGE_RULES[feed.schema].time
    column = table_slice.schema.time_column
    is_text = str(table_slice.schema.arrow.field(column).type) == "string"
    return text_to_time(pl.col(column)) if is_text else epoch_to_time(column)


def _on_demand(tracer: Tracer, table_slice: TableSlice, moment: datetime) -> pl.DataFrame:
    """Bars that no table holds, as ``Lakehouse.bars`` computes them."""
    bars = bars_in("gold", table_slice.table)
    assert bars is not None
    if isinstance(bars, TimeBars) and bars.step is not None:
        raise MissingPartition(
            f"gold.{table_slice.table} of {tracer.exchange}/{tracer.market} has no partitions in {tracer.store.uri}."
            f" Bars {bars.interval.name} at offset 0 are computed without it: explain gold.bars_{bars.interval.name}"
        )
    lag = max(closing_lag(bars), _DAY)
    times = TimeRange(moment - lag, moment + _MICROSECOND)
    choice = SymbolChoice.parse(tracer.symbol)
    found = find_bars(tracer.store, tracer.exchange, tracer.market, bars, timedelta(0), choice, times)
    with_key = found.rows.with_columns(pl.col("close_time").dt.date().cast(pl.String).alias(PARTITION))
    rows = _at(table_slice, with_key, moment)
    if rows.is_empty():
        raise _no_row(tracer, table_slice, with_key, [], moment)
    return rows


def _no_row(
    tracer: Tracer, table_slice: TableSlice, rows: pl.DataFrame, keys: list[str], moment: datetime
) -> Exception:
    """The error that names the rows before and after, or what is missing."""
    table = f"{table_slice.layer}.{table_slice.table} of {tracer.exchange}/{tracer.market}"
    stored = list_keys(tracer.store, table_slice)
    if keys and not set(keys).intersection(stored):
        if not stored:
            require_lake(tracer.store)
        have = f"its partitions are from {min(stored)} to {max(stored)}" if stored else "it has none"
        own = partition_key(moment.date(), table_slice.cadence)
        ways = ways_to_build(tracer.store, [(table_slice, moment, moment + _MICROSECOND)])
        return MissingPartition(f"{table} has no partition {own} in {tracer.store.uri} ({have}){ways}")
    time = pl.col(ROW_TIME if table_slice.layer == "bronze" else table_slice.schema.time_column)
    near = "".join((*_nearest(rows, time, moment), *_reason(tracer, table_slice, moment)))
    return ValueError(f"{table} has no row of {tracer.symbol} at {moment:%Y-%m-%d %H:%M:%S.%f}{near}")


def _reason(tracer: Tracer, table_slice: TableSlice, moment: datetime) -> Iterator[str]:
    """Why a minute of silver is missing, if gold.missing_minutes says it."""
    if (table_slice.layer, table_slice.table) != ("silver", "klines_1m"):
        return
    holds = (pl.col("start") <= moment) & (pl.col("end") > moment)
    for row in tracer.read(tracer.table_slice("gold", _MISSING), [str(moment.date())], holds).iter_rows(named=True):
        yield f". gold.{_MISSING} says why: {row['reason']} {row['evidence']}"


def _nearest(rows: pl.DataFrame, time: pl.Expr, moment: datetime) -> Iterator[str]:
    if rows.is_empty():
        yield ": its partitions around this time have no row of this symbol"
        return
    before = rows.filter(time < moment).select(time.max()).item()
    after = rows.filter(time > moment).select(time.min()).item()
    near = [
        f"{word} is at {at.isoformat()}" for word, at in (("the row before", before), ("the row after", after)) if at
    ]
    if near:
        yield f"; {' and '.join(near)}"
