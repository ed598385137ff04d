"""What could be traded on a day: from the newest partition of gold.instruments, as it was known on that day.

Here belongs which partition answers, and the filter. What instruments are is in ``transforms/universe.py``, what a
reader says and gets is in ``read.py``.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog.instruments import ContractType, InstrumentFilter, SymbolFacts
from crypto_lakehouse.lake.partitions import MissingPartition, list_keys, read_partition
from crypto_lakehouse.lake.store import LakeStore
from crypto_lakehouse.transforms.universe import known_on

INSTRUMENTS = "instruments"


def universe_on(store: LakeStore, exchange: str, market: str, on: date, wanted: InstrumentFilter) -> pl.DataFrame:
    """The instruments listed on ``on`` that the filter lets through, in the columns of gold.instruments.

    Raises MissingPartition where no partition of that day or of a later one is in the lake.
    """
    stored = list_keys(store, "gold", INSTRUMENTS, exchange, market)
    # The newest one has seen the files that came late.
    newest = max(stored, default="")
    if newest < on.isoformat():
        raise MissingPartition(
            f"gold.{INSTRUMENTS} of {exchange}/{market} has no partition of {on} or later"
            f" ({f'the newest is {newest}' if newest else 'it has none'}) in {store.uri}. Make one: crypto-lakehouse"
            f" backfill --market {market} --table {INSTRUMENTS} --from {on} --to {on}"
        )
    rows = known_on(read_partition(store, "gold", INSTRUMENTS, exchange, market, newest), on)
    passing = [wanted.passes(_facts(row)) for row in rows.iter_rows(named=True)]
    return rows.filter(pl.Series(passing, dtype=pl.Boolean))


def _facts(row: dict[str, object]) -> SymbolFacts:
    values = {name: row[name] for name in SymbolFacts.__dataclass_fields__}
    return SymbolFacts(**{**values, "contract_type": ContractType(str(row["contract_type"]))})  # type: ignore[arg-type]
