"""Silver assets, one per feed: bronze rows in canonical columns, validated, one per primary key.

A run builds its own partitions, then rebuilds stored neighbouring days that have rows in its files.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.concurrency.map_ordered import THREADS
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key, is_forced
from crypto_lakehouse.orchestration.assets.gold import rewritten
from crypto_lakehouse.orchestration.io_manager import (
    NewPartition,
    PartitionStream,
    UnchangedPartition,
    require_partitions,
)
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.completion.silver_rows import answered_keys
from crypto_lakehouse.pipeline.silver import silver_partition, stale_successors
from crypto_lakehouse.schemas import silver_schema
from crypto_lakehouse.schemas.rest import rest_table


def silver_asset(feed: Feed, policy: dg.BackfillPolicy, is_completed: bool = False) -> dg.AssetsDefinition:
    """The silver asset of a feed. With ``is_completed`` it waits for the REST answers about it."""
    arguments = asset_arguments(
        "silver",
        feed.market,
        feed.table,
        feed.cadence,
        silver_schema(feed),
        feed.description,
        ["polars", "parquet"],
        policy,
    )
    bronze = asset_key("bronze", feed.market, feed.table)

    answers = [asset_key("bronze", feed.market, rest_table(feed.table))] if is_completed else []

    @dg.asset(**arguments, deps=[bronze, *answers])
    def silver(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = lake.store()
        keys = list(context.partition_keys)
        require_partitions(store, bronze, keys)
        answered = answered_keys(feed, store)

        def cleaned(key: str) -> NewPartition | UnchangedPartition:
            partition = silver_partition(feed, key, store, datetime.now(UTC), is_forced(context), answered)
            if partition.unchanged is not None:
                return UnchangedPartition(key, partition.unchanged)
            return NewPartition(key, partition.rows, provenance=partition.provenance)

        # Two days of large files would need twice the memory of one.
        at_once = 1 if feed.file_format.large else THREADS
        yield dg.Output(PartitionStream(map(cleaned, keys), at_once, independent=True))
        for partition in stale_successors(feed, keys, store, datetime.now(UTC)):
            context.log.info(
                f"{partition.key}: rebuilt, because files of a neighbouring day that hold rows of it have changed"
            )
            rebuilt = NewPartition(partition.key, partition.rows, provenance=partition.provenance)
            yield rewritten(store, feed.market, feed.table, rebuilt, layer="silver")

    return silver
