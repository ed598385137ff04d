"""Gold assets of trade ids: continuity and missing ids, per market and table of trades.

A run builds its own partitions, then rebuilds the stored day after them if that was compared with other last ids. So
the stored rows never depend on the order in which days were built.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.orchestration.assets.common import GoldGroup, gold_outs, is_forced
from crypto_lakehouse.orchestration.assets.gold import new_partition, rewritten, stored_or_new
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition
from crypto_lakehouse.orchestration.partitions import partitions_of
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.gold.trade_ids import IdsPartition, TradeIds, id_tables


def trade_ids_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """Both id tables of a feed of trades, which are always built together."""
    market, feed = group.market, group.feeds[group.tables[0].sources[0]]
    continuity, missing = id_tables(feed.table)

    @dg.multi_asset(
        name=group.name,
        outs=gold_outs(group, ["polars", "parquet"], when_inputs_are_new()),
        deps=group.inputs,
        partitions_def=partitions_of(market, feed.cadence),
        backfill_policy=group.policy,
    )
    def trade_ids(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = lake.store()
        maker = TradeIds(store, feed, force=is_forced(context))
        days: list[IdsPartition] = []

        def rows() -> Iterator[NewPartition | UnchangedPartition]:
            try:
                for day in maker.days(list(context.partition_keys)):
                    days.append(day)
                    yield stored_or_new(day, continuity, day.continuity)
            except MissingPartition as error:
                raise dg.Failure(str(error), allow_retries=False) from error

        yield dg.Output(PartitionStream(rows()), output_name=continuity)
        yield dg.Output(PartitionStream(stored_or_new(day, missing, day.missing) for day in days), output_name=missing)
        for day in maker.stale_successors(days):
            context.log.info(f"{day.key}: rebuilt, because the last ids of the day before have changed")
            # The continuity last: from it the next run sees that the day is up to date.
            yield rewritten(store, market, missing, new_partition(day, missing, day.missing))
            yield rewritten(store, market, continuity, new_partition(day, continuity, day.continuity))

    return trade_ids
