"""Month files of silver tables as assets: one per feed that is compacted, partitioned by month."""

from datetime import UTC, datetime

import dagster as dg

from crypto_lakehouse.catalog import Cadence, Feed
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.lake.storage.store import LakeError
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.compaction import IncompleteMonth, compact_months
from crypto_lakehouse.schemas import silver_schema


def compacted_asset(feed: Feed, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """The month files of a feed. With its sensor on, they are written when a month is complete, and when a day of it
    changes.
    """
    arguments = asset_arguments(
        COMPACTED,
        feed.market,
        feed.table,
        Cadence.MONTHLY,
        silver_schema(feed),
        f"Complete months of {feed.description} A copy of silver's rows, one file per month, sorted by symbol."
        " Reads of few symbols use it automatically while it is up to date. It can be deleted and rebuilt at any time.",
        ["parquet"],
        policy,
    )
    days = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        **arguments,
        deps=[dg.AssetDep(asset_key("silver", feed.market, feed.table), partition_mapping=days)],
        automation_condition=when_inputs_are_new(),
    )
    def compacted(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        try:
            for info in compact_months(feed, context.partition_keys, lake.store(), datetime.now(UTC).date()):
                context.add_asset_metadata(
                    {
                        "dagster/partition_row_count": info.rows,
                        "bytes": info.bytes,
                        "days": info.days,
                        "uri": dg.MetadataValue.path(info.uri),
                        "was_up_to_date": info.was_up_to_date,
                    },
                    partition_key=info.month,
                )
                context.log.info(f"{info.month}: {info.rows:,} rows of {info.days} days")
        except LakeError as error:
            raise dg.Failure(str(error), allow_retries=not isinstance(error, IncompleteMonth)) from error

    return compacted
