"""The tradable instruments of a day, as known on that day, from the newest partition of gold.instruments.

This module chooses the partition and applies the filter. Instruments are computed in
``transforms/gold/universe.py``; the public method is in ``methods/universe.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter, SymbolFacts
from crypto_lakehouse.lake.reader.arguments import Format, as_format, check_format, check_one_market
from crypto_lakehouse.lake.reader.reasons import INSTRUMENTS
from crypto_lakehouse.lake.reader.times import Time, utc
from crypto_lakehouse.lake.reader.warn import warn
from crypto_lakehouse.lake.storage.describe import require_lake
from crypto_lakehouse.lake.storage.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.universe import known_on

if TYPE_CHECKING:
    import pandas as pd


def read_universe(
    store: LakeStore,
    market: str,
    on: Time,
    quote: str | Sequence[str] | None,
    contract_type: str | Sequence[str] | None,
    stable_pairs: bool,
    leveraged: bool,
    settled: bool,
    exchange: str,
    format: Format,
) -> pd.DataFrame | pl.DataFrame | pa.Table:
    """Return the instruments of ``Lakehouse.universe``, and warn its caller about settled contracts."""
    check_format(format)
    check_one_market("lake.universe", exchange, market)
    day = utc("on", on)
    if day is None:
        raise ValueError("on must be a day such as 2024-01-31")
    kinds = [contract_type] if isinstance(contract_type, str) else contract_type or []
    wanted = InstrumentFilter(
        quotes=(quote,) if isinstance(quote, str) else tuple(quote or ()),
        contract_types=tuple(ContractType.parse(kind) for kind in kinds),
        stable_pairs=stable_pairs,
        leveraged=leveraged,
        settled=settled,
    )
    return as_format(universe_on(store, exchange, market, day.date(), wanted), format)


def universe_on(store: LakeStore, exchange: str, market: str, on: date, wanted: InstrumentFilter) -> pl.DataFrame:
    """Return the instruments listed on the UTC day ``on`` that pass the filter, in the columns of gold.instruments.

    Warns of contracts that the filter leaves out because the archive has them only under their settled names.
    Raises MissingPartition if the lake has no partition for that day or a later one, or if the newest was built before
    the archive listed files of these days; MissingLakeError if there is no lake.
    """
    table_slice = TableSlice("gold", exchange, market, INSTRUMENTS)
    stored = list_keys(store, table_slice)
    # The newest partition includes files that were published late.
    newest = max(stored, default="")
    if not newest:
        require_lake(store)
    if newest < on.isoformat():
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} has no partition for {on} or later"
            f" ({f'the newest is {newest}' if newest else 'it has none'}) in {store.uri}. Build one:"
            f" {table_slice.partition(on.isoformat()).backfill_command()}"
        )
    partition = table_slice.partition(newest)
    instruments = read_partition(store, partition)
    last = max(instruments["last_day"].to_list(), default=None)
    if last is None or last < on:
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} {newest} in {store.uri} has no instruments for {on} or later:"
            f" when it was built, the archive listed no files of these days"
            f" ({f'its last day is {last}' if last else 'it is empty'}). Rebuild it after the archive publishes them:"
            f" {partition.backfill_command()}"
        )
    rows = known_on(instruments, on)
    listed = _passing(rows, wanted)
    if not wanted.settled:
        others = _passing(rows, replace(wanted, settled=True)).filter("is_settled")
        alone = others.filter(~pl.col("settled_of").is_in(rows["symbol"].implode()))["symbol"]
        if len(alone):
            warn(
                f"traded on {on} but left out, because the archive has them only under their later names as settled"
                f" contracts: {', '.join(alone)}; pass settled=True to include these names"
            )
    return listed


def _passing(rows: pl.DataFrame, wanted: InstrumentFilter) -> pl.DataFrame:
    passing = [wanted.passes(_facts(row)) for row in rows.iter_rows(named=True)]
    return rows.filter(pl.Series(passing, dtype=pl.Boolean))


def _facts(row: dict[str, object]) -> SymbolFacts:
    values = {name: row[name] for name in SymbolFacts.__dataclass_fields__}
    return SymbolFacts(**{**values, "contract_type": ContractType(str(row["contract_type"]))})  # type: ignore[arg-type]
