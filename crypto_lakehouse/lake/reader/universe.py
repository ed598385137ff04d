"""The tradable instruments of days, as known on each day, from the newest partition of gold.instruments.

This module chooses the partition and applies the filter. Instruments are computed in
``transforms/gold/universe.py``; the public method is in ``methods/universe.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog import MARKETS
from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter, SymbolFacts
from crypto_lakehouse.lake.reader.arguments import Format, as_format, check_format, check_one_market
from crypto_lakehouse.lake.reader.known import Known, late_files
from crypto_lakehouse.lake.reader.reasons import INSTRUMENTS
from crypto_lakehouse.lake.reader.times import Time, TimeRange, utc
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.building import build_command, ways_to_build
from crypto_lakehouse.lake.storage.describe import require_lake
from crypto_lakehouse.lake.storage.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.universe import known_between

if TYPE_CHECKING:
    import pandas as pd

_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


def read_universe(
    store: LakeStore,
    market: str,
    on: Time | None,
    times: TimeRange,
    wanted: InstrumentFilter,
    exchange: str,
    format: Format,
    known: Known | None = None,
) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Return the instruments of ``Lakehouse.universe``, and warn its caller about settled contracts."""
    check_format(format)
    check_one_market("lake.universe", exchange, market)
    day = utc("on", on)
    if known is not None:
        day, times = _known_days(store, exchange, market, known, day, times)
    if day is not None:
        if times != TimeRange(None, None):
            raise ValueError("on is one day, and start, end and last are a range: pass one of them")
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        listed = universe_between(store, exchange, market, TimeRange(midnight, midnight + _DAY), wanted).drop("date")
        if known is not None and known.mode == "archive":
            late = late_files(store, exchange, market, known).filter(pl.col("date") == midnight.date())
            listed = listed.join(late, on="symbol", how="anti", maintain_order="left")
    elif times == TimeRange(None, None):
        raise ValueError("on must be a day such as 2024-01-31; for a range pass start, end or last")
    else:
        listed = universe_between(store, exchange, market, times, wanted)
        if known is not None and known.mode == "archive":
            late = late_files(store, exchange, market, known)
            listed = listed.join(late, on=["symbol", "date"], how="anti", maintain_order="left")
    return as_format(listed, format)


def _known_days(
    store: LakeStore, exchange: str, market: str, known: Known, day: datetime | None, times: TimeRange
) -> tuple[datetime | None, TimeRange]:
    """The day, or the part of a range, whose instruments were known by a time; without both, the last such day."""
    last = known.last_day(store, exchange, market)
    if last is None:
        raise ValueError(
            f"this lake had not seen the files of any day of {exchange}/{market} by {known.by}: pass a later known_by,"
            " or mode='live'"
        )
    asked = day or times.start
    if asked is not None and asked.date() > last:
        raise ValueError(
            f"what was listed on {asked.date()} was not known by {known.by} (mode {known.mode}): ask for {last} or"
            " earlier, or pass a later known_by"
        )
    after = datetime.combine(last + _DAY, time.min, UTC)
    if day is None and times == TimeRange(None, None):
        return after - _DAY, times
    return day, times if day is not None else replace(times, end=after if times.end is None else min(times.end, after))


def instrument_filter(
    quote: str | Sequence[str] | None,
    contract_type: str | Sequence[str] | None,
    stable_pairs: bool,
    leveraged: bool,
    settled: bool,
) -> InstrumentFilter:
    """Return the filter of the arguments of ``Lakehouse.universe``. Raises ValueError if one is malformed."""
    kinds = [contract_type] if isinstance(contract_type, str) else contract_type or []
    return InstrumentFilter(
        quotes=(quote,) if isinstance(quote, str) else tuple(quote or ()),
        contract_types=tuple(ContractType.parse(kind) for kind in kinds),
        stable_pairs=stable_pairs,
        leveraged=leveraged,
        settled=settled,
    )


def _how_to_build(store: LakeStore, table_slice: TableSlice, day: date, newest: str) -> str:
    """Sentences on how to build the instruments of a day; of yesterday, if the day is not over."""
    today = datetime.now(UTC).date()
    ask = f". {day} is not over (UTC): ask for {today - _DAY} or earlier" if day >= today else ""
    if newest >= str(today - _DAY):
        return ask
    start = datetime.combine(min(day, today - _DAY), time.min, UTC)
    return ask + ways_to_build(store, [(table_slice, start, start + _DAY)], today)


def universe_between(
    store: LakeStore, exchange: str, market: str, times: TimeRange, wanted: InstrumentFilter
) -> pl.DataFrame:
    """Return the instruments listed on each UTC day of a range that pass the filter: the day as ``date``, then the
    columns of gold.instruments.

    Warns of contracts that the filter leaves out because the archive has them only under their settled names.
    Raises MissingPartition if the lake has no partition for the last day or a later one, or if the newest was built
    before the archive listed files of these days; MissingLakeError if there is no lake.
    """
    table_slice = TableSlice("gold", exchange, market, INSTRUMENTS)
    # The newest partition includes files that were published late.
    newest = max(list_keys(store, table_slice), default="")
    if not newest:
        require_lake(store, [table_slice.folder])
    until = None if times.end is None else (times.end - _MICROSECOND).date()
    needed = until or (times.start.date() if times.start else None)
    if not newest or (needed is not None and newest < needed.isoformat()):
        day = needed or MARKETS[exchange, market].first_date
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} has no partition for {day} or later"
            f" ({f'the newest is {newest}' if newest else 'it has none'}) in {store.uri}"
            f"{_how_to_build(store, table_slice, day, newest)}"
        )
    partition = table_slice.partition(newest)
    instruments = read_partition(store, partition)
    last = max(instruments["last_day"].to_list(), default=None)
    if last is None or (needed is not None and last < needed):
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} {newest} in {store.uri} has no instruments for"
            f" {needed or newest} or later: when it was built, the archive listed no files of these days"
            f" ({f'its last day is {last}' if last else 'it is empty'}). Rebuild it after the archive publishes them:"
            f" {build_command(store, table_slice, newest, newest)}"
        )
    start, _ = times.within([last + _DAY])
    first = start.date() if start else min(instruments["first_day"].to_list())
    passing = {
        "is_wanted": _passing(instruments, wanted),
        "is_left_out": _passing(instruments, replace(wanted, settled=True)) & instruments["is_settled"],
    }
    rows = known_between(instruments.with_columns(**passing), first, until or last)
    result = rows.filter("is_wanted").drop(*passing)
    if not wanted.settled:
        listed = rows.select("date", settled_of="symbol")
        alone = rows.filter("is_left_out").join(listed, on=["date", "settled_of"], how="anti")
        if alone.height:
            days = dict.fromkeys(str(day) for day in (alone["date"].min(), alone["date"].max()))
            warn(
                f"traded on {' to '.join(days)} but left out, because the archive has them only under their later names"
                f" as settled contracts: {', '.join(alone['symbol'].unique().sort())}; pass settled=True to include"
                " these names"
            )
            return result
    if rows.is_empty():
        earliest = min(instruments["first_day"].to_list())
        warn(
            f"no instrument of {exchange}/{market} was listed on {_days(first, until or last)}: those that the archive"
            f" lists start on {earliest} or later"
        )
    elif result.is_empty():
        quotes = ", ".join(rows["quote_asset"].drop_nulls().unique().sort())
        kinds = ", ".join(rows["contract_type"].unique().sort())
        warn(
            f"{rows['instrument_id'].n_unique()} instruments of {exchange}/{market} were listed on"
            f" {_days(first, until or last)}, and none passes the filter; they have quote {quotes} and contract_type"
            f" {kinds}"
        )
    return result


def _days(first: date, last: date) -> str:
    return str(last) if first >= last else f"{first} to {last}"


def _passing(instruments: pl.DataFrame, wanted: InstrumentFilter) -> pl.Series:
    passing = [wanted.passes(_facts(row)) for row in instruments.iter_rows(named=True)]
    return pl.Series(passing, dtype=pl.Boolean)


def _facts(row: dict[str, object]) -> SymbolFacts:
    values = {name: row[name] for name in SymbolFacts.__dataclass_fields__}
    return SymbolFacts(**{**values, "contract_type": ContractType(str(row["contract_type"]))})  # type: ignore[arg-type]
