"""Bronze open interest and liquidations to silver."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.epochs import Topic, epoch_value
from crypto_lakehouse.schemas.futures import LIQUIDATIONS, OPEN_INTEREST
from crypto_lakehouse.transforms.silver.clean import (
    FILE_OFFSET,
    TEXT_TIME,
    Cleaned,
    Rule,
    canonical,
    clean,
    epoch_to_time,
    file_symbol_rule,
    midnight,
    text_to_time,
    time_rules,
    value_rules,
    whole_contracts,
)

METRICS_PERIOD = timedelta(minutes=5)
LABEL_REACH = METRICS_PERIOD / 2
"""How far a metrics label may be from the multiple of five minutes that it is rounded to."""

LABELS_END = "labels_end"
"""A temporary column of bronze rows of metrics; see ``with_label_ends``."""

_OFF_GRID = timedelta(seconds=60)
_METRICS = {
    "open_interest": "sum_open_interest",
    "open_interest_value": "sum_open_interest_value",
    "top_trader_account_long_short_ratio": "count_toptrader_long_short_ratio",
    "top_trader_position_long_short_ratio": "sum_toptrader_long_short_ratio",
    "account_long_short_ratio": "count_long_short_ratio",
    "taker_buy_sell_volume_ratio": "sum_taker_long_short_vol_ratio",
}
_CONTRACTS = {
    "original_contracts": "original_quantity",
    "last_fill_contracts": "last_fill_quantity",
    "filled_contracts": "accumulated_fill_quantity",
}


def clean_open_interest(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver open interest of the partition [first, end), UTC days, from its bronze rows.

    ``label_time`` is the file's label, rounded to five minutes (labels up to 60 s off the grid occur); it decides the
    day. ``period_start`` is five minutes before it if the epoch registry says that labels of the file's day are period
    ends. A label is proven if the file shows that too (``with_label_ends``). All other rows count as known five minutes
    after their label, when the period has ended under either reading. Blanks are null. If a label has several rows,
    the row with the most values is kept, then the one with the label nearest to the grid, then the last in the file.
    """
    if LABELS_END not in bronze.columns:
        bronze = with_label_ends(bronze, first, end)
    raw, label = text_to_time(pl.col("create_time")), metrics_label()
    distance = (raw - label).abs()
    ends = _labels_are_ends(feed, first, pl.col(FILE_OFFSET) if FILE_OFFSET in bronze.columns else pl.lit(0))
    proven = ends & pl.col(LABELS_END)
    values = [canonical(name) for name in _METRICS]
    bad_time, outside = time_rules({"create_time": canonical("label_time")}, first, end, TEXT_TIME)
    return clean(
        bronze,
        feed,
        OPEN_INTEREST,
        columns={
            "label_time": label,
            "period_start": pl.when(ends).then(label - METRICS_PERIOD).otherwise(label),
            "known_time": pl.when(proven).then(label).otherwise(label + METRICS_PERIOD),
            "is_label_proven": proven,
            **{name: pl.col(column) for name, column in _METRICS.items()},
        },
        rules=[
            bad_time,
            Rule("off_grid", distance > _OFF_GRID, "create_time is more than 60 s off a full five minutes"),
            outside,
            file_symbol_rule("file_symbol"),
            *value_rules(finite=values, not_negative=values),
        ],
        prefer=(pl.sum_horizontal(v.is_not_null() for v in values), -distance.to_physical()),
        preferred="another row of this symbol and label has more values, a label nearer to the grid, or stands later",
    )


def metrics_label() -> pl.Expr:
    """The label of a metrics row, rounded to five minutes."""
    return text_to_time(pl.col("create_time")).dt.round(METRICS_PERIOD)


def with_label_ends(bronze: pl.DataFrame, first: date, end: date) -> pl.DataFrame:
    """Add ``LABELS_END`` to the rows of whole files of the days [first, end): whether the file shows that labels are
    period ends.

    A file shows it if it has the label of the end of its day but not that of the start: 00:05 to 00:00. A file from
    00:00 to 23:55 proves nothing: period ends that are filed by label look the same.
    """

    def has(day: date) -> pl.Expr:
        return (metrics_label() == midnight(day)).any().over("source_key")

    return bronze.with_columns((has(end) & ~has(first)).alias(LABELS_END))


def _labels_are_ends(feed: Feed, day: date, offset: pl.Expr) -> pl.Expr:
    """Whether labels are period ends, by the epoch registry, in files that are ``offset`` days from ``day``."""
    by_day = {n: epoch_value(feed, Topic.LABEL, day + timedelta(days=n)) == "period_end" for n in (-1, 0, 1)}
    return offset.replace_strict(list(by_day), list(by_day.values()), return_dtype=pl.Boolean)


def clean_liquidations(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver liquidation orders of the partition [first, end), UTC days, from its bronze rows.

    All values of an order form its key, because the archive has no order ids and wrote each row twice
    (https://github.com/binance/binance-public-data/issues/259). Of equal rows the last in the file is kept; the others
    are rejected as ``duplicate``.
    """
    contracts = {name: whole_contracts(column) for name, column in _CONTRACTS.items()}
    prices = [canonical("price"), canonical("average_price")]
    return clean(
        bronze,
        feed,
        LIQUIDATIONS,
        columns={
            "time": epoch_to_time("time"),
            **{name: pl.col(name) for name in ("side", "order_type", "time_in_force", "order_status")},
            **{name: pl.col(name) for name in ("price", "average_price")},
            **{name: number for name, (number, _) in contracts.items()},
        },
        rules=[
            *time_rules({"time": canonical("time")}, first, end),
            Rule("unknown_side", ~canonical("side").is_in(["BUY", "SELL"]), "side is neither BUY nor SELL"),
            Rule("not_finite", ~pl.all_horizontal(p.is_finite() for p in prices), "a price is NaN or infinite"),
            # The average price of an order without fills is 0.
            Rule(
                "price_not_positive",
                ~(canonical("price") > 0) | (canonical("average_price") < 0),
                "the price is zero or negative, or the average price is negative",
            ),
            *(whole for _, whole in contracts.values()),
            Rule(
                "negative_quantity",
                pl.any_horizontal(canonical(name) < 0 for name in _CONTRACTS),
                "a number of contracts is negative",
            ),
        ],
        preferred="the same order again",
    )
