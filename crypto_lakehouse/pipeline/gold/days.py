"""Gold tables whose day is a function of stored days of other tables: their inputs, and which days are up to date.

The registry says which inputs a table has, its module in ``transforms/gold/tables`` computes the rows. Tables that
carry something from day to day have modules of their own. No Dagster, no writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crypto_lakehouse.catalog import Cadence, Market, parse_partition, partition_key
from crypto_lakehouse.lake.storage.damage import reading, unchanged
from crypto_lakehouse.lake.storage.partitions import find_keys, list_keys, scan_partitions
from crypto_lakehouse.lake.storage.provenance import StoredPartition, stored_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline.fingerprints import UNKNOWN, input_fingerprint, is_current, sources_fingerprint
from crypto_lakehouse.pipeline.gold.day_keys import day_span
from crypto_lakehouse.pipeline.gold.missing import missing_partition
from crypto_lakehouse.schemas.gold import GoldTable, split_name
from crypto_lakehouse.schemas.slices import Partition, TableSlice
from crypto_lakehouse.transforms.gold.tables import functions_of


@dataclass(frozen=True, slots=True)
class TableDay:
    """A day of a table: the fingerprint of its inputs, and the stored partition if that has been built from them."""

    key: str
    input_fingerprint: str
    unchanged: StoredPartition | None


class TableDays:
    """Days of a gold table of a market. With ``force`` no stored day counts as up to date."""

    def __init__(self, store: LakeStore, market: Market, table: GoldTable, force: bool = False) -> None:
        self._store, self._market, self._table, self._force = store, market, table, force
        self._slice = TableSlice.of_market("gold", market, table.name)
        self._inputs = [TableSlice.of_market(layer, market, name) for layer, name in map(split_name, table.inputs)]

    def day(self, key: str) -> TableDay:
        """A day, and whether its stored partition is up to date."""
        inputs, words = [], [f"version {self._table.version}"]
        for partition in self._partitions(key):
            stored = stored_partition(self._store, partition)
            if stored is not None:
                source = partition.slice
                inputs.append(stored)
                words.append(f"{source.layer}.{source.table} {partition.key} {input_fingerprint(stored)}")
        words += self.more_inputs(key)
        if UNKNOWN in map(input_fingerprint, inputs):
            words = [UNKNOWN]
        expected = sources_fingerprint("gold", self._table.schema, words)
        stored = None if self._force else stored_partition(self._store, self._slice.partition(key))
        return TableDay(key, expected, stored if is_current(stored, expected, inputs) else None)

    def more_inputs(self, key: str) -> list[str]:
        """What the rows of a day depend on besides the inputs of the registry; here nothing."""
        del key
        return []

    def rows(self, key: str) -> pl.DataFrame:
        """Compute the rows of a day. Raises MissingPartition if an input has no partition for the day."""

        partitions = self._partitions(key)

        def stored() -> list[datetime]:
            times = []
            for partition in partitions:
                time = find_keys(self._store, partition.slice, [partition.key]).get(partition.key)
                if time is None:
                    raise missing_partition(self._store, partition)
                times.append(time)
            return times

        def read() -> pl.DataFrame:
            stored()
            paths = [partition.path for partition in partitions]
            with reading(self._store, paths):
                inputs = [scan_partitions(self._store, partition.slice, [partition.key]) for partition in partitions]
                for source in inputs:
                    source.collect_schema()
            rows = functions_of(self._table.name).rows(day_span(key)[0], *inputs).lazy()
            # A wrong name in the code of the table is found here, where it is not taken for a damaged file.
            rows.collect_schema()
            with reading(self._store, paths):
                return rows.collect()

        return unchanged(read, stored)

    def stale(self, keys: Sequence[str]) -> list[str]:
        """Stored days of the market other than ``keys`` that are older than a partition of their inputs.

        A run may have rebuilt partitions of the inputs outside of its range.
        """
        since = partition_key(self._market.first_date, Cadence.DAILY)
        stored = {source: list_keys(self._store, source) for source in self._inputs}
        outdated = []
        for key, (_, stored_at) in list_keys(self._store, self._slice).items():
            files = [stored[partition.slice].get(partition.key) for partition in self._partitions(key)]
            is_newer = any(file is not None and file[1] > stored_at for file in files)
            # Without all inputs it could not be rebuilt.
            if key >= since and key not in keys and is_newer and all(files):
                outdated.append(key)
        return sorted(outdated)

    def _partitions(self, key: str) -> list[Partition]:
        """The partition of each input that a day uses: of the day itself, or of its month."""
        day, _ = parse_partition(key, Cadence.DAILY)
        return [source.partition(partition_key(day, source.cadence)) for source in self._inputs]
