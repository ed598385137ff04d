"""Gold assets: bars per market, from its silver one-minute klines."""

import dagster as dg
import polars as pl

from crypto_lakehouse.catalog import INTERVALS, Cadence, Market
from crypto_lakehouse.orchestration.assets.common import asset_arguments, asset_key
from crypto_lakehouse.orchestration.automation import when_inputs_are_new
from crypto_lakehouse.orchestration.io_manager import Made, PartitionStream
from crypto_lakehouse.schemas import schema_of
from crypto_lakehouse.transforms.bars import bars_from_minutes

MINUTES = "klines_1m"


def bars_asset(market: Market, interval: str, policy: dg.BackfillPolicy) -> dg.AssetsDefinition:
    """``bars_{interval}`` of a market."""
    table = f"bars_{interval}"
    arguments = asset_arguments(
        "gold",
        market,
        table,
        Cadence.DAILY,
        schema_of("gold", table),
        f"{interval} bars of {market.title} with VWAP and a flag that tells whether every minute was there.",
        ["polars", "parquet"],
        policy,
    )

    @dg.asset(
        **arguments,
        ins={"minutes": dg.AssetIn(key=asset_key("silver", market, MINUTES))},
        automation_condition=when_inputs_are_new(),
    )
    def bars(context: dg.AssetExecutionContext, minutes: pl.LazyFrame) -> PartitionStream:
        def made(key: str) -> Made:
            rows = minutes.filter(pl.col("date") == key).collect()
            result = bars_from_minutes(rows, INTERVALS[interval])
            incomplete = result.filter(~pl.col("complete")).height
            return Made(key, result, {"incomplete_bars": incomplete})

        return PartitionStream(made(key) for key in context.partition_keys)

    return bars
