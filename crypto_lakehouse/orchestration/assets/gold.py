"""Gold assets: continuous minutes with their gaps and states, and bars, per market.

A run builds its own partitions, then rebuilds other stored days that its result invalidates: later days, and the days
just before whose last funding events wait for a trade. So the stored rows never depend on the order in which days were
built.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from crypto_lakehouse.catalog import Cadence, Market
from crypto_lakehouse.catalog.bars import Bars
from crypto_lakehouse.concurrency.map_ordered import WRITERS
from crypto_lakehouse.lake.storage.partitions import MissingPartition
from crypto_lakehouse.lake.storage.provenance import Provenance
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import GoldGroup, asset_key, gold_arguments, gold_outs, is_forced
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.io_manager import NewPartition, PartitionStream, UnchangedPartition, store_partition
from crypto_lakehouse.orchestration.partitions import partitions_of
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.gold.bars import DayBars
from crypto_lakehouse.pipeline.gold.bars_days import bars_days, stale_bars
from crypto_lakehouse.pipeline.gold.continuous import (
    CONTINUOUS,
    GAPS,
    STATES,
    ContinuousMinutes,
    MinutesPartition,
)
from crypto_lakehouse.pipeline.gold.trade_ids import IdsPartition
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.settings import Settings
from crypto_lakehouse.transforms.frames import Frame
from crypto_lakehouse.transforms.gold.continuous import GapRule

_KINDS = ["polars", "parquet"]


def gap_rule(settings: Settings) -> GapRule:
    """The gap rule of the settings."""
    return GapRule.of_days(settings.gap_days, settings.gap_change)


def continuous_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """``continuous_1m``, ``gaps`` and ``symbol_states`` of a market, which are always built together."""
    market, rule = group.market, gap_rule(group.settings)

    @dg.multi_asset(
        name=group.name,
        outs=gold_outs(group, _KINDS, when_inputs_are_new()),
        deps=group.inputs,
        partitions_def=partitions_of(market, Cadence.DAILY),
        backfill_policy=group.policy,
    )
    def continuous(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = lake.store()
        maker = ContinuousMinutes(store, market, rule, is_forced(context))
        days: list[MinutesPartition] = []

        def rebuilt(day: MinutesPartition) -> Iterator[Any]:
            for table, frame in ((CONTINUOUS, day.rows), (GAPS, day.gaps), (STATES, day.states)):
                yield rewritten(store, market, table, new_partition(day, table, frame))

        def rows() -> Iterator[NewPartition | UnchangedPartition]:
            try:
                for day in maker.days(list(context.partition_keys)):
                    days.append(replace(day, rows=day.rows.schema.empty_table()))
                    yield stored_or_new(day, CONTINUOUS, day.rows)
            except MissingPartition as error:
                raise dg.Failure(str(error), allow_retries=False) from error

        # The first output, by far the largest, is written while its rows are computed.
        yield dg.Output(PartitionStream(rows(), WRITERS), output_name=CONTINUOUS)
        yield dg.Output(PartitionStream(stored_or_new(day, GAPS, day.gaps) for day in days), output_name=GAPS)
        yield dg.Output(PartitionStream(stored_or_new(day, STATES, day.states) for day in days), output_name=STATES)
        for day in maker.stale_successors(days[-1]):
            context.log.info(f"{day.key}: rebuilt, because the state of the day before has changed")
            yield from rebuilt(day)
        for day in maker.resumed([day.key for day in days]):
            context.log.info(f"{day.key}: rebuilt, because later trades decide whether its last funding events count")
            yield from rebuilt(day)

    return continuous


def bars_asset(group: GoldGroup) -> dg.AssetsDefinition:
    """One table of bars of a market."""
    market, rule, bars = group.market, gap_rule(group.settings), group.tables[0].bars
    assert bars is not None

    @dg.asset(**gold_arguments(group, _KINDS), automation_condition=when_inputs_are_new())
    def bars_of_days(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = lake.store()
        keys = list(context.partition_keys)
        yield dg.Output(
            PartitionStream(_bars(store, market, bars, keys, is_forced(context)), WRITERS, independent=True)
        )
        stale_successors = stale_bars(store, market, bars, keys, rule)
        for rebuilt in _bars(store, market, bars, stale_successors, force=True):
            assert isinstance(rebuilt, NewPartition)
            context.log.info(f"{rebuilt.key}: rebuilt, because its minutes are newer")
            yield rewritten(store, market, bars.table, rebuilt)

    return bars_of_days


def _bars(
    store: LakeStore, market: Market, bars: Bars, keys: Iterable[str], force: bool
) -> Iterator[NewPartition | UnchangedPartition]:
    days = list(bars_days(store, market, bars, keys))
    with closing(DayBars(store, market, [bars], [day.key for day in days if force or not day.unchanged])) as maker:
        for day in days:
            if day.unchanged is not None and not force:
                yield UnchangedPartition(day.key, day.unchanged)
                continue
            try:
                rows = maker.make(day.key)[bars.table]
            except MissingPartition as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            facts = {"incomplete_bars": pc.sum(pc.invert(rows["complete"])).as_py() or 0}
            yield NewPartition(day.key, rows, provenance=Provenance(day.input_fingerprint, facts))


def stored_or_new(day: MinutesPartition | IdsPartition, table: str, rows: Frame) -> NewPartition | UnchangedPartition:
    """One table of a day: unchanged if its inputs have not changed, else to be written."""
    stored = day.unchanged.get(table)
    return UnchangedPartition(day.key, stored) if stored is not None else new_partition(day, table, rows)


def new_partition(day: MinutesPartition | IdsPartition, table: str, rows: Frame) -> NewPartition:
    """One table of a day, to be written."""
    return NewPartition(day.key, rows, provenance=day.provenances[table])


def rewritten(
    store: LakeStore, market: Market, table: str, partition: NewPartition, layer: str = "gold"
) -> dg.AssetMaterialization:
    """Write a partition outside of the run's range, and record it."""
    _, metadata = store_partition(store, TableSlice.of_market(layer, market, table), partition)
    return dg.AssetMaterialization(asset_key(layer, market, table), partition=partition.key, metadata=metadata)
