"""Shared by all assets: keys, groups, tags and schemas, derived from the catalogue and the schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from crypto_lakehouse.catalog import Cadence, Feed, Market
from crypto_lakehouse.orchestration.partitions import partitions_of
from crypto_lakehouse.schemas import Schema
from crypto_lakehouse.schemas.gold import LISTING, GoldTable, split_name
from crypto_lakehouse.schemas.versions import CODE_VERSIONS
from crypto_lakehouse.settings import Settings

OWNERS = ["team:market-data"]
IO_MANAGER_KEY = "lake_io_manager"

FORCE_TAG = "lakehouse/force"
"""A run with this tag (any value) rebuilds its partitions even where their inputs have not changed."""

REMAKE_TAG = "lakehouse/remake"
"""The former name of ``FORCE_TAG``, which works the same: runs and scripts of users carry it."""


def is_forced(context: dg.AssetExecutionContext) -> bool:
    """Whether the run rebuilds its partitions even where their inputs have not changed."""
    return not {FORCE_TAG, REMAKE_TAG}.isdisjoint(context.run.tags)


@dataclass(frozen=True, slots=True)
class GoldGroup:
    """The gold tables of a market that one asset builds. ``feeds`` are the enabled feeds of the market, by table."""

    market: Market
    tables: tuple[GoldTable, ...]
    feeds: Mapping[str, Feed]
    settings: Settings
    policy: dg.BackfillPolicy

    @property
    def name(self) -> str:
        """Name of the asset that builds several tables together."""
        return f"{self.tables[0].asset}_{self.market.exchange}_{self.market.name}"

    @property
    def keys(self) -> list[dg.AssetKey]:
        """The keys of the tables."""
        return [asset_key("gold", self.market, table.name) for table in self.tables]

    @property
    def inputs(self) -> list[dg.AssetKey]:
        """The keys of the input tables; optional ones only if they are enabled."""
        first = self.tables[0]
        names = [split_name(name) for name in first.inputs]
        names += [(layer, table) for layer, table in map(split_name, first.optional) if table in self.feeds]
        return [asset_key(layer, self.market, table) for layer, table in names if layer != LISTING]

    def description(self, table: GoldTable) -> str:
        """The description of a table in this market."""
        return table.description.format(market=self.market.title)


def gold_arguments(group: GoldGroup, kinds: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of ``@dg.asset`` for a gold table that has an asset of its own."""
    (table,) = group.tables
    return asset_arguments(
        "gold", group.market, table.name, Cadence.DAILY, table.schema, group.description(table), kinds, group.policy
    ) | {"deps": group.inputs}


def gold_outs(group: GoldGroup, kinds: Sequence[str], automation: dg.AutomationCondition) -> dict[str, dg.AssetOut]:
    """The outputs of ``@dg.multi_asset`` for gold tables that are built together."""
    return {
        table.name: asset_out(
            "gold", group.market, table.name, table.schema, group.description(table), kinds, automation
        )
        for table in group.tables
    }


def asset_key(layer: str, market: Market, table: str) -> dg.AssetKey:
    """[layer, exchange, market, table]."""
    return dg.AssetKey([layer, market.exchange, market.name, table])


def group_name(layer: str, market: Market) -> str:
    """The group of a market's assets in a layer, such as ``binance_um_gold``: markets have tables of equal names."""
    return f"{market.exchange}_{market.name}_{layer}"


def table_schema(schema: Schema) -> dg.TableSchema:
    """The schema for Dagster, each column with its description and unit."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                type=_type_name(c.type),
                description=f"{c.doc} [{c.unit}]",
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in schema.columns
        ]
    )


def _type_name(kind: pa.DataType) -> str:
    return str(kind)


def asset_arguments(
    layer: str,
    market: Market,
    table: str,
    cadence: Cadence,
    schema: Schema,
    description: str,
    kinds: Sequence[str],
    policy: dg.BackfillPolicy,
) -> dict[str, Any]:
    """Keyword arguments of ``@dg.asset`` that follow from the table; they are the same for every layer."""
    return {
        "key": asset_key(layer, market, table),
        **_described(layer, market, table, schema, description, kinds),
        "group_name": group_name(layer, market),
        "partitions_def": partitions_of(market, cadence),
        "backfill_policy": policy,
    }


def asset_out(
    layer: str,
    market: Market,
    table: str,
    schema: Schema,
    description: str,
    kinds: Sequence[str],
    automation: dg.AutomationCondition,
) -> dg.AssetOut:
    """The same as ``asset_arguments``, for one output of ``@dg.multi_asset``."""
    return dg.AssetOut(
        key=asset_key(layer, market, table),
        group_name=group_name(layer, market),
        automation_condition=automation,
        **_described(layer, market, table, schema, description, kinds),
    )


def _described(
    layer: str, market: Market, table: str, schema: Schema, description: str, kinds: Sequence[str]
) -> dict[str, Any]:
    return {
        "description": f"{description}\n\n{schema.doc}",
        "kinds": set(kinds),
        "owners": OWNERS,
        "tags": {"layer": layer, "exchange": market.exchange, "market": market.name, "table": table},
        "metadata": {
            "dagster/column_schema": table_schema(schema),
            "dagster/table_name": f"{layer}.{table}",
            "primary_key": ", ".join(schema.primary_key),
        },
        "code_version": CODE_VERSIONS[layer],
        "io_manager_key": IO_MANAGER_KEY,
    }
