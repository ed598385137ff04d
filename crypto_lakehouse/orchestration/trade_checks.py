"""Asset checks of trades: of their ids, and of klines rebuilt from them. They work like those of ``checks.py``."""

import dagster as dg

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.lake.storage.partitions import read_partition
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.checks import keys_to_check, result
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.day_checks import Finding
from crypto_lakehouse.pipeline.gold.continuous import MINUTES
from crypto_lakehouse.pipeline.gold.trade_ids import TradeIds, check_klines, id_tables
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse.transforms.gold.trade_ids import id_findings


def id_continuity_check(feed: Feed) -> dg.AssetChecksDefinition:
    """The check ``id_continuity``: missing and repeated ids, and days compared with old ids of the day before."""
    table, _ = id_tables(feed.table)

    @dg.asset_check(
        name="id_continuity",
        asset=asset_key("gold", feed.market, table),
        description="No id is missing or repeated; each day was compared with the present last ids of the day before.",
    )
    def id_continuity(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_market("gold", feed.market, table), feed.market.first_date)
        ids = TradeIds(store, feed)
        findings: list[Finding] = []
        for key in keys:
            rows = read_partition(store, TableSlice.of_market("gold", feed.market, table).partition(key))
            findings += [(key, symbol, text) for symbol, text in id_findings(rows)]
            if ids.out_of_line(rows, key):
                command = TableSlice.of_market("gold", feed.market, table).partition(key).backfill_command()
                text = f"compared with ids that the day before no longer has. Rebuild it with: {command}"
                findings.append((key, "", text))
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return id_continuity


def klines_from_trades_check(feed: Feed, with_minutes: bool) -> dg.AssetChecksDefinition:
    """The check ``klines_from_trades``: klines rebuilt from trades against the exchange's. In a run that also builds
    minutes it follows them.
    """

    @dg.asset_check(
        name="klines_from_trades",
        asset=asset_key("silver", feed.market, feed.table),
        additional_deps=[asset_key("silver", feed.market, MINUTES)] if with_minutes else [],
        description=f"One-minute klines rebuilt from the rows agree with silver.{MINUTES}, if the lake has it.",
    )
    def klines_from_trades(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        keys = keys_to_check(context, store, TableSlice.of_feed("silver", feed), feed.market.first_date)
        findings = [(key, symbol, text) for key in keys for symbol, text in check_klines(store, feed, key)]
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return klines_from_trades
