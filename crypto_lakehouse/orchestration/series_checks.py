"""Asset checks of pauses and ends of series: missing days, funding that does not count, rows after the last trade.

They work like those of ``checks.py``; ``pipeline/gold/checks.py`` does the comparisons.
"""

from collections.abc import Callable, Sequence
from functools import partial

import dagster as dg

from crypto_lakehouse.catalog import Feed, Market
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.orchestration.assets.common import asset_key
from crypto_lakehouse.orchestration.checks import keys_to_check, result
from crypto_lakehouse.orchestration.resources import LakeResource
from crypto_lakehouse.pipeline.day_checks import check_days
from crypto_lakehouse.pipeline.gold.checks import check_ends, check_funding, check_missing_days
from crypto_lakehouse.pipeline.gold.continuous import CONTINUOUS, GAPS, STATES
from crypto_lakehouse.schemas.slices import TableSlice


def gap_checks(market: Market, with_funding: bool) -> list[dg.AssetChecksDefinition]:
    """``missing_days`` of gaps, and, if the market has funding, ``funding`` of continuous minutes."""
    missing_days = _day_check(
        "missing_days",
        market,
        GAPS,
        "No gap exists only because days are missing in the lake.",
        check_missing_days,
    )
    if not with_funding:
        return [missing_days]
    text = "Every funding event counts: its minute was traded, or a trade follows."
    return [missing_days, _day_check("funding", market, CONTINUOUS, text, check_funding)]


def _day_check(
    name: str,
    market: Market,
    table: str,
    description: str,
    check: Callable[[LakeStore, Market, Sequence[str]], list[tuple[str, str]]],
) -> dg.AssetChecksDefinition:
    @dg.asset_check(name=name, asset=asset_key("gold", market, table), description=description)
    def days(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        table_slice = TableSlice.of_market("gold", market, table)
        keys = keys_to_check(context, store, table_slice, market.first_date)
        findings = check_days(store, table_slice, keys, partial(check, store, market))
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return days


def ends_check(feed: Feed, with_minutes: bool) -> dg.AssetChecksDefinition:
    """The check ``after_end``: rows after a symbol's last trade. In a run that also builds minutes it follows them."""

    @dg.asset_check(
        name="after_end",
        asset=asset_key("silver", feed.market, feed.table),
        description="No rows at times when the symbol was not traded, according to its minutes. Such rows are kept.",
        additional_deps=[asset_key("gold", feed.market, STATES)] if with_minutes else None,
    )
    def after_end(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.store()
        table_slice = TableSlice.of_feed("silver", feed)
        keys = keys_to_check(context, store, table_slice, feed.market.first_date)
        findings = check_days(store, table_slice, keys, partial(check_ends, store, feed))
        return result(findings, keys, dg.AssetCheckSeverity.WARN)

    return after_end
