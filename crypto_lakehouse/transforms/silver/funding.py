"""Bronze funding rates to silver: exact time, the hour it belongs to, one row per symbol and hour."""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.transforms.silver.clean import Cleaned, Rule, canonical, clean, epoch_to_time, time_rules

MARK_PRICE = "markPrice"
"""A column of REST answers that the archive's files do not have."""


def clean_funding_rates(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver funding rates of the partition [first, end), UTC days, from its bronze rows.

    ``calc_time`` is 0 to some ms after the hour, so the hour is its floor. If an hour has several events, the earliest
    is kept; of events at the same instant the last in the file.
    """
    time = epoch_to_time("calc_time")
    return clean(
        bronze,
        feed,
        FUNDING_RATES,
        columns={
            "funding_time": time,
            "funding_hour": time.dt.truncate("1h"),
            "interval_hours": pl.col("funding_interval_hours"),
            "funding_rate": pl.col("last_funding_rate"),
            "mark_price": pl.col(MARK_PRICE) if MARK_PRICE in bronze.columns else pl.lit(None, pl.Float64),
        },
        rules=[
            *time_rules({"calc_time": canonical("funding_time")}, first, end),
            Rule("not_finite", ~canonical("funding_rate").is_finite(), "the rate is NaN or infinite"),
            Rule(
                "bad_interval",
                ~canonical("interval_hours").is_between(1, 24),
                "funding_interval_hours is not within 1 to 24",
            ),
        ],
        prefer=(-canonical("funding_time").to_physical(),),
        preferred="another event of this symbol and hour is earlier, or as early and stands later in the file",
    )
