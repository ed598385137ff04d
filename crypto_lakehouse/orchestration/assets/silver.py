"""Silver assets: one per feed, the bronze rows made canonical, validated and unique."""

from datetime import UTC, datetime

import dagster as dg

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key, is_remade
from crypto_lakehouse.orchestration.io_manager import Made, PartitionStream, Unchanged, require_partitions
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.side_by_side import THREADS
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.schemas import silver_schema


def silver_asset(feed: Feed, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """The silver asset of a feed."""
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

    @dg.asset(**arguments, deps=[bronze])
    def silver(context: dg.AssetExecutionContext, lake: LakeResource) -> PartitionStream:
        store = lake.store()
        require_partitions(store, bronze, list(context.partition_keys))

        def made(key: str) -> Made | Unchanged:
            part = silver_partition(feed, key, store, datetime.now(UTC), is_remade(context))
            if part.unchanged is not None:
                return Unchanged(key, part.unchanged)
            return Made(key, part.rows, origin=part.origin)

        # Two days of large files would need twice the memory of one.
        at_once = 1 if feed.file_format.large else THREADS
        return PartitionStream(map(made, context.partition_keys), at_once)

    return silver
