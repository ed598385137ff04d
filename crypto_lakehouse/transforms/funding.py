"""Bronze funding rates to silver: exact time, the hour it belongs to, one row per symbol and hour."""

from __future__ import annotations

from datetime import date

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.schemas.funding_rates import FUNDING_RATES
from crypto_lakehouse.transforms.clean import (
    Cleaned,
    Rule,
    epoch_to_time,
    midnight,
    one_row_per_key,
    source_name,
    split_by_rules,
)


def clean_funding_rates(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver funding rates of the partition [first, end), UTC days, from its bronze rows.

    ``calc_time`` lies 0 to some ms after the hour, so the hour is its floor. Where an hour comes more
    than once, the earliest event is kept; of events at the same instant the last in the file.
    """
    raw_columns = feed.file_format.column_names
    canonical = bronze.with_columns(
        epoch_to_time("calc_time").alias("funding_time"),
        pl.col("funding_interval_hours").alias("interval_hours"),
        pl.col("last_funding_rate").alias("funding_rate"),
        pl.lit(None, pl.Float64).alias("mark_price"),
        pl.lit(source_name(feed)).alias("source"),
    ).with_columns(
        pl.col("funding_time").dt.truncate("1h").alias("funding_hour"),
        (-pl.col("funding_time").to_physical()).alias("earliness"),
    )
    rules = [
        Rule("bad_time", pl.col("funding_time").is_null(), "calc_time is no time in ms, us or ns"),
        Rule(
            "outside_partition",
            ~pl.col("funding_time").is_between(midnight(first), midnight(end), closed="left"),
            f"calc_time is not within [{first}, {end}) UTC, which the file is named for",
        ),
        Rule("not_finite", ~pl.col("funding_rate").is_finite(), "the rate is NaN or infinite"),
        Rule(
            "bad_interval",
            ~pl.col("interval_hours").is_between(1, 24),
            "funding_interval_hours is not within 1 to 24",
        ),
    ]
    split = split_by_rules(canonical, rules, raw_columns)
    kept = one_row_per_key(
        split.rows,
        key=FUNDING_RATES.primary_key,
        prefer=("earliness",),
        values=FUNDING_RATES.column_names,
        raw_columns=raw_columns,
        rule="another event of this symbol and hour is earlier, or as early and stands later in the file",
    )
    return Cleaned(kept.rows.select(FUNDING_RATES.column_names), pl.concat([split.rejected, kept.rejected]))
