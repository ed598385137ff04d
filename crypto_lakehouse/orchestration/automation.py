"""The condition under which Dagster rebuilds gold partitions by itself."""

from __future__ import annotations

import dagster as dg


def when_inputs_are_new() -> dg.AutomationCondition:
    """Build a gold partition when its inputs were built or rebuilt, of any date and not only the newest.

    ``eager`` alone looks only at the latest time window, but archives replace files of years ago, so this condition
    has no such limit. Funding rates come once a month: days are built without them, and rebuilt once they are stored.
    The condition acts only where its sensor is switched on.
    """
    missing = dg.AutomationCondition.any_deps_missing()
    funding = dg.AssetSelection.tag("table", "funding_rates")
    return (
        dg.AutomationCondition.eager()
        .without(dg.AutomationCondition.in_latest_time_window())
        .replace(missing, missing.ignore(funding))
    )
