"""What is missing: an input partition, or symbols on a stored day that no run chose."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from crypto_lakehouse.catalog import partition_key
from crypto_lakehouse.catalog.symbols import ChosenSymbols
from crypto_lakehouse.lake.storage.partitions import MissingPartition, collect_partitions, partition_exists
from crypto_lakehouse.lake.storage.provenance import stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import chosen_symbols
from crypto_lakehouse.schemas.gold import find_gold_table, split_name
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.frames import Frame, symbols_in


def missing_partition(store: LakeStore, partition: Partition) -> MissingPartition:
    """The error for a missing input partition, with the command that builds it.

    If a gold partition cannot be built because its own input is missing, the error names that input.
    """
    entry = find_gold_table(partition.slice.table) if partition.slice.layer == "gold" else None
    for name in entry.inputs if entry and not entry.is_of_listing else ():
        source = replace(partition.slice, **dict(zip(("layer", "table"), split_name(name), strict=True)))
        needed = source.partition(partition_key(partition.start, source.cadence))
        if not partition_exists(store, needed):
            return missing_partition(store, needed)
    layer, exchange, market, table = partition.slice.asset_key
    return MissingPartition(
        f"{layer}.{table} of {exchange}/{market} has no partition {partition.key}. Build it first:"
        f" {partition.backfill_command()}"
    )


def symbols_missing(store: LakeStore, minutes: TableSlice, key: str, symbols: Collection[str]) -> set[str]:
    """Return those of ``symbols`` for which a stored day of silver minutes counts as missing."""
    chosen = chosen_symbols(stored_partition(store, minutes.partition(key)))
    if not set(symbols) - chosen.select(symbols):
        return set()
    rows = collect_partitions(store, minutes, [key], lambda rows: rows.select("symbol").unique())
    return set(not_chosen(symbols, rows, chosen))


def not_chosen(symbols: Iterable[str], rows: Frame, chosen: ChosenSymbols) -> list[str]:
    """Return those of ``symbols`` without rows on a stored day that no run chose: the day is missing for them."""
    if chosen == ChosenSymbols():
        return []
    absent = set(symbols) - symbols_in(rows)
    return sorted(absent - chosen.select(absent))
