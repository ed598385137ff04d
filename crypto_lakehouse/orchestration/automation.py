"""The one automation condition, named and explained."""

from __future__ import annotations

import dagster as dg


def when_inputs_are_new() -> dg.AutomationCondition:
    """Make a gold partition when its inputs were made or made again, of any date and not only the newest.

    ``eager`` alone looks at the latest time window only; archives replace files of years ago, so that
    limit is taken off. Funding rates come once a month: days are made without them, and again when they
    are there. The condition acts only where its sensor is switched on.
    """
    missing = dg.AutomationCondition.any_deps_missing()
    funding = dg.AssetSelection.tag("table", "funding_rates")
    return (
        dg.AutomationCondition.eager()
        .without(dg.AutomationCondition.in_latest_time_window())
        .replace(missing, missing.ignore(funding))
    )
