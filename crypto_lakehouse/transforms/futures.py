"""Bronze open interest and liquidations to silver."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.epochs import Topic, epoch_value
from crypto_lakehouse.schemas.futures import LIQUIDATIONS, OPEN_INTEREST
from crypto_lakehouse.transforms.clean import (
    TEXT_TIME,
    Cleaned,
    Rule,
    canonical,
    clean,
    epoch_to_time,
    file_symbol_rule,
    text_to_time,
    time_rules,
    value_rules,
    whole_contracts,
)

_PERIOD = timedelta(minutes=5)
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

    ``period_start`` is the file's label, rounded to five minutes (labels up to 60 s off them occur), and
    five minutes less where the epoch registry says that the labels of the day are ends of periods. Blanks
    are null. Where a period comes more than once, the row with the most values is kept, then the one whose
    label is nearest to the grid, then the last in the file.
    """
    label = text_to_time(pl.col("create_time"))
    rounded = label.dt.round(_PERIOD)
    ends = epoch_value(feed, Topic.LABEL, first) == "period_end"
    distance = (canonical("label_time") - canonical("label_time").dt.round(_PERIOD)).abs()
    values = [canonical(name) for name in _METRICS]
    bad_time, outside = time_rules({"create_time": canonical("period_start")}, first, end, TEXT_TIME)
    return clean(
        bronze,
        feed,
        OPEN_INTEREST,
        columns={
            "period_start": rounded - _PERIOD if ends else rounded,
            "label_time": label,
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
        preferred="another row of this symbol and period has more values, a label nearer to the grid, or stands later",
    )


def clean_liquidations(bronze: pl.DataFrame, feed: Feed, first: date, end: date) -> Cleaned:
    """Silver liquidation orders of the partition [first, end), UTC days, from its bronze rows.

    All values of an order are its key, since the archive numbers orders not and has written each row twice
    (https://github.com/binance/binance-public-data/issues/259): of equal rows the last in the file is kept,
    the others are rejected as ``duplicate``.
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
