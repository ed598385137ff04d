"""Gold assets of tables whose day is a function of what is stored. The registry says everything about such a table.

A run builds its own days, then rebuilds other stored days whose inputs it has rebuilt.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.orchestration.assets.common import GoldGroup, gold_arguments, is_forced
from crypto_lakehouse.orchestration.assets.gold import rewritten
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.gold.days import TableDays


def days_asset(group: GoldGroup, days_of: type[TableDays] = TableDays) -> dg.AssetsDefinition:
    """A gold table of a market that has no asset code of its own. ``days_of`` computes its days."""
    market, (table,) = group.market, group.tables

    # What has a job of its own is built when somebody asks for it.
    automation = None if table.job else when_inputs_are_new()

    @dg.asset(**gold_arguments(group, ["polars", "parquet"]), automation_condition=automation)
    def days(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = lake.store()
        maker = days_of(store, market, table, is_forced(context))

        def partition(key: str) -> NewPartition | UnchangedPartition:
            day = maker.day(key)
            if day.unchanged is not None:
                return UnchangedPartition(key, day.unchanged)
            try:
                return NewPartition(key, maker.rows(key), provenance=Provenance(day.input_fingerprint))
            except MissingPartition as error:
                raise dg.Failure(str(error), allow_retries=False) from error

        keys = list(context.partition_keys)
        yield dg.Output(PartitionStream(map(partition, keys), independent=True))
        for key in maker.stale(keys):
            context.log.info(f"{key}: rebuilt, because its inputs have changed")
            rebuilt = NewPartition(key, maker.rows(key), provenance=Provenance(maker.day(key).input_fingerprint))
            yield rewritten(store, market, table.name, rebuilt)

    return days
