"""Month files as assets: one per table that is compacted, partitioned by month."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from crypto_lakehouse.catalog import Cadence, Feed
from crypto_lakehouse.lake.storage.paths import COMPACTED
from crypto_lakehouse.lake.storage.store import LakeError
from crypto_lakehouse.orchestration.assets.common import GoldGroup, asset_arguments, asset_key
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.compaction import IncompleteMonth, compact_months
from crypto_lakehouse.schemas.slices import TableSlice


def compacted_assets(
    feeds: Sequence[Feed], groups: Sequence[GoldGroup], policy: dg.BackfillPolicy
) -> list[dg.AssetsDefinition]:
    """The assets of all tables of silver and gold that are compacted. ``feeds`` are those that are enabled."""
    silver = [
        _asset(TableSlice.of_feed("silver", feed), feed, feed.description, policy) for feed in feeds if feed.compacted
    ]
    gold = [
        _asset(
            TableSlice.of_market("gold", group.market, table.name),
            group.feeds[table.sources[0]],
            group.description(table),
            policy,
        )
        for group in groups
        for table in group.tables
        if table.compacted
    ]
    return [*silver, *gold]


def _asset(table_slice: TableSlice, feed: Feed, description: str, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """The month files of a table that is made from a feed.

    With their sensor on, they are written when a month is complete, and when a day of it changes.
    """
    arguments = asset_arguments(
        COMPACTED,
        feed.market,
        table_slice.table,
        Cadence.MONTHLY,
        table_slice.schema,
        f"Complete months of {description} A copy of the days of {table_slice.layer}, one file per month, sorted by"
        " symbol."
        " Reads of few symbols use it automatically while it is up to date. It can be deleted and rebuilt at any time.",
        ["parquet"],
        policy,
    )
    days = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        **arguments,
        deps=[dg.AssetDep(asset_key(table_slice.layer, feed.market, table_slice.table), partition_mapping=days)],
        automation_condition=when_inputs_are_new(),
    )
    def compacted(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
        try:
            for info in compact_months(
                table_slice, feed, context.partition_keys, lake.store(), datetime.now(UTC).date()
            ):
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
