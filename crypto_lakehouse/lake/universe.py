"""What could be traded on a day: from the newest partition of gold.instruments, as it was known on that day.

Here belongs which partition answers, and the filter. What instruments are is in ``transforms/universe.py``, what a
reader says and gets is in ``read.py``.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import date

import polars as pl

from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter, SymbolFacts
from crypto_lakehouse.lake.describe import require_lake
from crypto_lakehouse.lake.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.transforms.universe import known_on

INSTRUMENTS = "instruments"


def universe_on(store: LakeStore, exchange: str, market: str, on: date, wanted: InstrumentFilter) -> pl.DataFrame:
    """The instruments listed on ``on`` that the filter lets through, in the columns of gold.instruments.

    Warns of contracts that the filter leaves out because the archive has them under their settled names alone.
    Raises MissingPartition where no partition of that day or of a later one is in the lake, or nothing of these days
    was listed when the newest was made, MissingLakeError where there is no lake.
    """
    stored = list_keys(store, "gold", INSTRUMENTS, exchange, market)
    # The newest one has seen the files that came late.
    newest = max(stored, default="")
    if not newest:
        require_lake(store)
    if newest < on.isoformat():
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} has no partition of {on} or later"
            f" ({f'the newest is {newest}' if newest else 'it has none'}) in {store.uri}. Make one:"
            f" {_command(market, on.isoformat())}"
        )
    made = read_partition(store, "gold", INSTRUMENTS, exchange, market, newest)
    last = max(made["last_day"].to_list(), default=None)
    if last is None or last < on:
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} {newest} in {store.uri} knows nothing of {on} or later: the"
            f" archive had no file of these days yet ({f'its last day is {last}' if last else 'it lists nothing'})."
            f" Make it again once there are some: {_command(market, newest)}"
        )
    rows = known_on(made, on)
    found = _passing(rows, wanted)
    if not wanted.settled:
        others = _passing(rows, replace(wanted, settled=True)).filter("is_settled")
        alone = others.filter(~pl.col("settled_of").is_in(rows["symbol"].implode()))["symbol"]
        if len(alone):
            warnings.warn(
                f"traded on {on}, but left out, since the archive has them under their later names of settled"
                f" contracts alone: {', '.join(alone)}; settled=True gives these names too",
                stacklevel=3,
            )
    return found


def _command(market: str, key: str) -> str:
    return f"crypto-lakehouse backfill --market {market} --table {INSTRUMENTS} --from {key} --to {key}"


def _passing(rows: pl.DataFrame, wanted: InstrumentFilter) -> pl.DataFrame:
    passing = [wanted.passes(_facts(row)) for row in rows.iter_rows(named=True)]
    return rows.filter(pl.Series(passing, dtype=pl.Boolean))


def _facts(row: dict[str, object]) -> SymbolFacts:
    values = {name: row[name] for name in SymbolFacts.__dataclass_fields__}
    return SymbolFacts(**{**values, "contract_type": ContractType(str(row["contract_type"]))})  # type: ignore[arg-type]
