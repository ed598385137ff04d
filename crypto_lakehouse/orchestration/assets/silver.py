"""Silver assets: one per feed, the bronze rows made canonical, validated and unique."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key
from crypto_lakehouse.orchestration.io_manager import Made, PartitionStream
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.silver import silver_partition
from crypto_lakehouse.schemas import bronze_schema, silver_schema


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
    columns = bronze_schema(feed).column_names

    @dg.asset(**arguments, ins={"bronze": dg.AssetIn(key=asset_key("bronze", feed.market, feed.table))})
    def silver(context: dg.AssetExecutionContext, bronze: pl.LazyFrame, lake: LakeResource) -> PartitionStream:
        store = lake.store()
        hive = feed.cadence.partition_column

        def made(key: str) -> Made:
            rows = bronze.filter(pl.col(hive) == key).select(columns).collect()
            part = silver_partition(feed, key, rows, store, datetime.now(UTC))
            if part.reasons:
                context.log.warning(f"{feed.name} {key}: refused {part.reasons}")
            refused = {"quarantined_rows": sum(part.reasons.values()), "quarantine_reasons": part.reasons}
            return Made(key, part.rows, refused)

        return PartitionStream(made(key) for key in context.partition_keys)

    return silver
